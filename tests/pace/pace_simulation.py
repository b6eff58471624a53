"""A client at its work against a server with limits, event by event, without asyncio or waiting: seconds cost milliseconds."""

from __future__ import annotations

import asyncio
import heapq
import random
import selectors
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from math import inf, log
from typing import Any

from fieval_tasks.pace.pace import Pace
from fieval_tasks.pace.pace_tuning import TUNING, PaceTuning
from fieval_tasks.pace.quota import Admission, Quota
from fieval_tasks.pace.waiting_line import FairQueue, Kind
from fieval_tasks.work.work_tuning import TUNING as WORK

Event = Callable[[], None]

ENDLESS = 20_000.0
"""Seconds after which a simulated run is no longer waited for."""


class Clock:
    """Events in the order of their times."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self._events: list[tuple[float, int, Event]] = []
        self._order = count()

    def at(self, time: float, event: Event) -> None:
        heapq.heappush(self._events, (max(time, self.now), next(self._order), event))

    def after(self, seconds: float, event: Event) -> None:
        self.at(self.now + seconds, event)

    def run(self, until: float = inf) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heapq.heappop(self._events)
            event()


class JumpingSelector(selectors.SelectSelector):
    """Instead of waiting it sets the clock forward."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everyone waits, and nothing will happen")
        self.now += max(0.0, timeout)
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes at once."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


# -- what servers do -----------------------------------------------------------------------------------------------------


class Limiter:
    """None at all."""

    def refuses(self, now: float) -> float | None:
        """Seconds until it would take one again; None where it takes this one."""
        return None


class Sliding(Limiter):
    """So many in any `window` seconds. `changes`: from this time on, this limit."""

    def __init__(self, limit: int, window: float, *, changes: tuple[float, int] = (inf, 0)) -> None:
        self.limit = limit
        self.window = window
        self.changes = changes
        self._taken: deque[float] = deque()

    def full_for(self, now: float) -> float | None:
        if now >= self.changes[0]:
            self.limit = self.changes[1]
        while self._taken and self._taken[0] <= now - self.window:
            self._taken.popleft()
        return self._taken[-self.limit] + self.window - now if len(self._taken) >= self.limit else None

    def refuses(self, now: float) -> float | None:
        if (wait := self.full_for(now)) is not None:
            return wait
        self._taken.append(now)
        return None


class Fixed(Limiter):
    """So many in each calendar window, which began `offset` seconds before the client did."""

    def __init__(self, limit: int, window: float, *, offset: float) -> None:
        self.limit = limit
        self.window = window
        self.offset = offset
        self._current = -1
        self._taken = 0

    def refuses(self, now: float) -> float | None:
        current, gone = divmod(now + self.offset, self.window)
        if current != self._current:
            self._current, self._taken = int(current), 0
        if self._taken >= self.limit:
            return self.window - gone
        self._taken += 1
        return None


class Busy(Limiter):
    """So many at once, each for `service` seconds."""

    def __init__(self, places: int, service: float) -> None:
        self.places = places
        self.service = service
        self._ends: deque[float] = deque()

    def refuses(self, now: float) -> float | None:
        while self._ends and self._ends[0] <= now:
            self._ends.popleft()
        if len(self._ends) >= self.places:
            return self._ends[0] - now
        self._ends.append(now + self.service)
        return None


class Bucket(Limiter):
    """Tokens: `rate` a second, at most `burst` saved up."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = 0.0

    def refuses(self, now: float) -> float | None:
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < 1.0:
            return (1.0 - self._tokens) / self.rate
        self._tokens -= 1.0
        return None


class Chance(Limiter):
    """Refuses one in so many, whatever the rate; the others are another limiter's."""

    def __init__(self, share: float, beside: Limiter, seed: int) -> None:
        self.share = share
        self.beside = beside
        self._random = random.Random(seed)

    def refuses(self, now: float) -> float | None:
        return 0.0 if self._random.random() < self.share else self.beside.refuses(now)


class Together(Limiter):
    """Several limits that hold together; what one refuses counts for none."""

    def __init__(self, *limits: Sliding) -> None:
        self.limits = limits

    def refuses(self, now: float) -> float | None:
        waits = [wait for limit in self.limits if (wait := limit.full_for(now)) is not None]
        if waits:
            return max(waits)
        for limit in self.limits:
            limit.refuses(now)
        return None


class Credit(Limiter):
    """So many in all; then no more."""

    def __init__(self, left: int) -> None:
        self.left = left

    def refuses(self, now: float) -> float | None:
        self.left -= 1
        return inf if self.left < 0 else None


RetryAfter = Callable[[float], "float | None"]


def one_second(_: float) -> float | None:
    return 1.0


def at_once(_: float) -> float | None:
    return 0.0


def exactly(left: float) -> float | None:
    return float(int(left) + 1)


def untold(_: float) -> float | None:
    return None


# -- requests past a limit that answers 429 --------------------------------------------------------------------------------


@dataclass
class Account:
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    submitted: int = 0
    last_submitted: float = 0.0
    done_at: float = 0.0
    most_in_flight: int = 0
    paused: float = 0.0
    """Seconds for which the server had asked everyone to wait."""
    paused_until: float = 0.0
    pace: Pace = field(init=False)

    def used(self, since: float, until: float) -> float:
        """Accepted requests a second."""
        return sum(since <= t < until for t in self.accepted) / (until - since)

    def refused_share(self, since: float, until: float = inf) -> float:
        refused = sum(since <= t < until for t in self.refused)
        return refused / max(1, refused + sum(since <= t < until for t in self.accepted))


def requests(
    limiter: Limiter,
    *,
    items: int,
    seed: int,
    retry_after: RetryAfter = one_second,
    concurrency: int = 96,
    rate: float | None = None,
    reply: float = 0.04,
    jitter: float = 0.1,
    judged: float = 3.0,
    halts: float = 0.0,
    tuning: PaceTuning = TUNING,
) -> Account:
    """Submit `items`, poll each until it is judged. `jitter`: standard deviation of the logarithm of reply times.

    `halts`: share of its time for which the client stands still, 0.2 s at a time on average, as where others need the cores.
    """
    chance = random.Random(seed)
    halting = random.Random(seed + 1)
    halted = (0.0, 0.0)

    def at_work(now: float) -> float:
        """When the client does what comes up at that time: then, or when its halt has ended."""
        nonlocal halted
        while halts and halted[1] < now:
            start = halted[1] + halting.expovariate(halts / (0.2 * (1.0 - halts)))
            halted = (start, start + halting.expovariate(1 / 0.2))
        return max(now, halted[1]) if halted[0] <= now else now

    random.seed(seed)  # backoff's
    clock, account, queue = Clock(), Account(), FairQueue[tuple[Kind, float]]()
    account.pace = pace = Pace(concurrency=concurrency, rate=rate, tuning=tuning, clock=lambda: clock.now)
    look_at = inf

    def look() -> None:
        nonlocal look_at
        look_at = inf
        pump()

    def pump() -> None:
        nonlocal look_at
        if at_work(clock.now) > clock.now:
            return clock.at(at_work(clock.now), pump)
        while queue:
            wait = pace.wait(clock.now)
            if wait > 0.0:
                if clock.now + wait < look_at:
                    look_at = clock.now + wait
                    clock.at(look_at, look)
                return
            begin(*queue.pop())

    def begin(kind: Kind, since: float) -> None:
        pace.begin(clock.now)
        account.most_in_flight = max(account.most_in_flight, pace.in_flight)
        began = clock.now
        half = reply / 2 * chance.lognormvariate(0.0, jitter)
        clock.after(half, lambda: arrive(kind, since, began))

    def arrive(kind: Kind, since: float, began: float) -> None:
        left = limiter.refuses(clock.now)
        (account.accepted if left is None else account.refused).append(clock.now)
        told = None if left is None else retry_after(left)
        half = reply / 2 * chance.lognormvariate(0.0, jitter)
        heard = at_work(clock.now + half)
        clock.at(heard, lambda: answered(kind, since, began, left is None, told))

    def answered(kind: Kind, since: float, began: float, taken: bool, told: float | None) -> None:
        if not taken:
            until = clock.now + (told or 0.0)
            account.paused += max(0.0, until - max(clock.now, account.paused_until))
            account.paused_until = max(account.paused_until, until)
            pace.throttled(told, began)
            queue.push(kind, (kind, since))
        else:
            pace.accepted(began)
            follow(kind, since)
        pace.leave(began)
        pump()

    def follow(kind: Kind, since: float) -> None:
        account.done_at = clock.now
        if kind == "submit":
            account.submitted += 1
            account.last_submitted = since = clock.now
            due[since] = since + chance.lognormvariate(log(judged), 0.5)
            ask_at(since, since + judged)
        elif clock.now < due[since]:
            ask_at(since, since + 1.35 * (clock.now - since))

    def ask_at(since: float, when: float) -> None:
        def ask() -> None:
            queue.push("poll", ("poll", since))
            pump()

        clock.at(when, ask)

    due: dict[float, float] = {}
    for _ in range(items):
        queue.push("submit", ("submit", 0.0))
    clock.at(0.0, pump)
    clock.run(until=ENDLESS)
    assert account.submitted == items
    return account


# -- evaluations past a limit that hides -----------------------------------------------------------------------------------


@dataclass
class Tier:
    granted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    requests: list[float] = field(default_factory=list)
    polls: int = 0
    last_submitted: float = 0.0
    done_at: float = 0.0
    refusal_known_at: float = inf
    quota: Quota = field(init=False)
    stopped_for: float | None = None
    """Seconds for which the tier has no room, where that is longer than anybody waits."""


def evaluations(
    limiter: Limiter,
    *,
    items: int,
    seed: int,
    speed: float = 400.0,
    pack: int = 1,
    limited: bool = True,
    reply: float = 0.04,
    judged: float = 3.0,
    recorded: float = 0.02,
    starts_within: float = 0.1,
    sentinel_age: float = WORK.sentinel_age,
    quota: Mapping[str, Any] | None = None,
    since: float = 0.0,
    until: float = ENDLESS,
) -> Tier:
    """Submissions are taken at up to `speed` items a second; the limit is met when an evaluation starts.

    A ticket is known when its reply has come and is `recorded`; its age counts from then. `since`: when the run begins.
    """
    chance = random.Random(seed)
    random.seed(seed)
    clock, tier = Clock(since), Tier()
    tier.quota = hidden = Quota(**(quota or {}), clock=lambda: clock.now)
    waiting = items
    tickets, scouted_at = 0, -inf
    next_turn = since
    look_at = inf

    def pump() -> None:
        nonlocal waiting, look_at
        look_at = inf
        while waiting and tier.stopped_for is None:
            wait = hidden.wait(clock.now) if limited else 0.0
            wait = max(wait, next_turn - clock.now)
            if wait > 1e-9:
                look_again(clock.now + wait)
                return
            submit(min(pack, waiting))

    def look_again(at: float) -> None:
        nonlocal look_at
        if at < look_at:
            look_at = at
            clock.at(at, lambda: pump() if clock.now >= look_at else None)

    def submit(n: int) -> None:
        nonlocal next_turn, waiting
        began = clock.now
        tier.requests.append(began)
        admission = hidden.begin(began, n)
        if admission.full_for:
            tier.stopped_for = admission.full_for
            return hidden.give_back(admission)
        n = admission.allowed if limited else n
        waiting -= n
        next_turn = max(next_turn, began) + n / speed
        last = hidden.is_last_lap(waiting)
        for k in range(n):
            starts = began + reply / 2 + chance.uniform(0.0, starts_within)
            clock.at(starts, partial(start, began, last or (admission.sentinel and k == 0)))
        clock.after(reply, lambda: taken(began, n, admission))

    def taken(began: float, n: int, admission: Admission) -> None:
        admission.sent(began, n)
        pump()

    def start(began: float, early: bool) -> None:
        refused = limiter.refuses(clock.now) is not None
        (tier.refused if refused else tier.granted).append(clock.now)
        if not refused:
            tier.last_submitted = began
        ends = clock.now if refused else clock.now + chance.lognormvariate(log(judged), 0.5)
        ticket = began + reply + recorded
        first = ticket + (sentinel_age if early else WORK.first_guess if is_scout(ticket) else judged)
        clock.at(first + reply, lambda: poll(began, ends, refused))

    def is_scout(now: float) -> bool:
        """One in 32, three a second at most."""
        nonlocal tickets, scouted_at
        tickets += 1
        if tickets % 32 or now < scouted_at + 1 / 3:
            return False
        scouted_at = now
        return True

    def poll(began: float, ends: float, refused: bool) -> None:
        tier.polls += 1
        if clock.now - reply / 2 < ends:
            hidden.in_work(began)
            age = clock.now - began
            clock.after(max(0.2, 0.35 * age), lambda: poll(began, ends, refused))
        elif refused:
            tier.refusal_known_at = min(tier.refusal_known_at, clock.now)
            hidden.refused(began)
            clock.after(chance.uniform(0.5, 1.0), again)
        else:
            tier.done_at = clock.now
            hidden.granted(began)
        pump()

    def again() -> None:
        nonlocal waiting
        waiting += 1
        pump()

    clock.at(since, pump)
    clock.run(until=until)
    assert until < ENDLESS or len(tier.granted) == items or tier.stopped_for
    return tier
