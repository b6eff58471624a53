"""The figures of the items of a check, or of one segment of them, counted as they stream past."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from functools import lru_cache
from math import isinf
from typing import Any, get_args
from unicodedata import normalize

from fieval_tasks.core.gates import Number
from fieval_tasks.core.items import Result, Status
from fieval_tasks.core.scales import Scale
from fieval_tasks.decisions.statistics import Interval, effective_size, inverted_cdf, unmeasured_bounds, wilson_interval
from fieval_tasks.report.record import value_text

STATUSES: tuple[str, ...] = get_args(Status)


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

    @classmethod
    def sum_of(cls, several: Sequence[Counts]) -> Counts:
        """Those of several checks, segments or parts together."""
        return cls(**{each.name: sum(getattr(one, each.name) for one in several) for each in fields(Counts)})

    def count(self, result: Result) -> None:
        self.total += 1
        if result.status in STATUSES:  # any other is found by `Report.mistakes`
            setattr(self, result.status, getattr(self, result.status) + 1)
        self.reused += result.reused_from is not None


@dataclass
class Figure:
    """A pass rate, or what the scores are, in exact fractions: a gate's threshold may be any decimal number."""

    total: Fraction = Fraction(0)
    """Of the scores; of a pass rate, the items that passed."""
    measured: int = 0
    """Items that have a score; of a pass rate, those that passed or failed."""
    # Some 100 bytes for each different one: judges repeat themselves, and 100,000 that don't are 10 MB.
    scores: Counter[float] = field(default_factory=Counter)
    """Score -> how many have it; of a pass rate, 1 and 0."""

    def add(self, score: float) -> None:
        self.total += as_written(score)
        self.measured += 1
        self.scores[score] += 1

    @property
    def value(self) -> Fraction | None:
        return self.total / self.measured if self.measured else None

    def bounds(self, items: int, scale: Scale) -> tuple[Number, Number] | None:
        """Of the value over so many items, whatever those that were not measured would have got."""
        return unmeasured_bounds(self.total, self.measured, items - self.measured, scale.low, scale.high)

    def quantile(self, share: Fraction) -> Fraction | None:
        found = inverted_cdf(self.scores, share)
        return None if found is None else as_written(found)

    def quantile_bounds(self, share: Fraction, items: int, scale: Scale) -> tuple[Number, Number] | None:
        """Of the quantile over so many items, whatever those that were not measured would have got."""
        low, high = (inverted_cdf(self.completed(items, end), share) for end in (scale.low, scale.high))
        if low is None or high is None:
            return None
        return as_written(low), high if isinf(high) else as_written(high)

    def completed(self, items: int, score: float) -> Counter[float]:
        """The scores of so many items, as if each that was not measured had got this one."""
        return self.scores + Counter({score: items - self.measured})


@lru_cache(maxsize=1024)  # judges repeat themselves, and this is most of what counting costs
def as_written(score: float) -> Fraction:
    return Fraction(repr(score))  # ten times 0.1 is 1


@dataclass
class Weights:
    """Of items that share evaluations: see `effective_size`."""

    items: int = 0
    """Each once, however often it was evaluated."""
    squares: int = 0
    """Of the numbers of items that share each evaluation, summed up."""

    def add(self, together: int) -> None:
        self.items += 1
        self.squares += 2 * together - 1  # by which the square of `together` exceeds that of one less

    @property
    def worth(self) -> Fraction:
        """The independent verdicts that they are worth."""
        return effective_size(self.items, self.squares) if self.squares else Fraction(0)


@dataclass
class Sharing:
    """Counts of items that share one evaluation; they are worth less than as many evaluations."""

    copies: int = 0
    """Verdicts that came with another item's evaluation."""
    judged: Weights = field(default_factory=Weights)
    """Of items that passed or failed."""
    scored: Weights = field(default_factory=Weights)
    """Of all that have a verdict."""
    _copied: Counter[int] = field(default_factory=Counter)
    """Item -> the copies of it, so far."""

    def add(self, result: Result) -> None:
        together = 1
        if result.same_as is not None:
            self._copied[result.same_as] += 1
            # The item that was evaluated counts too, unless another check has it.
            together = self._copied[result.same_as] + (result.lent_by is None)
        self.copies += together > 1
        # Of several evaluations of one row only the first counts here: as if they all said the same, which is the worst
        # case, so that the interval is never too narrow.
        if result.repeat == 0:
            self.scored.add(together)
            if result.passed is not None:
                self.judged.add(together)


@dataclass(kw_only=True)
class Measured(Counts):
    """The counts and figures of items on one scale."""

    scale: Scale
    rate: Figure = field(default_factory=Figure)
    average: Figure = field(default_factory=Figure)
    """Of the figures on the scale: mostly the scores from 0 to 1."""
    sharing: Sharing = field(default_factory=Sharing)

    def add(self, result: Result) -> None:
        self.count(result)
        if result.status == "scored":
            self.sharing.add(result)
            if result.passed is not None:
                self.rate.add(int(result.passed))
            if (figure := self.figure_of(result)) is not None:
                self.average.add(figure)

    @property
    def pass_rate(self) -> float | None:
        return None if self.rate.value is None else float(self.rate.value)

    @property
    def pass_rate_interval(self) -> Interval | None:
        """Wilson, 95 %, of the rate over the rows, and as wide as their evaluations allow."""
        size = self.sharing.judged.worth
        if self.rate.value is None or not size:
            return None
        return wilson_interval(self.rate.value * size, size)

    @property
    def mean(self) -> float | None:
        return None if self.average.value is None else float(self.average.value)

    def figure_of(self, result: Result) -> float | None:
        """A verdict's figure on the scale; None where it has none."""
        return self.scale.figure(result.score, result.value)


def segment_of(traits: Mapping[str, Any] | None, column: str) -> str:
    """The segment that a row is in by that column: its cell as text, empty where there is none."""
    cells = traits or {}
    if column not in cells:  # whose name may be composed otherwise, or stand between blanks
        column = next((name for name in cells if normalize("NFC", name).strip() == column), column)
    return normalize("NFC", value_text(cells.get(column)) or "").strip()


def segments_of(traits: Mapping[str, Any] | None) -> dict[str, str]:
    """All segments that a row is in: column -> its cell as text, both as gates spell them."""
    return {normalize("NFC", column).strip(): segment_of(traits, column) for column in traits or ()}
