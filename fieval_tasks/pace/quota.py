"""The limit that hides: submissions are accepted, and evaluations past the tier's limit fail when they run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from time import monotonic
from types import TracebackType

from fieval_tasks.pace.limits import Learned, Limits
from fieval_tasks.pace.pace import Line

AT_FIRST = 120
"""Evaluations that may be out without a word about them. Fewer cost time where there is no limit, more are refused where
there is one. Chosen by simulation: where news takes 0.25 s they let 450 a second through."""
REQUESTS_AT_FIRST = 36
"""The same in requests: so many are made in vain where credit ends."""
SHARE = 1 / 6
"""So much of all that passed may be out where that is more: what is lost stays a small part of what was done."""
ALL = 1.0
"""The same of calls that wait for the judge: being out is no sign that nothing is known of them."""
NO_NEWS = 3.0
"""Seconds after which what nobody heard of counts as passed: a sentinel's answer takes 0.3 s, and longer on a busy machine."""
TOLERATED = 0.03
"""Share of refused evaluations that costs less than to stay further below the limit: they are only sent again."""
NEWS_TAKES = 4.0
"""Seconds until most refusals are known: rows are asked about when they are likely to be done."""
SENTINEL_EVERY = 18
"""Evaluations from one submission that is worth an early question to the next: six requests of three."""


class Quota:
    """One judge model's share of what the platform evaluates, counted in evaluations.

    Verdicts are reported with `sent_at`, the moment told to `Admission.sent`. The earlier they come, the less is refused:
    ask about sentinels (`Admission.sentinel`) as soon as they may have been refused, and report what is still in work.
    """

    def __init__(
        self, *, clock: Callable[[], float] = monotonic, at_first: float = AT_FIRST, share: float = SHARE
    ) -> None:
        """`at_first`: inf for a server that is known to have no such limit. `share`: of all that passed, may be out."""
        self._clock = clock
        self._allowance = Allowance(at_first, share)
        self._line = Line(self._allowance, clock)

    async def admit(self, n: int = 1) -> Admission:
        """Wait until `n` more evaluations may be submitted, in one request."""
        admitted_at = await self._line.enter(n=n)
        sentinel, trial = self._allowance.sentinel(n), self._allowance.limits.trying
        return Admission(self, n, admitted_at, sentinel=sentinel, trial=trial)

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
    def learned(self) -> Learned:
        return self._allowance.limits.learned

    def _sent(self, at: float, n: int, *, of: int, admitted_at: float) -> None:
        self._allowance.sent(at, n, of=of, admitted_at=admitted_at)
        self._line.advance()


class Admission:
    """Leave to submit some evaluations in one request. What was not sent when the `with` block ends is given back."""

    def __init__(self, quota: Quota, n: int, admitted_at: float, *, sentinel: bool, trial: bool) -> None:
        self._quota = quota
        self._n = n
        self._is_sent = False
        self._admitted_at = admitted_at
        self.sentinel = sentinel
        """Ask about one of these early: much depends on the answer."""
        self.trial = trial
        """It may well be refused: send one evaluation of these, and the others later."""

    def sent(self, at: float, n: int | None = None) -> None:
        """The server has taken these (all of them by default; the others are given back), in a request that began then."""
        self._is_sent = True
        self._quota._sent(at, self._n if n is None else n, of=self._n, admitted_at=self._admitted_at)

    def __enter__(self) -> Admission:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_sent:
            self._quota._line.leave(self._n)


class Allowance:
    """The gate for evaluations (pure): as fast as the limits found, and never far ahead of the news.

    A refused row fails at once: whatever was sent before a row that was not refused, or NO_NEWS seconds ago, has
    passed. An unknown limit, and the end of the credit, is met by what has not, so that is kept small: to a share of what
    has passed, or to a few.
    """

    def __init__(self, at_first: float = AT_FIRST, share: float = SHARE) -> None:
        self.limits = Limits(tolerated=TOLERATED, news_takes=NEWS_TAKES)
        self._evaluations = Room(at_first, share)
        self._requests = Room(REQUESTS_AT_FIRST if at_first < inf else inf, share)
        self._unheard: deque[tuple[float, int]] = deque()
        self._passed_until = -inf
        self._since_sentinel = SENTINEL_EVERY

    def wait(self, now: float) -> float:
        wait = self.limits.wait(now)
        if wait > 0.0:
            return wait
        self._forget(max(self._passed_until, now - NO_NEWS))
        if self._evaluations.is_free and self._requests.is_free:
            return 0.0
        return self._unheard[0][0] + NO_NEWS - now if self._unheard else inf

    def begin(self, now: float, n: int) -> None:
        self._evaluations.out += n
        self._requests.out += 1
        self.limits.begin(now, n)

    def leave(self, n: int) -> None:
        """A request for so many evaluations was not made, or not taken."""
        self._evaluations.out -= n
        self._requests.out -= 1

    def sent(self, at: float, n: int, *, of: int, admitted_at: float) -> None:
        self._evaluations.out -= of - n
        self._unheard.append((at, n))
        self.limits.sent(at, n, decided_at=admitted_at)

    def sentinel(self, n: int) -> bool:
        """Is this one worth an early question? The first, one in a while, and each try after a refusal."""
        self._since_sentinel += n
        if self._since_sentinel < SENTINEL_EVERY and not self.limits.trying:
            return False
        self._since_sentinel = 0
        return True

    def is_last_lap(self, left: int) -> bool:
        return self.limits.rate is not None and left <= self.limits.rate * NEWS_TAKES

    def in_work(self, sent_at: float, now: float) -> None:
        self._passed_until = max(self._passed_until, sent_at)
        self.limits.let_pass(sent_at, now)

    def granted(self, sent_at: float, now: float, n: int) -> None:
        self._passed_until = max(self._passed_until, sent_at)
        self.limits.accepted(sent_at, now, n)

    def refused(self, sent_at: float, now: float, n: int) -> None:
        self.limits.refused(sent_at, now, n=n)

    def _forget(self, until: float) -> None:
        while self._unheard and self._unheard[0][0] <= until:
            self._evaluations.passes(self._unheard.popleft()[1])
            self._requests.passes(1)


class Room:
    """How many may be out: admitted, and not passed yet."""

    def __init__(self, at_first: float, share: float) -> None:
        self._share = share
        self.out = 0
        self._most = at_first
        self._passed = 0

    @property
    def is_free(self) -> bool:
        return self.out < self._most

    def passes(self, n: int) -> None:
        self.out -= n
        self._passed += n
        self._most = max(self._most, self._share * self._passed)
