"""Items -> tickets (or, synchronously, verdicts). Every POST is announced to the ledger before it goes out."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, TypeAlias, TypeVar

from fieval_tasks.api import error_replies
from fieval_tasks.api.client import EvalClient
from fieval_tasks.core import policy
from fieval_tasks.core.errors import (
    ApiError,
    EvaluationFailed,
    FievalError,
    Miscounted,
    NotTheProtocol,
    Refused,
    RunStopped,
    ServerFault,
    Throttled,
    TurnedAway,
    Unavailable,
    Unreachable,
    stopped_by,
)
from fieval_tasks.core.items import Failed, Item, Pending, Scored, Ticket
from fieval_tasks.core.policy import SILENCE, STRANGE_REPLIES, OnLostReply, Remedy
from fieval_tasks.ledger.changes import Change, Noted, NotTaken, ReplyLost, Sending, Submitted
from fieval_tasks.ledger.recording import Recorder
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.pace.pace import Pace, Turn, backoff
from fieval_tasks.pace.quota import Admission, Quota
from fieval_tasks.work.breaker import Breaker
from fieval_tasks.work.echoes import Echoes, Told
from fieval_tasks.work.open_items import OpenItems

T = TypeVar("T")

SHORTEST_POST = 5.0
"""Seconds that a POST has at least, however short an item's time is: one that is given up may have been paid for."""
SENT_AGAIN_SOON = 3
"""Faults after which the pauses of one request grow no more: 4 s, as the pauses of all for a server that is away."""
TURN_ASYNC_AT = 3
"""Server faults in a row that a synchronous lane meets with before it turns to submitting."""


@dataclass(frozen=True)
class Given:
    """What the answer to a request has for its items: tickets, or verdicts at once."""

    tickets: tuple[Ticket, ...] = ()
    verdicts: tuple[Told, ...] = ()

    def unnamed(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """Those of the request's items for which it has neither: perhaps taken."""
        named = {ticket.seq for ticket in self.tickets} | {seq for seq, _, _ in self.verdicts}
        return tuple(item for item in items if item.seq not in named)

    @property
    def shares_ids(self) -> bool:
        """One eval_id for several items: whose it is can't be told yet."""
        return len({ticket.eval_id for ticket in self.tickets}) < len(self.tickets)


@dataclass(frozen=True)
class Submission:
    """A request that the server took."""

    began_at: float
    """By the pace's clock."""
    is_sentinel: bool
    """To be asked about early: it would show a limit that hides."""


_UNNAMED = NotTheProtocol("the answer to a request of several items named no eval_id for this one")
_LOST = Failed("submit", "lost_reply", "the reply to its submission was lost, and --on-lost-reply fail was chosen")

CUT_OFF = "the run was interrupted before the reply came"

Post: TypeAlias = Callable[[Sequence[Item], "dict[str, Any]"], Awaitable[Given]]


def submitting(client: EvalClient, *, item_timeout: float = inf) -> Post:
    """POSTs that answer with tickets."""
    within = max(SHORTEST_POST, item_timeout)

    async def post(items: Sequence[Item], params: dict[str, Any]) -> Given:
        first = items[0]
        call = client.submit_pack(first.template, [i.inputs for i in items], model=first.model, params=params)
        ids = await client.in_time(call, within)
        return Given(tickets=tuple(Ticket(i.seq, e) for i, e in zip(items, ids, strict=True) if e is not None))

    return post


def evaluating(client: EvalClient, *, item_timeout: float = inf) -> Post:
    """POSTs that wait for the judge and answer with verdicts, or with a ticket for want of one."""
    within = max(SHORTEST_POST, item_timeout)

    async def post(items: Sequence[Item], params: dict[str, Any]) -> Given:
        first = items[0]
        call = client.evaluate_pack(first.template, [i.inputs for i in items], model=first.model, params=params)
        told = await client.in_time(call, within)
        both = [(i.seq, eval_id, verdict) for i, (eval_id, verdict) in zip(items, told, strict=True)]
        return Given(
            tickets=tuple(Ticket(seq, e) for seq, e, verdict in both if e and isinstance(verdict, Pending)),
            verdicts=tuple((seq, e, verdict) for seq, e, verdict in both if isinstance(verdict, (Scored, Failed))),
        )

    return post


LONGEST_PACK = 10
"""Items that one request with a single key was seen to carry."""
LONGEST_PACK_OF_KEYS = 3
"""The API's own limit where an item has two keys or more."""


def packs(items: Sequence[Item], *, longest: int = LONGEST_PACK) -> list[tuple[Item, ...]]:
    """The items as requests: neighbours of one check, with the same keys and parameters, as many together as the API takes."""
    alike: dict[tuple[str, str, tuple[str, ...]], list[Item]] = {}
    for item in items:
        params = json.dumps(item.params, sort_keys=True) if item.params else ""
        alike.setdefault((item.check, params, tuple(item.inputs)), []).append(item)
    return [
        tuple(group[start : start + size])
        for (_, _, keys), group in alike.items()
        for size in [min(longest, longest_pack(keys))]
        for start in range(0, len(group), size)
    ]


def longest_pack(keys: Collection[str]) -> int:
    """Items with these keys that one request carries."""
    return LONGEST_PACK if len(keys) == 1 else LONGEST_PACK_OF_KEYS


FIRST_PACK_WITHIN = 1.0
"""Seconds for which other packs wait for the answer to a lane's first: a slow server must not hold up the run."""


class Lane:
    """One check's way to the server."""

    def __init__(self, check: str, posts: Sequence[Post], quota: Quota, breaker: Breaker) -> None:
        """`posts`: how to send, and how instead where that keeps failing."""
        self.check = check
        self.quota = quota
        self.breaker = breaker
        self.longest_pack = LONGEST_PACK
        """As far as the server was not heard to say otherwise."""
        self._posts = posts
        self._faults_in_a_row = 0
        self._pack_is_out = False
        self._pack_answered = asyncio.Event()

    async def may_pack(self) -> None:
        """Wait while the lane's first pack is on its way: how it is answered shows whether others may be packed."""
        if self._pack_is_out:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._pack_answered.wait(), FIRST_PACK_WITHIN)
        self._pack_is_out = True

    def answered_pack(self, *, fully: bool) -> None:
        """A pack was answered; `fully`: it is certain which answer is whose, for each of its items."""
        self._pack_answered.set()
        if not fully:
            self.longest_pack = 1

    def post(self, *, instead: bool) -> Post:
        turned = instead or self._faults_in_a_row >= TURN_ASYNC_AT
        return self._posts[-1 if turned else 0]

    @property
    def can_turn(self) -> bool:
        """There is another way to send, which tells more where something fails."""
        return len(self._posts) > 1

    def answered(self, *, well: bool) -> None:
        if self._faults_in_a_row < TURN_ASYNC_AT:
            self._faults_in_a_row = 0 if well else self._faults_in_a_row + 1


class Submitter:
    """Sends items at the run's pace and hands on what each is given."""

    def __init__(
        self,
        lane_of: Callable[[str], Lane],
        recorder: Recorder,
        pace: Pace,
        open_items: OpenItems,
        echoes: Echoes,
        *,
        params: Callable[[Item], dict[str, Any]],
        on_tickets: Callable[[Sequence[Item], Sequence[Ticket], Submission], None],
        on_verdicts: Callable[[Sequence[Told]], Awaitable[None]],
        on_stop: Callable[[FievalError], None],
        takes_submissions: Callable[[], Awaitable[bool]],
        under_way: UnderWay,
        ambiguous: OnLostReply = "resubmit",
    ) -> None:
        self._lane_of = lane_of
        self._recorder = recorder
        self._pace = pace
        self._open_items = open_items
        self._echoes = echoes
        self._under_way = under_way
        self._params = params
        self._on_tickets = on_tickets
        self._on_verdicts = on_verdicts
        self._on_stop = on_stop
        self._takes_submissions = takes_submissions
        self._has_taken = False
        """The server took something, so it is there."""
        self._ambiguous = ambiguous
        self._redone: Counter[int] = Counter()
        self._misjudged: dict[int, Failed] = {}
        self._strange_in_a_row = 0
        self._turned_away: dict[int, Failed] = {}
        """Items that are to blame only if the server, or what stands before it, lets others pass: until then it may be anyone."""
        self._may_send = asyncio.Event()
        self._may_send.set()

    def pause(self, paused: bool) -> None:
        """Send nothing more until told otherwise; what is on its way comes in."""
        if paused:
            self._may_send.clear()
        else:
            self._may_send.set()

    async def send_all(self, requests: Iterable[tuple[Item, ...]]) -> None:
        """Make every request. Raises RunStopped or StoreError; what concerns one item only is that item's verdict."""
        requests = list(requests)
        seqs = [item.seq for items in requests for item in items]
        try:
            await self._all(partial(self.send, items) for items in requests)
            await self._fail_turned_away(seqs)
        finally:
            for seq in seqs:
                self._turned_away.pop(seq, None)

    async def _all(self, works: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
        """What each came to. None is left at work behind an error: the first is raised once all have ended."""
        ended = await asyncio.gather(*map(self._or_stop, works), return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                raise error
        return [end for end in ended if not isinstance(end, BaseException)]

    async def _or_stop(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except FievalError as error:
            if not error.retryable:
                self._on_stop(error)
            raise

    async def to_be_sent(self, items: Sequence[Item]) -> list[Item]:
        """Those of a chunk's unsent items that may be sent; the ambiguous are dealt with as the user wants it."""
        if self._ambiguous == "resubmit":
            return list(items)
        if self._ambiguous == "fail":
            await self._on_verdicts([(item.seq, None, _LOST) for item in items if item.ambiguous])
        return [item for item in items if not item.ambiguous]

    async def send(self, items: tuple[Item, ...]) -> None:
        """Send these items, in one request if may be, until each is taken, fails, or is left. A stopped lane leaves all."""
        lane = self._lane_of(items[0].check)
        while items:
            leave, taken = await lane.breaker.admit(len(items)), 0
            going = items[: leave.items(len(items))]
            if not going:
                return
            try:
                taken = await self._sent(going, lane)
            finally:
                lane.breaker.returned(leave, len(items), taken=taken)
            items = (*items[len(going) :], *await self._bought_again(going, lane))

    async def _bought_again(self, items: tuple[Item, ...], lane: Lane) -> tuple[Item, ...]:
        """Those whose judge failed on a synchronous call, where they may be bought once more; else they have failed."""
        failed = tuple(item for item in items if item.seq in self._misjudged)
        told = [(item.seq, None, self._misjudged.pop(item.seq)) for item in failed]
        if not failed or await lane.breaker.relents():
            self._recorder.count("retries", len(failed))
            return failed
        await self._on_verdicts(told)
        return ()

    async def send_at_last(self, item: Item) -> None:
        """Send an item that no chunk's task would try again: as long as the server may come back."""
        while True:
            try:
                return await self.send_all([(item,)])
            except ApiError as error:  # the pace's pauses are between two tries, and its patience ends them
                if not error.retryable:
                    raise

    async def _sent(self, items: tuple[Item, ...], lane: Lane, tries: Tries | None = None) -> int:
        """How many of them the server took, after all that the policy allows was done for each."""
        taken, tries = 0, tries or Tries()
        while items and lane.breaker.stopped is None:
            if len(items) > 1:
                await lane.may_pack()
            tried, error = await self._try(items[: lane.longest_pack], lane, tries)
            if error is None:
                over: int | None = await self._taken(tried, lane, tries)
            else:
                over = await self._after(error, tried, lane, tries)
            if over is not None:
                taken += over
                items, tries = items[len(tried) :], Tries()
        return taken

    async def _taken(self, items: tuple[Item, ...], lane: Lane, tries: Tries) -> int:
        """How many of an answered request's items were taken, once those that it did not name were dealt with."""
        again = await self._all(partial(self._once_more, item, lane) for item in tries.unnamed)
        return len(items) - len(again) + sum(again)

    async def _once_more(self, item: Item, lane: Lane) -> int:
        tries = Tries()
        over = await self._after(_UNNAMED, (item,), lane, tries)
        return await self._sent((item,), lane, tries) if over is None else over

    async def _try(self, items: tuple[Item, ...], lane: Lane, tries: Tries) -> tuple[tuple[Item, ...], ApiError | None]:
        """The items that went into the request, and what went wrong with it."""
        with await lane.quota.admit(len(items)) as admission:
            tried = items[: admission.allowed]
            return tried, await self._request(tried, lane, tries, admission)

    async def _request(
        self, items: tuple[Item, ...], lane: Lane, tries: Tries, admission: Admission
    ) -> ApiError | None:
        turn = await self._turn()
        return await self._under_way.finished(self._posted(items, lane, tries, admission, turn))

    async def _posted(
        self, items: tuple[Item, ...], lane: Lane, tries: Tries, admission: Admission, turn: Turn
    ) -> ApiError | None:
        """From the announcement to the record of what came back, and out of its turn."""
        seqs = tuple(item.seq for item in items)
        self._recorder.count("submits")
        turned_away_before = tuple(self._turned_away)
        tries.was_there |= self._has_taken
        cut_off: Change = NotTaken(seqs, counts_as_attempt=False)
        try:
            await self._recorder.record(Sending(seqs, utc_now()))
            turn.leaves()
            cut_off = ReplyLost(seqs)
            given = await lane.post(instead=tries.instead)(items, self._params(items[0]))
        except ApiError as error:
            await self._not_given(seqs, error, lane, turn)
            return error
        except asyncio.CancelledError:
            await self._recorder.record(cut_off, Noted(seqs, "cut_off", CUT_OFF, utc_now()))
            raise
        finally:
            turn.leave()
        turn.accepted()
        self._has_taken = True
        lane.answered(well=True)
        admission.sent(turn.started_at, len(items))
        self._strange_in_a_row = 0
        await self._hand_on(items, given, lane, Submission(turn.started_at, admission.sentinel))
        await self._fail_turned_away(turned_away_before)
        tries.unnamed = await self._not_named(given.unnamed(items))
        if len(items) > 1:
            lane.answered_pack(fully=not (tries.unnamed or given.shares_ids))
        return None

    async def _turn(self) -> Turn:
        """A turn that has come, while nobody has told to pause. It is to be left."""
        while True:
            await self._may_send.wait()
            turn = await self._pace.turn("submit").__aenter__()
            if self._may_send.is_set():  # else it was paused while this one waited
                return turn
            turn.leave()

    async def _hand_on(self, items: Sequence[Item], given: Given, lane: Lane, submission: Submission) -> None:
        if given.tickets:
            await self._recorder.record(Submitted(given.tickets, utc_now()))
            seqs = {ticket.seq for ticket in given.tickets}
            self._on_tickets([item for item in items if item.seq in seqs], given.tickets, submission)
        if given.verdicts:
            lane.quota.granted(submission.began_at, len(given.verdicts))
            async with self._echoes.own(given.verdicts) as own:
                for _, _, verdict in own:
                    lane.breaker.heard(verdict)
                await self._on_verdicts(own)

    async def _not_named(self, items: tuple[Item, ...]) -> tuple[Item, ...]:
        """The answer named others of the request: these may have been taken too."""
        if items:
            seqs = tuple(item.seq for item in items)
            await self._recorder.record(ReplyLost(seqs), Noted(seqs, _UNNAMED.kind, _UNNAMED.explained, utc_now()))
        return items

    async def _not_given(self, seqs: tuple[int, ...], error: ApiError, lane: Lane, turn: Turn) -> None:
        untaken = NotTaken(seqs, counts_as_attempt=not error.retryable)
        change = ReplyLost(seqs) if error.ambiguous else untaken
        await self._recorder.record(change, Noted(seqs, error.kind, error.explained, utc_now()))
        if _is_opaque(error):
            lane.answered(well=False)
        if isinstance(error, Throttled):
            self._recorder.count("throttled")
            turn.throttled(error.retry_after)
        elif error.ambiguous:
            turn.faltered()
        if policy.is_answer(error):
            turn.answered()
        elif turn.failed(self._about(error, seqs)) > SILENCE:
            raise RunStopped(f"no answer for {SILENCE:.0f} s: {error}") from error
        if isinstance(error, Miscounted):
            lane.answered_pack(fully=False)
        elif isinstance(error, NotTheProtocol) or (isinstance(error, TurnedAway) and len(seqs) == 1):
            self._strange_in_a_row += 1  # of a pack, a firewall may dislike one item alone
            if self._strange_in_a_row % STRANGE_REPLIES == 0:
                await self._blame(error)

    async def _blame(self, error: ApiError) -> None:
        """Many answers in a row are not the API's. Raises RunStopped unless it is for what the items are."""
        turned_away_before = tuple(self._turned_away)
        if not (isinstance(error, TurnedAway) and await self._takes_submissions()):
            raise RunStopped(f"{STRANGE_REPLIES} answers in a row are not the evaluation API's: {error}") from error
        self._strange_in_a_row = 0
        await self._fail_turned_away(turned_away_before)

    async def _after(self, error: ApiError, items: tuple[Item, ...], lane: Lane, tries: Tries) -> int | None:
        """Do as the policy says. None: they may be sent again now; else it is over, and so many were taken."""
        packed = len(items) > 1
        if isinstance(error, EvaluationFailed):
            return await self._not_judged(error, items, lane)
        chosen = policy.on_submitting(error, faults=tries.of(error), packed=packed, ambiguous=self._ambiguous)
        if chosen is Remedy.FAIL and isinstance(error, Unavailable) and not tries.was_there:
            tries.was_there = await self._takes_submissions()
            chosen = Remedy.SEND_AGAIN  # it is away for everyone: the pauses are for that, and their end stops the run
        if chosen is Remedy.GIVE_UP_FOR_NOW:
            raise error
        if chosen is Remedy.STOP:
            raise stopped_by(error) from error
        if chosen is Remedy.LEAVE_PENDING:
            self._open_items.leave(item.seq for item in items)
            return 0
        if chosen is Remedy.UNPACK:
            return await self._unpacked(error, items, lane)
        if chosen is Remedy.FAIL:
            return await self._failed(error, items, lane, tries)
        await self._before_next_try(chosen, tries.of(error))
        tries.add(error)
        return None

    async def _not_judged(self, error: EvaluationFailed, items: tuple[Item, ...], lane: Lane) -> int:
        """A synchronous call's judge failed."""
        for item in items:
            failed = Failed("evaluate", error.kind, str(error))
            redone = item.redone + self._redone[item.seq]
            lane.breaker.failed(failed, again=redone > 0)
            if policy.on_submitting(error, faults=redone, packed=False) is Remedy.RESUBMIT:
                self._redone[item.seq] += 1
                self._misjudged[item.seq] = failed
            else:
                await self._on_verdicts([(item.seq, None, failed)])
        return 0

    async def _unpacked(self, error: ApiError, items: tuple[Item, ...], lane: Lane) -> int:
        """A bad neighbour must cost nobody else; a pack that was merely too long is made shorter."""
        longest = error_replies.longest_pack_told(error) if isinstance(error, Refused) else None
        if longest is not None and longest < len(items):
            lane.longest_pack = longest
            return await self._sent(items, lane)
        return sum(await self._all(partial(self._sent, (item,), lane) for item in items))

    async def _failed(self, error: ApiError, items: tuple[Item, ...], lane: Lane, tries: Tries) -> int | None:
        if _is_opaque(error) and lane.can_turn and not tries.instead:
            tries.instead = True  # a fault tells nothing; a row that fails tells why
            return None
        lane.breaker.refused(str(error), of_its_own=not isinstance(error, TurnedAway), lost=error.ambiguous)
        failed = Failed("submit", error.kind, str(error))
        if isinstance(error, TurnedAway):
            self._turned_away |= {item.seq: failed for item in items}
        else:
            await self._on_verdicts([(item.seq, None, failed) for item in items])
        return 0

    async def _fail_turned_away(self, seqs: Iterable[int]) -> None:
        """Others were let pass, or their chunk is at its end: these were turned away for what they are."""
        failed = [(seq, None, self._turned_away.pop(seq)) for seq in seqs if seq in self._turned_away]
        if failed:
            await self._on_verdicts(failed)

    def _about(self, error: ApiError, seqs: tuple[int, ...]) -> Hashable | None:
        """What a request without an answer was about, as the pace asks. A fault may be the input's: all of them are one thing."""
        is_away = isinstance(error, Unavailable)
        if isinstance(error, Unreachable) or (is_away and not self._has_taken):
            return None
        return "an input" if _is_opaque(error) else seqs

    async def _before_next_try(self, chosen: Remedy, faults: int) -> None:
        self._recorder.count("retries")
        if chosen is Remedy.SEND_AGAIN:  # however long the server was away: it may be back
            faults = min(faults, SENT_AGAIN_SOON)
        waits_in_its_turn = chosen is Remedy.WAIT_AND_SEND or (chosen is Remedy.SEND_AGAIN and self._pace.is_away)
        if not waits_in_its_turn:  # with everyone
            await asyncio.sleep(backoff(faults))


class UnderWay:
    """Requests that have gone out. Whoever waits for one may be cancelled: it comes in, and is recorded, all the same."""

    def __init__(self) -> None:
        self._requests: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._requests)

    async def finished(self, request: Coroutine[Any, Any, T]) -> T:
        """What it comes to."""
        task = asyncio.ensure_future(request)
        self._requests.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._requests.discard(task)
        if not task.cancelled():
            task.exception()  # else asyncio complains where whoever waited was cancelled: the run has its reason by then

    async def come_in(self) -> None:
        """Wait until each has ended: all have a time limit of their own."""
        while self._requests:
            await asyncio.wait(self._requests)

    def cut_off(self) -> None:
        """Wait no longer: each is recorded as lost."""
        for task in self._requests:
            task.cancel()


class Tries:
    """What one request has met with so far."""

    def __init__(self) -> None:
        self._met: Counter[policy.Signal] = Counter()
        self.instead = False
        """It is to go the lane's other way."""
        self.was_there = False
        """The server had taken something, or answered otherwise, before the latest try."""
        self.unnamed: tuple[Item, ...] = ()
        """The items that its answer did not name, beside others that it did."""

    def of(self, error: ApiError) -> int:
        """How often it met with the like of this before."""
        return self._met[_sign(error)]

    def add(self, error: ApiError) -> None:
        self._met[_sign(error)] += 1


def _is_opaque(error: ApiError) -> bool:
    """The server did not take it, and does not say why."""
    return isinstance(error, ServerFault) and not (error.ambiguous or isinstance(error, Unavailable))


def _sign(error: ApiError) -> policy.Signal:
    """All that leave it open whether the request was accepted count as one: only so often may it be sent again."""
    return policy.Signal.LOST if error.ambiguous else policy.signal(error)
