"""Whether a gate on a pass rate or a mean is settled before all rows are evaluated: confidence sequences without replacement.

The rows are evaluated in a random order, and the gate is about exactly these rows. A claim about them is settled once its
opposite is refuted, at a confidence that holds however often one looks. Verdicts arrive in another order, in which slow rows
are late; so only the order of *drawing* counts. For every n the first n rows drawn are counted, and one of them that has no
verdict, or none yet, counts at its worst: against what is to be settled.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, floor, log
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln, logsumexp

Floats: TypeAlias = NDArray[np.float64]

# Any prior that is fixed before the data is valid; a good one settles sooner. With these a gate of 0.95 passes after 162 of
# 5,000 rows (median) where 0.99 of them pass, and fails after 217 where 0.9 do.
FEWER, MORE = 0.4, 2.0
"""How many times the rarer kind's share at the threshold the prior expects, where less of it is claimed, or more."""
WEIGHT = 3.0
"""How many rows of the rarer kind, at the threshold's share, the prior is worth."""
# Small ones win where the mean is near the threshold, large ones where it is far.
STAKES = np.array([[0.01], [0.03], [0.1], [0.2], [0.4], [0.6], [0.8], [0.95]])
"""Shares of the largest stake that can't ruin; an eighth of the capital is bet by each."""


@dataclass(frozen=True)
class Settled:
    """A gate's verdict that no longer depends on the rows that were not evaluated."""

    is_met: bool
    after: int
    """The rows, in the order of drawing, that settled it,"""
    of: int
    """and all rows."""


@dataclass(frozen=True)
class AtLeast:
    """That the values of `size` rows, each from 0 to 1, come to at least `share` of the greatest sum."""

    size: int
    share: Fraction
    is_strict: bool
    """More than that share is claimed."""
    is_counted: bool
    """Each value is 0 or 1."""
    confidence: float
    """Above 0.5. A claim that is not true is settled in no more than the rest of all runs."""

    def settled_after(self, values: Floats) -> int | None:
        """The first number of rows, in the order of drawing, that settles the claim; `values`: the least that each may have."""
        if self.least <= 0:
            return 0
        known = values[: int(np.flatnonzero(values)[-1]) + 1] if values.any() else values[:0]
        if self.is_counted:
            reached = known.cumsum() >= self.needed[1 : known.size + 1]
        else:
            reached = _capital(known, self.size, float(self.share)) >= -log(1.0 - self.confidence)
        return int(reached.argmax()) + 1 if reached.any() else None

    @property
    def least(self) -> int:
        """How many ones are claimed."""
        return floor(self.size * self.share) + 1 if self.is_strict else ceil(self.size * self.share)

    @cached_property
    def needed(self) -> NDArray[np.int64]:
        """How many ones among the first n rows settle the claim, for n from 0 to `size`; n + 1 where none do.

        The prior-posterior ratio of Waudby-Smith and Ramdas, "Confidence sequences for sampling without replacement" (2020,
        arXiv:2006.04347), at the largest number that the claim excludes. That ratio is convex in the ones that were drawn, and
        on its falling side at most 2 beyond the mean; so above the mean it only rises, and can be searched by halving.
        """
        drawn = np.arange(self.size + 1)
        if self.least > self.size:
            return drawn + 1
        excluded = self.least - 1
        low, high = -(-drawn * excluded // self.size), drawn + 1
        while (low < high).any():
            middle = (low + high) // 2
            ratio = _ratio(np.minimum(middle, drawn), drawn, self.size, excluded)
            is_enough = (middle > drawn) | (ratio >= -log(1.0 - self.confidence))
            low, high = np.where((low < high) & ~is_enough, middle + 1, low), np.where(is_enough, middle, high)
        return low


@dataclass(frozen=True)
class Target:
    """What a gate asks of the rows' mean value: that it holds in `operator` to the threshold."""

    operator: str
    threshold: Fraction
    size: int
    is_counted: bool
    """The rows pass or fail, so that the mean is their pass rate; False: they have scores from 0 to 1."""
    confidence: float

    def settled(self, lows: Floats, highs: Floats) -> Settled | None:
        """The gate's settled verdict, by the least and the greatest value that each row may have, in the order of drawing.

        None where it is open, or where chance lets both verdicts look settled. More verdicts never open a settled one otherwise.
        """
        sides = {False: lows, True: 1.0 - highs}
        met = [claim.settled_after(sides[is_turned]) for is_turned, claim in self._met]
        broken = [claim.settled_after(sides[is_turned]) for is_turned, claim in self._broken]
        is_met, is_broken = None not in met, any(met_by is not None for met_by in broken)
        if is_met == is_broken:
            return None
        after = (n for n in (met if is_met else broken) if n is not None)
        return Settled(is_met, max(after) if is_met else min(after), self.size)

    @cached_property
    def _met(self) -> list[tuple[bool, AtLeast]]:
        """Claims that together meet the gate, each on the values, or (True) on what the values lack to 1."""
        is_strict = self.operator in (">", "<")
        floor_ = [(False, self._claim(self.threshold, is_strict))] if self.operator in (">=", ">", "==") else []
        return floor_ + (
            [(True, self._claim(1 - self.threshold, is_strict))] if self.operator in ("<=", "<", "==") else []
        )

    @cached_property
    def _broken(self) -> list[tuple[bool, AtLeast]]:
        """Claims of which each breaks the gate: the opposites of those that meet it."""
        return [(not is_turned, self._claim(1 - claim.share, not claim.is_strict)) for is_turned, claim in self._met]

    def _claim(self, share: Fraction, is_strict: bool) -> AtLeast:
        return AtLeast(self.size, share, is_strict, self.is_counted, self.confidence)


def _ratio(ones: Any, drawn: Any, size: int, count: int) -> Floats:
    """The logarithm of prior over posterior that `count` of all rows are ones, after so many ones among those drawn.

    It is the chance of these ones under a beta-binomial prior over that under `count` (hypergeometric).
    """
    rarer = max(min(count, size - count), 1) / size
    a, b = WEIGHT * MORE, WEIGHT / rarer
    if count > size / 2:  # the rows that are not counted are rarer, and less of them is claimed
        a, b = b, WEIGHT * FEWER
    chance = _choose(count, ones) + _choose(size - count, drawn - ones) - _choose(size, drawn)
    expected = _choose(drawn, ones) + betaln(a + ones, b + drawn - ones) - betaln(a, b)
    ratio: Floats = np.where((ones <= count) & (drawn - ones <= size - count), expected - chance, np.inf)
    return ratio


def _choose(n: Any, k: Any) -> Any:
    """The logarithm of the binomial coefficient; some number where k is not from 0 to n."""
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(np.maximum(n - k, 0) + 1)


def _capital(values: Floats, size: int, mean: float) -> Floats:
    """The logarithm of what 1 has become after each row, by betting that the mean of all rows is above `mean`.

    Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (2024, J. Royal Statistical Society B
    86, sec. 4, arXiv:2010.09686). The stakes are fixed, not learnt: so a smaller value of a row never wins more.
    """
    before = np.concatenate(([0.0], values.cumsum()[:-1]))[: values.size]
    left = size - np.arange(values.size)
    # The mean of the rows that are left, if the bet is lost. Where it is none, the rows drawn have won already.
    fair = np.maximum((size * mean - before) / left, 1e-9)
    capital: Floats = logsumexp(np.log1p(STAKES * (values / fair - 1.0)).cumsum(axis=1), axis=0, b=1 / len(STAKES))
    return capital
