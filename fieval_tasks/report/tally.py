"""Counting the results of a check as they stream past, in bounded memory."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isinf
from typing import Any, TypeAlias

from fieval_tasks.core.gates import UNIT
from fieval_tasks.core.items import Result, Value
from fieval_tasks.decisions.statistics import Interval
from fieval_tasks.report.caps import CAPS, Caps
from fieval_tasks.report.figures import Counts, Measured, segment_of
from fieval_tasks.report.repeated import Repeated, as_fields

# Choices beyond those that are counted by name.
OTHERS = "(other)"


@dataclass
class Examples:
    """Examples for the report: failures, the worst rows, the choices."""

    failed: list[Result] = field(default_factory=list)
    """The first items without a verdict."""
    choices: Counter[str] = field(default_factory=Counter)
    """Choice -> how often; those beyond the cap together."""
    _lowest: list[tuple[float, int, Result]] = field(default_factory=list)

    @property
    def worst(self) -> list[Result]:
        """The lowest scores first, and the first rows among equals. None with a full score."""
        return [result for _, _, result in sorted(self._lowest, reverse=True)]

    def add_score(self, score: float, place: int, result: Result, most: int) -> None:
        if score < 1.0:
            # The largest score is on top, to be dropped first; among equals the later item is, and no result is compared.
            heapq.heappush(self._lowest, (-score, -place, result))
            if len(self._lowest) > most:
                heapq.heappop(self._lowest)

    def add_choices(self, value: Value, most: int) -> None:
        for choice in choices_in(value):
            self.choices[choice if choice in self.choices or len(self.choices) < most else OTHERS] += 1


Wanted: TypeAlias = Mapping[str, frozenset[str] | None]
"""Column -> the values whose rows are also counted apart; None: each value that there is."""


@dataclass
class Tally(Measured):
    """The counts and figures of one check."""

    name: str
    template: str
    model: str | None
    caps: Caps = CAPS
    is_audited: bool = False
    """Further evaluations of a row only tell how steady the judge is: they are in no figure of the check."""
    audited: Counts = field(default_factory=Counts)
    """How many of these there are of each status; they are not among the check's own counts."""
    repeated: Repeated = field(default_factory=Repeated)
    wanted: Wanted = field(default_factory=dict)
    segments: dict[str, dict[str, Measured]] = field(default_factory=dict)
    """Column -> its value as text -> the counts and figures of the rows that have it."""
    bins: list[int] = field(default_factory=list)
    """How many scores from 0 to 1 are in each part of 0..1."""
    examples: Examples = field(default_factory=Examples)

    def __post_init__(self) -> None:
        self.bins = [0] * self.caps.bins
        self.segments = {column: {} for column in self.wanted}

    def add(self, result: Result) -> None:
        is_audit = self.is_audited and result.repeat > 0
        self.repeated.add(result, self.figure_of(result) if result.passed is None else float(result.passed))
        if is_audit:
            self.audited.count(result)
        else:
            super().add(result)
            self._add_to_segments(result)
        if result.status == "scored" and not is_audit:
            self._add_examples(result)
        elif result.status == "failed" and len(self.examples.failed) < self.caps.worst:
            self.examples.failed.append(result)

    @property
    def output(self) -> str:
        """What the template answers with: "Pass/Fail", "score", "choices", …; empty where nobody knows."""
        return self.scale.output

    @property
    def evaluations(self) -> int:
        """That the scored items took: fewer where some share one."""
        return self.scored - self.sharing.copies

    @property
    def judges(self) -> bool:
        """Whether its verdicts pass or fail."""
        return self.rate.measured > 0 or self.scale.has_passes

    @property
    def no_score(self) -> int:
        """Scored items in no pass rate and no mean, such as one whose score is not from 0 to 1: gates are undecided then."""
        if self.judges:
            return self.scored - self.rate.measured
        gives_scores = self.average.measured > 0 or self.output in ("score", "numeric")
        return self.scored - self.average.measured if gives_scores else 0

    @property
    def has_distribution(self) -> bool:
        """Whether it gives scores from 0 to 1 and neither passes nor choices, so that a histogram tells something."""
        return self.mean is not None and not self.judges and not self.examples.choices and any(self.bins)

    @property
    def passed(self) -> int | None:
        """None where the template does not answer Pass/Fail."""
        return int(self.rate.total) if self.judges else None

    @property
    def bounds(self) -> Interval | None:
        """Of the pass rate, else of the mean, over all items, whatever those without one would have got."""
        if not self.judges and not self.average.measured and self.output != "score":
            return None
        scale = UNIT if self.judges else self.scale
        bounds = (self.rate if self.judges else self.average).bounds(self.total, scale)
        return None if bounds is None or isinf(bounds[1]) else (float(bounds[0]), float(bounds[1]))

    def to_json(self) -> dict[str, Any]:
        """As in summary.json."""
        interval, bounds, repeated = self.pass_rate_interval, self.bounds, self.repeated.found
        return {
            "template": self.template,
            "model": self.model,
            "n": self.total,
            "scored": self.scored,
            "reused": self.reused,
            "evaluations": self.evaluations,
            "no_score": self.no_score,
            "passed": self.passed,
            "pass_rate": self.pass_rate,
            "pass_rate_interval": interval and list(interval),
            "mean": self.mean,
            "bounds": bounds and list(bounds),
            **({"self_agreement": as_fields(repeated)} if repeated else {}),
        }

    def _add_to_segments(self, result: Result) -> None:
        for column, values in self.wanted.items():
            value = segment_of(result.traits, column)
            if values is None or value in values:
                self.segments[column].setdefault(value, Measured(scale=self.scale)).add(result)

    def _add_examples(self, result: Result) -> None:
        if self.output == "choices":
            self.examples.add_choices(result.value, self.caps.choices_counted)
        figure = self.figure_of(result)
        if figure is not None and self.scale.is_unit:
            self.bins[min(int(figure * len(self.bins)), len(self.bins) - 1)] += 1
        if figure is None or self.scale.good:
            figure = result.passed
        if figure is not None:
            worth = figure if self.scale.better == "higher" else 1 - figure  # 1 is best on either side
            self.examples.add_score(worth, self.total, result, self.caps.worst)


def choices_in(value: Value) -> list[str]:
    """The choices that a verdict names: one, several, or one with its score."""
    if isinstance(value, dict):
        return [str(value["choice"])] if "choice" in value else []
    return [str(choice) for choice in value] if isinstance(value, list) else [] if value is None else [str(value)]
