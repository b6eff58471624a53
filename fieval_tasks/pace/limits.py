"""What a server bears, found from what it refuses. Pure: time is passed in.

From the top: `Governor` = `Places` (how many requests at once) + `Limits` (how many in a window of time, by `Ceiling`s
and `Tally`s, kept to by a `Metronome`).
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from math import ceil, inf, sqrt
from typing import Literal

Kind = Literal["submit", "poll"]

SHORTEST_PAUSE = 1.0
LONGEST_PAUSE = 60.0

FIRST_PLACES = 16
"""Requests at once, to begin with."""
SATURATED = 0.8
"""Share of the places in use from which more of them would be used."""
SHRINK = 0.7
"""What is left of the places after a refusal or a failure of the server."""
QUEUEING = 2.0
"""Replies that take so many times their usual least mean that the server queues: more at once bring nothing."""
REPLIES = 16
"""So many of the latest replies are averaged."""
FORGETTING = 0.005
"""How much the least reply time is taken to have risen, a second: servers change."""
HEADROOM = 1.5
"""Places for each request that a known rate keeps under way: reply times vary."""

WINDOWS = (1.0, 10.0, 60.0, 3600.0, 86400.0)
"""Seconds: the stretches of time in which servers count."""
MARGIN = 0.03
"""How far below a limit to stay: requests sent evenly arrive less evenly."""
WIDEST_MARGIN = 0.24
FULL = 0.95
"""Share of a refused count that still looks as full to the server."""
KNOWN_AGAIN = 0.9
"""Share of a known limit from which a refusal is put down to that limit."""
LIGHT_PAUSE = 0.05
"""Windows to pause for after a refusal by a known limit, where the server names no time."""
PROVEN = 3.0
"""Windows for which a limit has to hold before one refusal can't take more than half of it."""
HOLD = 30.0
"""A level is held so many times longer than a refusal makes everyone wait, before a higher one is tried; and twice as
long each time that brings one."""
SHORTEST_HOLD = 5.0
"""In times that news of a refusal takes."""
LONGEST_HOLD = 16.0
"""In times of the first."""
LEAST_BURST = 1.5
"""With 1 a beat that is heard late, as timers are, would be lost."""
LATE = 0.02
"""Seconds that a timer may be late, before requests of a rate that was asked for are lost."""
STEP = 0.01
"""The first step upwards, as a share of the limit; each further one is twice as long."""
LARGE_STEP = 0.16
"""The same where what was counted may be a burst."""
CONTRADICTED = 0.7
"""Share of what was accepted in as long a time before: a lone refusal below it is no sign of a limit."""
SUSPICIOUS = 4
"""Lone refusals that slowing down did not end: some servers, and what stands before them, refuse by chance."""
FEW = 3
"""Others refused beside it that may be chance, where that is suspected."""
A_RUN = 3
"""So many tries refused in a row are no lone refusals."""
LONG = 60.0
"""Seconds: windows longer than this"""
PROOF = 6
"""need so many tries refused in a row, or that the server asks for as long a pause."""
UNSUSPICIOUS = 0.005
"""Share of refusals below which it no longer looks like chance."""
TOO_OFTEN = 3
"""Refusals with `Retry-After: 0` that are taken at their word: no window of time is full, so none is learned. Later ones
are not about a long window, at least."""
SKEW = 0.03
"""Seconds, at most, by which requests that leave together reach the server apart."""
PATIENCE = 1.5
"""Seconds after which a request counts as accepted: refusals come fast, judges need not."""


@dataclass(frozen=True)
class FoundLimit:
    """So many requests (or evaluations) in so many seconds were accepted, and no more."""

    count: int
    window: float


@dataclass(frozen=True)
class Learned:
    """What a run found out about the server's limits."""

    limits: tuple[FoundLimit, ...]
    refusals: int
    pauses: int
    paused: float
    """Seconds for which nothing could start."""


class Governor:
    """The gate for requests: within the user's bounds and within what the server was found to bear."""

    def __init__(self, *, concurrency: int, rate: float | None = None) -> None:
        self.limits = Limits()
        self.in_flight = 0
        self._places = Places(concurrency)
        self._replies: dict[Kind, ReplyTimes] = {"submit": ReplyTimes(), "poll": ReplyTimes()}
        self._asked = _beat(rate)
        self._latest_start = -inf

    def bound(self, *, concurrency: int, rate: float | None) -> None:
        """Other bounds of the user's, from now on."""
        self._places.bind(concurrency)
        self._asked = _beat(rate)

    @property
    def room(self) -> int:
        """Places, but never fewer than a known rate keeps busy (Little's law: rate x reply time)."""
        room = int(self._places.limit)
        rate = self.limits.rate
        if rate is not None:
            usual = max(times.usual for times in self._replies.values())
            room = max(room, min(self._places.bound, ceil(HEADROOM * rate * usual) + 1))
        return room

    def wait(self, now: float) -> float:
        if self.in_flight >= self.room:
            return inf
        return max(self.limits.wait(now), self._asked.wait(now))

    def begin(self, now: float, n: int = 1) -> None:
        self.in_flight += 1
        self._latest_start = now
        self._asked.begin(now)
        self.limits.begin(now)
        self.limits.sent(now)

    def left(self, began: float, now: float) -> None:
        """What began then went out only now."""
        self._latest_start = now
        self.limits.left(began, now)

    def leave(self, n: int = 1) -> None:
        self.in_flight -= 1

    def accepted(self, started_at: float | None, now: float, kind: Kind) -> None:
        times = self._replies[kind]
        if started_at is not None:
            times.learn(now - started_at, now)
        self._places.accepted(self.in_flight, growing=not times.queueing)
        self.limits.accepted(self._began(started_at, now), now)

    def refused(self, started_at: float | None, now: float, retry_after: float | None) -> None:
        self._places.shrink(self._began(started_at, now), now)
        if started_at is None:
            self.limits.pause(now, retry_after)
        else:
            self.limits.refused(started_at, now, retry_after=retry_after)

    def faltered(self, started_at: float | None, now: float) -> None:
        self._places.shrink(self._began(started_at, now), now)

    def _began(self, started_at: float | None, now: float) -> float:
        """Where nobody says: a usual reply ago, but not after the latest start."""
        if started_at is not None:
            return started_at
        return min(self._latest_start, now - self._replies["submit"].usual)


class Places:
    """How many requests at once: twice as many each round trip until something goes wrong, then a few more or fewer.

    Additive increase, multiplicative decrease (Chiu and Jain, 1989). Each reply adds its share of a round trip's growth,
    and only while the places are used: unused ones say nothing about the server.
    """

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.limit = float(min(FIRST_PLACES, bound))
        self._doubling = True
        self._shrunk_at = -inf

    def bind(self, bound: int) -> None:
        self.bound = bound
        self.limit = min(self.limit, float(bound))

    def accepted(self, in_flight: int, *, growing: bool) -> None:
        if growing and in_flight >= SATURATED * self.limit:
            more = 1.0 if self._doubling else max(1.0, 0.05 * self.limit) / self.limit
            self.limit = min(float(self.bound), self.limit + more)

    def shrink(self, began: float, now: float) -> None:
        """Once per event: what began before the last time is part of it."""
        if began > self._shrunk_at:
            self.limit = max(1.0, self.limit * SHRINK)
            self._doubling = False
            self._shrunk_at = now


class ReplyTimes:
    """How long replies take, by an average over the latest; and the least that this average has been."""

    def __init__(self) -> None:
        self.usual = 0.0
        self._least = inf
        self._seen = 0
        self._at = 0.0

    def learn(self, seconds: float, now: float) -> None:
        self._seen += 1
        self.usual += (seconds - self.usual) / min(self._seen, REPLIES)
        if self._seen >= REPLIES:
            risen = self._least * (1.0 + FORGETTING * (now - self._at))
            self._least = min(risen, self.usual)
        self._at = now

    @property
    def queueing(self) -> bool:
        return self.usual > QUEUEING * self._least + 0.01


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


def _beat(rate: float | None) -> Metronome:
    """So many a second, and one more in any stretch, or what comes due while a timer is late; none: as it comes."""
    beat = Metronome()
    if rate is not None:
        beat.set(rate, burst=1.0 + LATE * rate)
    return beat


# -- how many in a window of time ----------------------------------------------------------------------------------------


@dataclass
class Trouble:
    """A refusal and all that belongs to it: the requests under way when it came, and the tries that followed."""

    first: float
    """When the request began whose refusal was known first."""
    noticed: float
    """When that was."""
    known: float
    """Whatever began before this can't have known better."""
    told: float | None = None
    """Seconds that the server said to wait for."""
    tries: int = 0
    last: float = inf
    """When the latest try that was refused began."""
    ruled_out: set[float] = field(default_factory=set)
    also: int = 0
    """Refused too, of those that began after the first one and before its refusal was known."""
    answer_due: float | None = None
    """When the try under way counts as accepted."""
    window: float | None = None
    """The one to blame, once it is over."""
    over: bool = False


class Limits:
    """Finds how many are accepted in which window of time, and beats the time just below that.

    What was accepted in the window before a refusal is the limit: it is counted, not guessed. Which window it was
    shows when one request at a time is tried again: a window that has emptied since, or partly so, without the server
    taking more is not the one. The shortest that remains is blamed, unless a limit already known explains it.

    Not every refusal tells of a limit. One that stands alone among requests that were accepted, where much more was
    accepted before, teaches nothing; and where lone refusals go on however slow it gets, they come by chance: from then
    on only a crowd of them is believed.
    """

    def __init__(self, *, tolerated: float = 0.0, news_takes: float = 1.0) -> None:
        self.refusals = 0
        self.pauses = 0
        self.paused = 0.0
        self._tallies = {window: Tally(window) for window in WINDOWS}
        self._ceilings: dict[float, Ceiling] = {}
        self._beat = Metronome()
        self._tolerated = tolerated
        """Share of refusals, by a known limit and with no pause asked for, that is cheaper than to go slower."""
        self._share = 0.0
        self._news_takes = news_takes
        """Seconds until most refusals are known."""
        self._pressed = False
        """Someone had to wait for the beat."""
        self._closed_until = -inf
        self._first_sent = inf
        self._unexplained = 0
        self._told_at_once = 0
        self._by_chance = False
        """Lone refusals are taken for chance: they cost a pause, and nothing is learned from them."""
        self._contradicted = 0
        self._trouble: Trouble | None = None

    @property
    def rate(self) -> float | None:
        """The beat, a second; None while no limit is known."""
        return min((c.rate for c in self._ceilings.values()), default=None)

    @property
    def learned(self) -> Learned:
        found = tuple(FoundLimit(round(c.limit), c.window) for _, c in sorted(self._ceilings.items()))
        return Learned(found, self.refusals, self.pauses, self.paused)

    @property
    def trying(self) -> bool:
        """A refusal came, and what is behind it is not clear yet."""
        return self._trouble is not None and not self._trouble.over

    def wait(self, now: float) -> float:
        if now < self._closed_until:
            return self._closed_until - now
        trouble = self._trouble
        if trouble is not None and not trouble.over and trouble.answer_due is not None:
            if now < trouble.answer_due:
                return trouble.answer_due - now
            self._is_over(trouble, now)
        wait = self._beat.wait(now)
        self._pressed = self._pressed or wait > 0.0
        return wait

    def begin(self, now: float, n: int = 1) -> None:
        self._beat.begin(now, n)
        if self._trouble is not None and not self._trouble.over:
            self._trouble.answer_due = now + PATIENCE

    def sent(self, at: float, n: int = 1, *, decided_at: float | None = None) -> None:
        """It is on its way. One that was let in before a refusal was known belongs to that refusal, however late it left."""
        self._first_sent = min(self._first_sent, at)
        for tally in self._tallies.values():
            tally.begun(at, n)
        if self._trouble is not None and decided_at is not None and decided_at <= self._trouble.known:
            self._trouble.known = max(self._trouble.known, at)

    def left(self, began: float, now: float) -> None:
        """It was counted when it began, and was on its way only now."""
        for tally in self._tallies.values():
            tally.withdrawn(began)
        self.sent(now, decided_at=began)

    def accepted(self, began: float, now: float, n: int = 1) -> None:
        for tally in self._tallies.values():
            tally.accepted(began, n)
        self._unexplained = 0
        self._share += n * (0.0 - self._share) / 100
        self._by_chance = self._by_chance and self._share > UNSUSPICIOUS
        self.let_pass(began, now)
        self._grow(now)

    def pause(self, now: float, retry_after: float | None) -> None:
        """A refusal, but nobody knows of what."""
        self.refusals += 1
        pause = backoff(self._unexplained, first=SHORTEST_PAUSE) if retry_after is None else retry_after
        self._unexplained += 1
        self._close(now, pause)

    def let_pass(self, began: float, now: float) -> None:
        """What began then was not refused."""
        trouble = self._trouble
        if trouble is None:
            return
        if not trouble.over and began > trouble.known:
            self._is_over(trouble, now)
        elif trouble.over and began <= trouble.known:
            self._think_again(trouble)

    def refused(self, began: float, now: float, *, retry_after: float | None = None, n: int = 1) -> None:
        self.refusals += n
        self._share += n * (1.0 - self._share) / 100
        for tally in self._tallies.values():
            tally.withdrawn(began, n)
        trouble = self._trouble
        if trouble is not None and began <= trouble.known:
            trouble.also += n * (began > trouble.first)
            self._think_again(trouble)
            self._close(now, retry_after or 0.0)
        elif trouble is not None and not trouble.over:
            self._still(trouble, began, now, retry_after)
        else:
            self._new(began, now, retry_after)

    # -- what a refusal means

    def _new(self, began: float, now: float, retry_after: float | None) -> None:
        ceiling = None if self._by_chance else self._known_again(began)
        if ceiling is None or self._is_contradicted(ceiling.window, self._tallies[ceiling.window].open(began)):
            self._trouble = Trouble(began, now, now, told=retry_after)
            self._rule_out_told(self._trouble, retry_after)
            pause = LIGHT_PAUSE if self._by_chance else backoff(0, first=SHORTEST_PAUSE)
        elif retry_after is None and self._share < self._tolerated and not ceiling.growing:
            return
        else:
            pause = self._too_fast(ceiling, began, now, retry_after)
        self._close(now, pause if retry_after is None else retry_after)

    def _rule_out_told(self, trouble: Trouble, retry_after: float | None) -> None:
        """Nobody has to wait for longer than a window to see it empty (the time told may be rounded up)."""
        if retry_after is None:
            return
        trouble.ruled_out |= {w for w in WINDOWS if retry_after > w + 1.0}
        if retry_after <= 0.0:
            self._told_at_once += 1
            trouble.ruled_out |= set(WINDOWS[self._told_at_once > TOO_OFTEN :])

    def _too_fast(self, ceiling: Ceiling, began: float, now: float, told: float | None) -> float:
        """Slow down, once a window: what that does shows only then. Seconds to pause for."""
        if self._trouble is not None and began - ceiling.hit_at < ceiling.window:
            self._trouble.known = now
            ceiling.again += 1
        else:
            self._trouble = Trouble(began, now, now, told=told, window=ceiling.window, over=True)
            self._learn(self._trouble, now)
            if ceiling.hits > SUSPICIOUS:
                self._suspect_chance(now)
        self._share = 0.0
        return min(LONGEST_PAUSE, LIGHT_PAUSE * ceiling.window * 2.0**ceiling.again)

    def _still(self, trouble: Trouble, began: float, now: float, retry_after: float | None) -> None:
        """The try was refused too: wait longer, or until the window suspected has emptied a little."""
        trouble.tries += 1
        trouble.last, trouble.known = began, now
        trouble.answer_due = None
        full = {w: self._full(w) * self._was_accepted(w, trouble) for w in WINDOWS}
        trouble.ruled_out |= {w for w in WINDOWS if self._tallies[w].open(began) < full[w] or not full[w]}
        pause = backoff(trouble.tries, first=LIGHT_PAUSE if retry_after == 0.0 or self._by_chance else SHORTEST_PAUSE)
        suspect = next((w for w in WINDOWS if w not in trouble.ruled_out), None)
        if suspect is not None:
            emptier = self._tallies[suspect].falls_to(full[suspect], now) - now
            pause = min(pause, max(emptier, LIGHT_PAUSE))
        self._close(now, max(pause, retry_after or 0.0))

    def _full(self, window: float) -> float:
        """A known limit may have dropped, at most by half."""
        return FULL if window not in self._ceilings else FULL / 2

    def _close(self, now: float, pause: float) -> None:
        until = now + pause
        if until > max(now, self._closed_until):
            self.pauses += now >= self._closed_until
            self.paused += until - max(now, self._closed_until)
            self._closed_until = until

    def _known_again(self, began: float) -> Ceiling | None:
        """A known limit that the refusal was at, or near."""
        near = (
            c for c in self._ceilings.values()
            if self._tallies[c.window].open(began) >= KNOWN_AGAIN * min(c.limit, c.level)
        )  # fmt: skip
        return min(near, key=lambda c: c.rate, default=None)

    def _is_over(self, trouble: Trouble, now: float) -> None:
        trouble.over = True
        left = [w for w in WINDOWS if w not in trouble.ruled_out and self._is_plausible(w, trouble)]
        known = self._known_again(trouble.first)
        if not left:
            return
        window = known.window if known is not None and known.window in left else left[0]
        in_a_crowd = self._is_in_a_crowd(trouble)
        if in_a_crowd or (trouble.tries >= A_RUN and not self._by_chance):
            self._contradicted = 0
            self._tallies[window].most = 0  # it may allow less than it did
        elif self._is_lone(trouble, window, now):
            return
        trouble.window = window
        self._learn(trouble, now)
        self._ceilings[window].is_certain |= in_a_crowd
        if not in_a_crowd and self._ceilings[window].hits > SUSPICIOUS:
            self._suspect_chance(now)

    # -- what a refusal does not mean

    def _is_plausible(self, window: float, trouble: Trouble) -> bool:
        """Nobody allows a handful an hour; and of hours and days there has to be good proof: they stop a run."""
        proven = window <= LONG or trouble.tries >= PROOF or (trouble.told or 0.0) > LONG
        return proven and self._was_accepted(window, trouble) >= sqrt(window)

    def _is_in_a_crowd(self, trouble: Trouble) -> bool:
        """Most of what was under way beside it was refused, too."""
        beside = self._tallies[WINDOWS[0]].sure_between(trouble.first, trouble.noticed)
        return trouble.also > beside + (FEW if self._by_chance else 1)

    def _is_lone(self, trouble: Trouble, window: float, now: float) -> bool:
        """It says nothing: more was accepted before, or such refusals come by chance."""
        contradicted = self._is_contradicted(window, self._was_accepted(window, trouble))
        self._contradicted += contradicted
        if self._contradicted >= SUSPICIOUS:
            self._suspect_chance(now)
        return contradicted or self._by_chance

    def _is_contradicted(self, window: float, accepted: float) -> bool:
        """Much more was accepted in such a window before."""
        tally = self._tallies[window]
        tally.look_back()
        return accepted < CONTRADICTED * tally.most

    def _suspect_chance(self, now: float) -> None:
        """Back to what the server is known to bear, and on from there; what refusals by chance may have shown is forgotten."""
        self._by_chance, self._contradicted = True, 0
        self._ceilings = {w: c for w, c in self._ceilings.items() if c.is_certain or w == WINDOWS[0]}
        if self._trouble is not None and self._trouble.window not in self._ceilings:
            self._trouble.window = None
        for window, ceiling in self._ceilings.items():
            ceiling.lift(self._tallies[window].most, now)
        self._set_beat()

    def _learn(self, trouble: Trouble, now: float) -> None:
        assert trouble.window is not None
        known = trouble.window in self._ceilings
        ceiling = self._ceilings.setdefault(trouble.window, Ceiling(trouble.window))
        accepted = self._was_accepted(trouble.window, trouble)
        if known and trouble.last < inf:
            accepted = min(accepted, self._tallies[trouble.window].open(trouble.last))
        pause = LIGHT_PAUSE * ceiling.window if trouble.told is None else trouble.told
        if not known and self._may_be_a_burst(accepted, trouble):
            ceiling.hit(accepted, now, max(self._news_takes, ceiling.window), first_step=LARGE_STEP)
        else:
            hold = 0.0 if not known and accepted < 2 * FIRST_PLACES else HOLD * pause  # counted in a round trip or two
            ceiling.hit(accepted, now, max(hold, SHORTEST_HOLD * self._news_takes, ceiling.window))
        self._set_beat()

    def _may_be_a_burst(self, accepted: float, trouble: Trouble) -> bool:
        """It was counted in so short a time that it may be what the server allows at once, rather than its rate.

        Not where news is late: to find out would have too many refused.
        """
        window = WINDOWS[0]
        is_early = trouble.window == window and trouble.first - self._first_sent < window / 2
        return self._news_takes <= window and accepted < (4 if is_early else 2) * FIRST_PLACES

    def _think_again(self, trouble: Trouble) -> None:
        """Late news of an old refusal: count again."""
        if trouble.over and trouble.window is not None:
            self._ceilings[trouble.window].refine(self._was_accepted(trouble.window, trouble))
            self._set_beat()

    def _was_accepted(self, window: float, trouble: Trouble) -> float:
        """How many the server had accepted in the window when it refused.

        Those that began before, less those refused: too few where it took them in another order. Those known to be
        accepted within a window around it are no more than the limit: the larger number is nearer. And a server that
        goes on taking some while it refuses others (a token bucket, or so many at once) can keep that up.
        """
        tally, first = self._tallies[window], trouble.first
        late = min(SKEW, (trouble.noticed - first) / 2)
        counted = max(tally.open(first, late=late), tally.sure(first + window / 2), tally.sure(first + window))
        age = max(min(window, first - self._first_sent), window / Tally.GRAINS)
        return max(counted, min(self._went_on(trouble) * window, counted * window / age))

    def _went_on(self, trouble: Trouble) -> float:
        """Accepted a second of those that began after the first one refused, and before that was known.

        Where more were accepted than refused, the server may just as well have forgotten a burst of a window ago.
        """
        since = trouble.first + (trouble.noticed - trouble.first) / 4  # they may have met on the way
        accepted = self._tallies[WINDOWS[0]].sure_between(since, trouble.noticed)
        return accepted / (trouble.noticed - since) if 3 <= accepted < trouble.also else 0.0

    # -- the beat

    def _set_beat(self) -> None:
        if not self._ceilings:
            return self._beat.set(inf, burst=1.0)
        slowest = min(self._ceilings.values(), key=lambda c: c.rate)
        spare = (slowest.limit - slowest.level) / 2
        self._beat.set(slowest.rate, burst=max(LEAST_BURST, min(spare, slowest.rate / 10)))

    def _grow(self, now: float) -> None:
        if not self._ceilings:
            return
        slowest = min(self._ceilings.values(), key=lambda c: c.rate)
        if now >= slowest.grow_at:
            slowest.grow(now, pressed=self._pressed, every=self._news_takes)
            self._pressed = False
            self._set_beat()


class Ceiling:
    """The limit of one window, and the level kept below it.

    After a refusal the level stays for a long while, then rises in steps that double, as cubic growth does (RFC 9438):
    next to nothing near the old limit, fast beyond it. A refusal costs everyone a pause, a few percent cost little.
    """

    def __init__(self, window: float) -> None:
        self.window = window
        self.limit = inf
        self.level = inf
        self.grow_at = inf
        self.hit_at = -inf
        self.again = 0
        """Refusals since, before the cut could show."""
        self.hits = 0
        """Refusals in a row, each at a lower level."""
        self._holds = 1.0
        self._first_step = STEP
        self._steps = 0
        self._margin = MARGIN
        self.is_certain = False
        """Many were refused at a time: no chance does that."""
        self._cap = inf
        self._floor = 1.0

    @property
    def rate(self) -> float:
        return self.level / self.window

    @property
    def growing(self) -> bool:
        return self._steps > 0

    def hit(self, accepted: float, now: float, hold: float, *, first_step: float = STEP) -> None:
        """A refusal: the limit is what was accepted, not above the level that was too high, nor below half of before."""
        tried_more = self.growing
        before = self.limit
        proven = now - self.hit_at > PROVEN * max(1.0, self.window)
        self.hit_at, self.again = now, 0
        self.hits = 1 if tried_more else self.hits + 1
        self._margin = min(WIDEST_MARGIN, MARGIN * 2.0 ** max(0, self.hits - 3))
        self._cap = self.level
        self._floor = max(1.0, before / 2) if proven and before < inf else 1.0
        self._first_step, self._steps = first_step, 0
        self.refine(accepted)
        if tried_more:
            self._holds = 1.0 if self.limit > 1.05 * before else min(2.0 * self._holds, LONGEST_HOLD)
        self.grow_at = now + self._holds * hold

    def lift(self, accepted: float, now: float) -> None:
        """So much was accepted, whatever the refusals said."""
        self.limit = self.level = max(self.limit, accepted)
        self.hits, self._margin, self._holds = 0, MARGIN, 1.0
        self.grow_at = now + self.window

    def refine(self, accepted: float) -> None:
        if self.growing:
            return  # it has moved on since
        self.limit = max(self._floor, min(self._cap, accepted))
        self.level = self.limit * (1.0 - self._margin)

    def grow(self, now: float, *, pressed: bool, every: float) -> None:
        """Only where it is this level that keeps requests waiting."""
        self.grow_at = now + max(every, self.window / 4)
        if pressed:
            self.level += self._first_step * 2.0**self._steps * self.limit
            self._steps += 1


class Tally:
    """How many began, and are not known to be refused, in a window up to any moment; to half a percent of its length."""

    GRAINS = 200
    REMEMBERED = 60.0
    """Seconds for which late news may still correct the count."""

    def __init__(self, window: float) -> None:
        self._width = window / self.GRAINS
        self._kept = self.GRAINS + ceil(self.REMEMBERED / self._width)
        self._open: dict[int, int] = {}
        self._sure: dict[int, int] = {}
        self._order: deque[int] = deque()
        self.most = 0
        """Accepted in one window, as far as was looked."""

    def begun(self, at: float, n: int = 1) -> None:
        grain = int(at / self._width)
        if grain in self._open:
            self._open[grain] += n
            return
        self._open[grain] = n
        self._order.append(grain)
        while self._order[0] < grain - self._kept:
            old = self._order.popleft()
            del self._open[old]
            self._sure.pop(old, None)

    def withdrawn(self, began: float, n: int = 1) -> None:
        """These were refused, or did not begin then after all."""
        grain = int(began / self._width)
        if grain in self._open:
            self._open[grain] -= n

    def accepted(self, began: float, n: int = 1) -> None:
        grain = int(began / self._width)
        if grain in self._open:
            self._sure[grain] = self._sure.get(grain, 0) + n

    def open(self, until: float, *, late: float = 0.0) -> int:
        """`late`: seconds after which the earliest may have reached the server."""
        return self._sum(self._open, until, late)

    def sure(self, until: float) -> int:
        """Only those known to be accepted."""
        return self._sum(self._sure, until)

    def sure_between(self, since: float, until: float) -> int:
        grains = range(int(since / self._width) + 1, int(until / self._width) + 1)
        return sum(self._sure.get(grain, 0) for grain in grains)

    def _sum(self, counts: dict[int, int], until: float, late: float = 0.0) -> int:
        last = int(until / self._width)
        first = last - self.GRAINS + 1 - int(late / self._width)
        return sum(counts.get(grain, 0) for grain in range(first, last + 1))

    def look_back(self) -> None:
        """Learn the most from the latest three windows."""
        if not self._order:
            return
        last = self._order[-1]
        inside = 0
        for grain in range(last - 3 * self.GRAINS, last + 1):
            inside += self._sure.get(grain, 0) - self._sure.get(grain - self.GRAINS, 0)
            self.most = max(self.most, inside)

    def falls_to(self, count: float, now: float) -> float:
        """When no more than `count` will be left in the window, if nothing is added."""
        left = 0
        last = int(now / self._width)
        for grain in range(last, last - self.GRAINS, -1):
            left += self._open.get(grain, 0)
            if left > count:
                return (grain + self.GRAINS + 1) * self._width
        return now


def backoff(attempt: int, *, first: float = 0.5, longest: float = LONGEST_PAUSE) -> float:
    """Seconds before try number `attempt` + 1: doubling, capped, and spread over its upper half by chance."""
    full = min(longest, first * 2.0 ** min(attempt, 16))
    return full * random.uniform(0.5, 1.0)
