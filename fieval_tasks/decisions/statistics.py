"""Intervals of a pass rate, and bounds of a rate or mean while some verdicts are missing."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, isfinite, sqrt
from statistics import NormalDist

from fieval_tasks.core.gates import Number

Interval = tuple[float, float]


def normal_reach(confidence: float) -> float:
    """0.95 -> 1.96: how many standard deviations to each side of its mean hold that share of a normal distribution."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def wilson_interval(passed: Fraction | int, n: Fraction | int, confidence: float = 0.95) -> Interval | None:
    """The Wilson score interval of a pass rate; None where nothing was counted. Neither number need be whole.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927) 209-212;
    recommended for small n by Brown, Cai and DasGupta, "Interval estimation for a binomial proportion" (2001).
    Unlike the normal approximation it stays within 0..1 and has a width where all items pass.
    """
    if not 0 <= passed <= n:
        raise ValueError(f"{passed} of {n} cannot pass")
    if n == 0:
        return None
    z = normal_reach(confidence)
    rate, size = float(Fraction(passed) / n), float(n)
    centre = (rate + z * z / (2 * size)) / (1 + z * z / size)
    reach = z / (1 + z * z / size) * sqrt(rate * (1 - rate) / size + z * z / (4 * size * size))
    low = 0.0 if passed == 0 else max(0.0, centre - reach)
    high = 1.0 if passed == n else min(1.0, centre + reach)
    return min(low, rate), max(high, rate)


def effective_size(rows: int, sum_of_squares: int) -> Fraction:
    """How many independent verdicts the rows are worth, where some share one: (sum of w)^2 / sum of w^2.

    `rows` is the sum of the weights w, the rows that each verdict stands for. L. Kish, "Survey Sampling" (1965), sec.
    11.7: the rate over the rows varies as one over so many verdicts. Put into Wilson's interval as its n, as compared with
    other intervals by Franco, Little, Louis and Slud, "Comparative study of confidence intervals for proportions in
    complex sample surveys", J. Survey Statistics and Methodology 7 (2019) 334-364.
    """
    return Fraction(rows * rows, sum_of_squares)


def unmeasured_bounds(
    total_of_scores: Fraction | int, scored: int, unmeasured: int, low: float = 0, high: float = 1
) -> tuple[Number, Number] | None:
    """The mean over all items if each unmeasured one were `low`, and if each were `high`; None where there are no items.

    The worst case of a bounded mean (C. F. Manski, "Partial Identification of Probability Distributions", 2003, ch. 1):
    it assumes nothing about why an item has no score. Exact, for a gate's threshold may be any of them.
    """
    n = scored + unmeasured
    if not n:
        return None
    least, most = (
        total_of_scores + (Fraction(end) if isfinite(end) else end) * unmeasured if unmeasured else total_of_scores
        for end in (low, high)
    )
    return _over(least, n), _over(most, n)


def _over(total: Number, n: int) -> Number:
    return total / n if isinstance(total, float) else Fraction(total) / n


def inverted_cdf(counts: Mapping[float, int], share: Fraction) -> float | None:
    """The smallest value that at least that share of all values do not exceed; None where there are none.

    `counts`: value -> how often. Definition 1 of R. J. Hyndman and Y. Fan, "Sample quantiles in statistical packages", The
    American Statistician 50 (1996) 361-365, numpy's `inverted_cdf`: always a value that is there, so that no scale is left.
    """
    rank = max(1, ceil(share * sum(counts.values())))
    for value in sorted(counts):
        rank -= counts[value]
        if rank <= 0:
            return value
    return None
