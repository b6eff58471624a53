"""One check counted as its results stream past, in memory that doesn't grow with them."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact
from fractions import Fraction

from fieval_tasks.core.items import Result, Status, Value

BINS = 10
CHOICES_KEPT = 50
"""Different choices counted by name; what comes later counts as the rest."""
FIRST_ROWS = 5
LOST_SHOWN = 20
"""Items named of which a reply was lost."""
REST = "(other)"
_EXACT = Context(prec=400, traps=[Inexact])
"""The least float has 324 decimal places: no sum of scores needs rounding, and none is rounded in silence."""


@dataclass
class Failure:
    """Items of a check that failed at one stage for one kind of reason."""

    count: int = 0
    example: str = ""
    rows: list[int] = field(default_factory=list)

    def add(self, row: int, message: str) -> None:
        self.count += 1
        self.example = self.example or message
        if len(self.rows) < FIRST_ROWS:
            self.rows.append(row)


class Tally:
    """The running account of one check."""

    def __init__(self, template: str, model: str | None, output: str, *, worst: int) -> None:
        self.template, self.model, self.output = template, model, output
        self.status: Counter[Status] = Counter()
        self.n = 0
        self.measured = 0
        """Items with a score from 0 to 1."""
        self.judged = 0
        """Items with a Pass/Fail verdict."""
        self.passed = 0
        self.repeats = 0
        """Verdicts that came with another item's evaluation."""
        self.squares = 0
        """Of the Pass/Fail verdicts: the squares of how many items share each evaluation, summed up."""
        self.bins = [0] * BINS
        self.choices: Counter[str] = Counter()
        self.failures: dict[tuple[str, str], Failure] = {}
        self.pending_rows: list[int] = []
        self.lost: list[str] = []
        self.lost_count = 0
        """Items of which a submission may have been judged unheard: its reply was lost, or its ticket given up."""
        self._worst_kept = worst
        self._worst: list[tuple[float, int, Result]] = []
        self._sharing: Counter[int] = Counter()
        """Item -> the items that repeat it, so far."""
        self._sum = Decimal(0)

    def add(self, result: Result) -> None:
        self.n += 1
        self.status[result.status] += 1
        if result.doubts:
            self._add_lost(result.item_id)
        if result.status == "scored":
            self._add_verdict(result)
        elif result.status == "failed":
            self._add_failure(result)
        elif result.status == "pending" and len(self.pending_rows) < FIRST_ROWS:
            self.pending_rows.append(result.row)

    @property
    def total_of_scores(self) -> Fraction:
        """Exact, of the scores as they are written: ten times 0.1 is 1."""
        return Fraction(self._sum)

    @property
    def judges(self) -> bool:
        """The verdicts are Passed and Failed."""
        return self.judged > 0 or self.output == "Pass/Fail"

    @property
    def no_score(self) -> int:
        """Verdicts without the figure that others have, or should: no score from 0 to 1, or neither Passed nor Failed."""
        if self.judges:
            return self.status["scored"] - self.judged
        gives_scores = self.measured > 0 or self.output in ("score", "numeric")
        return self.status["scored"] - self.measured if gives_scores else 0

    @property
    def worst(self) -> list[Result]:
        """The lowest scores first; among equals, the first rows first."""
        return [result for _, _, result in sorted(self._worst, reverse=True)]

    def _add_lost(self, item_id: str) -> None:
        self.lost_count += 1
        if len(self.lost) < LOST_SHOWN:
            self.lost.append(item_id)

    def _add_verdict(self, result: Result) -> None:
        sharing = self._sharing_with(result)
        self.repeats += sharing > 1
        if result.passed is not None:
            self.judged += 1
            self.passed += result.passed
            self.squares += 2 * sharing - 1  # what one more adds to the square of `sharing` - 1
        if self.output == "choices":
            self._add_choices(result.value)
        if result.score is not None and 0.0 <= result.score <= 1.0:
            self._add_score(result.score, result)

    def _sharing_with(self, result: Result) -> int:
        """How many of this check's items have its evaluation by now. One that another check lent counts from its first use."""
        if result.same_as is None:
            return 1
        self._sharing[result.same_as] += 1
        return self._sharing[result.same_as] + (result.lent_by is None)

    def _add_score(self, score: float, result: Result) -> None:
        self.measured += 1
        self._sum = _EXACT.add(self._sum, Decimal(repr(score)))
        self.bins[min(int(score * BINS), BINS - 1)] += 1
        if score < 1.0:
            self._keep_if_worse(score, result)

    def _keep_if_worse(self, score: float, result: Result) -> None:
        entry = (-score, -self.n, result)
        if len(self._worst) < self._worst_kept:
            heapq.heappush(self._worst, entry)
        elif self._worst and entry[:2] > self._worst[0][:2]:
            heapq.heapreplace(self._worst, entry)

    def _add_choices(self, value: Value) -> None:
        for choice in choices_in(value):
            known = choice in self.choices or len(self.choices) < CHOICES_KEPT
            self.choices[choice if known else REST] += 1

    def _add_failure(self, result: Result) -> None:
        error = result.error or {}
        key = (result.stage or "unknown", error.get("kind", "unknown"))
        self.failures.setdefault(key, Failure()).add(result.row, error.get("message", ""))


def choices_in(value: Value) -> list[str]:
    """The choices that a verdict names: one, several, or one with its score."""
    if isinstance(value, dict):
        return [str(value["choice"])] if "choice" in value else []
    if isinstance(value, list):
        return [str(choice) for choice in value]
    return [] if value is None else [str(value)]
