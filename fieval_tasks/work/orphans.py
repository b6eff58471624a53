"""Evaluations that the server seems to have forgotten: pending far beyond this run's own times, while later ones finish."""

from __future__ import annotations

from heapq import heappush, heappushpop

FAR_BEYOND = 3.0
"""So many times as long as the longest evaluation of the check took so far."""
AT_LEAST = 30.0
"""Seconds: a queue may hold anything up for so long."""
LATER_ONES = 20
"""Evaluations that were submitted later and are done."""


class Orphans:
    """One check's watch for the forgotten. Times are seconds on one clock."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._sent_last: list[float] = []  # a heap of the latest of those that are done

    def settled(self, sent_at: float, now: float) -> None:
        """An evaluation that was submitted at `sent_at` is done."""
        self._longest = max(self._longest, now - sent_at)
        if len(self._sent_last) < LATER_ONES:
            heappush(self._sent_last, sent_at)
        else:
            heappushpop(self._sent_last, sent_at)

    def has(self, sent_at: float, now: float) -> bool:
        """Whether one that was submitted then, and is pending now, is an orphan."""
        age = now - sent_at
        if age < AT_LEAST or age < FAR_BEYOND * self._longest:
            return False
        return len(self._sent_last) == LATER_ONES and self._sent_last[0] > sent_at
