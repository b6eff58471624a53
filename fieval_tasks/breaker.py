"""Nothing is bought without a look: a check's first items go ahead alone, and one that only meets refusals is stopped.

A *lane* is a check on its way to the server: one template and model. The first requests of a lane carry one item each,
a few at a time, until the server has taken one; then, until it has judged one, only so many may be out. The same
permanent error again and again stops the lane, and no other.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from enum import Enum
from math import inf
from time import monotonic

from fieval_tasks.items import Failed, Verdict

CANARIES = 3
"""Requests of one item each that may be out before the server has taken any."""
REFUSED_AT_FIRST = 4
"""Refusals for the same reason, and nothing taken yet: the lane stops."""
REFUSED_LATER = 20
"""Refusals in a row for the same reason, once something was taken: the lane stops."""
MISJUDGED_AT_FIRST = 10
"""Evaluations that failed for the same reason, and none judged yet: the lane stops."""
MISJUDGED_LATER = 50
"""Evaluations in a row that failed for the same reason, once one was judged: the lane stops."""
UNJUDGED_AT_FIRST = 100
"""Items that may be out before one of them was judged."""
PATIENCE = 0.75
"""Seconds after the first ticket in which a judge may show itself. What is wrong with all items fails at once, as it runs;
a judge that takes longer is at work."""


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
        self, on_stop: Callable[[str], None], *, awaits_verdicts: bool = True, clock: Callable[[], float] = monotonic
    ) -> None:
        """`on_stop` is told why; `awaits_verdicts` is False where nobody asks for them in this run."""
        self._on_stop = on_stop
        self._clock = clock
        self._awaits_verdicts = awaits_verdicts
        self.stopped: str | None = None
        """Why the lane was stopped; None while it is not."""
        self._taken = False
        self._judged = False
        self._requests_out = 0
        self._items_out = 0
        self._unjudged = 0
        self._first_ticket_at = inf
        self._refusals = Streak()
        self._misjudged = Streak()
        self._news = asyncio.Event()

    async def admit(self, n: int) -> Leave:
        """Wait until a request of `n` items may go out. What was admitted must be told to `returned`."""
        while self.stopped is None:
            wait = self._wait(n)
            if wait <= 0.0:
                return self._admitted(n)
            await self._news_within(wait)
        return Leave.STAY

    def _wait(self, n: int) -> float:
        """Seconds to wait; inf: until there is news."""
        if not self._taken:
            may_go = self._requests_out < CANARIES and self._requests_out + self._refusals.length < REFUSED_AT_FIRST
            return 0.0 if may_go else inf
        if self._judged or not self._awaits_verdicts or self._items_out + self._unjudged + n <= UNJUDGED_AT_FIRST:
            return 0.0
        return self._first_ticket_at + PATIENCE - self._clock()

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
        if taken:
            self._refusals = Streak()
            if not self._taken:
                self._taken, self._first_ticket_at = True, self._clock()

    def refused(self, reason: str) -> None:
        """The server will never take an item, and says why."""
        self._refusals.add(reason)
        if self._refusals.length >= (REFUSED_LATER if self._taken else REFUSED_AT_FIRST):
            self._stop(f"the server refused {self._refusals.length} items in a row, each with: {reason}")

    def heard(self, verdicts: Iterable[Verdict]) -> None:
        """Items that were taken have their verdicts, or failed to get one."""
        for verdict in verdicts:
            if isinstance(verdict, Failed):
                self._fell_through(f"{verdict.kind}: {verdict.message}")
            else:
                self._judged, self._misjudged = True, Streak()
                self._settled()

    def _fell_through(self, reason: str) -> None:
        self._misjudged.add(reason)
        if self._misjudged.length >= (MISJUDGED_LATER if self._judged else MISJUDGED_AT_FIRST):
            self._stop(f"{self._misjudged.length} evaluations in a row failed, each with: {reason}")
        self._settled()

    def put_back(self) -> None:
        """An item was taken and is to be sent again, through no fault of its own."""
        self._settled()

    def _settled(self) -> None:
        self._unjudged -= 1
        self._news.set()

    def _stop(self, why: str) -> None:
        if self.stopped is None:
            self.stopped = why
            self._on_stop(why)
            self._news.set()


class Streak:
    """The same thing, numbers apart, so many times in a row."""

    def __init__(self) -> None:
        self.length = 0
        self._last = ""

    def add(self, thing: str) -> None:
        like = re.sub(r"\d+", "#", thing)
        self.length = self.length + 1 if like == self._last else 1
        self._last = like
