"""How fast requests go: the server's limits are found from what it refuses, and everyone keeps to them.

`Pace` and its turns, `Outage` (a server that does not answer), then `Line` (who waits, on asyncio). What a server bears is
found in `limits`.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from math import inf
from time import monotonic
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from fieval_tasks.core.errors import RunStopped
from fieval_tasks.pace.limits import Governor, Kind, Learned
from fieval_tasks.pace.limits import backoff as backoff

T = TypeVar("T")

DIFFERENT = 5
"""Requests about so many different things fail in a row before the server counts as away: one item's own fault is about one
thing, and where one reply in five is lost by chance, five in a row are seen once in 3,000. No connection at all is no item's fault."""
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 4.0
"""Seconds of the pauses while it is away: ten probes in 30 s, and a server that is back is noticed within the longest."""
PROBE = 10.0
"""Seconds after which a probe that has brought nothing is followed by another: it may never have gone out."""
TOLD = 5.0
"""Seconds: a wait that the server asked for is shown where it is longer."""


class Pace:
    """One pace for every request of a process. `concurrency` and `rate` (a second) are upper bounds.

    Whoever reports a reply says when its request began (`turn.started_at`): a request that began before a refusal was
    known says nothing new about the limit. A refusal of unknown age costs a pause, and nothing is learned from it.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        rate: float | None = None,
        longest_wait: float = inf,
        ends_at: float = inf,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`longest_wait`: seconds that a server may ask for; `ends_at`: by the clock, what no wait may outlast."""
        self._clock = clock
        self._longest_wait = longest_wait
        self._ends_at = ends_at
        self._governor = Governor(concurrency=concurrency, rate=rate)
        self._outage = Outage()
        self._asked_until = -inf
        self.longest_asked = 0.0
        """Seconds that the server asked to wait for, at most."""
        self._line = Line(Both(self._governor, self._outage), clock)

    def turn(self, kind: Kind = "submit", *, urgent: bool = False) -> Turn:
        """Wait for a place and for the right moment; the place is free again on leaving. `urgent`: before all others."""
        return Turn(self, self._line, kind, urgent=urgent)

    def left(self, began: float) -> float:
        """A request goes out now, for all that it began earlier; what time it is."""
        now = self._clock()
        self._governor.left(began, now)
        return now

    def accepted(self, started_at: float | None = None, kind: Kind = "submit") -> None:
        """The server took a request."""
        self._outage.answered()
        self._governor.accepted(started_at, self._clock(), kind)
        self._line.advance()

    def unused(self) -> None:
        """What was let in sends nothing: another may probe in its place."""
        self._outage.unused()

    def answered(self) -> None:
        """The server did not take a request, and says why: it is there."""
        was_away = self._outage.is_on
        self._outage.answered()
        if was_away:
            self._line.advance()

    def failed(self, about: Hashable | None, started_at: float | None = None) -> float:
        """A request brought no answer that is the server's; `about`: what it was about, None: that can't be the reason.

        Everyone pauses once that is no item's own fault. Seconds for which nothing has been answered.
        """
        now = self._clock()
        self._outage.failed(now if started_at is None else started_at, now, about)
        return self._outage.lasts(now)

    def throttled(self, retry_after: float | None, started_at: float | None = None) -> None:
        """The server refused a request: everyone pauses, as long as it asked or as seems right.

        Raises RunStopped where it asks for more than anybody waits.
        """
        self.answered()
        self._slow_down(retry_after, started_at)
        self._line.advance()
        if retry_after is not None:
            self._wait_as_asked(retry_after)

    def _slow_down(self, retry_after: float | None, started_at: float | None) -> None:
        self._governor.refused(started_at, self._clock(), retry_after)

    def _wait_as_asked(self, seconds: float) -> None:
        until = self._clock() + seconds
        self._asked_until = max(self._asked_until, until)
        self.longest_asked = max(self.longest_asked, seconds)
        if seconds > self._longest_wait:
            raise RunStopped(
                f"{self._asked_to_wait()}, and no more than {self._longest_wait:,.0f} s are waited for: carry on then"
            )
        if until > self._ends_at and seconds > TOLD:
            raise RunStopped(f"{self._asked_to_wait()}, which is after the time given by --timeout: carry on then")

    def _asked_to_wait(self) -> str:
        at = datetime.now() + timedelta(seconds=min(self._asked_until - self._clock(), FOREVER))
        day = "" if at.date() == datetime.now().date() else f"{at:%Y-%m-%d} "
        return f"the server asked to wait until {day}{at:%H:%M}"

    @property
    def waits(self) -> str:
        """What holds every request up at this moment, in words; empty where nothing does for long."""
        if self._asked_until - self._clock() > TOLD:
            return self._asked_to_wait()
        return "no answer from the server" if self._outage.lasts(self._clock()) > TOLD else ""

    @property
    def is_away(self) -> bool:
        """The server does not answer: one request at a time finds out whether it is back."""
        return self._outage.is_on

    def faltered(self, started_at: float | None = None) -> None:
        """The server failed or was silent under load (503, a timeout): fewer requests at once."""
        self._governor.faltered(started_at, self._clock())

    def bound(self, *, concurrency: int, rate: float | None) -> None:
        """Keep to other upper bounds from now on; what is under way comes in."""
        self._governor.bound(concurrency=concurrency, rate=rate)
        self._line.advance()

    def stop(self) -> None:
        """No request starts any more: whoever waits for its turn is cancelled now."""
        self._line.stop()

    @property
    def in_flight(self) -> int:
        """Requests that have begun and not ended."""
        return self._governor.in_flight

    @property
    def places(self) -> int:
        """Requests that may be under way at once, for now."""
        return self._governor.room

    @property
    def learned(self) -> Learned:
        return self._governor.limits.learned


class Turn(AbstractAsyncContextManager["Turn"]):
    """One request's time at the server. What came of it may be told here, or to the pace with `started_at`."""

    __slots__ = ("_line", "_pace", "_urgent", "kind", "started_at")

    def __init__(self, pace: Pace, line: Line, kind: Kind, *, urgent: bool = False) -> None:
        self._pace = pace
        self._line = line
        self._urgent = urgent
        self.kind: Kind = kind
        self.started_at = 0.0

    async def __aenter__(self) -> Turn:
        self.started_at = await self._line.enter(self.kind, urgent=self._urgent)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Its place is free again."""
        self._line.leave()

    def leaves(self) -> None:
        """The request goes out only now: the server's count of it is that much later, too."""
        self.started_at = self._pace.left(self.started_at)

    def unused(self) -> None:
        """No request goes out in it."""
        self._pace.unused()

    def accepted(self) -> None:
        self._pace.accepted(self.started_at, self.kind)

    def throttled(self, retry_after: float | None) -> None:
        self._pace.throttled(retry_after, self.started_at)

    def faltered(self) -> None:
        self._pace.faltered(self.started_at)

    def answered(self) -> None:
        self._pace.answered()

    def failed(self, about: Hashable | None) -> float:
        return self._pace.failed(about, self.started_at)


FOREVER = 10.0 * 365 * 86_400
"""Seconds, far beyond which no date can be said."""


# -- who waits ---------------------------------------------------------------------------------------------------------


class Gate(Protocol):
    """Decides who may begin, and when. Time is passed in."""

    def wait(self, now: float) -> float:
        """Seconds until the next one may begin: 0 now, inf not before something happens."""

    def begin(self, now: float, n: int) -> None:
        """It begins, and counts for `n`."""

    def leave(self, n: int) -> None:
        """It has ended, or never used its turn."""


class Both:
    """Whoever two gates let in."""

    def __init__(self, one: Gate, other: Gate) -> None:
        self._one = one
        self._other = other

    def wait(self, now: float) -> float:
        return max(self._one.wait(now), self._other.wait(now))

    def begin(self, now: float, n: int) -> None:
        self._one.begin(now, n)
        self._other.begin(now, n)

    def leave(self, n: int) -> None:
        self._one.leave(n)
        self._other.leave(n)


class Outage:
    """The gate of a server that does not answer: one pause for everyone, then a single probe, which decides; and again.

    A pause is twice as long as the one before, up to LONGEST_PAUSE.
    """

    def __init__(self) -> None:
        self._about: set[Hashable] = set()
        self._since = inf
        self._noticed_at = -inf
        self._pauses = 0
        self._until = -inf
        self._probed_at = -inf

    @property
    def is_on(self) -> bool:
        return self._pauses > 0

    def lasts(self, now: float) -> float:
        """Seconds since a request failed and none was answered; 0 where the server is there."""
        return max(0.0, now - self._since) if self.is_on else 0.0

    def wait(self, now: float) -> float:
        return max(0.0, self._until - now, self._probed_at + PROBE - now) if self.is_on else 0.0

    def begin(self, now: float, n: int) -> None:
        self._probed_at = now

    def unused(self) -> None:
        self._probed_at = -inf

    def leave(self, n: int) -> None:
        """Whether it was answered is told by itself."""

    def answered(self) -> None:
        self._about.clear()
        self._since, self._pauses = inf, 0

    def failed(self, began: float, now: float, about: Hashable | None) -> None:
        self._since = min(self._since, began)
        if about is not None:
            self._about.add(about)
        if self.is_on and began < self._noticed_at:
            return  # it was on its way when the others failed
        if self.is_on or about is None or len(self._about) >= DIFFERENT:
            self._noticed_at, self._probed_at = now, -inf
            self._until = now + min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**self._pauses) * random.uniform(0.8, 1.0)
            self._pauses += 1


class FairQueue(Generic[T]):
    """The urgent first; then, first come first served within a kind, and two submissions to a poll where both wait.

    A submission sets off seconds of work elsewhere, a poll only hears of it, so submissions go first; but verdicts come
    by polls alone, so those never wait for more than two others. A question on which submissions depend is urgent.
    """

    ORDER: tuple[Kind, ...] = ("submit", "submit", "poll")

    def __init__(self) -> None:
        self._urgent: deque[T] = deque()
        self._waiting: dict[Kind, deque[T]] = {"submit": deque(), "poll": deque()}
        self._served = 0

    def __bool__(self) -> bool:
        return bool(self._urgent or self._waiting["submit"] or self._waiting["poll"])

    def push(self, kind: Kind, one: T, *, urgent: bool = False) -> None:
        (self._urgent if urgent else self._waiting[kind]).append(one)

    def pop(self) -> T:
        if self._urgent:
            return self._urgent.popleft()
        submits, polls = self._waiting["submit"], self._waiting["poll"]
        if not (submits and polls):
            return (submits or polls).popleft()
        kind = self.ORDER[self._served % len(self.ORDER)]
        self._served += 1
        return self._waiting[kind].popleft()


class Line:
    """Those who wait at a gate. One future each, one timer for all; whoever may begin is woken, and nobody else."""

    def __init__(self, gate: Gate, clock: Callable[[], float]) -> None:
        self._gate = gate
        self._clock = clock
        self._waiting: FairQueue[tuple[asyncio.Future[float], int]] = FairQueue()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._stopped = False

    async def enter(self, kind: Kind = "submit", n: int = 1, *, urgent: bool = False) -> float:
        """Wait until it may begin; when that was."""
        if self._stopped:
            raise asyncio.CancelledError
        if not self._waiting:
            now = self._clock()
            if self._gate.wait(now) <= 0.0:
                self._gate.begin(now, n)
                return now
        return await self._wait(kind, n, urgent=urgent)

    async def _wait(self, kind: Kind, n: int, *, urgent: bool) -> float:
        begun: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        alone = not self._waiting
        self._waiting.push(kind, (begun, n), urgent=urgent)
        if alone:
            self.advance()
        try:
            started_at = await begun
        except asyncio.CancelledError:
            if begun.done() and not begun.cancelled():
                self.leave(n)
            raise
        if self._stopped:
            self.leave(n)
            raise asyncio.CancelledError
        return started_at

    def leave(self, n: int = 1) -> None:
        self._gate.leave(n)
        self.advance()

    def advance(self) -> None:
        """Let in whoever may begin by now, and see to it that the next one is let in when it may."""
        while self._waiting:
            now = self._clock()
            wait = self._gate.wait(now)
            if wait > 0.0:
                return self._look_again(now, wait)
            begun, n = self._waiting.pop()
            if not begun.done():  # else it was cancelled
                self._gate.begin(now, n)
                begun.set_result(now)

    def _look_again(self, now: float, wait: float) -> None:
        """A timer that is early enough stays: it finds out itself that it was too early."""
        if now + wait < self._timer_at:
            self._forget_timer()
            self._timer_at = now + wait
            self._timer = asyncio.get_running_loop().call_later(wait, self._time_has_come)

    def _time_has_come(self) -> None:
        self._timer, self._timer_at = None, inf
        self.advance()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, inf

    def stop(self) -> None:
        self._stopped = True
        self._forget_timer()
        while self._waiting:
            self._waiting.pop()[0].cancel()
