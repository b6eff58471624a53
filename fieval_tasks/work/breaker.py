"""The canary and circuit breaker of a lane: few evaluations are bought before the first verdicts, and a lane that fails stops.

A *lane* is a check on its way to the server: one template and model. Its first requests carry one item each, a few at a
time, until the server has accepted one; then a bounded number of evaluations is bought ahead of the verdicts. A lane
whose items are nearly all refused, or whose evaluations nearly all fail, is stopped; other lanes go on. The errors'
texts need not be alike: a server may put an id or the item's own words into each of them.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Callable
from math import inf
from time import monotonic

from fieval_tasks.core.items import Failed, Verdict
from fieval_tasks.work.work_tuning import TUNING, WorkTuning


class Breaker:
    """One lane's canary and breaker. On the engine's event loop."""

    def __init__(
        self,
        *,
        awaits_verdicts: bool = True,
        other_judges: str = "",
        tuning: WorkTuning = TUNING,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`awaits_verdicts`: this process asks for verdicts; `other_judges`: a hint added where the judge fails."""
        self._awaits_verdicts = awaits_verdicts
        self._other_judges = other_judges
        self._tuning = tuning
        self._clock = clock
        self.stopped: str | None = None
        """Why the lane was stopped; None while it is not."""
        self._judged = 0
        self._requests_out = 0
        self._items_out = 0
        self._unjudged = 0
        self._failed_and_waiting = 0
        self._first_taken_at = inf
        self._lost = 0
        self._refusals = Outcomes(tuning)
        self._failures = Outcomes(tuning)
        self._news = asyncio.Event()

    async def admit(self, n: int) -> int:
        """Wait until a request may go out; how many of the `n` items it may carry. 0: the lane is stopped.

        The end of an admitted request must be reported by `returned`.
        """
        if not await self._may_go(lambda: n):
            return 0
        admitted = n if self._has_taken else 1
        self._requests_out += 1
        self._items_out += admitted
        return admitted

    async def relents(self) -> bool:
        """Wait until an item whose evaluation failed may be bought once more. False: the lane is stopped."""
        self._failed_and_waiting += 1
        try:
            return await self._may_go(lambda: self._failed_and_waiting)
        finally:
            self._failed_and_waiting -= 1

    async def _may_go(self, n: Callable[[], int]) -> bool:
        while self.stopped is None and (wait := self._wait(n())) > 0.0:
            self._news.clear()
            timer = None if wait == inf else asyncio.get_running_loop().call_later(wait, self._news.set)
            try:
                await self._news.wait()
            finally:
                if timer is not None:
                    timer.cancel()
        return self.stopped is None

    def _wait(self, n: int) -> float:
        """Seconds to wait; inf: until a request ends or a verdict comes."""
        tuning = self._tuning
        if not self._has_taken:
            could_be_refused = self._requests_out + self._refusals.alike
            may_go = self._requests_out < tuning.canaries and could_be_refused < tuning.refused_at_first
            return 0.0 if may_go else inf
        if not self._awaits_verdicts:
            return 0.0
        may_be_bought: int = tuning.bought_at_first * tuning.growth ** min(self._judged, 10)  # no run is as long
        too_many = self._bought + n - may_be_bought
        return too_many / tuning.bought_a_second - (self._clock() - self._first_taken_at)

    @property
    def _has_taken(self) -> bool:
        """Whether the server has accepted any item of this lane."""
        return self._first_taken_at < inf

    @property
    def _bought(self) -> int:
        """Evaluations that were bought and not judged: under way, pending, and failed."""
        return self._items_out + self._unjudged + self._failures.count

    def returned(self, admitted: int, *, taken: int) -> None:
        """An admitted request has ended; `taken`: items of it that the server accepted."""
        self._requests_out -= 1
        self._items_out -= admitted
        self._unjudged += taken
        if not taken or not self._has_taken:  # otherwise nobody gains by it, and many may be waiting
            self._news.set()
        for _ in range(taken):
            self._refusals.went_well()
        if taken:
            self._was_taken()

    def _was_taken(self) -> None:
        self._first_taken_at = min(self._first_taken_at, self._clock())

    def refused(self, reason: str, *, of_its_own: bool = True, lost: bool = False) -> None:
        """The server refused an item for good. Not `of_its_own`: a proxy or firewall refused it, whose answer is the same
        for different causes, and which may dislike the first rows only. `lost`: the reply was lost, and the item is not
        sent again.
        """
        refusals, tuning = self._refusals, self._tuning
        refusals.went_wrong(reason)
        self._lost += lost
        if lost or not of_its_own:
            refusals.alike = 0
        if self._has_taken or not of_its_own:
            hopeless = refusals.alike >= tuning.refused_later or refusals.are_most_of_the_latest
        else:
            hopeless = refusals.alike >= tuning.refused_at_first or refusals.count >= tuning.refused_anyhow
        if hopeless:
            self.stop(f"{self._what_went_wrong} {refusals}")

    @property
    def _what_went_wrong(self) -> str:
        if not self._lost:
            return "the server refused"
        all_were = self._lost == self._refusals.count
        return "the replies were lost to" if all_were else "the server refused, or its replies were lost to,"

    def heard(self, verdict: Verdict, *, again: bool = False) -> None:
        """An accepted item has its verdict, or its evaluation failed; `again`: it had failed before."""
        self._unjudged -= 1
        if isinstance(verdict, Failed):
            self._failed(verdict, again=again)
        else:
            self._judged += 1
            self._failures.went_well()
            self._news.set()

    def failed(self, verdict: Failed, *, again: bool = False) -> None:
        """The judge of a synchronous call failed: the server accepted the item and gave neither verdict nor ticket."""
        self._was_taken()
        self._failed(verdict, again=again)
        self._news.set()

    def _failed(self, verdict: Failed, *, again: bool) -> None:
        failures = self._failures
        failures.went_wrong(f"{verdict.kind}: {verdict.message}", is_news=not again)
        if self._judged:
            hopeless = failures.are_most_of_the_latest
        else:
            are_many = failures.items >= self._tuning.misjudged_at_first
            hopeless = are_many and failures.count >= self._tuning.misjudged_share * self._bought
        if hopeless:
            way_out = f"; {self._other_judges}" if self._other_judges else ""
            self.stop(f"the judge gave no verdict on {failures}{way_out}")

    def put_back(self) -> None:
        """An accepted item is to be sent again, for a cause that says nothing about the item (a hidden limit)."""
        self._unjudged -= 1
        self._news.set()

    def stop(self, why: str) -> None:
        """Send no more of the lane's items; what the server has taken of them is still asked about."""
        self.stopped = self.stopped or why
        self._news.set()


class Outcomes:
    """Counts of a lane's successes and failures, with the reasons of the latest failures."""

    def __init__(self, tuning: WorkTuning) -> None:
        self.count = 0
        """Failures, including repeated ones of the same item."""
        self.items = 0
        """Items that failed."""
        self.alike = 0
        """The latest failures in a row with the same reason."""
        self._out_of_latest = tuning.out_of_latest
        self._latest: deque[str | None] = deque(maxlen=tuning.latest)
        """Reasons of the latest outcomes; None for a success."""

    def went_well(self) -> None:
        self._latest.append(None)
        self.alike = 0

    def went_wrong(self, reason: str, *, is_news: bool = True) -> None:
        """Count a failure. `is_news`: it is the item's first one."""
        self.count += 1
        if is_news:
            self.items += 1
            like = masked(reason)
            self.alike = self.alike + 1 if self._latest and self._latest[-1] == like else 1
            self._latest.append(like)

    @property
    def are_most_of_the_latest(self) -> bool:
        return len(self._latest) - self._latest.count(None) >= self._out_of_latest

    def __str__(self) -> str:
        """As `45 of the latest 50 items, most often (31 times) with: timed out after # s`."""
        reasons = Counter(reason for reason in self._latest if reason is not None)
        [(reason, times)] = reasons.most_common(1)
        n, of = reasons.total(), len(self._latest)
        counted = f"{n} items in a row" if n == of else f"{n} of the latest {of} items"
        return f"{counted}, {'each' if times == n else f'most often ({times} times)'} with: {reason}"


def masked(reason: str) -> str:
    """The reason with # in place of UUIDs, ids and numbers (but an HTTP status), so that equal reasons compare equal."""
    return _PECULIAR.sub("#", reason)


_PECULIAR = re.compile(
    r"""
    \b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b
    | \b(?:0x[0-9a-f]+|[0-9a-f]{8,})\b
    | \b(?=[a-z_]*[0-9])(?=[0-9_]*[a-z])\w{8,}\b  # req_011CQ2, 8f3ab2c09d; but no name as short as 4o or v1
    | (?<!HTTP[ ])(?<![0-9])[0-9]+(?:[.,:][0-9]+)*  # but a status is what an error is
    """,
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)
