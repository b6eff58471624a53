"""The rate that a server bears, found from what it refuses. Pure: time is passed in."""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import inf, nextafter

from fieval_tasks.pace.pace_tuning import TUNING, PaceTuning


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
            self.limit = min(float(self.bound), self.limit + (1.0 if self._doubling else 1.0 / self.limit))

    def shrink(self, began: float, now: float) -> None:
        """Once per event: what began before the last time is part of it."""
        if began > self._shrunk_at:
            self.limit = max(1.0, self.limit * self._shrink)
            self._doubling, self._shrunk_at = False, now


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


@dataclass
class Refusals:
    """What was refused at one time, and the tries that followed, one after the other."""

    first: float
    """When the request began whose refusal was known first, and"""
    noticed: float
    """when that was."""
    known: float
    """Whatever began before this can't have known better."""
    asked_pause: float
    """Seconds that the server asked to wait; 0 where it asked nothing."""
    rate_before: float
    beside: int = 0
    """Refused of those that began between the first one and its refusal, less those that were not."""
    tries: int = 0
    last: float = -inf
    """When the latest try that was refused began."""
    answer_due: float = inf
    """When the try under way counts as accepted; inf: there is none."""
    over: bool = False
    window: float | None = None
    """The one that was full, once that is known."""
    margin: float = 0.0
    least: float = 0.0
    """The rate below which it does not lower the level: half of what it was, and less of a step where little could be counted."""


@dataclass
class Level:
    """The rate that is kept to."""

    window: float
    step: float
    """The next share of the base that is tried on top, and when."""
    base: float = 0.0
    """A second, as it was last measured, less a margin,"""
    since: float = 0.0
    """and when that was."""
    grown: float = 0.0
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
        self._in_secret = in_secret
        self._counts = {window: Count(window) for window in tuning.windows}
        self._beat = Metronome()
        self._level: Level | None = None
        self._level_before: Level | None = None
        """What was kept to before the latest refusals that stood alone;"""
        self._alone = 0
        """so many in a row did, and did not end when it became slower."""
        self._in_a_row = 0
        """Accepted since the latest refusal."""
        self._share = 0.0
        """Of the latest hundred or so, those refused."""
        self._closed_until = -inf
        self._refusals: Refusals | None = None
        self._holds = 1
        self._pressed = False
        """Someone had to wait for the beat: it is this rate that holds up the requests."""
        self.learns = True
        """False: the limits are known, and a refusal costs no more than its pause and a try."""

    @property
    def rate(self) -> float | None:
        """The beat, a second; None while no limit is known."""
        return None if self._level is None else self._level.rate

    @property
    def window(self) -> float | None:
        """Seconds in which the server was found to count."""
        return None if self._level is None else self._level.window

    @property
    def trying(self) -> Refusals | None:
        """Refusals of which it is not clear yet what is behind them: one request at a time goes out."""
        return None if self._refusals is None or self._refusals.over else self._refusals

    def wait(self, now: float) -> float:
        if now < self._closed_until:
            return self._closed_until - now
        if (event := self.trying) and event.answer_due < inf:
            if now < event.answer_due:
                return event.answer_due - now
            self._is_over(event, now)
        wait = self._beat.wait(now)
        self._pressed = self._pressed or wait > 0.0
        return wait

    def begin(self, now: float, n: int = 1) -> None:
        self._beat.begin(now, n)
        if event := self.trying:
            event.answer_due = now + self._tuning.answer_within
            event.known = min(event.known, nextafter(now, -inf))

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
        """What began then was not refused."""
        if (event := self.trying) and began > event.known:
            self._is_over(event, now)

    def refused(self, began: float, now: float, *, retry_after: float | None = None, n: int = 1) -> None:
        self._share += n * (1.0 - self._share) / 100
        self._in_a_row = 0
        for count in self._counts.values():
            count.add(began, -n)
        event, pause = self._refusals, retry_after or 0.0
        if event is not None and began <= event.known:
            event.beside += n * (began >= event.first)
            if event.over and event.window is not None and self._level is not None and not self._level.grown:
                self._measure(event, self._level)  # late news of it: count again
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
        """The limits are known and kept by others: what is behind the latest refusal, too."""
        self.learns, self._level = False, None
        if self._refusals is not None:
            self._refusals.over = True
        self._set_beat()

    # -- what a refusal means

    @property
    def _is_tolerable(self) -> bool:
        """Refused in secret: it is only sent again."""
        is_steady = self._in_secret and self._level is not None and not self._level.grown
        return is_steady and self._share < self._tuning.tolerated

    @property
    def _is_chance(self) -> bool:
        return self._alone >= self._tuning.by_chance and not self._in_secret

    def _full_window(self, event: Refusals) -> float:
        """The shortest that did not pass between the first refusal and the last, and not while the server asked to wait."""
        asked = event.asked_pause - 1.0  # it may be rounded up
        passed = max(event.last - event.first, asked if asked <= self._tuning.longest_pause else 0.0)
        shortest = next((w for w in self._tuning.windows if w > passed), self._tuning.windows[-1])
        return max(shortest, self.window or 0.0)

    def _is_over(self, event: Refusals, now: float) -> None:
        tuning = self._tuning
        event.over, self._share = True, 0.0
        if not self.learns or event.asked_pause > tuning.longest_pause + 1.0:
            return  # it said itself when to come back, and that costs nobody anything but the wait
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
        """Most of what was under way beside it was refused, too, or several tries in a row."""
        proof, chance = self._tuning.proof, self._is_chance
        in_a_row = event.tries >= (2 * proof if chance else proof)
        return event.beside > (proof if chance else 1) or in_a_row or (self._in_secret and self._level is None)

    def _learn(self, event: Refusals, now: float) -> None:
        assert event.window is not None
        tuning, before = self._tuning, self._level
        level = Level(event.window, tuning.step, since=now)
        self._measure(event, level)
        hold = max(tuning.hold, event.window)
        if before is None:
            self._holds = 1
            if level.base * event.window < tuning.burst and not self._in_secret:
                level.step, hold = tuning.large_step, tuning.windows[0]
        elif before.grown:
            self._holds = 1 if level.base > 1.05 * before.base else min(2 * self._holds, tuning.longest_hold)
        level.grow_at = now + self._holds * hold
        self._level = level
        self._set_beat()

    def _measure(self, event: Refusals, level: Level) -> None:
        """What was accepted in the window before the refusal; not above what was too much."""
        count = self._counts[level.window]
        # a busy machine's requests arrive in another order than they began: those accepted around it were within a window, too
        counted = max(count.until(event.first), 0 if self._in_secret else count.until(event.noticed))
        measured = counted * (1.0 - event.margin) / level.window
        level.base = max(event.least, min(event.rate_before, measured))
        if level is self._level:
            self._set_beat()

    # -- the beat

    def _set_beat(self) -> None:
        level = self._level
        if level is None:
            return self._beat.set(inf, burst=1.0)
        # half of the margin is for beats that are heard late, the other half for requests that arrive unevenly
        spare = self._tuning.margin / 2 * level.base * level.window
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
    return min(longest, first * 2.0 ** min(attempt, 16)) * random.uniform(0.5, 1.0)
