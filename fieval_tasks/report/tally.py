"""One check, counted as its results stream past: memory does not grow with them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from typing import Any

from fieval_tasks.core.items import Result, Value
from fieval_tasks.decisions.statistics import Interval, effective_size, unmeasured_bounds, wilson_interval
from fieval_tasks.report.caps import CAPS, Caps

OTHERS = "(other)"
"""Choices beyond those that are counted by name."""
_EXACT = Context(prec=400, traps=[Inexact])  # the least float has 324 decimal places: no sum of scores is rounded


@dataclass(frozen=True)
class Counts:
    """How many items there are of each status."""

    total: int = 0
    scored: int = 0
    failed: int = 0
    pending: int = 0
    skipped: int = 0
    reused: int = 0
    """Of a whole run: items whose verdict was taken from an earlier run."""

    @classmethod
    def of(cls, statuses: Mapping[str, int], reused: int = 0) -> Counts:
        known = {name: statuses.get(name, 0) for name in ("scored", "failed", "pending", "skipped")}
        return cls(total=sum(statuses.values()), reused=reused, **known)


@dataclass(frozen=True)
class Figure:
    """A pass rate or a mean score, exact, for a gate's threshold may be any number."""

    total: Fraction
    """The scores summed up; of a pass rate, the items that passed."""
    measured: int
    """Items that have the figure."""
    items: int

    @property
    def value(self) -> Fraction | None:
        """Over the measured items."""
        return self.total / self.measured if self.measured else None

    @property
    def bounds(self) -> tuple[Fraction, Fraction] | None:
        """Of the value over all items, whatever those that lack it would have got."""
        return unmeasured_bounds(self.total, self.measured, self.items - self.measured)


@dataclass
class FailureGroup:
    """Items of one check that failed at one stage for one kind of reason."""

    check: str
    stage: str
    kind: str
    count: int = 0
    example: str = ""
    """The first message that says anything."""
    rows: list[int] = field(default_factory=list)
    """The first ones."""


@dataclass
class Sharing:
    """Which verdicts came with another item's evaluation: rows that share one say less than as many evaluations would."""

    repeats: int = 0
    squares: int = 0
    """Of the numbers of Pass/Fail items that share each evaluation, summed up."""
    _items: Counter[int] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        together = 1
        if result.same_as is not None:
            self._items[result.same_as] += 1
            # The item that was evaluated counts too, unless another check has it.
            together = self._items[result.same_as] + (result.lent_by is None)
        self.repeats += together > 1
        if result.passed is not None:
            self.squares += 2 * together - 1  # by which the square of `together` exceeds that of one less


@dataclass
class Tally:
    """The account of one check."""

    name: str
    template: str
    model: str | None
    output: str
    """What the template answers with: "Pass/Fail", "score", "choices", …; empty where nobody knows."""
    caps: Caps = CAPS
    statuses: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[bool] = field(default_factory=Counter)
    """Passed (True) and Failed (False)."""
    bins: list[int] = field(default_factory=list)
    """Scores in each part of 0..1."""
    sharing: Sharing = field(default_factory=Sharing)
    choices: Counter[str] = field(default_factory=Counter)
    failures: dict[tuple[str, str], FailureGroup] = field(default_factory=dict)
    """By stage and kind."""
    pending_rows: list[int] = field(default_factory=list)
    """The first ones."""
    _sum: Decimal = Decimal(0)
    _worst: list[tuple[float, int, Result]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bins = self.bins or [0] * self.caps.bins

    def add(self, result: Result) -> None:
        self.statuses[result.status] += 1
        if result.status == "scored":
            self._add_verdict(result)
        elif result.status == "failed":
            self._add_failure(result)
        elif result.status == "pending" and len(self.pending_rows) < self.caps.first_rows:
            self.pending_rows.append(result.row)

    @property
    def counts(self) -> Counts:
        return Counts.of(self.statuses)

    @property
    def n(self) -> int:
        return self.statuses.total()

    @property
    def scored(self) -> int:
        return self.statuses["scored"]

    @property
    def evaluations(self) -> int:
        """That the scored items took: fewer where some share one."""
        return self.scored - self.sharing.repeats

    @property
    def judges(self) -> bool:
        """The verdicts are Passed and Failed."""
        return bool(self.verdicts) or self.output == "Pass/Fail"

    @property
    def no_score(self) -> int:
        """Scored items in no pass rate and no mean, such as one whose score is not from 0 to 1: gates are undecided then."""
        if self.judges:
            return self.scored - self.rate.measured
        gives_scores = self.average.measured > 0 or self.output in ("score", "numeric")
        return self.scored - self.average.measured if gives_scores else 0

    @property
    def rate(self) -> Figure:
        """The share of Passed among the Pass/Fail verdicts."""
        return Figure(Fraction(self.verdicts[True]), self.verdicts.total(), self.n)

    @property
    def average(self) -> Figure:
        """The mean of the scores as they are written: of ten times 0.1 it is exactly 0.1."""
        return Figure(Fraction(self._sum), sum(self.bins), self.n)

    @property
    def passed(self) -> int | None:
        """None where the template does not answer Pass/Fail."""
        return self.verdicts[True] if self.judges else None

    @property
    def pass_rate(self) -> float | None:
        return None if self.rate.value is None else float(self.rate.value)

    @property
    def pass_rate_interval(self) -> Interval | None:
        """Wilson, 95 %, of the rate over the rows, and as wide as their evaluations allow."""
        rate = self.rate
        if rate.value is None:
            return None
        size = effective_size(rate.measured, self.sharing.squares)
        return wilson_interval(rate.value * size, size)

    @property
    def mean(self) -> float | None:
        return None if self.average.value is None else float(self.average.value)

    @property
    def bounds(self) -> Interval | None:
        """Of the pass rate, else of the mean, over all items, whatever those without one would have got."""
        gives_scores = self.average.measured > 0 or self.output == "score"
        bounds = self.rate.bounds if self.judges else self.average.bounds if gives_scores else None
        return None if bounds is None else (float(bounds[0]), float(bounds[1]))

    @property
    def worst(self) -> list[Result]:
        """The lowest scores first, and the first rows among equals. None with a full score."""
        return [result for _, _, result in sorted(self._worst, reverse=True)]

    def to_json(self) -> dict[str, Any]:
        """As in summary.json."""
        interval, bounds = self.pass_rate_interval, self.bounds
        return {
            **{name: getattr(self, name) for name in ("template", "model", "n", "scored", "evaluations", "no_score")},
            "passed": self.passed,
            "pass_rate": self.pass_rate,
            "pass_rate_interval": interval and list(interval),
            "mean": self.mean,
            "bounds": bounds and list(bounds),
        }

    def _add_verdict(self, result: Result) -> None:
        self.sharing.add(result)
        if result.passed is not None:
            self.verdicts[result.passed] += 1
        if self.output == "choices":
            for choice in choices_in(result.value):
                is_known = choice in self.choices or len(self.choices) < self.caps.choices_counted
                self.choices[choice if is_known else OTHERS] += 1
        if result.score is not None and 0.0 <= result.score <= 1.0:
            self._add_score(result.score, result)

    def _add_score(self, score: float, result: Result) -> None:
        self._sum = _EXACT.add(self._sum, Decimal(repr(score)))
        self.bins[min(int(score * len(self.bins)), len(self.bins) - 1)] += 1
        if score < 1.0 and self.caps.worst:
            entry = (-score, -self.n, result)
            if len(self._worst) < self.caps.worst:
                heapq.heappush(self._worst, entry)
            else:
                heapq.heappushpop(self._worst, entry)

    def _add_failure(self, result: Result) -> None:
        error = result.error or {}
        key = (result.stage or "unknown", error.get("kind", "unknown"))
        group = self.failures.setdefault(key, FailureGroup(self.name, *key))
        group.count += 1
        group.example = group.example or error.get("message", "")
        if len(group.rows) < self.caps.first_rows:
            group.rows.append(result.row)


def choices_in(value: Value) -> list[str]:
    """The choices that a verdict names: one, several, or one with its score."""
    if isinstance(value, dict):
        return [str(value["choice"])] if "choice" in value else []
    if isinstance(value, list):
        return [str(choice) for choice in value]
    return [] if value is None else [str(value)]
