"""What a number of verdicts says, and what it leaves open."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

Interval = tuple[float, float]


def wilson_interval(passed: int, n: int, confidence: float = 0.95) -> Interval | None:
    """The Wilson score interval of a pass rate; None where nothing was counted.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927) 209-212;
    recommended for small n by Brown, Cai and DasGupta, "Interval estimation for a binomial proportion" (2001).
    Unlike the normal approximation it stays within 0..1 and has a width where all items pass.
    """
    if not 0 <= passed <= n:
        raise ValueError(f"{passed} of {n} cannot pass")
    if n == 0:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = passed / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if passed == 0 else max(0.0, centre - reach)
    high = 1.0 if passed == n else min(1.0, centre + reach)
    return low, high


def unmeasured_bounds(total_of_scores: float, scored: int, unmeasured: int) -> Interval | None:
    """The mean over all items if each unmeasured one were 0, and if each were 1; None where there are no items.

    The worst case of a bounded mean (C. F. Manski, "Partial Identification of Probability Distributions", 2003, ch. 1):
    it assumes nothing about why an item has no score.
    """
    n = scored + unmeasured
    return (total_of_scores / n, (total_of_scores + unmeasured) / n) if n else None
