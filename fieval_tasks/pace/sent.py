"""When requests (or evaluations) were sent. Pure: time is passed in."""

from __future__ import annotations

from array import array
from bisect import bisect_right, insort
from collections.abc import Iterable
from math import inf


class Sent:
    """The times of sent requests (or evaluations) without the refused ones, for exact counts in sliding windows."""

    def __init__(self, earlier: Iterable[float] = (), *, kept: float = inf) -> None:
        """`kept`: seconds for which times are remembered, at least."""
        self._times = array("d", sorted(earlier))
        self._kept = kept

    def add(self, at: float, n: int = 1) -> None:
        for _ in range(n):
            insort(self._times, at)
        if self._times[0] < at - 2.0 * self._kept:
            del self._times[: bisect_right(self._times, at - self._kept)]

    def remove(self, at: float, n: int = 1) -> None:
        end = bisect_right(self._times, at)
        for place in range(end - 1, max(-1, end - 1 - n), -1):
            if self._times[place] == at:
                del self._times[place]

    def within(self, seconds: float, until: float) -> int:
        """How many were sent in the `seconds` up to a moment."""
        return bisect_right(self._times, until) - bisect_right(self._times, until - seconds)

    def wait(self, count: int, seconds: float, now: float) -> float:
        """Seconds until one more fits into a window that holds `count`; inf if it holds none."""
        if count <= 0:
            return inf
        return 0.0 if len(self._times) < count else max(0.0, self._times[-count] + seconds - now)
