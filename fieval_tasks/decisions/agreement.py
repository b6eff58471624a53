"""How a judge's verdicts agree with people's labels, and a pass rate that was corrected by them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fieval_tasks.core.quantities import percent
from fieval_tasks.decisions.statistics import Interval


@dataclass(frozen=True)
class Confusion:
    """Labelled items, by what the judge and the person said of them."""

    both_passed: int = 0
    judge_only: int = 0
    """Passed by the judge, and failed by the person."""
    person_only: int = 0
    """Failed by the judge, and passed by the person."""
    both_failed: int = 0

    @classmethod
    def of(cls, pairs: Iterable[tuple[bool, bool]]) -> Confusion:
        """From pairs of the judge's verdict and the person's label."""
        found = [*pairs]
        return cls(*(found.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))))

    @property
    def cells(self) -> tuple[int, int, int, int]:
        return self.both_passed, self.judge_only, self.person_only, self.both_failed

    @property
    def n(self) -> int:
        return sum(self.cells)

    @property
    def passed(self) -> int:
        """By the person."""
        return self.both_passed + self.person_only

    @property
    def failed(self) -> int:
        """By the person."""
        return self.judge_only + self.both_failed

    @property
    def true_positive_rate(self) -> float | None:
        """Of what the person passed, the share that the judge passed; None where the person passed nothing."""
        return self.both_passed / self.passed if self.passed else None

    @property
    def true_negative_rate(self) -> float | None:
        """Of what the person failed, the share that the judge failed; None where the person failed nothing."""
        return self.both_failed / self.failed if self.failed else None

    @property
    def in_words(self) -> str:
        """`passes 92 % of what people pass, and fails 71 % of what they fail`, as far as it is known."""
        passed, failed = self.true_positive_rate, self.true_negative_rate
        halves = [] if passed is None else [f"passes {percent(round(passed, 2))} of what people pass"]
        halves += (
            []
            if failed is None
            else [f"fails {percent(round(failed, 2))} of what {'people' if passed is None else 'they'} fail"]
        )
        return ", and ".join(halves)

    @property
    def is_no_better_than_chance(self) -> bool:
        """A judge whose two rates add up to 1 or less says nothing about an item; False where one of them is not known."""
        if not self.passed or not self.failed:
            return False
        # in whole numbers: three tenths and seven tenths are more than 1 as floats
        return self.both_passed * self.failed + self.both_failed * self.passed <= self.passed * self.failed


@dataclass(frozen=True)
class Corrected:
    """The pass rate that people would have given all items, as far as their labels of some of them tell."""

    value: float
    interval: Interval
    confidence: float
    """How often such an interval holds the rate."""
    method: str
    """`ppi++`, `rogan-gladen`, or `labels` where the judge has nothing to add."""
    confusion: Confusion
    kappa: float
    """Cohen's: agreement beyond chance, 1 at most."""
    judge_rate: float
    """The pass rate by the judge alone, of the same items."""
