"""The items that this process has in hand, each once: from when it is taken up until it has its verdict or is let go.

Whoever sends an item, or asks about its ticket, has it in hand here; so no other path sends it too, adopts its ticket a
second time, decides it twice or counts its questions away. All of this happens on the engine's loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple, TypeAlias

from fieval_tasks.core.items import Failed, Item, State, Verdict
from fieval_tasks.ledger.book import Book
from fieval_tasks.ledger.changes import Asked, Decided, Noted, Requeued
from fieval_tasks.ledger.recording import Recorder
from fieval_tasks.ledger.schema import utc_now

ItemVerdict: TypeAlias = "tuple[int, str | None, Verdict]"
"""An item's place in the run, its eval_id where it has one, and its verdict."""


@dataclass(eq=False, slots=True)
class OpenItem:
    """All that this process knows of an item in hand. Ordered by `due`; times are the loop's clock's, in seconds."""

    seq: int
    check: str
    redone: int = 0
    """Times it was sent again after the server had taken it and not judged it."""
    sender: object | None = None
    """Who is to send it, or has sent it; None: a process before this one did."""
    is_left: bool = False
    """Not to be sent by this process any more, though it has no ticket."""
    is_decided: bool = False
    """Its verdict is on its way into the ledger."""
    misjudged: Failed | None = None
    """How the judge of its synchronous call failed, which stands where it is not bought once more."""

    # -- its ticket, and what was heard of it ------------------------------------------------------------------------

    eval_id: str | None = None
    """None: it is to be sent."""
    sent_at: float | None = None
    """When the submission began that brought the ticket; None: a process before this one made it."""
    digest: bytes | None = None
    """Of the inputs that the ticket is for (echoes.digest); None: the ledger has them."""
    questions: int = 0
    """Asked about the ticket, and not recorded yet."""
    resend_if_unknown: bool = False
    """It is sent again, once, where the server turns out not to know its ticket."""
    refusals: int = 0
    """By a limit that hides."""
    overtaken: int = 0
    """Refusals while more of the others were judged than refused: of an item that is like the others, each of them is less
    likely than a toss, and rare at a pace that keeps what is refused to a few in a hundred."""
    refused_first_at: float = inf
    """When the submission began that such a limit refused first."""
    passed_before: int = 0
    """Items of its check that were judged, less those refused, at its latest refusal."""

    # -- when it is asked about (agenda) -----------------------------------------------------------------------------

    since: float = 0.0
    """When its ticket was submitted."""
    due: float = 0.0
    """When its plan is looked at."""
    asked_at: float = -inf
    """When it was last asked about."""
    pending_at: float = 0.0
    """The age at which it was last seen pending."""
    price: float = 0.0
    """What the purse paid for the question under way."""
    is_scout: bool = False
    is_urgent: bool = False
    """The question under way is not to wait for others: a sentinel's first, or the last at the deadline."""
    unheard: int = 0
    """Its latest questions in a row that failed."""

    def __lt__(self, other: OpenItem) -> bool:
        return self.due < other.due

    @property
    def is_open(self) -> bool:
        """It has a ticket that is worth a question."""
        return self.eval_id is not None and not self.is_decided

    def ticketed(self, eval_id: str, sent_at: float | None, digest: bytes | None = None) -> None:
        self.eval_id, self.sent_at, self.digest, self.questions = eval_id, sent_at, digest, 0
        self.asked_at, self.pending_at, self.price, self.unheard = -inf, 0.0, 0.0, 0
        self.is_scout = self.is_urgent = False

    def has_ended(self, sender: object) -> bool:
        """Once its sender has, though it was not sent: anybody may take it up."""
        return self.sender is sender and not (self.eval_id or self.is_left or self.is_decided)


class PutBack(NamedTuple):
    """A ticket came to nothing, and its item is to be sent once more."""

    note: Noted
    counts: bool = False
    """It had its chance."""
    doubtful: bool = False
    """The ticket that is given up may have been judged."""
    failed: Failed | None = None
    """How it failed, which stands if it is not bought again."""


class OpenItems:
    """What this process has in hand, by the items' places in the run; what becomes of it is recorded and counted here."""

    def __init__(self, book: Book, recorder: Recorder) -> None:
        self._book = book
        self._recorder = recorder
        self.counts = book.counts()
        """Of the whole run: state -> items."""
        self._repeats = book.repeats()
        self._redone = book.redone()
        self._resendable = book.resendable()
        self._held: dict[int, OpenItem] = {}
        self._let_go: dict[object, set[int]] = {}
        """Who reads the ledger at this moment -> items that were in hand when that began, and are no more."""

    def __getitem__(self, seq: int) -> OpenItem:
        return self._held[seq]

    async def take_up(self, chunk: int, sender: object) -> list[Item]:
        """A chunk's unsent items, less those that were in hand at any time while the ledger was read.

        What was let go meanwhile may have moved on since it was read.
        """
        self._let_go[sender] = set()
        try:
            found = await asyncio.to_thread(self._book.unsent, chunk)
        finally:
            let_go = self._let_go.pop(sender)
        free = [item for item in found if item.seq not in self._held and item.seq not in let_go]
        self._held |= {item.seq: OpenItem(item.seq, item.check, item.redone, sender) for item in free}
        return free

    async def read(self, seq: int) -> Item:
        """An item as the ledger has it."""
        return await asyncio.to_thread(self._book.item, seq)

    def adopt(self, seq: int, eval_id: str, check: str) -> OpenItem | None:
        """An item whose ticket is from before this process. None where it is in hand already."""
        if seq in self._held:
            return None
        found = self._held[seq] = OpenItem(seq, check, self._redone.get(seq, 0))
        found.ticketed(eval_id, None)
        found.resend_if_unknown = seq in self._resendable
        return found

    def move(self, state: State, *, leaving: State = State.READY) -> None:
        """Count an item in another state."""
        self.counts[leaving] -= 1
        self.counts[state] += 1

    def misjudged(self, seq: int) -> Failed | None:
        """How the judge of an item's synchronous call failed, since this was last asked."""
        item = self._held.get(seq)
        if item is None:
            return None
        failed, item.misjudged = item.misjudged, None
        return failed

    async def put_back(self, item: OpenItem, back: PutBack, sender: object) -> None:
        """Its ticket is closed, and it stays in hand: in that of whoever sends it again."""
        asked = Asked(item.seq, item.questions)
        item.eval_id, item.sent_at, item.questions = None, None, 0
        item.sender = sender
        item.redone += back.counts
        item.resend_if_unknown = False
        self._resendable.discard(item.seq)
        self.move(State.READY, leaving=State.SUBMITTED)
        requeued = Requeued(item.seq, counts=back.counts, doubtful=back.doubtful)
        await self._recorder.record(back.note, asked, requeued)

    async def decide(self, verdicts: Sequence[ItemVerdict]) -> None:
        """Record verdicts, each for its item and for those that repeat it. An item's first verdict stands."""
        now = utc_now()
        verdicts = [one for one in verdicts if (item := self._held.get(one[0])) and not item.is_decided]
        found = {seq: self._held[seq] for seq, _, _ in verdicts}
        if not found:
            return
        for item in found.values():
            item.is_decided = True
        shared = [(seq, e, verdict) for first, e, verdict in verdicts for seq in self._repeats.pop(first, ())]
        await self._recorder.record(
            *(Decided(seq, verdict, now, e, polls=found[seq].questions) for seq, e, verdict in verdicts),
            *(Decided(seq, verdict, now, e) for seq, e, verdict in shared),
            at_leisure=all(item.eval_id for item in found.values()),  # a ticket can be asked about again
        )
        for seq, _, verdict in verdicts:
            self.move(_state(verdict), leaving=State.SUBMITTED if found[seq].eval_id else State.READY)
        for _, _, verdict in shared:
            self.move(_state(verdict))
        self.let_go(found)

    def let_go(self, seqs: Iterable[int]) -> None:
        """Nobody here has to do with these any more; what they came to is in the ledger."""
        for seq in seqs:
            if self._held.pop(seq, None) is not None:
                for let_go in self._let_go.values():
                    let_go.add(seq)

    def let_go_unsent(self, items: Iterable[Item], sender: object) -> None:
        """Who was to send these has ended: what was not sent may be taken up again."""
        self.let_go([i.seq for i in items if (held := self._held.get(i.seq)) and held.has_ended(sender)])

    def let_go_all(self) -> None:
        """Others may work on all of it."""
        self.let_go(list(self._held))


def _state(verdict: Verdict) -> State:
    return State.FAILED if isinstance(verdict, Failed) else State.SCORED
