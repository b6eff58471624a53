"""Nothing is bought without a look: a check's first items go ahead alone, and one that only meets refusals is stopped.

A *lane* is a check on its way to the server: one template and model. The first requests of a lane carry one item each,
a few at a time, until the server has taken one; then only so many evaluations are bought ahead of its verdicts. A lane
whose items are refused, or whose evaluations fail, nearly all of them, is stopped, and no other: whatever the errors
say, for a server that puts an id or the item's own words into each of them is as broken as one that does not.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Callable
from enum import Enum
from math import inf
from time import monotonic

from fieval_tasks.core.items import Failed, Verdict

CANARIES = 3
"""Requests of one item each that may be out before the server has taken any."""
REFUSED_AT_FIRST = 4
"""Refusals for the same reason, and nothing taken yet: the lane stops."""
REFUSED_ANYHOW = 10
"""The same whatever the reasons: where three rows in ten are refused, ten in a row are seen once in 170,000 runs."""
REFUSED_LATER = 20
"""Refusals in a row for the same reason, once something was taken: the lane stops."""
BOUGHT_AT_FIRST = 100
"""Evaluations that may be bought before one was judged, second ones included."""
GROWTH = 4
"""Each that was judged lets so many times as many go: verdicts are seen slowly at first, for nobody knows yet when to ask,
and a hundred more for each held 10,000 items up by four seconds. What fails then is seen by its rate."""
BOUGHT_A_SECOND = 5.0
"""So many more in each second after the first ticket: a judge that takes long holds nobody up for good."""
MISJUDGED_AT_FIRST = 10
"""Items whose evaluations failed, and none judged yet, at which the lane may stop,"""
MISJUDGED_SHARE = 2 / 3
"""where failures are this much of all that was bought. What fails, fails quickly: of a hundred that are out, all those that
will fail may be known before the first is judged. Where half of them will, 67 do so once in 2,000 runs, and where three in
ten will, never (1e-14)."""
LATEST = 50
"""Items whose outcome is remembered, once one was judged or taken."""
OUT_OF_LATEST = 45
"""Failures, or refusals, among them that stop the lane: where half of all fail, one window in 500 million has so many, and
where three in ten do, one in 1e18; where all fail, 45 items tell."""


class Leave(Enum):
    """What a request may do."""

    SEND = "send all its items"
    CANARY = "send its first item, alone"
    STAY = "send nothing: the lane is stopped"

    def items(self, n: int) -> int:
        """How many of `n` items may go."""
        return {Leave.SEND: n, Leave.CANARY: 1, Leave.STAY: 0}[self]


class Breaker:
    """One lane's canary and breaker."""

    def __init__(
        self,
        on_stop: Callable[[str], None],
        *,
        awaits_verdicts: bool = True,
        other_judges: str = "",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`on_stop` is told why; `awaits_verdicts` is False where nobody asks for them in this run; `other_judges`: what is
        said besides where it is the judge that failed.
        """
        self._on_stop = on_stop
        self._clock = clock
        self._awaits_verdicts = awaits_verdicts
        self._other_judges = other_judges
        self.stopped: str | None = None
        """Why the lane was stopped; None while it is not."""
        self._taken = False
        self._judged = 0
        self._requests_out = 0
        self._items_out = 0
        self._unjudged = 0
        self._failed_and_waiting = 0
        self._first_ticket_at = inf
        self._lost = 0
        self._refusals = Outcomes()
        self._failures = Outcomes()
        self._news = asyncio.Event()

    async def admit(self, n: int) -> Leave:
        """Wait until a request of `n` items may go out. What was admitted must be told to `returned`."""
        while self.stopped is None:
            wait = self._wait(n)
            if wait <= 0.0:
                return self._admitted(n)
            await self._news_within(wait)
        return Leave.STAY

    async def relents(self) -> bool:
        """Wait until an item whose evaluation failed may be bought once more. False: never, the lane is stopped."""
        self._failed_and_waiting += 1
        try:
            while self.stopped is None and (wait := self._wait(self._failed_and_waiting)) > 0.0:
                await self._news_within(wait)
        finally:
            self._failed_and_waiting -= 1
        return self.stopped is None

    def _wait(self, n: int) -> float:
        """Seconds to wait; inf: until there is news."""
        if not self._taken:
            refused = self._refusals.alike
            may_go = self._requests_out < CANARIES and self._requests_out + refused < REFUSED_AT_FIRST
            return 0.0 if may_go else inf
        if not self._awaits_verdicts:
            return 0.0
        may_be_bought: int = BOUGHT_AT_FIRST * GROWTH ** min(self._judged, 10)  # beyond, no run is as long
        too_many = self._bought + n - may_be_bought
        return too_many / BOUGHT_A_SECOND - (self._clock() - self._first_ticket_at)

    @property
    def _bought(self) -> int:
        """Evaluations without a verdict: on their way, waited for, and failed."""
        return self._items_out + self._unjudged + self._failures.count

    def _admitted(self, n: int) -> Leave:
        leave = Leave.SEND if self._taken else Leave.CANARY
        self._requests_out += 1
        self._items_out += leave.items(n)
        return leave

    async def _news_within(self, seconds: float) -> None:
        self._news.clear()
        timer = None if seconds == inf else asyncio.get_running_loop().call_later(seconds, self._news.set)
        try:
            await self._news.wait()
        finally:
            if timer is not None:
                timer.cancel()

    def returned(self, leave: Leave, n: int, *, taken: int) -> None:
        """What was admitted for `n` items has ended; the server took so many of them."""
        self._requests_out -= 1
        self._items_out -= leave.items(n)
        self._unjudged += taken
        if not taken or not self._taken:  # otherwise nobody gains by it, and many may be waiting
            self._news.set()
        for _ in range(taken):
            self._refusals.went_well()
        if taken:
            self._was_taken()

    def _was_taken(self) -> None:
        if not self._taken:
            self._taken, self._first_ticket_at = True, self._clock()

    def refused(self, reason: str, *, of_its_own: bool = True, lost: bool = False) -> None:
        """The server will never take an item, and says why. Not `of_its_own`: something before it, whose one answer to
        different things says nothing of what is wrong, and which may dislike the first rows only. `lost`: nothing at all
        was said, and the item is not sent again.
        """
        self._refusals.went_wrong(reason)
        self._lost += lost
        if lost or not of_its_own:
            self._refusals.alike = 0
        if self._taken or not of_its_own:
            hopeless = self._refusals.alike >= REFUSED_LATER or self._refusals.are_most_of_the_latest
        else:
            hopeless = self._refusals.alike >= REFUSED_AT_FIRST or self._refusals.count >= REFUSED_ANYHOW
        if hopeless:
            self._stop(f"{self._what_went_wrong} {self._refusals}")

    @property
    def _what_went_wrong(self) -> str:
        if not self._lost:
            return "the server refused"
        all_were = self._lost == self._refusals.count
        return "the replies were lost to" if all_were else "the server refused, or its replies were lost to,"

    def heard(self, verdict: Verdict, *, again: bool = False) -> None:
        """An item that was taken has its verdict, or failed to get one; `again`: as it did before."""
        self._unjudged -= 1
        if isinstance(verdict, Failed):
            self._failed(verdict, again=again)
        else:
            self._judged += 1
            self._failures.went_well()
            self._news.set()

    def failed(self, verdict: Failed, *, again: bool = False) -> None:
        """The judge of a synchronous call failed: the server took the item, and has no verdict nor ticket for it."""
        self._was_taken()
        self._failed(verdict, again=again)
        self._news.set()

    def _failed(self, verdict: Failed, *, again: bool) -> None:
        self._failures.went_wrong(f"{verdict.kind}: {verdict.message}", is_news=not again)
        if self._judged:
            hopeless = self._failures.are_most_of_the_latest
        else:
            are_many = self._failures.items >= MISJUDGED_AT_FIRST
            hopeless = are_many and self._failures.count >= MISJUDGED_SHARE * self._bought
        if hopeless:
            way_out = f"; {self._other_judges}" if self._other_judges else ""
            self._stop(f"the judge gave no verdict on {self._failures}{way_out}")

    def put_back(self) -> None:
        """An item was taken and is to be sent again, through no fault of its own."""
        self._unjudged -= 1
        self._news.set()

    def _stop(self, why: str) -> None:
        if self.stopped is None:
            self.stopped = why
            self._on_stop(why)
            self._news.set()


class Outcomes:
    """What went well and what went wrong with a lane's items, and for which reasons."""

    def __init__(self) -> None:
        self.count = 0
        """Times that something went wrong."""
        self.items = 0
        """With so many items."""
        self.alike = 0
        """The latest in a row that went wrong for the same reason."""
        self._latest: deque[str | None] = deque(maxlen=LATEST)
        """Reasons; None for what went well."""

    def went_well(self) -> None:
        self._latest.append(None)
        self.alike = 0

    def went_wrong(self, reason: str, *, is_news: bool = True) -> None:
        """Not `is_news`: it counts as one more, and tells nothing of how many items fare so."""
        self.count += 1
        if is_news:
            self.items += 1
            like = masked(reason)
            self.alike = self.alike + 1 if self._latest and self._latest[-1] == like else 1
            self._latest.append(like)

    @property
    def are_most_of_the_latest(self) -> bool:
        return len(self._latest) - self._latest.count(None) >= OUT_OF_LATEST

    def __str__(self) -> str:
        """As `45 of the latest 50 items, most often (31 times) with: timed out after # s`."""
        reasons = Counter(reason for reason in self._latest if reason is not None)
        [(reason, times)] = reasons.most_common(1)
        n, of = reasons.total(), len(self._latest)
        counted = f"{n} items in a row" if n == of else f"{n} of the latest {of} items"
        return f"{counted}, {'each' if times == n else f'most often ({times} times)'} with: {reason}"


def masked(reason: str) -> str:
    """With # for what differs where the reason is the same: UUIDs, ids of letters and digits, numbers that are no status."""
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
