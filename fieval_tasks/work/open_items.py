"""The items that this process has in hand, each once: from when it is taken up until it has its verdict or is let go.

Whoever sends an item, or asks about its ticket, has it in hand here; so no other path sends it too, adopts its ticket a
second time, decides it twice or counts its questions away. All of this happens on the engine's loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass

from fieval_tasks.core.items import Item


@dataclass(eq=False)
class Held:
    """One item in hand."""

    redone: int
    """Times it was sent again after the server had taken it and not judged it."""
    eval_id: str | None = None
    """Its ticket; None: it is to be sent."""
    sent_at: float | None = None
    """When the submission began that brought the ticket, by the pace's clock; None: a process before this one made it."""
    digest: bytes | None = None
    """Of the inputs that the ticket is for (echoes.digest); None: the ledger has them."""
    questions: int = 0
    """Asked about the ticket, and not recorded yet."""
    was_put_back: bool = False
    """Its ticket came to nothing: whoever sends it once more has it, and no chunk."""
    resenders: int = 0
    """Those that send it once more: two, for a moment, where what one has just sent is put back before it has ended."""
    is_left: bool = False
    """Not to be sent by this process any more, though it has no ticket."""
    is_decided: bool = False
    """Its verdict is on its way into the ledger."""

    @property
    def is_unsent(self) -> bool:
        return not (self.eval_id or self.is_left or self.is_decided)


class OpenItems:
    """What this process has in hand, by the items' places in the run."""

    def __init__(self, redone: Mapping[int, int] | None = None) -> None:
        """`redone`: item -> times it was submitted again, for tickets from before this process."""
        self._redone = redone or {}
        self._held: dict[int, Held] = {}
        self._readings: list[Reading] = []

    async def take_up(self, unsent: Awaitable[list[Item]]) -> list[Item]:
        """The items that a reading of the ledger brings, less those in hand here at any time while it was made.

        What was let go meanwhile may have moved on since it was read.
        """
        reading = Reading()
        self._readings.append(reading)
        try:
            found = await unsent
        finally:
            self._readings.remove(reading)
        free = [item for item in found if item.seq not in self._held and item.seq not in reading.let_go]
        self._held |= {item.seq: Held(item.redone) for item in free}
        return free

    def adopt(self, seq: int, eval_id: str) -> bool:
        """A ticket from before this process. False where the item is in hand already."""
        if seq in self._held:
            return False
        self._held[seq] = Held(self._redone.get(seq, 0), eval_id)
        return True

    def ticketed(self, seq: int, eval_id: str, sent_at: float, *, digest: bytes | None = None) -> None:
        """An item that was sent has its ticket."""
        held = self._held[seq]
        held.eval_id, held.sent_at, held.digest, held.questions = eval_id, sent_at, digest, 0

    def behind(self, seq: int, eval_id: str) -> Held | None:
        """The item behind a ticket, while that is its open one."""
        held = self._held.get(seq)
        return held if held and held.eval_id == eval_id and not held.is_decided else None

    def put_back(self, seq: int, *, counts: bool) -> None:
        """Its ticket is closed and it is to be sent again; it stays in hand."""
        held = self._held[seq]
        held.eval_id, held.sent_at, held.questions = None, None, 0
        held.was_put_back = True
        held.resenders += 1
        held.redone += counts

    def leave(self, seqs: Iterable[int]) -> None:
        """These are not sent by this process any more."""
        for seq in seqs:
            self._held[seq].is_left = True

    def decide(self, seq: int) -> Held | None:
        """An item whose verdict is there; None where it had one already, or is in nobody's hand."""
        held = self._held.get(seq)
        if held is None or held.is_decided:
            return None
        held.is_decided = True
        return held

    def let_go(self, seqs: Iterable[int]) -> None:
        """Nobody here has to do with these any more; what they came to is in the ledger."""
        for seq in seqs:
            if self._held.pop(seq, None) is not None:
                for reading in self._readings:
                    reading.let_go.add(seq)

    def let_go_unsent(self, items: Iterable[Item], *, put_back: bool = False) -> None:
        """Whoever was to send these, or to send once more what was `put_back`, has ended: the unsent may be taken up again."""
        held = [(item.seq, one) for item in items if (one := self._held.get(item.seq))]
        for _, one in held:
            one.resenders -= put_back
        free = ((seq, one) for seq, one in held if one.is_unsent and not one.resenders)
        self.let_go([seq for seq, one in free if one.was_put_back is put_back])

    def let_go_all(self) -> None:
        """Others may work on all of it."""
        self.let_go(list(self._held))


class Reading:
    """A reading of the ledger that is being made."""

    def __init__(self) -> None:
        self.let_go: set[int] = set()
        """Items that were in hand when it began, and are no more."""
