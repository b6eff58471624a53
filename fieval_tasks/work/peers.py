"""Comparing an item with the others of its check, to recognise one that alone stays pending or alone is refused."""

from __future__ import annotations

from heapq import heappush, heappushpop

from fieval_tasks.work.open_items import OpenItem
from fieval_tasks.work.work_tuning import WorkTuning


class Peers:
    """Statistics of one check's items in this process: the longest evaluation, the latest submissions that are done."""

    def __init__(self, tuning: WorkTuning) -> None:
        self._tuning = tuning
        self._longest = 0.0
        self._sent_last: list[float] = []  # a heap: when the latest of those that are done were submitted
        self._passed = 0
        """Items that were judged, less those that a hidden limit refused."""

    def done(self, item: OpenItem, now: float) -> None:
        """An item's evaluation has ended, with a verdict or a failure."""
        self._longest = max(self._longest, now - item.since)
        if len(self._sent_last) < self._tuning.stuck_later:
            heappush(self._sent_last, item.since)
        else:
            heappushpop(self._sent_last, item.since)

    def judged(self, item: OpenItem) -> None:
        """An item was judged: no hidden limit refused it."""
        self._passed += 1
        item.refusals = item.overtaken = 0

    def refused(self, item: OpenItem) -> None:
        """A hidden limit refused an item, perhaps not for the first time."""
        if not item.refusals:
            item.refused_first_at = item.since
        else:
            item.overtaken += self._passed > item.passed_before
        item.refusals += 1
        self._passed -= 1
        item.passed_before = self._passed

    def has_had_its_time(self, item: OpenItem, now: float, item_timeout: float) -> bool:
        """Whether an item was refused WorkTuning.refused_often times, over longer than `item_timeout` seconds."""
        return item.refusals >= self._tuning.refused_often and now - item.refused_first_at > item_timeout

    def is_stuck(self, item: OpenItem, now: float) -> bool:
        """Whether an item is pending far longer than others took, while later ones are done: perhaps lost by the server."""
        age = now - item.since
        if age < self._tuning.stuck_after or age < self._tuning.stuck_times * self._longest:
            return False
        return len(self._sent_last) == self._tuning.stuck_later and self._sent_last[0] > item.since
