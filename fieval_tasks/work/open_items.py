"""The items that this process is working on: one record for each, from its first send (or its found ticket) to its verdict.

The record keeps two code paths from sending one item twice, adopting its ticket twice, deciding it twice or losing the
count of its questions. Everything here runs on the engine's event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple, TypeAlias

from fieval_tasks.core.items import Failed, Item, State, Verdict
from fieval_tasks.ledger.book import Book
from fieval_tasks.ledger.changes import Asked, Decided, Noted, Requeued, Spent
from fieval_tasks.ledger.recording import Recorder
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.work.options import Audience

ItemVerdict: TypeAlias = "tuple[int, str | None, Verdict]"
"""An item's place in the run, its eval_id where it has one, and its verdict."""


@dataclass(eq=False, slots=True)
class OpenItem:
    """All that this process knows of an item it works on. Ordered by `due`; times are `time.monotonic`'s, in seconds."""

    seq: int
    check: str
    redone: int = 0
    """Times it was sent again after the server had taken it and not judged it."""
    sender: object | None = None
    """The chunk's send that is responsible for the item; None: an earlier process sent it."""
    is_left: bool = False
    """This process does not send the item any more, though it has no ticket."""
    is_decided: bool = False
    """Its verdict is being written to the ledger."""
    misjudged: Failed | None = None
    """How the judge of its synchronous call failed: the item's verdict, unless it is sent once more."""

    # -- its ticket, and the answers about it ------------------------------------------------------------------------

    eval_id: str | None = None
    """The ticket's; None: the item has to be sent."""
    sent_at: float | None = None
    """When the submission began that brought the ticket; None: a process before this one made it."""
    digest: bytes | None = None
    """`echoes.digest` of the submitted inputs; None: to be read from the ledger."""
    questions: int = 0
    """Questions about the ticket that are not recorded yet."""
    resend_if_unknown: bool = False
    """The item is sent again, once, if the server does not know its ticket (after `--retry-failed`)."""
    refusals: int = 0
    """Times that a hidden limit refused the item."""
    overtaken: int = 0
    """Refusals while more items of its check were judged than refused. For an item like the others each of them is less likely
    than one half, so that `policy.OVERTAKEN` of them mean that the item itself is refused."""
    refused_first_at: float = inf
    """When the submission began that a hidden limit refused first."""
    passed_before: int = 0
    """Items of its check that were judged, less those refused, at its latest refusal."""

    # -- when it is asked about (agenda) -----------------------------------------------------------------------------

    since: float = 0.0
    """When its ticket was submitted."""
    due: float = 0.0
    """When it is to be asked about, unless the estimate has changed by then."""
    asked_at: float = -inf
    """When it was last asked about."""
    pending_at: float = 0.0
    """The age at which it was last seen pending."""
    price: float = 0.0
    """What the agenda's purse paid for the question under way."""
    is_scout: bool = False
    is_urgent: bool = False
    """The question under way must not wait for others: a sentinel's first, or the last one at the deadline."""
    unheard: int = 0
    """Its latest questions in a row that failed."""

    def __lt__(self, other: OpenItem) -> bool:
        return self.due < other.due

    @property
    def is_open(self) -> bool:
        """Whether it has a ticket and no verdict."""
        return self.eval_id is not None and not self.is_decided

    def ticketed(self, eval_id: str, sent_at: float | None, digest: bytes | None = None) -> None:
        self.eval_id, self.sent_at, self.digest, self.questions = eval_id, sent_at, digest, 0
        self.asked_at, self.pending_at, self.price, self.unheard = -inf, 0.0, 0.0, 0
        self.is_scout = self.is_urgent = False

    def has_ended(self, sender: object) -> bool:
        """Whether the record ends with its sender: the item was not sent, and another send may take it up."""
        return self.sender is sender and not (self.eval_id or self.is_left or self.is_decided)


class PutBack(NamedTuple):
    """An order to close an item's ticket without a verdict and to send the item once more."""

    note: Noted
    """The event for the item's biography."""
    counts: bool = False
    """It uses up the item's one resubmission (`Item.redone`); a hidden limit's refusal does not."""
    doubtful: bool = False
    """The ticket that is given up may have been judged, and paid."""
    failed: Failed | None = None
    """How the evaluation failed: the item's verdict if its lane stops before it is sent again."""


class OpenItems:
    """The open items by seq. Records their verdicts in the ledger and counts the run's states."""

    def __init__(self, book: Book, recorder: Recorder, audience: Audience | None = None) -> None:
        self._book = book
        self._recorder = recorder
        self._audience = audience
        self.counts = book.counts()
        """Of the whole run."""
        self.is_over = False
        """What is not sent yet is not needed."""
        self._copies = book.copies()
        self._redone = book.redone()
        self._resendable = book.resendable()
        self._held: dict[int, OpenItem] = {}
        self._let_go: dict[object, set[int]] = {}
        """A ledger read under way -> items that were let go since it began; its result may be out of date for them."""

    def __getitem__(self, seq: int) -> OpenItem:
        return self._held[seq]

    async def take_up(self, chunk: int, sender: object) -> list[Item]:
        """A chunk's unsent items from the ledger, without those that this process worked on at any time during the read.

        An item that was let go meanwhile may have changed its state since it was read.
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
        """Read an item from the ledger."""
        return await asyncio.to_thread(self._book.item, seq)

    def adopt(self, seq: int, eval_id: str, check: str) -> OpenItem | None:
        """Take up an item whose ticket an earlier process got. None where this process works on it already."""
        if seq in self._held:
            return None
        found = self._held[seq] = OpenItem(seq, check, self._redone.get(seq, 0))
        found.ticketed(eval_id, None)
        found.resend_if_unknown = seq in self._resendable
        return found

    def submitted(self, check: str) -> None:
        """Update the counts for an item that has got its ticket."""
        self.counts.move(check, 1, State.READY, State.SUBMITTED)

    def leave_out(self, left: Mapping[str, int]) -> None:
        """Update the counts for so many items of each check that turned out not to be needed. An unsent one may count as
        ambiguous or as ready."""
        self.is_over = True
        for check, n in left.items():
            ready = min(n, self.counts.by_check[check][State.READY])
            self.counts.move(check, ready, State.READY, State.NOT_NEEDED)
            self.counts.move(check, n - ready, State.AMBIGUOUS, State.NOT_NEEDED)

    def misjudged(self, seq: int) -> Failed | None:
        """How the judge of an item's synchronous call failed; None where it did not. Cleared by the call."""
        item = self._held.get(seq)
        if item is None:
            return None
        failed, item.misjudged = item.misjudged, None
        return failed

    async def put_back(self, item: OpenItem, back: PutBack, sender: object) -> None:
        """Close the item's ticket; `sender` becomes responsible for sending it again."""
        asked = Asked(item.seq, item.questions)
        item.eval_id, item.sent_at, item.questions = None, None, 0
        item.sender = sender
        item.redone += back.counts
        item.resend_if_unknown = False
        self._resendable.discard(item.seq)
        self.counts.move(item.check, 1, State.SUBMITTED, State.READY)
        requeued = Requeued(item.seq, counts=back.counts, doubtful=back.doubtful)
        # A limit or the want of credit refused the evaluation; any other may have been charged, though it brought nothing.
        is_free = not (back.counts or back.doubtful)
        await self._recorder.record(back.note, asked, requeued, Spent(item.check, -int(is_free)))

    async def decide(self, verdicts: Sequence[ItemVerdict]) -> None:
        """Record verdicts, each for its item and for the copies of it. Later verdicts of an item are ignored."""
        now = utc_now()
        verdicts = [one for one in verdicts if (item := self._held.get(one[0])) and not item.is_decided]
        found = {seq: self._held[seq] for seq, _, _ in verdicts}
        if not found:
            return
        for item in found.values():
            item.is_decided = True
        shared = [
            (seq, check, e, verdict) for first, e, verdict in verdicts for seq, check in self._copies.pop(first, ())
        ]
        await self._recorder.record(
            *(Decided(seq, verdict, now, e, polls=found[seq].questions) for seq, e, verdict in verdicts),
            *(Decided(seq, verdict, now, e) for seq, _, e, verdict in shared),
            at_leisure=all(item.eval_id for item in found.values()),  # a lost one can be asked for again by its ticket
        )
        for seq, _, verdict in verdicts:
            leaving = State.SUBMITTED if found[seq].eval_id else State.READY
            self.counts.move(found[seq].check, 1, leaving, _state(verdict))
        for _, check, _, verdict in shared:
            self.counts.move(check, 1, State.NOT_NEEDED if self.is_over else State.READY, _state(verdict))
        self.let_go(found)
        if self._audience is not None:
            self._audience.hear([*(seq for seq, _, _ in verdicts), *(seq for seq, *_ in shared)])

    def let_go(self, seqs: Iterable[int]) -> None:
        """Forget these items; the ledger has their states."""
        for seq in seqs:
            if self._held.pop(seq, None) is not None:
                for let_go in self._let_go.values():
                    let_go.add(seq)

    def let_go_unsent(self, items: Iterable[Item], sender: object) -> None:
        """The sender of these items has ended: forget those that were not sent, so that they may be taken up again."""
        self.let_go([i.seq for i in items if (held := self._held.get(i.seq)) and held.has_ended(sender)])

    def let_go_all(self) -> None:
        """Forget all items, so that other processes may work on them."""
        self.let_go(list(self._held))


def _state(verdict: Verdict) -> State:
    return State.FAILED if isinstance(verdict, Failed) else State.SCORED
