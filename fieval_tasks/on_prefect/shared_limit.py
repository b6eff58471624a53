"""A Prefect global concurrency limit as a source of permits for many processes."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from time import monotonic

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.exceptions import ObjectNotFound

from fieval_tasks.core.errors import RunStopped
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.on_prefect.prefect_errors import why
from fieval_tasks.on_prefect.prefect_names import unusable_limit
from fieval_tasks.pace.permits import Away, Full, Leased


@dataclass(frozen=True)
class Leasing:
    """The constants of leasing: how many permits a block has."""

    # Three calls of Prefect's API for each second of the rate.
    seconds: float = 1.0
    """Seconds of the limit's rate in a block, where the rate is high."""
    # With fewer, 10,000 items would cost thousands of calls.
    worth_it: int = 200
    """Permits in a block, where the rate is low,"""
    # So much of the limit is lost with a process that dies.
    longest: float = 30.0
    """but no more than so many seconds of the rate."""
    # In the beginning only a few requests go ahead.
    first: int = 8
    """Permits in a process's first block; each following one has twice as many, up to"""
    smallest: int = 60
    """this: the permits that a process with little to send leases where others wait."""
    # More requests will wait by the time the permits are due.
    as_many: int = 2
    """Permits for each waiting request, if that makes more."""
    # One in use for each of some processes, and the next.
    gathered: int = 4
    """Blocks that a limit should be able to hold."""


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
            raise unusable_limit(self.name, str(error)) from error
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
            raise RunStopped(str(unusable_limit(self.name, str(error)))) from error
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
