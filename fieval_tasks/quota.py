"""The limit that hides: submissions are accepted, and evaluations past the tier's limit fail when they run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from time import monotonic
from types import TracebackType

from fieval_tasks.pace import PATIENCE, Learned, Limits, Line

AT_FIRST = 160
"""Evaluations that may be under way without a word about them, before anything is known: fewer cost time where there
is no limit, more are refused where there is one. Chosen by simulation, between 5 % of the one and 10 % of the other."""
SHARE = 3.7
"""Twice as many each time that so many times as many were granted."""
TOLERATED = 0.03
"""Share of refused evaluations that costs less than to stay further below the limit: they are only sent again."""
NEWS_TAKES = 4.0
"""Seconds until most refusals are known: rows are asked about when they are likely to be done."""
SENTINEL_GAP = 0.1
SENTINEL_ITEMS = 16
"""A submission is worth an early question when so long, and so many evaluations, after the last one that was;"""
SENTINEL_ITEMS_TIGHT = 5
"""or after so many, while nothing is known and much is out."""


class Quota:
    """One judge model's share of what the platform evaluates, counted in evaluations.

    Verdicts are reported with `sent_at`, the moment told to `Admission.sent`. The earlier they come, the less is refused:
    ask about sentinels (`Admission.sentinel`) some 0.4 s after they were sent, and report what is still in work.
    """

    def __init__(self, *, clock: Callable[[], float] = monotonic, at_first: float = AT_FIRST) -> None:
        """`at_first`: inf for a server that is known to have no such limit."""
        self._clock = clock
        self._allowance = Allowance(at_first)
        self._line = Line(self._allowance, clock)

    async def admit(self, n: int = 1) -> Admission:
        """Wait until `n` more evaluations may be submitted."""
        admitted_at = await self._line.enter(n=n)
        sentinel, trial = self._allowance.sentinel(admitted_at, n), self._allowance.limits.trying
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

    @property
    def learned(self) -> Learned:
        return self._allowance.limits.learned

    def _sent(self, at: float, n: int, admitted_at: float) -> None:
        self._allowance.sent(at, n, admitted_at=admitted_at)
        self._line.advance()


class Admission:
    """Leave to submit some evaluations. What was not sent when the `with` block ends is given back."""

    def __init__(self, quota: Quota, n: int, admitted_at: float, *, sentinel: bool, trial: bool) -> None:
        self._quota = quota
        self._left = n
        self._admitted_at = admitted_at
        self.sentinel = sentinel
        """Ask about one of these early: much depends on the answer."""
        self.trial = trial
        """It may well be refused: send one evaluation of these, and the others later."""

    def sent(self, at: float, n: int | None = None) -> None:
        """The server has taken these (all of them by default), in a request that began then."""
        n = self._left if n is None else min(n, self._left)
        self._left -= n
        self._quota._sent(at, n, self._admitted_at)

    def __enter__(self) -> Admission:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._left:
            self._quota._line.leave(self._left)
            self._left = 0


class Allowance:
    """The gate for evaluations (pure): as fast as the limits found, and never far ahead of the verdicts.

    A refused row fails at once: whatever was sent before a row that was not refused, or longer ago than some 1.5 s, is
    taken as granted. An unknown limit is met by what is neither, so that is kept small until much was granted.
    """

    def __init__(self, at_first: float = AT_FIRST) -> None:
        self.limits = Limits(tolerated=TOLERATED, news_takes=NEWS_TAKES)
        self._unsent = 0
        self._unheard: deque[tuple[float, int]] = deque()
        self._unheard_of = 0
        self._passed = 0
        self._room = at_first
        self._passed_until = -inf
        self._sentinel_at = -inf
        self._since_sentinel = 0

    def wait(self, now: float) -> float:
        wait = self.limits.wait(now)
        if wait > 0.0:
            return wait
        self._forget(max(self._passed_until, now - PATIENCE))
        if self._unsent + self._unheard_of < self._room:
            return 0.0
        return self._unheard[0][0] + PATIENCE - now if self._unheard else inf

    def begin(self, now: float, n: int) -> None:
        self._unsent += n
        self.limits.begin(now, n)

    def leave(self, n: int) -> None:
        self._unsent -= n

    def sent(self, at: float, n: int, *, admitted_at: float) -> None:
        self._unsent -= n
        self._unheard.append((at, n))
        self._unheard_of += n
        self.limits.sent(at, n, decided_at=admitted_at)

    def sentinel(self, now: float, n: int) -> bool:
        """Is this one worth an early question? The first, one in a while, and each try after a refusal."""
        self._since_sentinel += n
        a_while = self._since_sentinel >= SENTINEL_ITEMS and now - self._sentinel_at >= SENTINEL_GAP
        if not (a_while or self.limits.trying or (self._tight and self._since_sentinel >= SENTINEL_ITEMS_TIGHT)):
            return False
        self._sentinel_at, self._since_sentinel = now, 0
        return True

    @property
    def _tight(self) -> bool:
        """Nothing is known yet, and much is out."""
        known = self._room > AT_FIRST or self.limits.rate is not None
        return not known and self._unsent + self._unheard_of >= AT_FIRST // 5

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
            n = self._unheard.popleft()[1]
            self._unheard_of -= n
            self._passed += n
        while self._passed >= SHARE * self._room:
            self._room *= 2
