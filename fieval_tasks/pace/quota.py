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
from fieval_tasks.pace.line import Line
from fieval_tasks.pace.pace import AS_LONG_AS_IT_TAKES, LongestWait, clock_time
from fieval_tasks.pace.pace_tuning import SHOWN_FROM, TUNING, PaceTuning


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
        hears_refusals: bool = True,
        waits_for_judges: bool = False,
        longest_wait: LongestWait = AS_LONG_AS_IT_TAKES,
        tuning: PaceTuning = TUNING,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`hears_refusals`: what is refused in secret is heard of; else only a tier that is named is kept to. `waits_for_judges`: the
        submissions themselves do, and being out is no sign that nothing is known of them.
        """
        unheard, share = (tuning.unheard if hears_refusals else inf), (1.0 if waits_for_judges else tuning.share)
        self._allowed = allowed if hears_refusals or allowed.tier else replace(allowed, tier=NO_TIER)
        self._tuning = replace(tuning, unheard=unheard, share=share)
        self._longest_wait = longest_wait
        self._clock = clock
        self._quotas: dict[str | None, Quota] = {}

    def quota_of(self, model: str | None) -> Quota:
        """The model's; None: of what needs no judge, which no tier that is written out or named by the user is about."""
        if model not in self._quotas:
            now, tier = self._clock(), self._allowed.tier
            self._quotas[model] = Quota(
                model,
                tier=tier if model or tier is NO_TIER else None,
                earlier=[now - ago for ago in self._allowed.earlier.get(model, ())],
                longest_wait=self._longest_wait,
                tuning=self._tuning,
                clock=self._clock,
            )
        return self._quotas[model]

    @property
    def waits(self) -> str:
        """Which tier's limit holds submissions up at this moment, in words; empty where none does for long."""
        return next((text for quota in self._quotas.values() if (text := quota.waits)), "")

    def stop(self) -> None:
        """Nothing is admitted any more: whoever waits is cancelled now."""
        for quota in self._quotas.values():
            quota.stop()


@dataclass
class Admission:
    """Leave to submit some evaluations in one request. What was not sent when the `with` block ends is given back."""

    quota: Quota
    at: float
    allowed: int
    """Send so many of the evaluations, from 1 to all, and the others later: more may well be refused."""
    sentinel: bool
    """Ask about one of these early: much depends on the answer."""
    full_for: float
    """Seconds for which the tier has no room, where that is longer than anybody waits: none may be sent."""
    is_out: bool = True
    """Neither sent nor given back."""

    def sent(self, at: float, n: int | None = None) -> None:
        """The server has taken these (all of them by default; the others are given back), in a request that began then."""
        self.quota.sent(self, at, self.allowed if n is None else n)

    def __enter__(self) -> Admission:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.quota.give_back(self)


class Quota:
    """One judge model's share of what the platform evaluates, counted in evaluations, and the pacer of its own line.

    It admits as a tier has it or as fast as the limit found, and never far ahead of the news. A refused row fails at once:
    whatever was sent before a row that was not refused, or `no_news` seconds ago, has passed. An unknown limit, and the end
    of the credit, is met by what has not, so that is kept small: to a share of what has passed, or to a few.

    Where no tier is named, those of the table are recognised: the first evaluation past the default tier's minute goes alone,
    and nothing follows until it was heard of. Where it is refused, and so is one tried a second later, that is the tier. From
    then on it is kept to exactly.

    Verdicts are reported with `sent_at`, the moment given to `Admission.sent`. The earlier they come, the less is refused:
    ask about sentinels (`Admission.sentinel`) as soon as they may have been refused, and report what is still in work.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        tier: Tier | None = None,
        earlier: Iterable[float] = (),
        longest_wait: LongestWait = AS_LONG_AS_IT_TAKES,
        tuning: PaceTuning = TUNING,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.tier = tier
        self.limits = Limits(in_secret=True, tuning=tuning)
        if tier is not None and tier.windows:
            self.limits.settle()
        self._model = model
        self._longest_wait = longest_wait
        self._tuning = tuning
        self._clock = clock
        self._line: Line[Admission] = Line(self, clock)
        self._sent = Sent(earlier, tuning)
        self._out = 0
        """Evaluations admitted and not sent."""
        self._unheard: deque[tuple[float, float]] = deque()
        """Sent, and not passed yet: when, and for how many requests each counts."""
        self._doubtful = 0.0
        """Requests for which all counts that has not passed yet, sent or not;"""
        self._passed = 0.0
        """and for which all that has."""
        self._since_sentinel = tuning.sentinel_every
        self._may_be = DEFAULT if tier is None else None
        """The tier of which the shortest window was not exceeded yet, where that may be it."""
        self._probe: float | None = None
        """When the first past the edge of that window was let in, and then, when it was sent."""
        self._latest = -inf

    async def admit(self, n: int = 1) -> Admission:
        """Wait until some of `n` more evaluations may be submitted, in one request.

        Raises RunStopped where the tier's limit has no room for longer than anybody waits.
        """
        admission = await self._line.enter(n=n)
        if admission.full_for > 0.0:
            self.give_back(admission)
            self._longest_wait.require(admission.full_for, admission.at, self._used_up)
        return admission

    def sent(self, admission: Admission, at: float, n: int) -> None:
        self.leave(admission)
        cost = self._cost(n)
        self._doubtful += cost
        self._unheard.append((at, cost))
        self._sent.add(at, n)
        if self._probe == admission.at:
            self._probe = at
        self.limits.sent(at, n, decided_at=admission.at)
        self._line.advance()

    def give_back(self, admission: Admission) -> None:
        """What was not sent of it."""
        if admission.is_out:
            if self._probe == admission.at:
                self._probe = None  # the next is one
            self._line.leave(admission)

    def in_work(self, sent_at: float) -> None:
        """Asked about, and neither refused nor done."""
        self._forget(sent_at)
        self.limits.let_pass(sent_at, self._clock())
        self._line.advance()

    def granted(self, sent_at: float, n: int = 1) -> None:
        """These were judged, well or badly. Once for each evaluation."""
        self._forget(sent_at)
        self.limits.accepted(sent_at, self._clock(), n)
        self._line.advance()

    def refused(self, sent_at: float, n: int = 1) -> None:
        """These failed with `rate_limited`."""
        now = self._clock()
        self.limits.refused(sent_at, now, n=n)
        self._sent.remove(sent_at, n)
        self._probe = None
        if self.tier is None and self.limits.trying and self.limits.trying.tries:
            self.tier = self._recognised(now)
            if self.tier is not None:
                self._may_be = None
                self.limits.settle()
        self._line.advance()

    def is_last_lap(self, left: int) -> bool:
        """A limit is known, and so few are left to send that whatever it refuses of the latest holds up the end."""
        return self.limits.rate is not None and left <= self.limits.rate * self._tuning.news_takes

    @property
    def waits(self) -> str:
        wait = self._full_for(self._clock())
        return f"{self._used_up} until {clock_time(wait)}" if self._line and wait > SHOWN_FROM else ""

    @property
    def _used_up(self) -> str:
        limits = f" (tier {self.tier.name})" if self.tier else ""
        return f"the evaluations that {self._model or 'the account'} may make{limits} are used up"

    def stop(self) -> None:
        self._line.stop()

    # -- the pacer of its line -----------------------------------------------------------------------------------

    def wait(self, now: float) -> float:
        if (wait := self.limits.wait(now)) > 0.0:
            return wait
        if (wait := self._full_for(now)) > 0.0 and not self._is_too_long(wait, now):
            return wait  # else it is let in, to hear that
        self._forget(now - self._tuning.no_news)
        if self._is_at_edge(now):
            if self._probe is not None:
                return self._news_due(now)
            if (wait := self._latest + self._tuning.starts_within - now) > 0.0:
                return wait  # so that those before it run before it
        most = max(self._tuning.unheard, self._tuning.share * self._passed)
        return 0.0 if self._doubtful < most else self._news_due(now)

    def begin(self, now: float, n: int) -> Admission:
        full_for = self._full_for(now)
        full_for = full_for if self._is_too_long(full_for, now) else 0.0
        part = 1 if full_for or self.limits.trying else self._fitting(n, now)
        if self._is_at_edge(now):
            self._probe = now
        self._latest = now
        admission = Admission(self, now, part, self._is_sentinel(part), full_for)
        self._out += part
        self._doubtful += self._cost(part)
        self.limits.begin(now, part)
        return admission

    def leave(self, begun: Admission) -> None:
        begun.is_out = False
        self._out -= begun.allowed
        self._doubtful -= self._cost(begun.allowed)

    def _full_for(self, now: float) -> float:
        """Seconds for which the tier has no room; inf until something that is out is sent or given back."""
        return 0.0 if self.tier is None else self._sent.wait(self.tier, self._out, now)

    def _is_too_long(self, wait: float, now: float) -> bool:
        return wait < inf and self._longest_wait.is_over(wait, now)

    def _news_due(self, now: float) -> float:
        return self._unheard[0][0] + self._tuning.no_news - now if self._unheard else inf

    def _fitting(self, n: int, now: float) -> int:
        """How many of these may be sent, so that a tier's limit is met exactly; where it is full, one that shows whether it is."""
        tier = self.tier or self._may_be
        return n if tier is None else max(1, min(n, self._sent.room(tier, now) - self._out))

    def _cost(self, n: int) -> float:
        return max(1.0, n / self._tuning.carries)

    def _is_sentinel(self, n: int) -> bool:
        """Is this one worth an early question? The first, one in a while, and whatever is sent to see whether it is refused."""
        self._since_sentinel += n
        if self._since_sentinel < self._tuning.sentinel_every and not self.limits.trying and self._probe is None:
            return False
        self._since_sentinel = 0
        return True

    # -- which tier it is, and what has passed -------------------------------------------------------------------

    def _is_at_edge(self, now: float) -> bool:
        """As many were sent as the default tier allows in its shortest window."""
        return self._may_be is not None and not self.limits.trying and self._sent.room(self._may_be, now) <= self._out

    def _recognised(self, now: float) -> Tier | None:
        """The tier of which a window is just full, as far as is known of what is out."""
        for tier in [self._may_be or CUSTOM, CUSTOM]:
            for count, seconds in tier.windows:
                sent = self._sent.within(seconds, now)
                if (1.0 - self._tuning.near) * count <= sent <= count + self._tuning.carries * self._doubtful:
                    return tier
        return None

    def _forget(self, until: float) -> None:
        """What was sent by then has passed."""
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
