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
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from time import monotonic
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from fieval_tasks.core.errors import RunStopped
from fieval_tasks.pace.limits import Governor, Kind
from fieval_tasks.pace.limits import backoff as backoff
from fieval_tasks.pace.pace_tuning import TOLD, TUNING, PaceTuning

T = TypeVar("T")
B = TypeVar("B")
"""What whoever begins gets."""

FOREVER = 10.0 * 365 * 86_400
"""Seconds, far beyond which no date can be said."""


@dataclass(frozen=True)
class LongestWait:
    """How long anybody waits for the server, or for a limit."""

    seconds: float = inf
    ends_at: float = inf
    """By the pace's clock: what no wait may outlast."""

    def is_over(self, seconds: float, now: float) -> bool:
        """Nobody waits for so long from now on."""
        return seconds > self.seconds or (seconds > TOLD and now + seconds > self.ends_at)

    def require(self, seconds: float, now: float, what: str) -> None:
        """Raises RunStopped where it is. `what` lasts until then, as in `the server asked to wait`."""
        if self.is_over(seconds, now):
            why = f", and no more than {self.seconds:,.0f} s are waited for"
            why = why if seconds > self.seconds else ", which is after the time given by --timeout"
            raise RunStopped(f"{what} until {clock_time(seconds)}{why}: carry on then")


AS_LONG_AS_IT_TAKES = LongestWait()


def clock_time(seconds: float) -> str:
    """So many seconds from now, as a clock on the wall has it; with the day where that is another one."""
    at = datetime.now() + timedelta(seconds=min(seconds, FOREVER))
    day = "" if at.date() == datetime.now().date() else f"{at:%Y-%m-%d} "
    return f"{day}{at:%H:%M}"


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
        longest_wait: LongestWait = AS_LONG_AS_IT_TAKES,
        tuning: PaceTuning = TUNING,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._clock = clock
        self._longest_wait = longest_wait
        self._governor = Governor(concurrency=concurrency, rate=rate, tuning=tuning)
        self._outage = Outage(tuning)
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
        self._governor.accepted(started_at, self._clock())
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
        now = self._clock()
        self._asked_until = max(self._asked_until, now + seconds)
        self.longest_asked = max(self.longest_asked, seconds)
        self._longest_wait.require(self._asked_until - now, now, ASKED)

    @property
    def waits(self) -> str:
        """What holds every request up at this moment, in words; empty where nothing does for long."""
        left = self._asked_until - self._clock()
        if left > TOLD:
            return f"{ASKED} until {clock_time(left)}"
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
        return int(self._governor.places.limit)


class Turn(AbstractAsyncContextManager["Turn"]):
    """One request's time at the server. What came of it may be told here, or to the pace with `started_at`."""

    __slots__ = ("_line", "_pace", "_urgent", "kind", "started_at")

    def __init__(self, pace: Pace, line: Line[float], kind: Kind, *, urgent: bool = False) -> None:
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
        self._line.leave(self.started_at)

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


ASKED = "the server asked to wait"


# -- who waits ---------------------------------------------------------------------------------------------------------


class Pacer(Protocol[B]):
    """Decides who may begin, and when. Time is passed in."""

    def wait(self, now: float) -> float:
        """Seconds until the next one may begin: 0 now, inf not before something happens."""

    def begin(self, now: float, n: int) -> B:
        """It begins, and asks for `n`; what it gets."""

    def leave(self, begun: B) -> None:
        """It has ended, or never used what it got."""


class Both:
    """Whoever the limits and the state of the server let in. What begins gets the time."""

    def __init__(self, governor: Governor, outage: Outage) -> None:
        self._governor = governor
        self._outage = outage

    def wait(self, now: float) -> float:
        return max(self._governor.wait(now), self._outage.wait(now))

    def begin(self, now: float, n: int) -> float:
        self._governor.begin(now)
        self._outage.begin(now)
        return now

    def leave(self, begun: float) -> None:
        self._governor.leave()


class Outage:
    """Where the server does not answer: one pause for everyone, then a single probe, which decides; and again."""

    def __init__(self, tuning: PaceTuning = TUNING) -> None:
        self._tuning = tuning
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
        return max(0.0, self._until - now, self._probed_at + self._tuning.probe - now) if self.is_on else 0.0

    def begin(self, now: float) -> None:
        self._probed_at = now

    def unused(self) -> None:
        self._probed_at = -inf

    def answered(self) -> None:
        self._about.clear()
        self._since, self._pauses = inf, 0

    def failed(self, began: float, now: float, about: Hashable | None) -> None:
        self._since = min(self._since, began)
        if about is not None:
            self._about.add(about)
        if self.is_on and began < self._noticed_at:
            return  # it was on its way when the others failed
        if self.is_on or about is None or len(self._about) >= self._tuning.different:
            self._noticed_at, self._probed_at = now, -inf
            pause = min(self._tuning.longest_away_pause, self._tuning.away_pause * 2.0**self._pauses)
            self._until = now + pause * random.uniform(0.8, 1.0)
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


class Line(Generic[B]):
    """Those who wait to begin. One future each, one timer for all; whoever may begin is woken, and nobody else."""

    def __init__(self, pacer: Pacer[B], clock: Callable[[], float]) -> None:
        self._pacer = pacer
        self._clock = clock
        self._waiting: FairQueue[tuple[asyncio.Future[B], int]] = FairQueue()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._stopped = False

    def __bool__(self) -> bool:
        return bool(self._waiting)

    async def enter(self, kind: Kind = "submit", n: int = 1, *, urgent: bool = False) -> B:
        """Wait until it may begin; what it gets."""
        if self._stopped:
            raise asyncio.CancelledError
        if not self._waiting:
            now = self._clock()
            if self._pacer.wait(now) <= 0.0:
                return self._pacer.begin(now, n)
        return await self._wait(kind, n, urgent=urgent)

    async def _wait(self, kind: Kind, n: int, *, urgent: bool) -> B:
        begun: asyncio.Future[B] = asyncio.get_running_loop().create_future()
        alone = not self._waiting
        self._waiting.push(kind, (begun, n), urgent=urgent)
        if alone:
            self.advance()
        try:
            got = await begun
        except asyncio.CancelledError:
            if begun.done() and not begun.cancelled():
                self.leave(begun.result())
            raise
        if self._stopped:
            self.leave(got)
            raise asyncio.CancelledError
        return got

    def leave(self, begun: B) -> None:
        self._pacer.leave(begun)
        self.advance()

    def advance(self) -> None:
        """Let in whoever may begin by now, and see to it that the next one is let in when it may."""
        while self._waiting:
            now = self._clock()
            wait = self._pacer.wait(now)
            if wait > 0.0:
                return self._look_again(now, wait)
            begun, n = self._waiting.pop()
            if not begun.done():  # else it was cancelled
                begun.set_result(self._pacer.begin(now, n))

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
