"""Finding the rate that a server accepts, from its refusals. No clock here: time is passed in."""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import inf, nextafter

from fieval_tasks.pace.metronome import Metronome
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


@dataclass
class Level:
    """The requests that are sent in any window of time, and how they grow."""

    window: float
    """The server's window in seconds."""
    base: float
    """Requests in a window as last measured, less the margin."""
    since: float
    """When it was measured."""
    grow_at: float
    """When more is tried."""
    grown: float = 0.0
    """Share of `base` that is tried on top of it."""

    @property
    def count(self) -> float:
        return self.base * (1.0 + self.grown)


class Limits:
    """Finds the accepted rate by one law: a server that refuses goes on accepting as many as it had just accepted in a window.

    The accepted requests are counted. The server's window shows when one request at a time is tried after a refusal: a window
    that has passed while tries were still refused was not the full one; the shortest of the others is. After a while a
    little more is tried, and a new refusal starts over.

    A refusal beside which most requests were accepted, and so was the next try, stands alone. It may show a limit that was just
    met, too many requests at one moment, or chance. So it lowers the level a little; if others follow all the same they
    come by chance, and from then on only many refusals together count as a limit.
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
        self._margin = tuning.margin_in_secret if in_secret else tuning.margin
        self._at_once = tuning.at_once
        self._shortest_reply = inf
        """The shortest time from a request to its reply, in seconds."""
        self._alone = 0
        """Refusals that stood alone since the latest many together, and since `hold` passed without any."""
        self._is_proven = False
        """Many refusals together have shown that there is a limit."""
        self._share = 0.0
        """Share of refused ones among the latest hundred requests or so."""
        self._closed_until = -inf
        self._refusals: Refusals | None = None
        self._hold = tuning.hold
        self._pressed = False
        """A request had to wait for the rate, so that growing would help."""
        self.learns = True
        """False: the limits are known (a named or recognised tier), and a refusal only pauses and tries again."""

    @property
    def rate(self) -> float | None:
        """Requests a second; None while no limit is known."""
        return None if self._level is None else self._level.count / self._level.window

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
        level = self._level
        # In longer windows the margin is time enough for late beats, and a window that is none would stop everyone for long.
        if level is not None and level.window == self._tuning.windows[0] and not self._in_secret:
            wait = max(wait, self._sent.wait(max(1, int(level.count)), level.window, now))
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
        event = self._refusals
        if event is not None and event.first <= began <= event.noticed:
            event.beside -= n
        if not self._in_secret:
            self._arrived(began, now)
        self.let_pass(began, now)
        self._grow(now)

    def _arrived(self, began: float, now: float) -> None:
        """Count a request from the latest time at which it may have reached the server.

        The reply took so much longer than the shortest; whether on the way there or back is unknown.
        """
        self._shortest_reply = min(self._shortest_reply, now - began)
        late = min(self._tuning.late, now - began - self._shortest_reply)
        if late > 0.0:
            self._sent.remove(began)
            self._sent.add(began + late)

    def let_pass(self, began: float, now: float) -> None:
        """A request that began then was not refused."""
        if (event := self.trying) and began > event.known:
            self._is_over(event, now)

    def refused(self, began: float, now: float, *, retry_after: float | None = None, n: int = 1) -> None:
        self._share += n * (1.0 - self._share) / 100
        self._sent.remove(began, n)
        event, pause = self._refusals, retry_after or 0.0
        if event is not None and began <= event.known:
            event.beside += n * (began >= event.first)
        elif event is not None and not event.over:
            event.tries += 1
            event.last, event.known, event.answer_due = began, now, inf
            longest = max(self._tuning.pause, self._full_window(event) / 10)
            pause = max(pause, min(longest, backoff(event.tries, first=self._tuning.pause)))
        elif not self._is_tolerable:
            if event is not None and now > event.noticed + self._tuning.hold:
                self._alone = 0
            self._refusals = Refusals(began, now, now, asked_pause=pause)
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
        return is_steady and self._share < self._margin

    def _full_window(self, event: Refusals) -> float:
        """The shortest window that is longer than the time from the first refusal to the last, and than the Retry-After."""
        asked = event.asked_pause - 1.0  # it may be rounded up
        passed = max(event.last - event.first, asked if asked <= self._tuning.longest_pause else 0.0)
        shortest = next((w for w in self._tuning.windows if w > passed), self._tuning.windows[-1])
        return max(shortest, self.window or 0.0)

    def _is_over(self, event: Refusals, now: float) -> None:
        event.over, self._share = True, 0.0
        if not self.learns or event.asked_pause > self._tuning.longest_pause + 1.0:
            return  # the server named a long wait itself, so the next refusal costs nothing but another such wait
        level, window = self._level, self._full_window(event)
        if self._is_crowd(event):
            self._is_proven, self._alone = True, self._alone if self._is_chance else 0
            self._learn(event, now, least=0.5 * level.count if level and level.window == window else 1.0)
        elif self._in_secret:
            # The count decides: evaluations that start at uneven times would be refused again and again at nearly the same rate.
            self._learn(event, now, least=self._tuning.shrink * level.base if level else 1.0)
        elif not self._is_chance:
            self._alone += 1
            self._stood_alone(event, now)

    def _stood_alone(self, event: Refusals, now: float) -> None:
        level, window = self._level, self._full_window(event)
        counted = self._counted(event, window)
        if self._is_chance and not self._is_proven:
            self._level = None
        elif level is None:
            # As many as were just accepted: that costs nothing, and a limit that was just met is not exceeded once more.
            if counted >= self._few and window == self._tuning.windows[0]:
                self._learn(event, now, least=1.0)
        elif level.grown or counted >= (1.0 - self._margin) * level.base:
            self._learn(event, now, least=level.base * (1.0 if level.grown else 1.0 - self._margin))
        elif event.first < level.since + level.window:
            self._at_once /= 2.0  # the level was not even reached, so too many went at one moment
        else:
            self._learn(event, now, least=0.5 * level.base)
        self._set_beat()

    @property
    def _few(self) -> int:
        """Requests that may have been accepted as a burst, so that they say little of a rate: four round trips at first."""
        return 4 * self._tuning.first_places

    @property
    def _is_chance(self) -> bool:
        return self._alone >= 2 * self._tuning.proof

    def _is_crowd(self, event: Refusals) -> bool:
        """Whether the refusals show a limit: most requests beside the first were refused too, or several tries in a row."""
        proof, chance = self._tuning.proof, self._is_chance
        return event.beside > (proof if chance else 1) or event.tries >= (2 * proof if chance else proof)

    def _counted(self, event: Refusals, window: float) -> int:
        """Requests that were accepted in the window before the refusal.

        A busy machine's requests arrive in another order than they began, so a window around the refusal is counted too.
        """
        until = [event.first] if self._in_secret else [event.first, event.noticed]
        return max(self._sent.within(window, moment) for moment in until)

    def _learn(self, event: Refusals, now: float, *, least: float) -> None:
        """Keep to what was counted, less a margin; not above what was refused, and not below `least`."""
        tuning, before, window = self._tuning, self._level, self._full_window(event)
        base = self._counted(event, window) * (1.0 - self._margin)
        if before is not None and before.window == window:
            base = min(base, before.count)
        base = max(base, least)
        brought_nothing = before is not None and before.grown and base <= 1.05 * before.base
        self._hold = 2.0 * self._hold if brought_nothing else tuning.hold
        # With so few accepted more is tried soon. Of a level that is lowered, half the first places: single tries let pass as many.
        is_few = base < (self._few if before is None else tuning.first_places // 2) and not self._in_secret
        hold = tuning.windows[0] if is_few else max(self._hold, window)
        self._level = Level(window, base, now, grow_at=now + hold)
        self._set_beat()

    # -- the beat

    def _set_beat(self) -> None:
        if (level := self._level) is None:
            return self._beat.set(inf, burst=1.0)
        rate = level.count / level.window
        spare = max(self._margin / 2 * level.count, 0.0 if self._in_secret else self._at_once * rate)
        self._beat.set(rate, burst=max(1.5, spare))

    def _grow(self, now: float) -> None:
        level = self._level
        if level is None or now < level.grow_at or self.trying or self._is_chance:
            return
        news_takes = self._tuning.news_takes if self._in_secret else self._tuning.windows[0]
        level.grow_at = now + max(news_takes, level.window / 4)
        if self._pressed:
            level.grown = 2.0 * level.grown + self._tuning.step
            self._pressed = False
            self._set_beat()


def backoff(attempt: int, *, first: float = 0.5, longest: float = TUNING.longest_pause) -> float:
    """Seconds before try number `attempt` + 1: doubling up to `longest`, and drawn at random from the upper half."""
    return min(longest, first * 2.0 ** min(attempt, 16)) * random.uniform(0.5, 1.0)
