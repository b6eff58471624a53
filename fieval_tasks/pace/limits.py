"""Finding the rate that a server accepts, from its refusals. No clock here: time is passed in."""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import inf, nextafter

from fieval_tasks.pace.pace_tuning import TUNING, PaceTuning
from fieval_tasks.pace.sent import Sent


class Places:
    """How many requests may be under way at once: doubled each round trip until the server fails, then adjusted slowly.

    Additive increase, multiplicative decrease (Chiu and Jain, 1989). Each reply adds its share of a round trip's growth,
    but only while all places are used: unused places say nothing about the server.
    """

    def __init__(self, bound: int, tuning: PaceTuning = TUNING) -> None:
        self.bound = bound
        self.limit = float(min(tuning.first_places, bound))
        self._shrink = tuning.shrink
        self._doubling = True
        self._shrunk_at = -inf

    def bind(self, bound: int) -> None:
        self.bound = bound
        self.limit = min(self.limit, float(bound))

    def accepted(self, in_flight: int) -> None:
        if in_flight >= int(self.limit):
            self.limit = min(float(self.bound), self.limit + (1.0 if self._doubling else 1.0 / self.limit))

    def shrink(self, began: float, now: float) -> None:
        """Reduce the places once for each overload; requests that began before the last reduction belong to that one."""
        if began > self._shrunk_at:
            self.limit = max(1.0, self.limit * self._shrink)
            self._doubling, self._shrunk_at = False, now


class Metronome:
    """An even rate by the generic cell rate algorithm (ITU-T I.371): in any time span at most rate x time + burst."""

    def __init__(self) -> None:
        self._interval = 0.0
        self._slack = 0.0
        self._latest = -inf
        self._due = -inf

    def set(self, rate: float, *, burst: float) -> None:
        self._interval = 1.0 / rate
        self._slack = (burst - 1.0) * self._interval
        self._due = max(self._due, self._latest + self._interval)

    def wait(self, now: float) -> float:
        return max(0.0, self._due - self._slack - now)

    def begin(self, now: float, n: int = 1) -> None:
        self._latest = now
        self._due = max(self._due, now) + n * self._interval


@dataclass
class Refusals:
    """A group of refusals, and the single tries that followed them."""

    first: float
    """When the request began whose refusal came first."""
    noticed: float
    """When that refusal came."""
    known: float
    """Refusals of requests that began before this time belong to this group."""
    asked_pause: float
    """Seconds that the server asked to wait; 0 without a Retry-After."""
    rate_before: float
    """The rate a second at the time of the first refusal."""
    beside: int = 0
    """Of the requests that were under way at the first refusal: those refused, less those accepted."""
    tries: int = 0
    """Single tries since then that were refused."""
    last: float = -inf
    """When the latest refused try began."""
    answer_due: float = inf
    """When the try under way counts as accepted; inf without one."""
    over: bool = False
    """A try was accepted, so the refusals have ended."""
    window: float | None = None
    """The window that was full, in seconds, once it is known."""
    margin: float = 0.0
    """Share of the measured rate that is left unused."""
    least: float = 0.0
    """The lowest rate that these refusals may lead to: half of the rate before, and less of a step where little was counted."""


@dataclass
class Level:
    """The rate that is kept to, and how it grows."""

    window: float
    """The server's window in seconds."""
    step: float
    """The share of `base` that is added next."""
    base: float = 0.0
    """Requests a second as last measured, less the margin."""
    since: float = 0.0
    """When it was measured."""
    grown: float = 0.0
    """Requests a second that are tried on top of `base`."""
    grow_at: float = inf
    """When `step` is added."""

    @property
    def rate(self) -> float:
        return self.base * (1.0 + self.grown)


class Limits:
    """Finds the accepted rate by one law: a server that refuses goes on accepting as many as it had just accepted in a window.

    The accepted requests are counted. The server's window shows when one request at a time is tried after a refusal: a window
    that has passed while tries were still refused was not the full one; the shortest of the others is. After a while a
    little more is tried, and a new refusal starts over.

    Not every refusal shows a limit: if most requests beside it were accepted, and so is the next try, it stands alone. A
    refusal that stands alone lowers the rate a little. If that does not end them, they come by chance: the rate is restored,
    and only many refusals together count as a limit.
    """

    def __init__(self, sent: Sent | None = None, *, in_secret: bool = False, tuning: PaceTuning = TUNING) -> None:
        """`sent`: what was sent, where its owner counts it too.

        `in_secret`: refusals show only in failed rows: they come late, without Retry-After, and never by chance.
        """
        self._tuning = tuning
        self._in_secret = in_secret
        self._sent = Sent(kept=tuning.windows[-1]) if sent is None else sent
        self._beat = Metronome()
        self._level: Level | None = None
        self._level_before: Level | None = None
        """The level before the latest refusals that stood alone, to be restored if those come by chance."""
        self._alone = 0
        """Refusals that stood alone in a row, although the rate was lowered."""
        self._in_a_row = 0
        """Requests accepted since the latest refusal."""
        self._share = 0.0
        """Share of refused ones among the latest hundred requests or so."""
        self._closed_until = -inf
        self._refusals: Refusals | None = None
        self._holds = 1
        self._pressed = False
        """A request had to wait for the rate, so that growing would help."""
        self.learns = True
        """False: the limits are known (a named or recognised tier), and a refusal only pauses and tries again."""

    @property
    def rate(self) -> float | None:
        """Requests a second; None while no limit is known."""
        return None if self._level is None else self._level.rate

    @property
    def window(self) -> float | None:
        """The server's window in seconds; None while no limit is known."""
        return None if self._level is None else self._level.window

    @property
    def trying(self) -> Refusals | None:
        """The refusals that are being examined by single tries; None where there are none."""
        return None if self._refusals is None or self._refusals.over else self._refusals

    def wait(self, now: float) -> float:
        if now < self._closed_until:
            return self._closed_until - now
        if (event := self.trying) and event.answer_due < inf:
            if now < event.answer_due:
                return event.answer_due - now
            self._is_over(event, now)
        wait = self._beat.wait(now)
        if (level := self._level) is not None and self._counts_exactly:
            most = max(1, int(level.rate * level.window))
            wait = max(wait, self._sent.wait(most, level.window + self._tuning.skew, now))
        self._pressed = self._pressed or wait > 0.0
        return wait

    def begin(self, now: float, n: int = 1) -> None:
        self._beat.begin(now, n)
        if event := self.trying:
            event.answer_due = now + self._tuning.answer_within
            event.known = min(event.known, nextafter(now, -inf))

    def sent(self, at: float, n: int = 1, *, decided_at: float | None = None) -> None:
        """Count requests that went out at `at`. A request decided before a refusal was known belongs to that refusal."""
        self._sent.add(at, n)
        event = self._refusals
        if event is not None and decided_at is not None and decided_at <= event.known:
            event.known = max(event.known, at)

    def left(self, began: float, now: float) -> None:
        """Move a request's count from when it began to now, when it really went out."""
        self._sent.remove(began)
        self.sent(now, decided_at=began)

    def accepted(self, began: float, now: float, n: int = 1) -> None:
        self._share -= n * self._share / 100
        self._in_a_row += n
        if self._in_a_row >= self._tuning.in_a_row:
            self._alone = 0
        event = self._refusals
        if event is not None and event.first <= began <= event.noticed:
            event.beside -= n
        self.let_pass(began, now)
        self._grow(now)

    def let_pass(self, began: float, now: float) -> None:
        """A request that began then was not refused."""
        if (event := self.trying) and began > event.known:
            self._is_over(event, now)

    def refused(self, began: float, now: float, *, retry_after: float | None = None, n: int = 1) -> None:
        self._share += n * (1.0 - self._share) / 100
        self._in_a_row = 0
        self._sent.remove(began, n)
        event, pause = self._refusals, retry_after or 0.0
        if event is not None and began <= event.known:
            event.beside += n * (began >= event.first)
            if event.over and event.window is not None and self._level is not None and not self._level.grown:
                self._measure(event, self._level)  # a late refusal of the same group: measure again
        elif event is not None and not event.over:
            event.tries += 1
            event.last, event.known, event.answer_due = began, now, inf
            longest = max(self._tuning.pause, self._full_window(event) / 10)
            pause = max(pause, min(longest, backoff(event.tries, first=self._tuning.pause)))
        elif not self._is_tolerable:
            self._refusals = Refusals(began, now, now, asked_pause=pause, rate_before=self.rate or inf)
            pause = self._tuning.pause if retry_after is None else pause
        self._closed_until = max(self._closed_until, now + pause)

    def settle(self) -> None:
        """Stop learning: the limits are known, and kept to by the quota; the latest refusal is explained by them."""
        self.learns, self._level = False, None
        if self._refusals is not None:
            self._refusals.over = True
        self._set_beat()

    # -- what a refusal means

    @property
    def _is_tolerable(self) -> bool:
        """Whether so few are refused in secret that sending them again costs less than going slower."""
        is_steady = self._in_secret and self._level is not None and not self._level.grown
        return is_steady and self._share < self._tuning.tolerated

    @property
    def _is_chance(self) -> bool:
        return self._alone >= self._tuning.by_chance and not self._in_secret

    def _full_window(self, event: Refusals) -> float:
        """The shortest window that is longer than the time from the first refusal to the last, and than the Retry-After."""
        asked = event.asked_pause - 1.0  # it may be rounded up
        passed = max(event.last - event.first, asked if asked <= self._tuning.longest_pause else 0.0)
        shortest = next((w for w in self._tuning.windows if w > passed), self._tuning.windows[-1])
        return max(shortest, self.window or 0.0)

    def _is_over(self, event: Refusals, now: float) -> None:
        tuning = self._tuning
        event.over, self._share = True, 0.0
        if not self.learns or event.asked_pause > tuning.longest_pause + 1.0:
            return  # the server named a long wait itself, so the next refusal costs nothing but another such wait
        if self._is_believed(event):
            event.margin, self._alone = tuning.margin, self._alone if self._is_chance else 0
        else:
            self._level_before = self._level if self._alone == 0 else self._level_before
            self._alone += 1
            if self._is_chance and self._alone == tuning.by_chance:
                self._level = self._level_before
                self._set_beat()
            if self._is_chance or self._level is None:
                return
            event.margin = tuning.margin * min(8.0, 2.0 ** (self._alone - 1))
        event.window = self._full_window(event)
        event.least = 1.0 / event.window
        if self._level is not None:
            is_early = self._in_secret or event.first < self._level.since + event.window / 5
            event.least = event.rate_before * (1.0 - event.margin if self._alone and is_early else 0.5)
        self._learn(event, now)

    def _is_believed(self, event: Refusals) -> bool:
        """Whether the refusals show a limit: most requests beside the first were refused too, or several tries in a row."""
        proof, chance = self._tuning.proof, self._is_chance
        in_a_row = event.tries >= (2 * proof if chance else proof)
        return event.beside > (proof if chance else 1) or in_a_row or (self._in_secret and self._level is None)

    def _learn(self, event: Refusals, now: float) -> None:
        assert event.window is not None
        tuning, before = self._tuning, self._level
        level = Level(event.window, tuning.step, since=now)
        self._measure(event, level)
        hold = max(tuning.hold, event.window)
        longest = tuning.longest_hold * hold
        # A second time a handful is too few to go by: it may be all that was sent since the last refusals.
        if level.base * event.window < (tuning.burst if before is None else tuning.handful) and not self._in_secret:
            level.step, hold = tuning.large_step, tuning.windows[0]
        if before is None:
            self._holds = 1
        elif before.grown:
            self._holds = 1 if level.base > 1.05 * before.base else 2 * self._holds
        level.grow_at = now + min(self._holds * hold, longest)
        self._level = level
        self._set_beat()

    def _measure(self, event: Refusals, level: Level) -> None:
        """Set the base to what was accepted in the window before the refusal, and not above the rate that was refused."""
        # A busy machine's requests arrive in another order than they began, so a window around the refusal is counted too.
        until = [event.first] if self._in_secret else [event.first, event.noticed]
        counted = max(self._sent.within(level.window, moment) for moment in until)
        measured = counted * (1.0 - event.margin) / level.window
        level.base = max(event.least, min(event.rate_before, measured))
        if level is self._level:
            self._set_beat()

    # -- the beat

    @property
    def _counts_exactly(self) -> bool:
        """Whether the requests in a window are counted beside the beat; in long windows the margin is time enough for late beats."""
        return self._level is not None and self._level.window == self._tuning.windows[0] and not self._in_secret

    def _set_beat(self) -> None:
        level, tuning = self._level, self._tuning
        if level is None:
            return self._beat.set(inf, burst=1.0)
        # Half of the margin is for late timers, the other half for requests that arrive unevenly.
        spare = tuning.margin / 2 * level.base * level.window
        if self._counts_exactly:
            spare = max(spare, tuning.at_once * level.rate * level.window)
        self._beat.set(level.rate, burst=max(1.5, spare))

    def _grow(self, now: float) -> None:
        level = self._level
        if level is None or now < level.grow_at or self.trying or self._is_chance:
            return
        news_takes = self._tuning.news_takes if self._in_secret else self._tuning.windows[0]
        level.grow_at = now + max(news_takes, level.window / 4)
        if self._pressed:
            level.grown += level.step
            level.step *= 2.0
            self._pressed = False
            self._set_beat()


def backoff(attempt: int, *, first: float = 0.5, longest: float = TUNING.longest_pause) -> float:
    """Seconds before try number `attempt` + 1: doubling up to `longest`, and drawn at random from the upper half."""
    return min(longest, first * 2.0 ** min(attempt, 16)) * random.uniform(0.5, 1.0)
