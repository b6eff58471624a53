"""The pace of all requests of a process: the places, the rate, the server's pauses and its outages."""

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
from fieval_tasks.pace.pace_tuning import SHOWN_FROM, TUNING, PaceTuning
from fieval_tasks.pace.permits import Permits
from fieval_tasks.pace.waiting_line import Kind, WaitingLine

ASKED = "the server asked to wait"
FOREVER = 10.0 * 365 * 86_400
"""Seconds: for a longer wait no date is computed."""


@dataclass(frozen=True)
class LongestWait:
    """The longest wait for the server or for a limit, after which the run stops."""

    seconds: float = inf
    ends_at: float = inf
    """When `--timeout` is over, by the pace's clock; no wait may be longer."""

    def is_over(self, seconds: float, now: float) -> bool:
        """Whether a wait of so many seconds is too long."""
        return seconds > self.seconds or (seconds > SHOWN_FROM and now + seconds > self.ends_at)

    def require(self, seconds: float, now: float, what: str, *, error: type[RunStopped] = RunStopped) -> None:
        """Raises `error` where a wait is too long. `what`: its cause in words, as in `the server asked to wait`."""
        if self.is_over(seconds, now):
            why = f", and no more than {self.seconds:,.0f} s are waited for"
            why = why if seconds > self.seconds else ", which is after the time given by --timeout"
            raise error(f"{what} until {clock_time(seconds)}{why}: carry on then")


AS_LONG_AS_IT_TAKES = LongestWait()


def clock_time(seconds: float) -> str:
    """The local time in so many seconds, as text; with the date where it is another day."""
    at = datetime.now() + timedelta(seconds=min(seconds, FOREVER))
    day = "" if at.date() == datetime.now().date() else f"{at:%Y-%m-%d} "
    return f"{day}{at:%H:%M}"


class Pace:
    """Decides when each request of the process may go out. On the engine's event loop.

    Each report of a reply names when its request began (`Turn.started_at`): a request that began before a refusal was
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
        """`concurrency` and `rate` (a second) are upper bounds. `permits`: each request also needs a permit of a shared limit.
        Then no rate is learned from refusals: this process's own count says nothing about a limit that others use too.
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
        """Requests under way."""
        self._outage = Outage(tuning)
        self._asked_until = -inf
        self.longest_asked = 0.0
        """The longest Retry-After so far, in seconds."""
        self._line: WaitingLine[float] = WaitingLine(self, clock)
        self.bound(concurrency=concurrency, rate=rate)

    def bound(self, *, concurrency: int, rate: float | None) -> None:
        """Set the upper bounds from now on; requests under way are not affected."""
        self.places.bind(concurrency)
        self._asked_rate = Metronome()
        if rate is not None:
            self._asked_rate.set(rate, burst=1.0 + self._tuning.late * rate)
        self._line.advance()

    def turn(self, kind: Kind = "submit", *, urgent: bool = False) -> Turn:
        """A context manager that waits for a place and a time slot, and frees the place at its end. `urgent`: goes first."""
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

    # -- the result of a request ---------------------------------------------------------------------------------

    def left(self, began: float) -> float:
        """A request goes out only now, after waiting in its turn; the time now."""
        now = self._clock()
        self.limits.left(began, now)
        return now

    def accepted(self, started_at: float) -> None:
        """The server accepted a request."""
        self._outage.answered()
        self.places.accepted(self.in_flight)
        self.limits.accepted(started_at, self._clock())
        self._line.advance()

    def unused(self) -> None:
        """A turn ends without a request: during an outage another one may probe in its place."""
        self._outage.unused()

    def answered(self) -> None:
        """The server did not accept a request and gave a reason, so it is not away."""
        was_away = self._outage.is_on
        self._outage.answered()
        if was_away:
            self._line.advance()

    def failed(self, about: Hashable | None, started_at: float | None = None) -> float:
        """A request got no answer of the API. `about`: its item, which may be the cause; None: no connection was made.

        Once it can't be the fault of single items (PaceTuning.different), everyone pauses. Returns the seconds since the
        first failed request without any answer since.
        """
        now = self._clock()
        self._outage.failed(now if started_at is None else started_at, now, about)
        return self._outage.lasts(now)

    def throttled(self, retry_after: float | None, started_at: float) -> None:
        """The server refused a request with 429 or Retry-After: everyone pauses, as long as it asked.

        Raises RunStopped where that is longer than the longest wait.
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
        """The server failed or timed out under load: reduce the requests at once."""
        self.places.shrink(started_at, self._clock())

    # -- how it stands -------------------------------------------------------------------------------------------

    @property
    def waits(self) -> str:
        """Why no request may go out at this moment, in words; empty unless the wait is longer than SHOWN_FROM."""
        left = self._asked_until - self._clock()
        if left > SHOWN_FROM:
            return f"{ASKED} until {clock_time(left)}"
        return "no answer from the server" if self._outage.lasts(self._clock()) > SHOWN_FROM else ""

    @property
    def is_away(self) -> bool:
        """Whether the server does not answer; then single probes find out whether it is back."""
        return self._outage.is_on


class Turn(AbstractAsyncContextManager["Turn"]):
    """One request's place at the pace, and the reports about its result."""

    __slots__ = ("_kind", "_line", "_pace", "_urgent", "started_at")

    def __init__(self, pace: Pace, line: WaitingLine[float], kind: Kind, *, urgent: bool = False) -> None:
        self._pace = pace
        self._line = line
        self._kind: Kind = kind
        self._urgent = urgent
        self.started_at = 0.0

    async def __aenter__(self) -> Turn:
        self.started_at = await self._line.enter(self._kind, urgent=self._urgent)
        if self._pace.permits is not None:
            # the place is held during the wait for a permit, so that requests keep the line's order
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
        """Free the place."""
        self._line.leave(self.started_at)

    def leaves(self) -> None:
        """The request goes out only now; the server counts it from now, too."""
        self.started_at = self._pace.left(self.started_at)

    def unused(self) -> None:
        """No request goes out in this turn."""
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
    """A server that does not answer: a pause for everyone, then a single probe; if it fails, a longer pause, and so on."""

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
        """Seconds since the first failed request without any answer since; 0 where the server answers."""
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
            return  # it was under way when the outage was noticed, so it belongs to the same one
        if self.is_on or about is None or len(self._about) >= self._tuning.different:
            self._noticed_at, self._probed_at = now, -inf
            pause = min(self._tuning.longest_away_pause, self._tuning.away_pause * 2.0**self._pauses)
            self._until = now + pause * random.uniform(0.8, 1.0)
            self._pauses += 1
