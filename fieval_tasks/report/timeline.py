"""How a run went over time: how many verdicts came when, and how long their evaluations took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from fractions import Fraction
from math import log2

from fieval_tasks.core.items import Result
from fieval_tasks.decisions.statistics import inverted_cdf
from fieval_tasks.report.record import utc

# As many points as a plot of a page's width shows apart.
_MOST_PARTS = 120
_FINENESS = 16
"""Evaluation times are counted to a 16th of an octave, so that a median is true to 2.2 %."""


@dataclass
class Part:
    """What came in one part of the run's time."""

    verdicts: int = 0
    """Of the judge."""
    errors: int = 0
    """Items that ended without one."""
    times: Counter[float] = field(default_factory=Counter)
    """Evaluation time, as a logarithm in steps -> how many took so long."""

    def merge(self, other: Part) -> None:
        self.verdicts += other.verdicts
        self.errors += other.errors
        self.times += other.times

    def seconds(self, share: Fraction) -> float | None:
        """The evaluation time that such a share of the evaluations took at most; None where none is known."""
        step = inverted_cdf(self.times, share)
        return None if step is None else 2 ** (step / _FINENESS) / 1000


@dataclass
class Timeline:
    """Counts evaluations as they stream past, in parts of equal length: few enough to be drawn, however long the run was.

    Parts in which nothing came take no room, so that a run that was carried on a week later is as finely drawn.
    """

    width: int = 1
    """Seconds of a part: a power of two."""
    parts: dict[int, Part] = field(default_factory=dict)
    """Number of the part, from the epoch -> what came in it."""

    def add(self, result: Result) -> None:
        """Copies, verdicts of earlier runs, and items that were never sent, are no evaluations of this one."""
        is_none = result.same_as is not None or result.reused_from is not None or result.stage == "validate"
        if result.finished_at is None or is_none:
            return
        place = int(utc(result.finished_at).timestamp() // self.width)
        part = self.parts.setdefault(place, Part())
        if result.status == "scored":
            part.verdicts += 1
        else:
            part.errors += 1
        if result.runtime_ms is not None and result.runtime_ms > 0:
            part.times[round(log2(result.runtime_ms) * _FINENESS)] += 1
        while len(self.parts) > _MOST_PARTS:
            self._widen()

    @property
    def whole(self) -> Part:
        """All of it together."""
        whole = Part()
        for part in self.parts.values():
            whole.merge(part)
        return whole

    def drawn(self, gap: int = 3) -> Iterator[tuple[datetime, Part | None]]:
        """The parts in their order, each with its beginning. Where nothing came for more than `gap` parts, one None."""
        before = None
        for place in sorted(self.parts):
            empty = 0 if before is None else place - before - 1
            if empty > gap:
                yield self._begin(place - 1), None
            else:
                yield from ((self._begin(place - n), Part()) for n in range(empty, 0, -1))
            yield self._begin(place), self.parts[place]
            before = place

    def _begin(self, place: int) -> datetime:
        return datetime.fromtimestamp(place * self.width, timezone.utc)

    def _widen(self) -> None:
        self.width *= 2
        finer, self.parts = self.parts, {}
        for place, part in finer.items():
            self.parts.setdefault(place // 2, Part()).merge(part)
