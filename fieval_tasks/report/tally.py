"""Counting the results of a check as they stream past, in bounded memory."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

from fieval_tasks.core.items import Result, Value
from fieval_tasks.decisions.statistics import Interval, effective_size, unmeasured_bounds, wilson_interval
from fieval_tasks.report.caps import CAPS, Caps
from fieval_tasks.report.repeated import Repeated, as_fields

STATUSES = ("scored", "failed", "pending", "not_needed")
# Choices beyond those that are counted by name.
OTHERS = "(other)"


@dataclass(kw_only=True)
class Counts:
    """How many items there are of each status, which add up to the total."""

    total: int = 0
    scored: int = 0
    failed: int = 0
    pending: int = 0
    not_needed: int = 0
    reused: int = 0
    """Of the scored ones, those that have the verdict of an earlier run."""

    def count(self, result: Result) -> None:
        self.total += 1
        if result.status in STATUSES:  # any other is found by `Report.mistakes`
            setattr(self, result.status, getattr(self, result.status) + 1)
        self.reused += result.reused_from is not None


@dataclass
class Figure:
    """A pass rate or a mean score, as an exact fraction: a gate's threshold may be any decimal number."""

    total: Fraction = Fraction(0)
    """Of the scores; of a pass rate, the items that passed."""
    measured: int = 0
    """Items that have a score; of a pass rate, those that passed or failed."""

    def add(self, score: float) -> None:
        self.total += _as_written(score)
        self.measured += 1

    @property
    def value(self) -> Fraction | None:
        return self.total / self.measured if self.measured else None

    def bounds(self, items: int) -> tuple[Fraction, Fraction] | None:
        """Of the value over so many items, whatever those that were not measured would have got."""
        return unmeasured_bounds(self.total, self.measured, items - self.measured)


@lru_cache(maxsize=1024)  # judges repeat themselves, and this is most of what counting costs
def _as_written(score: float) -> Fraction:
    return Fraction(repr(score))  # ten times 0.1 is 1


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
    """Counts of items that share one evaluation; they are worth less than as many evaluations."""

    repeats: int = 0
    """Verdicts that came with another item's evaluation."""
    judged: int = 0
    """Pass/Fail items, each once however often it was evaluated."""
    squares: int = 0
    """Of the numbers of Pass/Fail items that share each evaluation, summed up."""
    _repeating: Counter[int] = field(default_factory=Counter)
    """Item -> the items that repeat it, so far."""

    def add(self, result: Result) -> None:
        together = 1
        if result.same_as is not None:
            self._repeating[result.same_as] += 1
            # The item that was evaluated counts too, unless another check has it.
            together = self._repeating[result.same_as] + (result.lent_by is None)
        self.repeats += together > 1
        # Of several evaluations of one row only the first counts here: as if they all said the same, which is the worst
        # case, so that the interval is never too narrow.
        if result.passed is not None and result.repeat == 0:
            self.judged += 1
            self.squares += 2 * together - 1  # by which the square of `together` exceeds that of one less


@dataclass
class Examples:
    """Examples for the report: groups of failures, the worst rows, the choices."""

    failures: dict[tuple[str, str], FailureGroup] = field(default_factory=dict)
    """By stage and kind."""
    pending_rows: list[int] = field(default_factory=list)
    """The first ones."""
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

    def add_failure(self, check: str, result: Result, rows: int) -> None:
        error = result.error or {}
        key = (result.stage or "unknown", error.get("kind", "unknown"))
        group = self.failures.setdefault(key, FailureGroup(check, *key))
        group.count += 1
        group.example = group.example or error.get("message", "")
        if len(group.rows) < rows:
            group.rows.append(result.row)


@dataclass
class Tally(Counts):
    """The counts and figures of one check."""

    name: str
    template: str
    model: str | None
    output: str
    """What the template answers with: "Pass/Fail", "score", "choices", …; empty where nobody knows."""
    caps: Caps = CAPS
    is_audited: bool = False
    """Further evaluations of a row only tell how steady the judge is: they are in no figure of the check."""
    audited: Counts = field(default_factory=Counts)
    """How many of these there are of each status; they are not among the check's own counts."""
    repeated: Repeated = field(default_factory=Repeated)
    rate: Figure = field(default_factory=Figure)
    average: Figure = field(default_factory=Figure)
    """Of the scores from 0 to 1."""
    bins: list[int] = field(default_factory=list)
    """How many of these are in each part of 0..1."""
    sharing: Sharing = field(default_factory=Sharing)
    examples: Examples = field(default_factory=Examples)

    def __post_init__(self) -> None:
        self.bins = [0] * self.caps.bins

    def add(self, result: Result) -> None:
        is_audit = self.is_audited and result.repeat > 0
        (self.audited if is_audit else self).count(result)
        self.repeated.add(result)
        if result.status == "scored" and not is_audit:
            self._add_verdict(result)
        elif result.status == "failed":
            self.examples.add_failure(self.name, result, self.caps.first_rows)
        elif result.status == "pending" and len(self.examples.pending_rows) < self.caps.first_rows:
            self.examples.pending_rows.append(result.row)

    @property
    def evaluations(self) -> int:
        """That the scored items took: fewer where some share one."""
        return self.scored - self.sharing.repeats

    @property
    def judges(self) -> bool:
        """Whether the template answers Pass/Fail."""
        return self.rate.measured > 0 or self.output == "Pass/Fail"

    @property
    def no_score(self) -> int:
        """Scored items in no pass rate and no mean, such as one whose score is not from 0 to 1: gates are undecided then."""
        if self.judges:
            return self.scored - self.rate.measured
        gives_scores = self.average.measured > 0 or self.output in ("score", "numeric")
        return self.scored - self.average.measured if gives_scores else 0

    @property
    def passed(self) -> int | None:
        """None where the template does not answer Pass/Fail."""
        return int(self.rate.total) if self.judges else None

    @property
    def pass_rate(self) -> float | None:
        return None if self.rate.value is None else float(self.rate.value)

    @property
    def pass_rate_interval(self) -> Interval | None:
        """Wilson, 95 %, of the rate over the rows, and as wide as their evaluations allow."""
        if self.rate.value is None or not self.sharing.squares:
            return None
        size = effective_size(self.sharing.judged, self.sharing.squares)
        return wilson_interval(self.rate.value * size, size)

    @property
    def mean(self) -> float | None:
        return None if self.average.value is None else float(self.average.value)

    @property
    def bounds(self) -> Interval | None:
        """Of the pass rate, else of the mean, over all items, whatever those without one would have got."""
        if not self.judges and not self.average.measured and self.output != "score":
            return None
        bounds = (self.rate if self.judges else self.average).bounds(self.total)
        return None if bounds is None else (float(bounds[0]), float(bounds[1]))

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

    def _add_verdict(self, result: Result) -> None:
        self.sharing.add(result)
        if result.passed is not None:
            self.rate.add(int(result.passed))
        if self.output == "choices":
            self.examples.add_choices(result.value, self.caps.choices_counted)
        if result.score is not None and 0.0 <= result.score <= 1.0:
            self.average.add(result.score)
            self.bins[min(int(result.score * len(self.bins)), len(self.bins) - 1)] += 1
            self.examples.add_score(result.score, self.total, result, self.caps.worst)


def choices_in(value: Value) -> list[str]:
    """The choices that a verdict names: one, several, or one with its score."""
    if isinstance(value, dict):
        return [str(value["choice"])] if "choice" in value else []
    return [str(choice) for choice in value] if isinstance(value, list) else [] if value is None else [str(value)]
