"""A Prefect global concurrency limit as the source of permits that many processes share."""

from __future__ import annotations

import asyncio
import shlex
from contextlib import ExitStack
from dataclasses import dataclass
from time import monotonic

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.exceptions import ObjectNotFound

from fieval_tasks.core.errors import PlanError, RunStopped
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.on_prefect.prefect_errors import why
from fieval_tasks.pace.permits import Away, Full, Leased


@dataclass(frozen=True)
class Leasing:
    """How many permits are leased at a time."""

    seconds: float = 1.0
    """Of the limit's rate, for three calls of Prefect's API."""
    worth_it: int = 200
    """Permits where the rate is low: 10,000 items must not cost thousands of calls;"""
    longest: float = 30.0
    """seconds of the limit's rate in those at most: so much is lost with a process that dies."""
    first: int = 8
    """Permits in a process's first block, twice as many in each that follows: at first only a few requests go ahead."""
    smallest: int = 60
    """From then on: what a process leases that has little to send, where others wait for theirs."""
    as_many: int = 2
    """Times as many as wait for permits, in both cases, if that is more: others will wait by the time they are due."""
    gathered: int = 4
    """Blocks that a limit should let gather: one that is being used for each of some processes, and the next."""


LEASING = Leasing()


def shared_limit(name: str) -> SharedLimit:
    """The limit, open. Raises PlanError where it can't pace anything, and RunStopped without a Prefect API."""
    limit = SharedLimit(name)
    try:
        limit.check()
    except BaseException:
        limit.close()
        raise
    return limit


def require_limit(plan: EvaluationPlan) -> None:
    """Raises as `shared_limit` does where the plan names a limit that can't be had: said before anything starts."""
    if plan.shared_limit:
        shared_limit(plan.shared_limit).close()


class SharedLimit:
    """Leases slots of a global concurrency limit, each the permit for a request.

    Prefect's own `rate_limit` is not used, for its refusals are costly: each one forgets what had decayed since the last
    change. So the limit is read first, and asked only where there is room; read again, it tells a block's place in the queue.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._least = LEASING.first
        self._open = ExitStack()
        self._client = self._open.enter_context(get_client(sync_client=True))

    def check(self) -> None:
        """Raises PlanError where the limit is not there or not of use."""
        try:
            _usable(self._read())
        except _Unusable as error:
            raise PlanError(self._problem(error)) from error
        except httpx.HTTPError as error:
            raise RunStopped(
                f"the Prefect API, which keeps the shared limit {self.name!r}, can't be asked ({why(error)})"
            ) from error

    def close(self) -> None:
        self._open.close()

    async def aclose(self) -> None:
        await asyncio.to_thread(self.close)

    async def lease(self, wanted: int) -> Leased | Full | Away:
        return await asyncio.to_thread(self._lease, wanted)

    async def give_back(self, permits: int) -> None:
        """Prefect takes them out of the queue. Where it can't be asked they lapse by themselves, in their time."""
        await asyncio.to_thread(self._give_back, permits)

    def _lease(self, wanted: int) -> Leased | Full | Away:
        try:
            found = _usable(self._read())
            n, rate = block(found, wanted, self._least), found.slot_decay_per_second
            if found.active_slots + n > found.limit:
                return Full((found.active_slots + n - found.limit) / rate)
            looked_at = monotonic()
            if not self._increment(n):
                return Full(n / rate)  # somebody else was quicker, and has just taken as many
            after, since = self._read().active_slots, monotonic() - looked_at
        except _Unusable as error:
            raise RunStopped(self._problem(error)) from error
        except httpx.HTTPError as error:
            return Away(f"the Prefect API can't be asked ({why(error)})")
        self._least = min(LEASING.smallest, 2 * self._least)
        return Leased.between(n, rate, before=found.active_slots, after=after, since=since)

    def _read(self) -> GlobalConcurrencyLimitResponse:
        try:
            return self._client.read_global_concurrency_limit_by_name(self.name)
        except ObjectNotFound as error:
            raise _Unusable("there is no such limit") from error

    def _increment(self, slots: int) -> bool:
        try:
            self._client.increment_concurrency_slots([self.name], slots, "rate_limit")
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.LOCKED:
                return False
            if error.response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:  # changed since it was read
                return False
            raise
        return True

    def _give_back(self, permits: int) -> None:
        try:
            self._client.release_concurrency_slots([self.name], permits, occupancy_seconds=1.0)
        except httpx.HTTPError:
            return  # they lapse

    def _problem(self, error: _Unusable) -> str:
        name = shlex.quote(self.name)
        return (
            f"the shared limit {self.name!r}: {error}; make it with `prefect gcl create {name} --limit 800 "
            f"--slot-decay-per-second 200` for 200 requests a second, or change it with `prefect gcl update {name}`"
        )


class _Unusable(Exception):
    """What is wrong with a limit, in words."""


def _usable(limit: GlobalConcurrencyLimitResponse) -> GlobalConcurrencyLimitResponse:
    if not limit.active:
        raise _Unusable("it is disabled, and no limit would hold")
    if limit.slot_decay_per_second <= 0:
        raise _Unusable("it has no slot decay, which is the requests a second")
    if limit.limit < 1:
        raise _Unusable("its limit is 0")
    return limit


def block(limit: GlobalConcurrencyLimitResponse, wanted: int, least: int) -> int:
    """Permits to lease at a time: so many that calls are few, no more than half of what the limit holds, and only what is
    wanted where a process begins, or where others wait. Twice as many where nothing is leased: nobody uses all of the limit."""
    half = max(1, limit.limit // 2)
    most = min(half, usual_block(limit.slot_decay_per_second))
    if least == LEASING.smallest and limit.active_slots < most:
        return most if limit.active_slots else min(half, 2 * most)
    return min(most, max(least, LEASING.as_many * wanted))


def usual_block(rate: float) -> int:
    """Permits in a block where nothing else bounds it. A limit should hold LEASING.gathered times as many."""
    return max(1, round(LEASING.seconds * rate), min(LEASING.worth_it, round(LEASING.longest * rate)))
