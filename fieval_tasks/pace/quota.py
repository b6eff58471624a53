"""What an account's tier leaves for each judge model. Its limits are hidden: past them submissions are accepted, and their evaluations fail."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from time import monotonic
from types import TracebackType

from fieval_tasks.core.errors import UsedUp
from fieval_tasks.core.tiers import CUSTOM, DAY, DEFAULT, NO_TIER, Tier
from fieval_tasks.pace.limits import Limits
from fieval_tasks.pace.pace import AS_LONG_AS_IT_TAKES, LongestWait, clock_time
from fieval_tasks.pace.pace_tuning import SHOWN_FROM, TUNING, PaceTuning
from fieval_tasks.pace.sent import Sent
from fieval_tasks.pace.waiting_line import WaitingLine


@dataclass(frozen=True)
class Allowed:
    """The account's tier and its earlier evaluations, as known before a run begins."""

    tier: Tier | None = None
    """The tier that the user named; None: it is recognised by refusals."""
    earlier: Mapping[str | None, Iterable[float]] = field(default_factory=dict)
    """Judge model -> how many seconds ago each evaluation was submitted, in the last day, by this run and others."""


NOTHING_KNOWN = Allowed()


class Quotas:
    """A quota for each judge model, as the platform counts them."""

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
        """`hears_refusals`: this process polls, so refusals in secret are noticed; if False only a named tier is kept to.
        `waits_for_judges`: submissions are synchronous, so one that is under way is not one without news.
        """
        unheard, share = (tuning.unheard if hears_refusals else inf), (1.0 if waits_for_judges else tuning.share)
        self._allowed = allowed if hears_refusals or allowed.tier else replace(allowed, tier=NO_TIER)
        self._tuning = replace(tuning, unheard=unheard, share=share)
        self._longest_wait = longest_wait
        self._clock = clock
        self._quotas: dict[str | None, Quota] = {}

    def quota_of(self, model: str | None) -> Quota:
        """The quota of a model; None: of templates without a judge, which no tier limits."""
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
        """Which tier's limit holds up submissions at this moment, in words; empty where none does for long."""
        return next((text for quota in self._quotas.values() if (text := quota.waits)), "")


@dataclass
class Admission:
    """The permission to submit some evaluations in one request; what is not sent within its `with` block is given back."""

    quota: Quota
    """The quota that gave it."""
    at: float
    """When it was given."""
    allowed: int
    """How many evaluations may be sent now, from 1 to all that were asked for; more would probably be refused."""
    sentinel: bool
    """One of them is to be asked about early, to learn whether it was refused."""
    full_for: float
    """Seconds until the tier has room, if that is longer than the longest wait: then nothing may be sent. Else 0."""
    is_out: bool = True
    """It was neither used nor given back yet."""

    def sent(self, at: float, n: int | None = None) -> None:
        """The server accepted `n` evaluations (default: all; the others are given back), in a request that began at `at`."""
        self.quota.sent(self, at, self.allowed if n is None else n)

    def __enter__(self) -> Admission:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.quota.give_back(self)


class Quota:
    """How many evaluations of one judge model may be submitted. On the engine's event loop.

    It admits what the tier has room for, or the rate that was found, and never far ahead of the news. A refused row fails at
    once: so an evaluation has passed if one that was sent after it was not refused, or `no_news` seconds after it was sent.
    Evaluations that have not passed may meet an unknown limit or the end of the credit, so their number is kept small: to
    a share of those that have passed, or to a few.

    Where no tier is named, the known tiers are recognised: the first evaluation past the default tier's minute goes alone,
    and nothing follows until its result is known. If it is refused, and so is another a second later, that is the tier, and
    it is kept to exactly from then on.

    Results are reported with `sent_at`, the time given to `Admission.sent`. The earlier they come, the fewer are refused: so
    sentinels (`Admission.sentinel`) are asked about early, and `in_work` reports those that are still pending.
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
        self._sent = Sent(earlier, kept=2 * DAY)  # longer than any window that is counted
        self.limits = Limits(self._sent, in_secret=True, tuning=tuning)
        if tier is not None and tier.windows:
            self.limits.settle()
        self._model = model
        self._longest_wait = longest_wait
        self._tuning = tuning
        self._clock = clock
        self._line: WaitingLine[Admission] = WaitingLine(self, clock)
        self._out = 0
        """Evaluations that were admitted and not sent yet."""
        self._unheard: deque[tuple[float, float]] = deque()
        """(when sent, requests that it counts for) of each submission that has not passed yet."""
        self._doubtful = 0.0
        """Requests, sent or admitted, that have not passed yet."""
        self._passed = 0.0
        """Requests that have passed."""
        self._since_sentinel = tuning.sentinel_every
        self._may_be = DEFAULT if tier is None else None
        """The tier that may still be the account's: its shortest window has not been exceeded yet."""
        self._probe: float | None = None
        """When the first evaluation past that window was admitted, or, after that, sent."""
        self._latest = -inf

    async def admit(self, n: int = 1) -> Admission:
        """Wait until some of `n` evaluations may be submitted in one request.

        Raises UsedUp where the tier has no room for longer than the longest wait.
        """
        admission = await self._line.enter(n=n)
        if admission.full_for > 0.0:
            self.give_back(admission)
            self._longest_wait.require(admission.full_for, admission.at, self._used_up, error=UsedUp)
        return admission

    def sent(self, admission: Admission, at: float, n: int) -> None:
        self.leave(admission)
        cost = self._cost(n)
        self._doubtful += cost
        self._unheard.append((at, cost))
        if self._probe == admission.at:
            self._probe = at
        self.limits.sent(at, n, decided_at=admission.at)
        self._line.advance()

    def give_back(self, admission: Admission) -> None:
        """Take back what was not sent of an admission."""
        if admission.is_out:
            if self._probe == admission.at:
                self._probe = None  # the next one is the probe
            self._line.leave(admission)

    def in_work(self, sent_at: float) -> None:
        """An evaluation was asked about, and is neither refused nor done."""
        self._forget(sent_at)
        self.limits.let_pass(sent_at, self._clock())
        self._line.advance()

    def granted(self, sent_at: float, n: int = 1) -> None:
        """Evaluations were judged, or failed by themselves. Call once for each evaluation."""
        self._forget(sent_at)
        self.limits.accepted(sent_at, self._clock(), n)
        self._line.advance()

    def refused(self, sent_at: float, n: int = 1) -> None:
        """Evaluations failed with `rate_limited`."""
        now = self._clock()
        self.limits.refused(sent_at, now, n=n)
        self._probe = None
        if self.tier is None and self.limits.trying and self.limits.trying.tries:
            self.tier = self._recognised(now)
            if self.tier is not None:
                self._may_be = None
                self.limits.settle()
        self._line.advance()

    def is_last_lap(self, left: int) -> bool:
        """Whether a limit is known and so few items are left that a refused one would delay the end of the run."""
        return self.limits.rate is not None and left <= self.limits.rate * self._tuning.news_takes

    @property
    def waits(self) -> str:
        wait = self._full_for(self._clock())
        return f"{self._used_up} until {clock_time(wait)}" if self._line and wait > SHOWN_FROM else ""

    @property
    def _used_up(self) -> str:
        limits = f" (tier {self.tier.name})" if self.tier else ""
        return f"the evaluations that {self._model or 'the account'} may make{limits} are used up"

    # -- the pacer of its line -----------------------------------------------------------------------------------

    def wait(self, now: float) -> float:
        if (wait := self.limits.wait(now)) > 0.0:
            return wait
        if (wait := self._full_for(now)) > 0.0 and not self._is_too_long(wait, now):
            return wait  # a wait that is too long lets it in, to learn `full_for`
        self._forget(now - self._tuning.no_news)
        if self._is_at_edge(now):
            if self._probe is not None:
                return self._news_due(now)
            if (wait := self._latest + self._tuning.starts_within - now) > 0.0:
                return wait  # so that the evaluations before the probe run before it
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
        """Seconds until the tier has room; inf: not before an admission is used or given back."""
        windows = self.tier.windows if self.tier else ()
        return max((self._sent.wait(count - self._out, self._counted(s), now) for count, s in windows), default=0.0)

    def _room(self, tier: Tier, now: float) -> int:
        """How many more may run now, beside the admitted ones."""
        sent = (count - self._sent.within(self._counted(seconds), now) for count, seconds in tier.windows)
        return min(sent, default=10**9) - self._out

    def _counted(self, seconds: float) -> float:
        """The seconds that a tier's window is taken for."""
        return seconds + min(1.0, max(self._tuning.starts_within, self._tuning.later * seconds))

    def _is_too_long(self, wait: float, now: float) -> bool:
        return wait < inf and self._longest_wait.is_over(wait, now)

    def _news_due(self, now: float) -> float:
        return self._unheard[0][0] + self._tuning.no_news - now if self._unheard else inf

    def _fitting(self, n: int, now: float) -> int:
        """How many of `n` fit into the tier's windows; 1 at the edge of a tier that is not known yet, as a probe."""
        tier = self.tier or self._may_be
        return n if tier is None else max(1, min(n, self._room(tier, now)))

    def _cost(self, n: int) -> float:
        return max(1.0, n / self._tuning.carries)

    def _is_sentinel(self, n: int) -> bool:
        """Whether to ask about this one early: the first, one in `sentinel_every`, and every probe."""
        self._since_sentinel += n
        if self._since_sentinel < self._tuning.sentinel_every and not self.limits.trying and self._probe is None:
            return False
        self._since_sentinel = 0
        return True

    # -- which tier it is, and what has passed -------------------------------------------------------------------

    def _is_at_edge(self, now: float) -> bool:
        """Whether as many were sent as the default tier allows in its shortest window."""
        return self._may_be is not None and not self.limits.trying and self._room(self._may_be, now) <= 0

    def _recognised(self, now: float) -> Tier | None:
        """The known tier of which a window is just full; None where none is."""
        for tier in [self._may_be or CUSTOM, CUSTOM]:
            for count, seconds in tier.windows:
                sent = self._sent.within(seconds, now)
                if (1.0 - self._tuning.near) * count <= sent <= count + self._tuning.carries * self._doubtful:
                    return tier
        return None

    def _forget(self, until: float) -> None:
        """Everything that was sent up to then has passed."""
        while self._unheard and self._unheard[0][0] <= until:
            cost = self._unheard.popleft()[1]
            self._doubtful -= cost
            self._passed += cost
        if self._probe is not None and self._probe <= until and not self.limits.trying:
            self._probe, self._may_be = None, None
