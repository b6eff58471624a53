"""Sending items: each POST is recorded in the ledger before it goes out, and its tickets or verdicts when it is answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from fieval_tasks.api import error_replies
from fieval_tasks.core import policy
from fieval_tasks.core.errors import (
    ApiError,
    EvaluationFailed,
    Miscounted,
    NotTheProtocol,
    Refused,
    RunStopped,
    ServerFault,
    Throttled,
    TurnedAway,
    Unavailable,
    Unreachable,
    UsedUp,
    stopped_by,
)
from fieval_tasks.core.items import Failed, Item, State
from fieval_tasks.core.plan import Mode
from fieval_tasks.core.policy import STRANGE_REPLIES, Remedy, Signal
from fieval_tasks.ledger.changes import Change, Noted, NotTaken, ReplyLost, Sending, Spent, Submitted
from fieval_tasks.ledger.recording import Recorder
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.ledger.spending import OverBudget
from fieval_tasks.pace.pace import Pace, Turn
from fieval_tasks.pace.quota import Admission
from fieval_tasks.work.allowance import Allowance
from fieval_tasks.work.early_end import EarlyEnd, NotNeeded
from fieval_tasks.work.echoes import Echoes, digest
from fieval_tasks.work.lanes import Lane, Lanes, PostReply
from fieval_tasks.work.open_items import OpenItems
from fieval_tasks.work.options import Options
from fieval_tasks.work.poller import Poller
from fieval_tasks.work.under_way import UnderWay, together

_UNNAMED = NotTheProtocol("the answer to a request of several items named no eval_id for this one")
_LOST = Failed("submit", "lost_reply", "the reply to its submission was lost, and --on-lost-reply fail was chosen")
_CUT_OFF = "the run was interrupted before the reply came"


@dataclass
class Tries:
    """The faults of one request so far, over all its tries."""

    met: Counter[Signal] = field(default_factory=Counter)
    async_instead: bool = False
    """A synchronous call failed without a reason: the items are submitted asynchronously, whose failed row gives one."""
    was_there: bool = False
    """The server had accepted something, or answered in another way, before the latest try."""
    unnamed: tuple[Item, ...] = ()
    """The items that the reply did not name, beside others that it did."""


@dataclass(eq=False)
class Sender:
    """Sends items at the run's pace, until each is accepted, fails, or is left unsent. On the engine's event loop."""

    lanes: Lanes
    items: OpenItems
    echoes: Echoes
    poller: Poller
    recorder: Recorder
    pace: Pace
    options: Options
    early_end: EarlyEnd | None = None
    """Says when items may be sent; None: at any time."""
    under_way: UnderWay = field(default_factory=UnderWay, init=False)
    allowance: Allowance = field(default_factory=Allowance, init=False)
    _has_taken: bool = field(default=False, init=False)
    """The server has accepted an item."""
    _strange_in_a_row: int = field(default=0, init=False)
    _turned_away: dict[int, Failed] = field(default_factory=dict, init=False)
    """Items that a proxy or firewall turned away. They fail once it lets others pass; until then the address may be wrong."""
    _may_send: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        self._may_send.set()

    def pause(self, paused: bool) -> None:
        """Send nothing more, or go on; requests under way are not affected."""
        self._may_send.clear() if paused else self._may_send.set()

    @property
    def is_paused(self) -> bool:
        return not self._may_send.is_set()

    async def send_all(self, requests: Iterable[tuple[Item, ...]]) -> None:
        """Make every request. Raises RunStopped or StoreError; an error of one item only is that item's verdict."""
        requests = list(requests)
        seqs = [item.seq for items in requests for item in items]
        try:
            send = self._send if self.early_end is None else self._send_in_turn
            await together(send(items) for items in requests)
            await self._fail_turned_away(seqs)
        finally:
            for seq in seqs:
                self._turned_away.pop(seq, None)

    async def send_at_last(self, item: Item) -> None:
        """Send an item once more, as often as it takes while the server is away: no chunk's task would retry it."""
        self.recorder.count("retries")
        while True:
            try:
                return await self.send_all([(item,)])
            except ApiError as error:  # the pace pauses between two tries, and stops the run after its patience
                if not error.retryable:
                    raise

    async def to_be_sent(self, items: Sequence[Item]) -> list[Item]:
        """The items of a chunk that may be sent; ambiguous ones are treated by `--on-lost-reply`."""
        if self.options.on_lost_reply == "resubmit":
            return list(items)
        if self.options.on_lost_reply == "fail":
            await self.items.decide([(item.seq, None, _LOST) for item in items if item.ambiguous])
        return [item for item in items if not item.ambiguous]

    async def _send_in_turn(self, items: tuple[Item, ...]) -> None:
        """Send these items once all that were drawn before them are on their way; leave them unsent where none is needed."""
        assert self.early_end is not None
        async with self.early_end.turn(items) as is_needed:
            if is_needed:
                await self._send(items)

    # -- one request, and what follows from its answers --------------------------------------------------------------

    async def _send(self, items: tuple[Item, ...]) -> None:
        """Send these items, in as few requests as the breaker and the quota allow. A stopped lane leaves them unsent."""
        lane = self.lanes.lane_of(items[0].check)
        while items and (admitted := await lane.breaker.admit(len(items))):
            going, taken = items[:admitted], 0
            try:
                taken = await self._sent(going, lane)
            finally:
                lane.breaker.returned(admitted, taken=taken)
            items = (*items[admitted:], *await self._bought_again(going, lane))

    async def _bought_again(self, items: tuple[Item, ...], lane: Lane) -> tuple[Item, ...]:
        """Items whose judge failed on a synchronous call and that may be sent once more; the others fail."""
        failed = [(item, verdict) for item in items if (verdict := self.items.misjudged(item.seq))]
        if not failed or await lane.breaker.relents():
            self.recorder.count("retries", len(failed))
            return tuple(item for item, _ in failed)
        await self.items.decide([(item.seq, None, verdict) for item, verdict in failed])
        return ()

    async def _sent(self, items: tuple[Item, ...], lane: Lane, tries: Tries | None = None) -> int:
        """Send the items and do what the policy says about faults; how many the server accepted."""
        taken, tries, most = 0, tries or Tries(), len(items)
        while items and await self.allowance.has_room(items[0].check) and lane.breaker.stopped is None:
            if len(items) > 1:
                await lane.may_pack()
            try:
                tried, error = await self._try(items[: min(most, lane.longest_pack)], lane, tries)
            except OverBudget as spent:
                if not spent.fitting:
                    self.allowance.refused(items[0].check)
                most = spent.fitting or most
                continue
            except NotNeeded:
                break
            except UsedUp as full:
                # the run goes on: what it has bought is asked about, and other judges have quotas of their own
                lane.breaker.stop(str(full))
                break
            over = await (self._taken(tried, lane, tries) if error is None else self._after(error, tried, lane, tries))
            if over is not None:
                taken += over
                items, tries = items[len(tried) :], Tries()
        return taken

    async def _try(self, items: tuple[Item, ...], lane: Lane, tries: Tries) -> tuple[tuple[Item, ...], ApiError | None]:
        """Make one request; the items that it carried, and its error, if any."""
        admitted = lane.quota.admit(len(items))
        with await (admitted if self.early_end is None else self.early_end.unless_over(admitted)) as admission:
            tried = items[: admission.allowed]
            turn = await self._turn()
            if lane.breaker.stopped is not None:  # while this waited
                turn.leave()
                return (), None
            with self.allowance.on_its_way():
                return tried, await self.under_way.finished(self._posted(tried, lane, tries, admission, turn))

    async def _turn(self) -> Turn:
        """Wait for a turn at the pace while the run is not paused. The caller has to leave it."""
        while True:
            await self._may_send.wait()
            turn = await self.pace.turn("submit").__aenter__()
            if self._may_send.is_set():  # it may have been paused during the wait
                return turn
            turn.leave()

    async def _posted(
        self, items: tuple[Item, ...], lane: Lane, tries: Tries, admission: Admission, turn: Turn
    ) -> ApiError | None:
        """Record the intent, post, and record the reply; then leave the turn. The error, if any."""
        seqs = tuple(item.seq for item in items)
        self.recorder.count("submits")
        # Only items turned away before this request count: one turned away meanwhile may have been sent after it.
        turned_away_before = tuple(self._turned_away)
        tries.was_there |= self._has_taken
        cut_off: Change = NotTaken(seqs, counts_as_attempt=False)
        try:
            # Committed before the first byte goes out: if the process is killed from here on, the items are ambiguous.
            await self.recorder.record(Sending(seqs, utc_now()), Spent(items[0].check, len(seqs)))
            turn.leaves()
            cut_off = ReplyLost(seqs)
            given = await lane.post(items, async_instead=tries.async_instead)
        except OverBudget:
            self.recorder.count("submits", -1)
            raise
        except ApiError as error:
            await self._not_given(items, error, lane, turn)
            return error
        except (
            asyncio.CancelledError
        ):  # what it would have spent stays counted: whether that was committed is not known
            await self.recorder.record(cut_off, Noted(seqs, "cut_off", _CUT_OFF, utc_now()))
            raise
        finally:
            turn.leave()
        turn.accepted()
        self._has_taken, self._strange_in_a_row = True, 0
        lane.answered(well=True)
        admission.sent(turn.started_at, len(items))
        await self._hand_on(items, given, lane, admission, turn.started_at)
        await self._fail_turned_away(turned_away_before)
        if unnamed := given.unnamed(items):  # the reply named others of the request: these may have been accepted too
            lost = tuple(item.seq for item in unnamed)
            await self.recorder.record(ReplyLost(lost), Noted(lost, _UNNAMED.kind, _UNNAMED.explained, utc_now()))
        tries.unnamed = unnamed
        if len(items) > 1:
            lane.answered_pack(fully=not (unnamed or given.shares_ids))
        return None

    async def _hand_on(
        self, items: Sequence[Item], given: PostReply, lane: Lane, admission: Admission, began_at: float
    ) -> None:
        """Record the tickets or verdicts of a reply, and add the tickets to the poller."""
        if given.tickets:
            await self.recorder.record(Submitted(given.tickets, utc_now()))
            inputs = {item.seq: item.inputs for item in items}
            for n, ticket in enumerate(given.tickets):
                self.items.submitted(items[0].check)
                if self.options.mode is Mode.SUBMIT:
                    self.items.let_go((ticket.seq,))
                    continue
                item = self.items[ticket.seq]
                item.ticketed(ticket.eval_id, began_at, digest(inputs[ticket.seq]))
                is_last = lane.quota.is_last_lap(self.items.counts[State.READY])
                self.poller.add(item, is_sentinel=is_last or (n == 0 and admission.sentinel))
        if given.verdicts:
            lane.quota.granted(began_at, len(given.verdicts))
            async with self.echoes.own(given.verdicts) as own:
                for _, _, verdict in own:
                    lane.breaker.heard(verdict)
                await self.items.decide(own)

    async def _taken(self, items: tuple[Item, ...], lane: Lane, tries: Tries) -> int:
        """Treat the items that a reply did not name as lost; how many of the request's items were accepted in the end."""
        again = await together(self._once_more(item, lane) for item in tries.unnamed)
        return len(items) - len(again) + sum(again)

    async def _once_more(self, item: Item, lane: Lane) -> int:
        tries = Tries()
        over = await self._after(_UNNAMED, (item,), lane, tries)
        return await self._sent((item,), lane, tries) if over is None else over

    async def _not_given(self, items: tuple[Item, ...], error: ApiError, lane: Lane, turn: Turn) -> None:
        """Record a failed request, and slow down as its error demands. Raises RunStopped where the server is not this API."""
        seqs = tuple(item.seq for item in items)
        untaken = NotTaken(seqs, counts_as_attempt=not error.retryable)
        change = ReplyLost(seqs) if error.ambiguous else untaken
        # A synchronous call whose judge failed is a 400 or, as a bad input is too, a 500 that says nothing.
        was_begun = isinstance(error, EvaluationFailed) or (lane.is_sync and _is_opaque(error))
        may_be_charged = error.ambiguous or was_begun
        given_back = Spent(items[0].check, 0 if may_be_charged else -len(seqs))
        await self.recorder.record(change, Noted(seqs, error.kind, error.explained, utc_now()), given_back)
        if not may_be_charged:
            self.allowance.given_back()
        if _is_opaque(error):
            lane.answered(well=False)
        if isinstance(error, Throttled):
            self.recorder.count("throttled")
            turn.throttled(error.retry_after)
        elif error.ambiguous:
            turn.faltered()
        if policy.is_answer(error):
            turn.answered()
        elif turn.failed(self._about(error, seqs)) > self.options.work_tuning.silence:
            raise RunStopped(f"no answer for {self.options.work_tuning.silence:.0f} s: {error}") from error
        if isinstance(error, Miscounted):
            lane.answered_pack(fully=False)
        elif isinstance(error, NotTheProtocol) or (isinstance(error, TurnedAway) and len(seqs) == 1):
            self._strange_in_a_row += 1  # only for single items: in a pack a firewall may dislike one item
            if self._strange_in_a_row % STRANGE_REPLIES == 0:
                await self._blame(error)

    def _about(self, error: ApiError, seqs: tuple[int, ...]) -> Hashable | None:
        """The subject of a failed request for `Pace.failed`; server faults, perhaps the input's, all have one subject."""
        is_away = isinstance(error, Unavailable)
        if isinstance(error, Unreachable) or (is_away and not self._has_taken):
            return None
        return "an input" if _is_opaque(error) else seqs

    async def _blame(self, error: ApiError) -> None:
        """After many answers in a row that are not the API's: raises RunStopped unless only these items cause them."""
        turned_away_before = tuple(self._turned_away)
        if not (isinstance(error, TurnedAway) and await self.lanes.client.takes_submissions()):
            raise RunStopped(f"{STRANGE_REPLIES} answers in a row are not the evaluation API's: {error}") from error
        self._strange_in_a_row = 0
        await self._fail_turned_away(turned_away_before)

    # -- what the policy says ------------------------------------------------------------------------------------------

    async def _after(self, error: ApiError, items: tuple[Item, ...], lane: Lane, tries: Tries) -> int | None:
        """Do what the policy says. None: the items may be sent again now; else how many were accepted in the end."""
        if isinstance(error, EvaluationFailed):
            return await self._not_judged(error, items, lane)
        faults, choice = tries.met[_sign(error)], self.options.on_lost_reply
        chosen = policy.on_submitting(error, faults=faults, packed=len(items) > 1, ambiguous=choice)
        if chosen is Remedy.FAIL and isinstance(error, Unavailable) and not tries.was_there:
            tries.was_there = await self.lanes.client.takes_submissions()
            chosen = (
                Remedy.SEND_AGAIN
            )  # the server is away for all: the pace pauses, and stops the run after its patience
        if chosen is Remedy.GIVE_UP_FOR_NOW:
            raise error
        if chosen is Remedy.STOP:
            raise stopped_by(error) from error
        if chosen is Remedy.LEAVE_PENDING:
            for item in items:
                self.items[item.seq].is_left = True
            return 0
        if chosen is Remedy.UNPACK:
            return await self._unpacked(error, items, lane)
        if chosen is Remedy.FAIL:
            return await self._failed(error, items, lane, tries)
        await self._before_next_try(chosen, faults)
        tries.met[_sign(error)] += 1
        return None

    async def _not_judged(self, error: EvaluationFailed, items: tuple[Item, ...], lane: Lane) -> int:
        """The judge of a synchronous call failed: treat it like a failed row."""
        failed = Failed("evaluate", error.kind, str(error))
        for item in map(self.items.__getitem__, [item.seq for item in items]):
            lane.breaker.failed(failed, again=item.redone > 0)
            if policy.on_submitting(error, faults=item.redone, packed=False) is Remedy.RESUBMIT:
                item.redone, item.misjudged = item.redone + 1, failed
            else:
                await self.items.decide([(item.seq, None, failed)])
        return 0

    async def _unpacked(self, error: ApiError, items: tuple[Item, ...], lane: Lane) -> int:
        """Send a refused pack's items one by one, or, if it was too long, in shorter packs."""
        longest = error_replies.longest_pack_named(error) if isinstance(error, Refused) else None
        if longest is not None and longest < len(items):
            lane.longest_pack = longest
            return await self._sent(items, lane)
        return sum(await together(self._sent((item,), lane) for item in items))

    async def _failed(self, error: ApiError, items: tuple[Item, ...], lane: Lane, tries: Tries) -> int | None:
        if _is_opaque(error) and lane.is_sync and not tries.async_instead:
            tries.async_instead = True  # a server fault has no reason; a failed row has one
            return None
        lane.breaker.refused(str(error), of_its_own=not isinstance(error, TurnedAway), lost=error.ambiguous)
        failed = Failed("submit", error.kind, str(error))
        if isinstance(error, TurnedAway):
            # With a wrong address every request is turned away: no item fails before another one was let pass.
            self._turned_away |= {item.seq: failed for item in items}
        else:
            await self.items.decide([(item.seq, None, failed) for item in items])
        return 0

    async def _fail_turned_away(self, seqs: Iterable[int]) -> None:
        """Fail items that were turned away, now that others were let pass or their chunk has ended."""
        await self.items.decide([(s, None, self._turned_away.pop(s)) for s in seqs if s in self._turned_away])

    async def _before_next_try(self, chosen: Remedy, faults: int) -> None:
        self.recorder.count("retries")
        if chosen is Remedy.SEND_AGAIN:  # the server may be back, so the pause does not grow with the outage
            faults = min(faults, self.options.work_tuning.sent_again_soon)
        waits_in_its_turn = chosen is Remedy.WAIT_AND_SEND or (chosen is Remedy.SEND_AGAIN and self.pace.is_away)
        if not waits_in_its_turn:  # with everyone
            await asyncio.sleep(self.options.work_tuning.pause(faults))


def _is_opaque(error: ApiError) -> bool:
    """Whether the server did not accept the request and gave no reason."""
    return isinstance(error, ServerFault) and not (error.ambiguous or isinstance(error, Unavailable))


def _sign(error: ApiError) -> Signal:
    """The error's signal; all ambiguous errors count as LOST, because their resubmissions share one bound."""
    return Signal.LOST if error.ambiguous else Signal.of(error.kind)
