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
    """The rate that is kept to, and how it grows."""

    window: float
    """The server's window in seconds."""
    base: float
    """Requests a second as last measured, less the margin."""
    grow_at: float
    """When `step` is added."""
    step: float
    """The share of `base` that is added next."""
    grown: float = 0.0
    """The share of `base` that is tried on top of it."""

    @property
    def rate(self) -> float:
        return self.base * (1.0 + self.grown)


class Limits:
    """Finds the accepted rate by one law: a server that refuses goes on accepting as many as it had just accepted in a window.

    The accepted requests are counted. The server's window shows when one request at a time is tried after a refusal: a window
    that has passed while tries were still refused was not the full one; the shortest of the others is. After a while a
    little more is tried, and a new refusal starts over.

    Not every refusal shows a limit: if most requests beside it were accepted, and so is the next try, it stands alone. It ends
    growing, or lowers a rate that was used to the full a little. Otherwise it came by chance, or because too many went at one
    moment: then fewer may. The very first is believed where much was accepted before it, until another comes by chance.
    """

    def __init__(self, sent: Sent | None = None, *, in_secret: bool = False, tuning: PaceTuning = TUNING) -> None:
        """`sent`: what was sent, where its owner counts it too.

        `in_secret`: refusals show only in failed rows: they come late and without Retry-After, never by chance.
        """
        self._tuning = tuning
        self._in_secret = in_secret
        self._margin = tuning.margin_in_secret if in_secret else tuning.margin
        self._sent = Sent(kept=tuning.windows[-1]) if sent is None else sent
        self._beat = Metronome()
        self._level: Level | None = None
        self._shortest_reply = inf
        """The shortest time from a request to its reply, in seconds."""
        self._share = 0.0
        """Share of refused ones among the latest hundred requests or so."""
        self._is_proven = False
        """Many refusals together, or several tries, have shown that there is a limit."""
        self._closed_until = -inf
        self._refusals: Refusals | None = None
        self._hold = tuning.hold
        """Seconds before more is tried; doubled each time that growing brought nothing."""
        self._at_once = tuning.at_once
        """Share of a limit a second that may go at once."""
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
            wait = max(wait, self._sent.wait(most, level.window, now))
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
        late = min(self._tuning.reply_delay, now - began - self._shortest_reply)
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
        level, window, kept = self._level, self._full_window(event), 1.0 - self._margin
        # A busy machine's requests arrive in another order than they began; evaluations are noticed too late for that to matter.
        counted = self._sent.within(window, event.first if self._in_secret else event.noticed)
        if self._shows_a_limit(event):
            self._is_proven = True
            least = level.rate / 2 if level is not None and level.window == window else 1.0 / window
        elif level is None:
            # Believed where it may have met a limit a second: a second crowd of refusals would cost a second's pause.
            if counted < self._tuning.burst or window > self._tuning.windows[0] or not event.asked_pause:
                return
            least = 1.0 / window
        elif level.grown:
            least = level.base
        # What comes by chance comes below the full level. Two may be missing: a window begins and ends between requests.
        elif counted + 2 >= kept * level.base * window:
            least = kept * level.base
        else:
            self._at_once /= 2.0
            self._level = level if self._is_proven else None  # the first one came by chance, too
            return self._set_beat()
        self._learn(max(least, min(self.rate or inf, kept * counted / window)), window, now)

    def _shows_a_limit(self, event: Refusals) -> bool:
        """Whether most requests beside it were refused too, or several tries in a row: more than come by chance."""
        is_first = self._in_secret and self._level is None
        return is_first or event.beside > 0 or event.tries >= self._tuning.proof

    def _learn(self, base: float, window: float, now: float) -> None:
        tuning, before = self._tuning, self._level
        if before is None:
            is_few = base * window < tuning.burst and not self._in_secret
            self._hold = tuning.windows[0] if is_few else tuning.hold
        elif before.grown and base <= 1.05 * before.base:
            self._hold = max(2.0 * self._hold, tuning.hold)
        step = tuning.step if self._hold >= tuning.hold else tuning.large_step
        self._level = Level(window, base, grow_at=now + max(self._hold, window), step=step)
        self._set_beat()

    # -- the beat

    @property
    def _counts_exactly(self) -> bool:
        """Whether the requests in a window are counted beside the beat; in long windows the margin is time enough for late beats."""
        return self._level is not None and self._level.window == self._tuning.windows[0] and not self._in_secret

    def _set_beat(self) -> None:
        level = self._level
        if level is None:
            return self._beat.set(inf, burst=1.0)
        # Half of the margin is for late timers, the other half for requests that arrive unevenly.
        spare = self._margin / 2 * level.base * level.window
        if self._counts_exactly:
            spare = max(spare, self._at_once * level.rate * level.window)
        self._beat.set(level.rate, burst=max(1.5, spare))

    def _grow(self, now: float) -> None:
        level = self._level
        if level is None or now < level.grow_at or self.trying:
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
