"""What a server bears, found from what it refuses. Pure: time is passed in.

From the top: `Governor` = `Places` (how many requests at once) + `Limits` (how many in a second, kept to by a `Metronome`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import inf, nextafter
from typing import Literal

from fieval_tasks.pace.pace_tuning import TUNING, PaceTuning

Kind = Literal["submit", "poll"]


class Governor:
    """Decides when a request may begin: within the user's bounds, and within what the server was found to bear."""

    def __init__(self, *, concurrency: int, rate: float | None = None, tuning: PaceTuning = TUNING) -> None:
        self.limits = Limits(tuning=tuning)
        self.places = Places(concurrency, tuning)
        self.in_flight = 0
        self._late = tuning.late
        self._asked = Metronome()
        self.bound(concurrency=concurrency, rate=rate)

    def bound(self, *, concurrency: int, rate: float | None) -> None:
        """Other bounds of the user's, from now on."""
        self.places.bind(concurrency)
        self._asked = Metronome()
        if rate is not None:
            self._asked.set(rate, burst=1.0 + self._late * rate)

    def wait(self, now: float) -> float:
        if self.in_flight >= int(self.places.limit):
            return inf
        return max(self.limits.wait(now), self._asked.wait(now))

    def begin(self, now: float, n: int = 1) -> None:
        self.in_flight += 1
        self._asked.begin(now)
        self.limits.begin(now)
        self.limits.sent(now)

    def left(self, began: float, now: float) -> None:
        """What began then went out only now."""
        self.limits.left(began, now)

    def leave(self, n: int = 1) -> None:
        self.in_flight -= 1

    def accepted(self, started_at: float | None, now: float) -> None:
        self.places.accepted(self.in_flight)
        self.limits.accepted(now if started_at is None else started_at, now)

    def refused(self, started_at: float | None, now: float, retry_after: float | None) -> None:
        if started_at is None:
            self.limits.pause(now, retry_after)
        else:
            self.limits.refused(started_at, now, retry_after=retry_after)

    def faltered(self, started_at: float | None, now: float) -> None:
        self.places.shrink(now if started_at is None else started_at, now)


class Places:
    """How many requests at once: twice as many each round trip until the server fails, then a few more or fewer.

    Additive increase, multiplicative decrease (Chiu and Jain, 1989). Each reply adds its share of a round trip's growth,
    and only while the places are used: unused ones say nothing about the server.
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
            more = 1.0 if self._doubling else 1.0 / self.limit
            self.limit = min(float(self.bound), self.limit + more)

    def shrink(self, began: float, now: float) -> None:
        """Once per event: what began before the last time is part of it."""
        if began > self._shrunk_at:
            self.limit = max(1.0, self.limit * self._shrink)
            self._doubling = False
            self._shrunk_at = now


class Metronome:
    """An even beat (the generic cell rate algorithm): in any stretch of time at most rate x time + burst."""

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


# -- how many in a second ------------------------------------------------------------------------------------------------


@dataclass
class Refusals:
    """What was refused at one time, and the tries that followed, one after the other."""

    first: float
    """When the request began whose refusal was known first."""
    noticed: float
    """When that was."""
    known: float
    """Whatever began before this can't have known better."""
    told: float
    """Seconds that the server asked to wait; 0 where it asked nothing."""
    rate_before: float
    refused: int = 0
    """Of those that began after the first one and before its refusal was known;"""
    accepted: int = 0
    """and of the same, those that were not."""
    tries: int = 0
    last: float = -inf
    """When the latest try that was refused began."""
    answer_due: float = inf
    """When the try under way counts as accepted; inf: there is none."""
    over: bool = False
    window: float | None = None
    """The one that was full, once that is known."""
    margin: float = 0.0


@dataclass
class Level:
    """The rate that is kept to."""

    window: float
    base: float
    """A second, as it was last measured, less a margin."""
    grown: float = 0.0
    """Share of the base that is tried on top."""
    step: float = 0.0
    """The next share."""
    grow_at: float = inf

    @property
    def rate(self) -> float:
        return self.base * (1.0 + self.grown)


class Limits:
    """Finds the rate that is accepted, by one law: a server that refuses goes on accepting what it had just accepted in a window.

    That is counted, not guessed. Which window it was shows when one request at a time is tried again: a window that has
    passed without the server taking more was not the full one. The shortest that remains is the one. After a while a little
    more is tried, and from there on the same again.

    Not every refusal tells of a limit: where most beside it were accepted and the next try is, it stands alone. Those slow
    down a little; where that does not end them they come by chance, what they brought is undone, and only many are believed.
    """

    def __init__(self, *, in_secret: bool = False, tuning: PaceTuning = TUNING) -> None:
        """`in_secret`: refusals are heard late, name no time, and are never by chance."""
        self._tuning = tuning
        self._tolerated = tuning.tolerated if in_secret else 0.0
        self._news_takes = tuning.news_takes if in_secret else tuning.windows[0]
        self._in_secret = in_secret
        self._counts = {window: Count(window) for window in tuning.windows}
        self._beat = Metronome()
        self._level: Level | None = None
        self._closed_until = -inf
        self._refusals: Refusals | None = None
        self._alone = 0
        """Refusals in a row that stood alone, and did not end when it became slower."""
        self._level_before: Level | None = None
        """What was kept to before those."""
        self._share = 0.0
        """Of the latest hundred or so, those refused."""
        self._in_a_row = 0
        """Accepted since the latest refusal."""
        self._unexplained = 0
        self._holds = 1.0
        self._pressed = False
        """Someone had to wait for the beat: it is this rate that holds up the requests."""
        self.learns = True
        """False: the limits are known, and a refusal costs no more than its pause."""

    @property
    def rate(self) -> float | None:
        """The beat, a second; None while no limit is known."""
        return None if self._level is None else self._level.rate

    @property
    def window(self) -> float | None:
        """Seconds in which the server was found to count."""
        return None if self._level is None else self._level.window

    @property
    def tries(self) -> int:
        """Refused in a row, one after the other, since the refusal that is not explained yet; 0 where there is none."""
        return self._refusals.tries if self._refusals and self.trying else 0

    @property
    def trying(self) -> bool:
        """A refusal came, and what is behind it is not clear yet."""
        return self._refusals is not None and not self._refusals.over

    def wait(self, now: float) -> float:
        if now < self._closed_until:
            return self._closed_until - now
        event = self._refusals
        if event is not None and not event.over and event.answer_due < inf:
            if now < event.answer_due:
                return event.answer_due - now
            self._is_over(event, now)
        wait = self._beat.wait(now)
        self._pressed = self._pressed or wait > 0.0
        return wait

    def begin(self, now: float, n: int = 1) -> None:
        self._beat.begin(now, n)
        if self._refusals is not None and not self._refusals.over:
            self._refusals.answer_due = now + self._tuning.answer_within
            self._refusals.known = min(self._refusals.known, nextafter(now, -inf))

    def sent(self, at: float, n: int = 1, *, decided_at: float | None = None) -> None:
        """It is on its way. One that was let in before a refusal was known belongs to that refusal, however late it left."""
        for count in self._counts.values():
            count.add(at, n)
        event = self._refusals
        if event is not None and decided_at is not None and decided_at <= event.known:
            event.known = max(event.known, at)

    def left(self, began: float, now: float) -> None:
        """It was counted when it began, and was on its way only now."""
        for count in self._counts.values():
            count.add(began, -1)
        self.sent(now, decided_at=began)

    def accepted(self, began: float, now: float, n: int = 1) -> None:
        self._unexplained = 0
        self._share -= n * self._share / 100
        self._in_a_row += n
        if self._in_a_row >= self._tuning.in_a_row:
            self._alone = 0
        event = self._refusals
        if event is not None and event.first <= began <= event.noticed:
            event.accepted += n
        self.let_pass(began, now)
        self._grow(now)

    def let_pass(self, began: float, now: float) -> None:
        """What began then was not refused."""
        event = self._refusals
        if event is not None and not event.over and began > event.known:
            self._is_over(event, now)

    def pause(self, now: float, retry_after: float | None) -> None:
        """A refusal, but nobody knows of what."""
        pause = backoff(self._unexplained, first=self._tuning.pause) if retry_after is None else retry_after
        self._unexplained += 1
        self._closed_until = max(self._closed_until, now + pause)

    def refused(self, began: float, now: float, *, retry_after: float | None = None, n: int = 1) -> None:
        self._share += n * (1.0 - self._share) / 100
        self._in_a_row = 0
        for count in self._counts.values():
            count.add(began, -n)
        event, pause = self._refusals, retry_after or 0.0
        if event is not None and began <= event.known:
            event.refused += n * (began >= event.first)
            if event.over and event.window is not None and self._level is not None and not self._level.grown:
                self._measure(event, self._level)  # late news of it: count again
        elif event is not None and not event.over:
            event.tries += 1
            event.last, event.known, event.answer_due = began, now, inf
            longest = max(self._tuning.pause, self._full_window(event) / 10)
            pause = max(pause, min(longest, backoff(event.tries, first=self._tuning.pause)))
        elif self._is_tolerable(retry_after):
            return
        else:
            self._refusals = Refusals(began, now, now, told=pause, rate_before=self.rate or inf)
            pause = self._tuning.pause if retry_after is None else pause
        self._closed_until = max(self._closed_until, now + pause)

    def settle(self) -> None:
        """What is behind the latest refusal is known otherwise, and the limits are kept by others."""
        self.learns = False
        self._level = None
        if self._refusals is not None:
            self._refusals.over = True
        self._set_beat()

    # -- what a refusal means

    @property
    def _is_chance(self) -> bool:
        return self._alone >= self._tuning.by_chance and not self._in_secret

    def _is_tolerable(self, retry_after: float | None) -> bool:
        is_steady = self._level is not None and not self._level.grown
        return is_steady and retry_after is None and self._share < self._tolerated

    def _full_window(self, event: Refusals) -> float:
        """The shortest that did not pass between the first refusal and the last, and not while the server asked to wait."""
        told = event.told - 1.0  # it may be rounded up
        passed = max(event.last - event.first, told if told <= self._tuning.longest_pause else 0.0)
        shortest = next((w for w in self._tuning.windows if w > passed), self._tuning.windows[-1])
        return max(shortest, self.window or 0.0)

    def _is_over(self, event: Refusals, now: float) -> None:
        event.over, self._share = True, 0.0
        if not self.learns or event.told > self._tuning.longest_pause + 1.0:
            return  # it said itself when to come back, and that costs nobody anything but the wait
        if self._is_believed(event):
            event.margin = self._tuning.margin
            if not self._is_chance:
                self._alone = 0
        else:
            if self._alone == 0:
                self._level_before = self._level
            self._alone += 1
            if self._alone == self._tuning.by_chance and not self._in_secret:
                self._level = self._level_before
                self._set_beat()
            if self._is_chance or self._level is None:
                return
            event.margin = self._tuning.margin * min(8.0, 2.0 ** (self._alone - 1))
        event.window = self._full_window(event)
        self._learn(event, now)

    def _is_believed(self, event: Refusals) -> bool:
        """Most of what was under way beside it was refused, too, or several tries in a row."""
        beside = event.accepted + (self._tuning.proof if self._is_chance else 1)
        in_a_row = self._tuning.proof * (2 if self._is_chance else 1)
        return event.refused > beside or event.tries >= in_a_row or (self._in_secret and self._level is None)

    def _learn(self, event: Refusals, now: float) -> None:
        assert event.window is not None
        tuning, before = self._tuning, self._level
        level = Level(event.window, inf, step=tuning.step)
        self._measure(event, level)
        hold = max(tuning.hold, event.window)
        if before is None:
            self._holds = 1.0
            if level.base * event.window < tuning.burst and not self._in_secret:
                level.step, hold = tuning.large_step, tuning.windows[0]
        elif before.grown:
            self._holds = 1.0 if level.base > 1.05 * before.base else min(2.0 * self._holds, tuning.longest_hold)
        level.grow_at = now + self._holds * hold
        self._level = level
        self._set_beat()

    def _measure(self, event: Refusals, level: Level) -> None:
        """What was accepted in the window before the refusal; not above what was too much, nor below half of it at a time."""
        assert event.window is not None
        counted = self._counts[event.window].until(event.first)
        measured = counted * (1.0 - event.margin) / event.window
        least = event.rate_before * (1.0 - event.margin if self._in_secret and self._alone else 0.5)
        least = 1.0 / event.window if least == inf else least
        level.base = max(least, min(event.rate_before, measured))
        if level is self._level:
            self._set_beat()

    # -- the beat

    def _set_beat(self) -> None:
        level = self._level
        if level is None:
            return self._beat.set(inf, burst=1.0)
        spare = self._tuning.margin * level.base * level.window  # what a beat heard late may catch up with
        self._beat.set(level.rate, burst=max(1.5, spare))

    def _grow(self, now: float) -> None:
        level = self._level
        if level is None or now < level.grow_at or self.trying or self._is_chance:
            return
        level.grow_at = now + max(self._news_takes, level.window / 4)
        if self._pressed:
            level.grown += level.step
            level.step *= 2.0
            self._pressed = False
            self._set_beat()


class Count:
    """How many began, and are not known to be refused, in a window up to any moment; to half a percent of its length."""

    GRAINS = 200
    REMEMBERED = 60.0
    """Seconds for which late news may still correct the count."""

    def __init__(self, window: float) -> None:
        self._width = window / self.GRAINS
        self._kept = self.GRAINS + int(self.REMEMBERED / self._width) + 1
        self._began: dict[int, int] = {}

    def add(self, at: float, n: int) -> None:
        grain = int(at / self._width)
        self._began[grain] = self._began.get(grain, 0) + n
        if len(self._began) > 2 * self._kept:
            self._began = {g: n for g, n in self._began.items() if g >= grain - self._kept}

    def until(self, moment: float) -> int:
        """With the grain at the far end: what was sent just before the window may have reached the server in it."""
        last = int(moment / self._width)
        return sum(self._began.get(grain, 0) for grain in range(last - self.GRAINS, last + 1))


def backoff(attempt: int, *, first: float = 0.5, longest: float = TUNING.longest_pause) -> float:
    """Seconds before try number `attempt` + 1: doubling, capped, and spread over its upper half by chance."""
    full = min(longest, first * 2.0 ** min(attempt, 16))
    return full * random.uniform(0.5, 1.0)
