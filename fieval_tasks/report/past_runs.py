"""What a check came to in the last runs of a dataset, as the pages in Prefect tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from string import ascii_uppercase

from fieval_tasks.decisions.statistics import Interval
from fieval_tasks.report.mermaid import axis, trend_chart
from fieval_tasks.report.text import count, share


@dataclass(frozen=True)
class PastRun:
    """What a check came to in one run."""

    run_id: str
    at: datetime | None
    """When it began."""
    value: float | None
    """The pass rate, else the mean; None where nothing was measured."""
    interval: Interval | None
    """Of the pass rate, 95 %."""
    scored: int
    changed: str = ""
    """Why it is not comparable with the run before it, such as another judge; empty where it is."""


@dataclass(frozen=True)
class PastRuns:
    """The last runs of one dataset and check."""

    figure: str
    """pass rate or mean."""
    runs: Sequence[PastRun]
    """The oldest first; at most as many as there are letters."""

    @property
    def chart(self) -> str:
        """In Mermaid; empty where there is nothing to compare."""
        values = [run.value for run in self.runs]
        if len(values) < 2 or values.count(None) == len(values):
            return ""
        return trend_chart(values, {number - 1: letter for letter, number, _ in self.breaks}, figure=self.figure)

    @property
    def breaks(self) -> list[tuple[str, int, str]]:
        """For each gap its letter, the number of the run behind it, and what changed there."""
        changed = [(number, run.changed) for number, run in enumerate(self.runs, start=1) if run.changed and number > 1]
        return [(letter, number, why) for letter, (number, why) in zip(ascii_uppercase, changed, strict=False)]

    @property
    def sentence(self) -> str:
        known = [run.value for run in self.runs if run.value is not None]
        if not known:
            return f"No run has a {self.figure} yet."
        if len(self.runs) < 2:
            return f"This is the first run of this dataset and check. Its {self.figure} is {share(known[-1])}."
        return (
            f"The {self.figure} of the last {count(len(self.runs), 'run')} of this dataset, the newest on the right. "
            f"The axis begins at {axis(known)[0]:.6g}."
        )
