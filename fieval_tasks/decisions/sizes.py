"""How many rows have to be evaluated to know a rate this precisely."""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction
from functools import partial

from fieval_tasks.decisions.statistics import normal_reach, wilson_interval

WORST = 0.5
"""The rate that needs the most rows."""


def half_width(n: int, population: int, confidence: float = 0.95, rate: float = WORST) -> float:
    """Half of Wilson's interval of a rate among `n` rows that were drawn without replacement from a population.

    A sample of so many is worth n (N-1)/(N-n) rows of an endless population, of which the rate varies as much: W. G. Cochran,
    "Sampling Techniques" (3rd ed. 1977), theorem 3.2.
    """
    if n >= population:
        return 0.0
    worth = Fraction(n * (population - 1), population - n)
    low, high = wilson_interval(Fraction(rate) * worth, worth, confidence) or (0.0, 1.0)
    return (high - low) / 2


def sample_size(precision: float, population: int, confidence: float = 0.95, rate: float = WORST) -> int:
    """Rows to draw from a population so that its rate is known to plus or minus `precision`; at most the whole population.

    Cochran's n0 / (1 + (n0 - 1) / N) with n0 = z^2 p (1 - p) / d^2, to the nearest row (eq. 4.2), and as many as
    Wilson's interval, which is wider for rates near 0 and 1, needs.
    """
    endless = max(1.0, rate * (1 - rate) * (normal_reach(confidence) / precision) ** 2)
    textbook = round(endless / (1 + (endless - 1) / population))
    widths = partial(half_width, population=population, confidence=confidence, rate=rate)
    wilsons = 1 + bisect_left(range(1, population), -precision, key=lambda n: -widths(n))
    return min(population, max(1, textbook, wilsons))
