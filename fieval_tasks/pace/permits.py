"""Permits to send requests, from a limit that processes share: leased in blocks ahead of need, and used when they are due.

All leased permits form one queue. Each block comes with its place in the queue, so that all processes together send at an
even rate, however many permits each of them leased and when.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Protocol

from fieval_tasks.core.errors import RunStopped
from fieval_tasks.pace.limits import backoff
from fieval_tasks.pace.pace_tuning import PERMIT_TUNING, PermitTuning
from fieval_tasks.pace.waiting_line import WaitingLine

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Leased:
    """A block of permits, due one after the other at even intervals."""

    permits: int
    """How many."""
    rate: float
    """The limit's rate a second."""
    due_in: float
    """Seconds until the first permit is due, after all that were leased before."""
    over: float
    """Seconds from the first permit to the last."""

    @classmethod
    def between(cls, permits: int, rate: float, *, before: float, after: float, since: float) -> Leased:
        """The block from the queue's lengths before and after the lease, read `since` seconds apart.

        If other processes leased in between, the order is unknown: then each spreads its permits over all of them.
        """
        start, end = max(0.0, before / rate - since), after / rate
        return cls(permits, rate, due_in=start, over=max(end - start, permits / (PERMIT_TUNING.catch_up * rate)))


@dataclass(frozen=True)
class Full:
    """The answer where other processes have leased as much as the limit allows."""

    seconds: float
    """Until there is room again, unless another process takes it first."""


@dataclass(frozen=True)
class Away:
    """The answer where the source can't be asked at this moment."""

    why: str
    """The cause, for messages."""


class PermitSource(Protocol):
    """A limit that permits are leased from."""

    async def lease(self, wanted: int) -> Leased | Full | Away:
        """Lease a block of permits; `wanted`: requests that wait. Raises FievalError where the source can never be used."""

    async def give_back(self, permits: int) -> None:
        """Give back leased permits that are not due yet."""

    async def aclose(self) -> None: ...


class Permits:
    """A process's permits, given out in the order of the requests. The first block is leased when a request waits for it."""

    def __init__(
        self, source: PermitSource, *, tuning: PermitTuning = PERMIT_TUNING, clock: Callable[[], float] = monotonic
    ) -> None:
        self._source = source
        self._tuning = tuning
        self._clock = clock
        self._due: deque[float] = deque()
        self._wanted = 0
        self._interval = 0.0
        self._kept = self._tuning.kept
        self._leased_until = -inf
        self._latest = -inf
        self._line: WaitingLine[float] = WaitingLine(self, clock)
        self._leasing: asyncio.Task[None] | None = None
        self._failed: Exception | None = None
        self.times_away = 0
        """How often the source could not be asked."""

    async def take(self) -> float:
        """Wait for a permit; the time at which it came. Raises the error after which no permits can be leased any more."""
        if self._failed is not None:
            raise self._failed
        self._wanted += 1
        try:
            return await self._line.enter()
        except asyncio.CancelledError:
            if self._failed is not None:
                raise self._failed from None
            raise
        finally:
            self._wanted -= 1

    def stop(self) -> None:
        """Cancel the requests that wait for a permit."""
        self._line.stop()
        if self._leasing is not None:
            self._leasing.cancel()

    async def aclose(self) -> None:
        """Give back the permits that are not due yet; the others have lapsed, and other processes may have used them."""
        self.stop()
        if self._leasing is not None:
            await asyncio.gather(self._leasing, return_exceptions=True)
        now = self._clock()
        left = sum(due > now for due in self._due)
        self._due.clear()
        try:
            if left:
                await self._source.give_back(left)
        finally:
            await self._source.aclose()

    # -- the pacer of its line ------------------------------------------------------------------------------------

    def wait(self, now: float) -> float:
        while self._is_old(now) and not self._can_live_on_old:
            self._due.popleft()
        if self._is_old(now):
            return self._latest + self._tuning.slowly * self._interval - now
        if not self._due or self._lasting(now) < self._tuning.ahead:
            self._lease_more()
        if not self._due:
            return inf
        return max(self._due[0], self._latest + self._interval / self._tuning.catch_up) - now

    def begin(self, now: float, n: int) -> float:
        self._due.popleft()
        self._latest = now
        return now

    def leave(self, begun: float) -> None:
        """A request got a permit and was cancelled before it used it."""
        self._due.appendleft(self._clock())

    @property
    def _can_live_on_old(self) -> bool:
        return self._wanted <= self._tuning.few and self._tuning.slowly * self._interval <= self._tuning.too_slowly

    def _is_old(self, now: float) -> bool:
        return bool(self._due) and self._due[0] + self._kept < now

    def _lasting(self, now: float) -> float:
        """Seconds until the last permit is due."""
        return max(self._due[-1] - now, len(self._due) * self._interval)

    # -- leasing -------------------------------------------------------------------------------------------------

    def _lease_more(self) -> None:
        if self._leasing is None and self._failed is None:
            self._leasing = asyncio.ensure_future(self._lease_or_fail())

    async def _lease_or_fail(self) -> None:
        try:
            self._add(await self._granted())
        except Exception as error:  # raised again in every request that waits
            self._failed = error
            return self._line.stop()
        self._leasing = None  # so that the next can be leased from within
        self._line.advance()

    async def _granted(self) -> Leased:
        since, tries = self._clock(), 0
        while True:
            answer = await self._source.lease(self._wanted)
            if isinstance(answer, Leased):
                return answer
            if isinstance(answer, Full):
                since, tries = self._clock(), 0
                await asyncio.sleep(answer.seconds * random.uniform(1.0, 1.0 + self._tuning.spread))
                continue
            self.times_away += 1
            if tries == 0:
                _log.warning("requests wait, for they can't have their permits: %s", answer.why)
            if self._clock() - since > self._tuning.patience:
                raise RunStopped(
                    f"no permits of the shared limit could be had for {self._tuning.patience:.0f} s: {answer.why}"
                )
            await asyncio.sleep(backoff(tries))
            tries += 1

    def _add(self, leased: Leased) -> None:
        self._interval = 1.0 / leased.rate
        now = self._clock()
        first = now + leased.due_in
        self._due.extend(first + n * leased.over / leased.permits for n in range(leased.permits))
        end, alone_until = first + leased.over, max(now, self._leased_until) + leased.permits * self._interval
        is_alone = end <= alone_until + self._tuning.room + self._interval
        self._kept = self._tuning.kept_alone if is_alone else max(self._tuning.kept, self._interval)
        self._leased_until = end
