"""The limit that hides: submissions are accepted, and evaluations past the tier's limit fail when they run."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from time import monotonic
from types import TracebackType

from fieval_tasks.core.tiers import CUSTOM, DEFAULT, NO_TIER, Tier
from fieval_tasks.pace.limits import Limits
from fieval_tasks.pace.pace import AS_LONG_AS_IT_TAKES, Line, LongestWait, clock_time
from fieval_tasks.pace.pace_tuning import TOLD, TUNING, PaceTuning


@dataclass(frozen=True)
class Allowed:
    """What is known, before a run begins, of the evaluations that its account may make."""

    tier: Tier | None = None
    """As the user names it; None: it is recognised by what is refused."""
    earlier: Mapping[str | None, Iterable[float]] = field(default_factory=dict)
    """Judge model -> how many seconds ago each evaluation was submitted, in the last day, by this run and others."""


NOTHING_KNOWN = Allowed()


class Quotas:
    """A quota for each judge model: that is what the platform counts by."""

    def __init__(
        self,
        allowed: Allowed = NOTHING_KNOWN,
        *,
        hears: bool = True,
        waits_for_judges: bool = False,
        tuning: PaceTuning = TUNING,
        longest_wait: LongestWait = AS_LONG_AS_IT_TAKES,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`hears`: what is refused in secret is heard of; else only a tier that is named is kept to. `waits_for_judges`: the
        submissions themselves do, and being out is no sign that nothing is known of them.
        """
        self._allowed = allowed
        self._tier = allowed.tier if hears else allowed.tier or NO_TIER
        self._tuning = replace(
            tuning,
            unheard=tuning.unheard if hears else inf,
            share=1.0 if waits_for_judges else tuning.share,
        )
        self._longest_wait = longest_wait
        self._clock = clock
        self._quotas: dict[str | None, Quota] = {}

    def of(self, model: str | None) -> Quota:
        """The model's; None: of what needs no judge, which no tier that the user names is about."""
        if model not in self._quotas:
            now = self._clock()
            self._quotas[model] = Quota(
                model,
                tier=self._tier if model or self._tier is NO_TIER else None,
                earlier=[now - ago for ago in self._allowed.earlier.get(model, ())],
                tuning=self._tuning,
                longest_wait=self._longest_wait,
                clock=self._clock,
            )
        return self._quotas[model]

    @property
    def waits(self) -> str:
        """Which tier's limit holds submissions up at this moment, in words; empty where none does for long."""
        return next((text for quota in self._quotas.values() if (text := quota.waits)), "")

    def stop(self) -> None:
        for quota in self._quotas.values():
            quota.stop()


class Quota:
    """One judge model's share of what the platform evaluates, counted in evaluations.

    Verdicts are reported with `sent_at`, the moment given to `Admission.sent`. The earlier they come, the less is refused:
    ask about sentinels (`Admission.sentinel`) as soon as they may have been refused, and report what is still in work.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        tier: Tier | None = None,
        earlier: Iterable[float] = (),
        tuning: PaceTuning = TUNING,
        longest_wait: LongestWait = AS_LONG_AS_IT_TAKES,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._model = model
        self._clock = clock
        self._longest_wait = longest_wait
        self._allowance = Allowance(tier=tier, earlier=earlier, tuning=tuning, longest_wait=longest_wait)
        self._line: Line[Leave] = Line(self._allowance, clock)

    async def admit(self, n: int = 1) -> Admission:
        """Wait until some of `n` more evaluations may be submitted, in one request.

        Raises RunStopped where the tier's limit has no room for longer than anybody waits.
        """
        leave = await self._line.enter(n=n)
        if leave.full_for > 0.0:
            self._line.leave(leave)
            self._longest_wait.require(leave.full_for, leave.at, self._full())
        return Admission(self, leave)

    def in_work(self, sent_at: float) -> None:
        """Asked about, and neither refused nor done."""
        self._allowance.in_work(sent_at, self._clock())
        self._line.advance()

    def granted(self, sent_at: float, n: int = 1) -> None:
        """These were judged, well or badly. Once for each evaluation."""
        self._allowance.granted(sent_at, self._clock(), n)
        self._line.advance()

    def refused(self, sent_at: float, n: int = 1) -> None:
        """These failed with `rate_limited`."""
        self._allowance.refused(sent_at, self._clock(), n)
        self._line.advance()

    def stop(self) -> None:
        """Nothing is admitted any more: whoever waits is cancelled now."""
        self._line.stop()

    def is_last_lap(self, left: int) -> bool:
        """A limit is known, and so few are left to send that whatever it refuses of the latest holds up the end."""
        return self._allowance.is_last_lap(left)

    @property
    def waits(self) -> str:
        wait = self._allowance.full_for(self._clock())
        return f"{self._full()} until {clock_time(wait)}" if self._line and wait > TOLD else ""

    def _full(self) -> str:
        tier = self._allowance.tier
        limits = f" (tier {tier.name})" if tier else ""
        return f"the evaluations that {self._model or 'the account'} may make{limits} are used up"

    def _sent(self, at: float, n: int, leave: Leave) -> None:
        self._allowance.sent(at, n, leave)
        self._line.advance()


@dataclass(frozen=True)
class Leave:
    """What a request gets that asks to carry evaluations."""

    at: float
    n: int
    """Send so many of the evaluations, from 1 to all, and the others later: more may well be refused."""
    is_sentinel: bool = False
    """Ask about one of these early: much depends on the answer."""
    full_for: float = 0.0
    """Seconds for which the tier has no room, where that is longer than anybody waits: it may not be sent."""


class Admission:
    """Leave to submit some evaluations in one request. What was not sent when the `with` block ends is given back."""

    def __init__(self, quota: Quota, leave: Leave) -> None:
        self._quota = quota
        self._leave = leave
        self._is_sent = False
        self.allowed = leave.n
        self.sentinel = leave.is_sentinel

    def sent(self, at: float, n: int | None = None) -> None:
        """The server has taken these (all of them by default; the others are given back), in a request that began then."""
        self._is_sent = True
        self._quota._sent(at, self.allowed if n is None else n, self._leave)

    def __enter__(self) -> Admission:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_sent:
            self._quota._line.leave(self._leave)


class Allowance:
    """Decides when evaluations may be submitted (pure): as a tier has it or as fast as the limit found, and never far ahead of
    the news.

    A refused row fails at once: whatever was sent before a row that was not refused, or `no_news` seconds ago, has
    passed. An unknown limit, and the end of the credit, is met by what has not, so that is kept small: to a share of what
    has passed, or to a few.

    Where no tier is named, those of the table are recognised: what would be the first past such a tier's shortest window
    goes alone, and nothing follows until it was heard of. Where it is refused, and so is one tried a second later, that is
    the tier. From then on it is kept to exactly.
    """

    def __init__(
        self,
        *,
        tier: Tier | None = None,
        earlier: Iterable[float] = (),
        tuning: PaceTuning = TUNING,
        longest_wait: LongestWait = AS_LONG_AS_IT_TAKES,
    ) -> None:
        self.limits = Limits(in_secret=True, tuning=tuning)
        self.tier = tier
        self._tuning = tuning
        self._longest_wait = longest_wait
        self._sent = Sent(earlier, tuning)
        self._may_be = DEFAULT if tier is None else None
        """The tier whose shortest window was not exceeded yet, where that may be it."""
        self._latest = -inf
        self._probe: float | None = None
        """When the first past the edge of that one was let in, and then, when it was sent; None: there is none."""
        self._out = 0
        """Evaluations admitted and not sent."""
        self._doubtful = 0.0
        """Requests' worth of evaluations that have not passed yet, sent or not."""
        self._passed = 0.0
        self._unheard: deque[tuple[float, float]] = deque()
        self._passed_until = -inf
        self._since_sentinel = tuning.sentinel_every
        if tier is not None and tier.windows:
            self.limits.settle()

    def wait(self, now: float) -> float:
        if (wait := self.limits.wait(now)) > 0.0:
            return wait
        if (wait := self.full_for(now)) > 0.0 and not self._is_too_long(wait, now):
            return wait  # else it is let in, to hear that
        self._forget(max(self._passed_until, now - self._tuning.no_news))
        if self._is_at_edge(now):
            if self._probe is not None:
                return self._news_due(now)
            if (wait := self._latest + self._tuning.starts_within - now) > 0.0:
                return wait
        most = max(self._tuning.unheard, self._tuning.share * self._passed)
        return 0.0 if self._doubtful < most else self._news_due(now)

    def full_for(self, now: float) -> float:
        """Seconds for which the tier has no room; inf until something that is out is sent or given back."""
        return 0.0 if self.tier is None else self._sent.wait(self.tier, self._out, now)

    def _is_too_long(self, wait: float, now: float) -> bool:
        return wait < inf and self._longest_wait.is_over(wait, now)

    def _news_due(self, now: float) -> float:
        return self._unheard[0][0] + self._tuning.no_news - now if self._unheard else inf

    def begin(self, now: float, n: int) -> Leave:
        full_for = self.full_for(now)
        full_for = full_for if self._is_too_long(full_for, now) else 0.0
        part = 1 if full_for or self.limits.trying else self._fitting(n, now)
        if self._is_at_edge(now):
            self._probe = now
        leave = Leave(now, part, self._is_sentinel(part), full_for)
        self._latest = now
        self._out += part
        self._doubtful += self._cost(part)
        self.limits.begin(now, part)
        return leave

    def leave(self, begun: Leave) -> None:
        """The request was not made, or not taken."""
        self._out -= begun.n
        self._doubtful -= self._cost(begun.n)
        if self._probe == begun.at:
            self._probe = None  # the next is one

    def _fitting(self, n: int, now: float) -> int:
        """How many of these may be sent, so that a tier's limit is met exactly; where it is full, one that shows whether it is."""
        tier = self.tier or self._may_be
        return n if tier is None else max(1, min(n, self._sent.room(tier, now) - self._out))

    def _cost(self, n: int) -> float:
        return max(1.0, n / self._tuning.carries)

    def sent(self, at: float, n: int, leave: Leave) -> None:
        self._out -= leave.n
        self._doubtful += self._cost(n) - self._cost(leave.n)
        self._unheard.append((at, self._cost(n)))
        self._sent.add(at, n)
        if self._probe == leave.at:
            self._probe = at
        self.limits.sent(at, n, decided_at=leave.at)

    def _is_sentinel(self, n: int) -> bool:
        """Is this one worth an early question? The first, one in a while, and whatever is sent to see whether it is refused."""
        self._since_sentinel += n
        if self._since_sentinel < self._tuning.sentinel_every and not self.limits.trying and self._probe is None:
            return False
        self._since_sentinel = 0
        return True

    def is_last_lap(self, left: int) -> bool:
        return self.limits.rate is not None and left <= self.limits.rate * 4.0

    def in_work(self, sent_at: float, now: float) -> None:
        self._has_passed(sent_at)
        self.limits.let_pass(sent_at, now)

    def granted(self, sent_at: float, now: float, n: int) -> None:
        self._has_passed(sent_at)
        self.limits.accepted(sent_at, now, n)

    def refused(self, sent_at: float, now: float, n: int) -> None:
        self.limits.refused(sent_at, now, n=n)
        self._sent.remove(sent_at, n)
        self._probe = None
        if self.tier is None and self.limits.tries:
            self.tier = self._recognised(now)
            if self.tier is not None:
                self._may_be = None
                self.limits.settle()

    # -- which tier it is

    def _is_at_edge(self, now: float) -> bool:
        """As many were sent as one of the tiers allows in its shortest window."""
        if self._may_be is None or self.limits.trying:
            return False
        return self._sent.room(self._may_be, now) <= self._out

    def _recognised(self, now: float) -> Tier | None:
        """The tier of which a window is just full, as far as is known of what is out."""
        for tier in [self._may_be or CUSTOM, CUSTOM]:
            for count, seconds in tier.windows:
                sent = self._sent.within(seconds, now)
                if (1.0 - self._tuning.near) * count <= sent <= count + self._tuning.carries * self._doubtful:
                    return tier
        return None

    def _has_passed(self, sent_at: float) -> None:
        self._passed_until = max(self._passed_until, sent_at)

    def _forget(self, until: float) -> None:
        while self._unheard and self._unheard[0][0] <= until:
            cost = self._unheard.popleft()[1]
            self._doubtful -= cost
            self._passed += cost
        if self._probe is not None and self._probe <= until and not self.limits.trying:
            self._probe, self._may_be = None, None


class Sent:
    """When evaluations were submitted, those that were refused left out: how many more fit into a tier's windows."""

    def __init__(self, earlier: Iterable[float], tuning: PaceTuning) -> None:
        self._times = sorted(earlier)
        self._tuning = tuning

    def add(self, at: float, n: int) -> None:
        for _ in range(n):
            insort(self._times, at)

    def remove(self, at: float, n: int) -> None:
        end = bisect_right(self._times, at)
        for place in range(end - 1, max(-1, end - 1 - n), -1):
            if self._times[place] == at:
                del self._times[place]

    def within(self, seconds: float, now: float) -> int:
        return len(self._times) - bisect_right(self._times, now - seconds)

    def room(self, tier: Tier, now: float) -> int:
        """How many more may run now."""
        return min((count - self.within(self._counted(seconds), now) for count, seconds in tier.windows), default=10**9)

    def wait(self, tier: Tier, out: int, now: float) -> float:
        """Seconds until one more may run, beside those that are `out` already; inf where those take all of a window."""
        return max(
            (self._wait(count - out, self._counted(seconds), now) for count, seconds in tier.windows), default=0.0
        )

    def _wait(self, room: int, seconds: float, now: float) -> float:
        if room <= 0:
            return inf
        return 0.0 if len(self._times) < room else max(0.0, self._times[-room] + seconds - now)

    def _counted(self, seconds: float) -> float:
        return seconds + min(1.0, max(self._tuning.starts_within, self._tuning.later * seconds))
