"""Items that a hidden limit is said to refuse, again and again: one that refuses nobody else is none."""

from __future__ import annotations

from dataclasses import dataclass

from fieval_tasks.core.items import Failed

OFTEN = 5
"""Refusals after which an item may have had its time: one that waited long for its turn was perhaps refused once or twice."""


@dataclass
class Setback:
    """One item's refusals."""

    first_sent_at: float
    judged_before: int
    refused_before: int
    times: int = 0
    overtaken: int = 0
    """Times that it was refused while more of the others were judged than refused: of an item that is like the others, each
    of them is less likely than a toss, and rare at a pace that keeps what is refused to a few in a hundred."""

    def has_had_its_time(self, now: float, give_up_after: float) -> bool:
        """It was refused often, and was sent first so many seconds ago."""
        return self.times >= OFTEN and now - self.first_sent_at > give_up_after

    def explained(self, answer: Failed) -> Failed:
        """Of an answer that is no limit's, though it says so."""
        told = f"failed {self.times} times with {answer.message!r}, while most others of its check were judged"
        return Failed(answer.stage, "always_rate_limited", f"{told}: no limit, but perhaps words of its own")


class Setbacks:
    """The refusals of one check's items. Times are seconds on one clock."""

    def __init__(self) -> None:
        self._judged = 0
        self._refused = 0
        self._of: dict[int, Setback] = {}

    def judged(self, seq: int) -> None:
        """The item was judged, well or badly: no limit refused it."""
        self._judged += 1
        self._of.pop(seq, None)

    def refused(self, seq: int, *, sent_at: float) -> Setback:
        """The item was refused once more; how it stands with it."""
        found = self._of.setdefault(seq, Setback(sent_at, self._judged, self._refused))
        found.overtaken += self._judged - found.judged_before > self._refused - found.refused_before
        found.times += 1
        self._refused += 1
        found.judged_before, found.refused_before = self._judged, self._refused
        return found
