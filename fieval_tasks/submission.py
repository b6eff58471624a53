"""Items -> tickets (or, synchronously, verdicts). Every POST is announced to the ledger before it goes out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from fieval_tasks.client import EvalClient
from fieval_tasks.errors import (
    ApiError,
    FievalError,
    NotTheProtocol,
    RunStopped,
    ServerFault,
    Throttled,
    Unreachable,
)
from fieval_tasks.items import Failed, Item, Ticket, Verdict
from fieval_tasks.pace import Pace, Turn, backoff
from fieval_tasks.quota import Admission, Quota
from fieval_tasks.recording import Recorder
from fieval_tasks.store import NotTaken, ReplyLost, Sending, Submitted, utc_now

UNREACHABLE_TRIES = 5
"""Attempts to connect again, within some ten seconds, before a chunk is given up; its task tries again later."""
STRANGE_REPLIES = 5
"""Answers in a row that this API can't have given, before the run stops."""


class Remedy(Enum):
    """What a failed POST is answered with."""

    CONNECT_AGAIN = "connect again, after a while"
    WAIT_AND_SEND = "wait as long as the server asks, and send again"
    SEND_AGAIN = "send again, once"
    SEND_AGAIN_AS_DUPLICATE = "send again, once, and count a possible duplicate"
    LEAVE_PENDING = "leave the items pending: they may have been accepted"
    UNPACK = "send the items one by one: a bad neighbour must cost nobody else"
    FAIL = "the items fail"
    GIVE_UP_FOR_NOW = "leave the items unsent: their chunk may be tried again later"
    STOP = "stop the run"


def remedy(error: ApiError, *, faults: int, packed: bool = False) -> Remedy:
    """The one table for a POST that brought no ticket. `faults` counts this request's earlier faults."""
    if error.stops_run:
        return Remedy.STOP
    if isinstance(error, Unreachable):
        return Remedy.CONNECT_AGAIN if faults < UNREACHABLE_TRIES else Remedy.GIVE_UP_FOR_NOW
    if isinstance(error, Throttled):
        return Remedy.WAIT_AND_SEND
    if error.ambiguous:
        return Remedy.SEND_AGAIN_AS_DUPLICATE if faults == 0 else Remedy.LEAVE_PENDING
    if packed:
        return Remedy.UNPACK
    if isinstance(error, ServerFault):
        return Remedy.SEND_AGAIN if faults == 0 else Remedy.FAIL
    return Remedy.FAIL


Told: TypeAlias = "tuple[int, str | None, Verdict]"
"""An item's place in the run, its eval_id where it has one, and its verdict."""


@dataclass(frozen=True)
class Given:
    """One answer for each item of a request: its ticket, or its verdict at once."""

    tickets: tuple[Ticket, ...] = ()
    verdicts: tuple[Told, ...] = ()


@dataclass(frozen=True)
class Submission:
    """A request that the server took."""

    began_at: float
    """By the pace's clock."""
    is_sentinel: bool
    """To be asked about early: it would show a limit that hides."""


Post: TypeAlias = Callable[[Sequence[Item], "dict[str, Any]"], Awaitable[Given]]


def submitting(client: EvalClient) -> Post:
    """POSTs that answer with tickets."""

    async def post(items: Sequence[Item], params: dict[str, Any]) -> Given:
        first = items[0]
        ids = await client.submit_pack(first.template, [i.inputs for i in items], model=first.model, params=params)
        return Given(tickets=tuple(Ticket(i.seq, eval_id) for i, eval_id in zip(items, ids, strict=True)))

    return post


def evaluating(client: EvalClient) -> Post:
    """POSTs that wait for the judge and answer with verdicts."""

    async def post(items: Sequence[Item], params: dict[str, Any]) -> Given:
        first = items[0]
        told = await client.evaluate_pack(first.template, [i.inputs for i in items], model=first.model, params=params)
        return Given(verdicts=tuple((i.seq, e, v) for i, (e, v) in zip(items, told, strict=True)))

    return post


LONGEST_PACK = 10
"""Items that one request with a single key was seen to carry."""
LONGEST_PACK_OF_KEYS = 3
"""The API's own limit where an item has two keys or more."""


def packs(items: Sequence[Item]) -> list[tuple[Item, ...]]:
    """The items as requests: neighbours of one check, with the same keys, as many together as the API takes."""
    alike: dict[tuple[str, tuple[str, ...]], list[Item]] = {}
    for item in items:
        alike.setdefault((item.check, tuple(item.inputs)), []).append(item)
    return [
        tuple(group[start : start + size])
        for (_, keys), group in alike.items()
        for size in [longest_pack(keys)]
        for start in range(0, len(group), size)
    ]


def longest_pack(keys: Collection[str]) -> int:
    """Items with these keys that one request carries."""
    return LONGEST_PACK if len(keys) == 1 else LONGEST_PACK_OF_KEYS


class Submitter:
    """Sends items at the run's pace and hands on what each is given."""

    def __init__(
        self,
        post: Post,
        recorder: Recorder,
        pace: Pace,
        *,
        params: Callable[[Item], dict[str, Any]],
        quota_of: Callable[[str], Quota],
        on_tickets: Callable[[Sequence[Item], Sequence[Ticket], Submission], None],
        on_verdicts: Callable[[Sequence[Told]], Awaitable[None]],
        on_stop: Callable[[FievalError], None],
    ) -> None:
        self._post = post
        self._recorder = recorder
        self._pace = pace
        self._params = params
        self._quota_of = quota_of
        self._on_tickets = on_tickets
        self._on_verdicts = on_verdicts
        self._on_stop = on_stop
        self._strange_in_a_row = 0

    async def send_all(self, requests: Iterable[tuple[Item, ...]]) -> None:
        """Make every request. Raises RunStopped or StoreError; what concerns one item only is that item's verdict."""
        ended = await asyncio.gather(*map(self._or_stop, requests), return_exceptions=True)
        for error in ended:
            if error is not None:
                raise error

    async def _or_stop(self, items: tuple[Item, ...]) -> None:
        try:
            await self.send(items)
        except FievalError as error:
            if not error.retryable:
                self._on_stop(error)
            raise

    async def send(self, items: tuple[Item, ...]) -> None:
        """Send these items in one request, until they are taken, fail, or are left pending."""
        faults = 0
        while items:
            tried, error = await self._try(items)
            items, rest = tried, items[len(tried) :]
            if error is None:
                items = rest
                continue
            if rest:
                return await self.send_all((tried, rest))
            chosen = remedy(error, faults=faults, packed=len(items) > 1)
            if chosen is Remedy.GIVE_UP_FOR_NOW:
                raise error
            if chosen is Remedy.STOP:
                raise RunStopped(str(error)) from error
            if chosen is Remedy.LEAVE_PENDING:
                return
            if chosen is Remedy.UNPACK:
                return await self.send_all((item,) for item in items)
            if chosen is Remedy.FAIL:
                failed = Failed("submit", error.kind, str(error))
                return await self._on_verdicts([(item.seq, None, failed) for item in items])
            await self._before_next_try(chosen, items, faults)
            faults += chosen is not Remedy.WAIT_AND_SEND

    async def _try(self, items: tuple[Item, ...]) -> tuple[tuple[Item, ...], ApiError | None]:
        """The items that went into the request, and what went wrong with it."""
        with await self._quota_of(items[0].check).admit(len(items)) as admission:
            tried = items[:1] if admission.trial else items  # it may well be refused: one is enough
            return tried, await self._request(tried, admission)

    async def _request(self, items: tuple[Item, ...], admission: Admission) -> ApiError | None:
        seqs = tuple(item.seq for item in items)
        async with self._pace.turn("submit") as turn:
            await self._recorder.record(Sending(seqs))
            self._recorder.count("submits")
            try:
                given = await self._post(items, self._params(items[0]))
            except ApiError as error:
                await self._not_given(seqs, error, turn)
                return error
        turn.accepted()
        admission.sent(turn.started_at, len(items))
        self._strange_in_a_row = 0
        await self._hand_on(items, given, Submission(turn.started_at, admission.sentinel))
        return None

    async def _hand_on(self, items: Sequence[Item], given: Given, submission: Submission) -> None:
        if given.tickets:
            await self._recorder.record(Submitted(given.tickets, utc_now()))
            self._on_tickets(items, given.tickets, submission)
        if given.verdicts:
            await self._on_verdicts(given.verdicts)

    async def _not_given(self, seqs: tuple[int, ...], error: ApiError, turn: Turn) -> None:
        untaken = NotTaken(seqs, counts_as_attempt=not error.retryable)
        await self._recorder.record(ReplyLost(seqs) if error.ambiguous else untaken)
        if isinstance(error, Throttled):
            self._recorder.count("throttled")
            turn.throttled(error.retry_after)
        elif error.ambiguous:
            turn.faltered()
        if isinstance(error, NotTheProtocol):
            self._strange_in_a_row += 1
            if self._strange_in_a_row >= STRANGE_REPLIES:
                raise RunStopped(f"{STRANGE_REPLIES} answers in a row are not the evaluation API's: {error}") from error

    async def _before_next_try(self, chosen: Remedy, items: Sequence[Item], faults: int) -> None:
        self._recorder.count("retries")
        if chosen is Remedy.SEND_AGAIN_AS_DUPLICATE:
            self._recorder.count("possible_duplicates", len(items))
        if chosen is not Remedy.WAIT_AND_SEND:  # a throttled request waits in its turn, with everyone
            await asyncio.sleep(backoff(faults))
