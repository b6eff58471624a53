"""How a judge agrees with itself on items that it judged more than once, and how far that moves a figure of many items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import sqrt

from fieval_tasks.decisions.statistics import Interval, normal_reach, wilson_interval


@dataclass
class SelfAgreement:
    """Counts over the items that have two verdicts or more, each from an evaluation of its own."""

    items: int = 0
    unanimous: int = 0
    """Items whose verdicts are all the same."""
    figures: int = 0
    """Items of which two verdicts or more have a figure: 1 or 0 for Passed or Failed, else the score."""
    _agreeing: float = 0.0
    """The share of pairs of verdicts that are the same, summed over the items."""
    _distance: float = 0.0
    """The mean absolute difference of the figures of two verdicts, summed over the items."""
    _square: float = 0.0
    """The mean squared difference, likewise."""
    _verdicts: Counter[Hashable] = field(default_factory=Counter)

    def add(self, verdicts: Sequence[Hashable], figures: Sequence[float], *, are_named: bool = True) -> None:
        """The verdicts of one item, with the figures of those that have one. Items with fewer than two are left out.

        `are_named`: each verdict is one of a few, such as Passed; scores are not, so that kappa says nothing of them.
        """
        if len(verdicts) > 1:
            pairs = [one == other for one, other in combinations(verdicts, 2)]
            self.items += 1
            self.unanimous += all(pairs)
            self._agreeing += sum(pairs) / len(pairs)
            self._verdicts.update(verdicts if are_named else ())
        if len(figures) > 1:
            apart = [abs(one - other) for one, other in combinations(figures, 2)]
            self.figures += 1
            self._distance += sum(apart) / len(apart)
            self._square += sum(one * one for one in apart) / len(apart)

    @property
    def changed(self) -> int:
        """Items whose verdicts are not all the same."""
        return self.items - self.unanimous

    @property
    def changed_interval(self) -> Interval | None:
        """Of the share of changed items, Wilson, 95 %."""
        return wilson_interval(self.changed, self.items)

    @property
    def are_named(self) -> bool:
        """Whether the verdicts are each one of a few, and no scores."""
        return bool(self._verdicts)

    @property
    def pairwise(self) -> float | None:
        """How often two verdicts on one item are the same."""
        return self._agreeing / self.items if self.items else None

    @property
    def kappa(self) -> float | None:
        """Agreement beyond what these verdicts would have by chance, 1 at most; None of scores, and where all verdicts are the same.

        J. L. Fleiss, "Measuring nominal scale agreement among many raters", Psychological Bulletin 76 (1971) 378-382.
        """
        total = self._verdicts.total()
        by_chance = sum(n * n for n in self._verdicts.values()) / (total * total) if total else 1.0
        return None if by_chance == 1.0 or self.pairwise is None else (self.pairwise - by_chance) / (1.0 - by_chance)

    @property
    def mean_difference(self) -> float | None:
        """Of the figures of two verdicts on one item, without its sign."""
        return self._distance / self.figures if self.figures else None

    def noise(self, evaluations: float, confidence: float = 0.95) -> float | None:
        """By how much the mean figure of so many evaluations changes, at that confidence, when the same rows are judged anew.

        The difference of two means of n verdicts each on the same items has the variance of one item's difference over n.
        None where no item has two figures.
        """
        if not self.figures or not evaluations:
            return None
        return normal_reach(confidence) * sqrt(self._square / self.figures / evaluations)
