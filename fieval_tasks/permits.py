"""Permits to send a request, shared with other processes: leased in blocks ahead of need, and spent when they are due.

What all processes have leased is one queue. A block comes with its place in it, so that together they keep an even beat
at the limit's rate, whoever leased how much and when.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Protocol, TypeAlias

from fieval_tasks.errors import RunStopped
from fieval_tasks.limits import Kind
from fieval_tasks.pace import Line, Pace, Turn, backoff

AHEAD = 0.5
"""Seconds before the last permit is due at which more are leased."""
KEPT = 1.0
"""Seconds for which a permit is kept that was not used when it was due. By then it is as good as others', too."""
THRIFTIEST = 5
"""Halvings of the blocks, and doublings of the time they are kept, where most permits are not used in time."""
CATCH_UP = 2.0
"""Times the limit's rate at which a process that is late spends what was due."""
PATIENCE = 600.0
"""Seconds for which a source that can't be asked is asked again; then the run stops."""
SPREAD = 0.2
"""Share by which waits for room differ, so that not all processes ask at once."""


@dataclass(frozen=True)
class Leased:
    """Permits, due one after the other at the limit's rate."""

    permits: int
    rate: float
    """A second."""
    due_in: float
    """Seconds until the first one is: what was leased before comes first."""


@dataclass(frozen=True)
class Full:
    """Others have leased as much as the limit allows."""

    seconds: float
    """Until there is room again, if nobody else takes it."""


@dataclass(frozen=True)
class Away:
    """The source can't be asked at this moment."""

    why: str


Answer: TypeAlias = "Leased | Full | Away"


class Source(Protocol):
    """Where permits come from."""

    async def lease(self, share: float) -> Answer:
        """A share of its usual block of permits, if it can be had. Raises FievalError where it never can."""

    async def give_back(self, permits: int) -> None:
        """These were leased, and are not due yet."""

    async def aclose(self) -> None: ...


class Permits:
    """A process's permits, in the order in which they are asked for. None are leased before one is wanted."""

    def __init__(self, source: Source, *, patience: float = PATIENCE, clock: Callable[[], float] = monotonic) -> None:
        self._source = source
        self._patience = patience
        self._clock = clock
        self._due: deque[float] = deque()
        self._leased = 0
        self._lapsed = 0
        self._thrift = 0
        self._interval = 0.0
        self._latest = -inf
        self._line = Line(self, clock)
        self._leasing: asyncio.Task[None] | None = None
        self._failed: Exception | None = None
        self.times_away = 0
        """How often the source could not be asked."""
        self.seconds_away = 0.0

    async def take(self) -> float:
        """Wait until a request may go out; when that was. Raises the error after which there will be no permits."""
        if self._failed is not None:
            raise self._failed
        try:
            return await self._line.enter()
        except asyncio.CancelledError:
            if self._failed is not None:
                raise self._failed from None
            raise

    def stop(self) -> None:
        """Whoever waits is cancelled."""
        self._line.stop()
        if self._leasing is not None:
            self._leasing.cancel()

    async def aclose(self) -> None:
        """Give back what is not due yet; what is has lapsed, and was others' to use already."""
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

    # -- the gate of its line ------------------------------------------------------------------------------------

    def wait(self, now: float) -> float:
        self._let_lapse(now)
        if not self._due or (self._thrift == 0 and self._lasting(now) < AHEAD):
            self._lease_more()
        if not self._due:
            return inf
        return max(self._due[0], self._latest + self._interval / CATCH_UP) - now

    def begin(self, now: float, n: int) -> None:
        self._due.popleft()
        self._latest = now

    def leave(self, n: int) -> None:
        """It was let in and cancelled before it knew."""
        self._due.appendleft(self._clock())

    def _let_lapse(self, now: float) -> None:
        while self._due and self._due[0] + KEPT * 2**self._thrift < now:
            self._due.popleft()
            self._lapsed += 1

    def _lasting(self, now: float) -> float:
        """Seconds for which the permits will do."""
        return max(self._due[-1] - now, len(self._due) * self._interval)

    # -- leasing -------------------------------------------------------------------------------------------------

    def _lease_more(self) -> None:
        if self._leasing is None and self._failed is None:
            self._leasing = asyncio.ensure_future(self._lease_or_fail())

    async def _lease_or_fail(self) -> None:
        try:
            self._learn()
            self._add(await self._granted())
        except Exception as error:  # whatever it is, whoever waits must hear of it
            self._failed = error
            return self._line.stop()
        self._leasing = None  # so that the next can be leased from within
        self._line.advance()

    async def _granted(self) -> Leased:
        since, tries = self._clock(), 0
        while True:
            answer = await self._source.lease(0.5**self._thrift)
            if isinstance(answer, Leased):
                self.seconds_away += self._clock() - since if tries else 0.0
                return answer
            if isinstance(answer, Full):
                since, tries = self._clock(), 0
                await asyncio.sleep(answer.seconds * random.uniform(1.0, 1.0 + SPREAD))
                continue
            self.times_away += 1
            if self._clock() - since > self._patience:
                raise RunStopped(
                    f"no permits of the shared limit could be had for {self._patience:.0f} s: {answer.why}"
                )
            await asyncio.sleep(backoff(tries))
            tries += 1

    def _learn(self) -> None:
        """Few calls where few permits are wanted, and none of them hoarded: smaller blocks, that are kept longer."""
        if self._lapsed > self._leased / 2:
            self._thrift = min(THRIFTIEST, self._thrift + 1)
        elif self._lapsed == 0:
            self._thrift = max(0, self._thrift - 1)
        self._lapsed = 0

    def _add(self, leased: Leased) -> None:
        self._leased = leased.permits
        self._interval = 1.0 / leased.rate
        first = self._clock() + leased.due_in
        self._due.extend(first + n * self._interval for n in range(leased.permits))


class SharedPace(Pace):
    """A pace whose requests need a permit as well, once it is their turn.

    A refusal costs a pause, and nothing is learned from it: how many this process sent by then says nothing about a limit
    that others use as well. That is the shared limit's to hold.
    """

    def __init__(self, permits: Permits, *, concurrency: int, rate: float | None = None) -> None:
        super().__init__(concurrency=concurrency, rate=rate)
        self._permits = permits

    def turn(self, kind: Kind = "submit", *, urgent: bool = False) -> Turn:
        return PermittedTurn(self._permits, self, self._line, kind, urgent=urgent)

    def throttled(self, retry_after: float | None, started_at: float | None = None) -> None:
        self._governor.limits.pause(self._clock(), retry_after)
        self._line.advance()

    def stop(self) -> None:
        super().stop()
        self._permits.stop()


class PermittedTurn(Turn):
    """Its place is its own while it waits for the permit: so the order in which requests go is the pace's."""

    __slots__ = ("_permits",)

    def __init__(self, permits: Permits, pace: Pace, line: Line, kind: Kind, *, urgent: bool = False) -> None:
        super().__init__(pace, line, kind, urgent=urgent)
        self._permits = permits

    async def __aenter__(self) -> Turn:
        await super().__aenter__()
        try:
            self.started_at = await self._permits.take()
        except BaseException:
            self._line.leave()
            raise
        return self
