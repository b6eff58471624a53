"""How fast requests go: the server's limits are found from what it refuses, and everyone keeps to them."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from time import monotonic
from types import TracebackType

from fieval_tasks.core.errors import RunStopped
from fieval_tasks.pace.limits import Limits, Metronome, Places
from fieval_tasks.pace.limits import backoff as backoff
from fieval_tasks.pace.line import Kind, Line
from fieval_tasks.pace.pace_tuning import SHOWN_FROM, TUNING, PaceTuning
from fieval_tasks.pace.permits import Permits

ASKED = "the server asked to wait"
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
        return seconds > self.seconds or (seconds > SHOWN_FROM and now + seconds > self.ends_at)

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
    """One pace for every request of a process, and the pacer of its line.

    Whoever reports a reply says when its request began (`turn.started_at`): a request that began before a refusal was
    known says nothing new about the limit.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        rate: float | None = None,
        permits: Permits | None = None,
        longest_wait: LongestWait = AS_LONG_AS_IT_TAKES,
        tuning: PaceTuning = TUNING,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`concurrency` and `rate` (a second) are upper bounds. `permits`: each request needs one, once it is its turn. Then
        nothing is learned from refusals: how many this process sent says nothing about a limit that others use as well.
        """
        self._clock = clock
        self._longest_wait = longest_wait
        self._tuning = tuning
        self.permits = permits
        self.limits = Limits(tuning=tuning)
        if permits is not None:
            self.limits.settle()
        self.places = Places(concurrency, tuning)
        self.in_flight = 0
        """Requests that have begun and not ended."""
        self._outage = Outage(tuning)
        self._asked_until = -inf
        self.longest_asked = 0.0
        """Seconds that the server asked to wait for, at most."""
        self._line: Line[float] = Line(self, clock)
        self.bound(concurrency=concurrency, rate=rate)

    def bound(self, *, concurrency: int, rate: float | None) -> None:
        """Keep to these upper bounds from now on; what is under way comes in."""
        self.places.bind(concurrency)
        self._asked_rate = Metronome()
        if rate is not None:
            self._asked_rate.set(rate, burst=1.0 + self._tuning.late * rate)
        self._line.advance()

    def turn(self, kind: Kind = "submit", *, urgent: bool = False) -> Turn:
        """Wait for a place and for the right moment; the place is free again on leaving. `urgent`: before all others."""
        return Turn(self, self._line, kind, urgent=urgent)

    # -- who may begin -------------------------------------------------------------------------------------------

    def wait(self, now: float) -> float:
        if self.in_flight >= int(self.places.limit):
            return inf
        return max(self.limits.wait(now), self._asked_rate.wait(now), self._outage.wait(now))

    def begin(self, now: float, n: int = 1) -> float:
        self.in_flight += 1
        self._asked_rate.begin(now)
        self._outage.begin(now)
        self.limits.begin(now)
        self.limits.sent(now)
        return now

    def leave(self, begun: float) -> None:
        self.in_flight -= 1

    # -- what became of a request --------------------------------------------------------------------------------

    def left(self, began: float) -> float:
        """A request goes out now, for all that it began earlier; what time it is."""
        now = self._clock()
        self.limits.left(began, now)
        return now

    def accepted(self, started_at: float) -> None:
        """The server took a request."""
        self._outage.answered()
        self.places.accepted(self.in_flight)
        self.limits.accepted(started_at, self._clock())
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

    def throttled(self, retry_after: float | None, started_at: float) -> None:
        """The server refused a request: everyone pauses, as long as it asked or as seems right.

        Raises RunStopped where it asks for more than anybody waits.
        """
        self.answered()
        now = self._clock()
        self.limits.refused(started_at, now, retry_after=retry_after)
        self._line.advance()
        if retry_after is not None:
            self._asked_until = max(self._asked_until, now + retry_after)
            self.longest_asked = max(self.longest_asked, retry_after)
            self._longest_wait.require(self._asked_until - now, now, ASKED)

    def faltered(self, started_at: float) -> None:
        """The server failed or was silent under load (503, a timeout): fewer requests at once."""
        self.places.shrink(started_at, self._clock())

    # -- how it stands -------------------------------------------------------------------------------------------

    @property
    def waits(self) -> str:
        """What holds every request up at this moment, in words; empty where nothing does for long."""
        left = self._asked_until - self._clock()
        if left > SHOWN_FROM:
            return f"{ASKED} until {clock_time(left)}"
        return "no answer from the server" if self._outage.lasts(self._clock()) > SHOWN_FROM else ""

    @property
    def is_away(self) -> bool:
        """The server does not answer: one request at a time finds out whether it is back."""
        return self._outage.is_on

    def stop(self) -> None:
        """No request starts any more: whoever waits for its turn is cancelled now."""
        self._line.stop()
        if self.permits is not None:
            self.permits.stop()


class Turn(AbstractAsyncContextManager["Turn"]):
    """One request's time at the server, and what came of it."""

    __slots__ = ("_kind", "_line", "_pace", "_urgent", "started_at")

    def __init__(self, pace: Pace, line: Line[float], kind: Kind, *, urgent: bool = False) -> None:
        self._pace = pace
        self._line = line
        self._kind: Kind = kind
        self._urgent = urgent
        self.started_at = 0.0

    async def __aenter__(self) -> Turn:
        self.started_at = await self._line.enter(self._kind, urgent=self._urgent)
        if (
            self._pace.permits is not None
        ):  # its place is its own meanwhile, so that the order of requests is the line's
            try:
                self.started_at = await self._pace.permits.take()
            except BaseException:
                self.leave()
                raise
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
        self._pace.accepted(self.started_at)

    def throttled(self, retry_after: float | None) -> None:
        self._pace.throttled(retry_after, self.started_at)

    def faltered(self) -> None:
        self._pace.faltered(self.started_at)

    def answered(self) -> None:
        self._pace.answered()

    def failed(self, about: Hashable | None) -> float:
        return self._pace.failed(about, self.started_at)


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
