"""Intervals for what the rows are a sample of: imported where a confidence is asked for, since scipy takes a second."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, hypergeom

from fieval_tasks.decisions.statistics import Interval, inverted_cdf, wilson_interval

# Of the paper's 1/2 and 3/4, the one that its experiments bet with; each keeps the interval valid.
_BOLDEST_BET = 0.75
# A bet is best for scores of one spread. With these four an interval is at most a quarter wider than with bets that are
# learnt from the scores before each one; those give another interval for another order of the same scores.
_SPREADS = np.array([0.06, 0.12, 0.25, 0.5])
# A billionth of the scale: beyond what any figure is shown in.
_HALVINGS = 30


def rate_interval(
    least: Fraction, most: Fraction, n: Fraction, confidence: float, population: Fraction | None = None
) -> Interval:
    """Of a rate, from the low end that `least` gives to the high end that `most` gives: rates over `n` independent verdicts.

    Wilson's; of a sample without replacement from a `population`, the exact hypergeometric one (Wilson's with a correction
    for the finite population covers 88 % in place of 95 % at a rate of 0.99 and 200 of 400).
    """
    if population is None:
        low, high = (wilson_interval(rate * n, n, confidence) or (0.0, 1.0) for rate in (least, most))
        return low[0], high[1]
    if n >= population:
        return float(least), float(most)
    size, of, tail = max(1, int(n)), int(population), (1 - confidence) / 2
    return _least_share(floor(least * size), size, of, tail), 1 - _least_share(floor((1 - most) * size), size, of, tail)


def _least_share(found: int, n: int, of: int, tail: float) -> float:
    """The smallest share of the population under which so many, or more, are found with more than that probability."""
    low, high = found, of - (n - found)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if hypergeom.sf(found - 1, of, middle, n) > tail else (middle + 1, high)
    return low / of


def quantile_interval(
    scores: tuple[Mapping[float, int], Mapping[float, int]],
    share: Fraction,
    n: Fraction,
    confidence: float,
    ends: tuple[float, float] = (0.0, 1.0),
) -> Interval:
    """Of a quantile, by order statistics: a binomial number of `n` independent scores lies at or below it.

    Holds for any distribution (H. A. David and H. N. Nagaraja, "Order Statistics", 3rd ed. 2003, sec. 7.1); of a sample from a
    small population it is wider than it need be. `scores`: score -> how many have it, if each that is missing were at
    the low end of the scale, and at its high end. `ends`: those of the scale.
    """
    size, tail = max(1, int(n)), (1 - confidence) / 2
    below, above = (int(rank) for rank in binom.ppf((tail, 1 - tail), size, float(share)))
    low = inverted_cdf(scores[0], Fraction(below, size)) if below else None
    high = inverted_cdf(scores[1], Fraction(above + 1, size)) if above < size else None
    return ends[0] if low is None else low, ends[1] if high is None else high


def mean_interval(
    scores: tuple[Mapping[float, int], Mapping[float, int]],
    n: Fraction,
    confidence: float,
    population: Fraction | None = None,
) -> Interval:
    """Of a mean of scores from 0 to 1, with the `scores` and `n` of `quantile_interval`.

    By betting against each mean (I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting",
    JRSS B 86 (2024) 1-27, sec. 4), with stakes that are fixed before the data, so that no order matters. It holds for any
    distribution and any number of scores, and is narrow where they vary little. Of a sample without replacement each score
    counts for more, as in a rate's variance; tests/decisions/test_intervals.py shows that it still holds.
    """
    values = [np.array([[*counts.keys()], [*counts.values()]], dtype=float) for counts in scores]
    least, most = (float(np.average(one, weights=weights)) for one, weights in values)
    if population is not None and n >= population:
        return least, most
    worth = (
        float(n) / sum(scores[0].values()) * (1 if population is None else float((population - 1) / (population - n)))
    )
    low = _least_mean(values[0][0], values[0][1] * worth, (1 - confidence) / 2)
    lack = _least_mean(1 - values[1][0], values[1][1] * worth, (1 - confidence) / 2)
    return min(low, least), max(1 - lack, most)


def _least_mean(scores: NDArray[np.float64], weights: NDArray[np.float64], tail: float) -> float:
    """The smallest mean against which no bet on more wins 1 / `tail` times its stake."""
    needed = -np.log(tail)
    stakes = np.sqrt(2 * needed / weights.sum()) / _SPREADS

    def is_refuted(mean: float) -> bool:
        bets = np.minimum(stakes, _BOLDEST_BET / max(mean, 1e-12))
        won = np.log1p(np.outer(bets, scores - mean)) @ weights
        return bool(np.logaddexp.reduce(won) >= needed + np.log(len(bets)))

    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_refuted(middle) else (low, middle)
    return low
