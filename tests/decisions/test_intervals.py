"""Intervals hold what the rows are a sample of as often as they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from fieval_tasks.decisions.intervals import mean_interval, quantile_interval, rate_interval
from fieval_tasks.decisions.statistics import wilson_interval

CONFIDENCE = 0.95
Scores = NDArray[np.float64]
DRAWN: dict[str, Callable[[np.random.Generator, int], Scores]] = {
    "scores around 0.8": lambda chance, n: chance.beta(8, 2, n).round(3),
    "nearly all 1": lambda chance, n: np.where(chance.random(n) < 0.95, 1.0, chance.random(n).round(2)),
    "a few at 0": lambda chance, n: np.where(chance.random(n) < 0.98, chance.beta(50, 2, n).round(3), 0.0),
    "passed or failed": lambda chance, n: (chance.random(n) < 0.9).astype(float),
}
RUNS = 100
# Two standard errors of a share of 0.95 among so many runs.
SLACK = 2 * (0.95 * 0.05 / RUNS) ** 0.5


def both(scores: Scores) -> tuple[Counter[float], Counter[float]]:
    """With nothing missing, the worst and the best case are the same."""
    counts: Counter[float] = Counter(scores.tolist())
    return counts, counts


@pytest.mark.parametrize("n", [30, 300])
@pytest.mark.parametrize("kind", DRAWN)
def test_the_interval_of_a_mean_holds_it(kind: str, n: int) -> None:
    chance = np.random.default_rng(n)
    true = DRAWN[kind](chance, 1_000_000).mean()
    ends = [mean_interval(both(DRAWN[kind](chance, n)), Fraction(n), CONFIDENCE) for _ in range(RUNS)]
    assert np.mean([low <= true <= high for low, high in ends]) >= CONFIDENCE - SLACK
    assert np.mean([high - low for low, high in ends]) < (0.35 if n == 30 else 0.12), "it says something"


@pytest.mark.parametrize("kind", DRAWN)
def test_the_interval_of_a_mean_knows_how_much_of_the_whole_was_drawn(kind: str) -> None:
    chance = np.random.default_rng(1)
    whole = DRAWN[kind](chance, 600)
    widths = []
    for n in (60, 300, 550):
        ends = [
            mean_interval(both(chance.choice(whole, n, replace=False)), Fraction(n), CONFIDENCE, Fraction(600))
            for _ in range(RUNS)
        ]
        assert np.mean([low <= whole.mean() <= high for low, high in ends]) >= CONFIDENCE - SLACK
        widths.append(np.mean([high - low for low, high in ends]))
    assert widths[0] > 2 * widths[1] > 4 * widths[2]
    assert mean_interval(both(whole), Fraction(600), CONFIDENCE, Fraction(600)) == pytest.approx((whole.mean(),) * 2)


@pytest.mark.parametrize("share", [Fraction(1, 2), Fraction(1, 10)])
@pytest.mark.parametrize("n", [5, 30, 300])
def test_the_interval_of_a_quantile_holds_it(share: Fraction, n: int) -> None:
    chance = np.random.default_rng(n)
    draw = DRAWN["scores around 0.8"]
    true = np.quantile(draw(chance, 1_000_000), float(share), method="inverted_cdf")
    ends = [quantile_interval(both(draw(chance, n)), share, Fraction(n), CONFIDENCE) for _ in range(RUNS)]
    assert np.mean([low <= true <= high for low, high in ends]) >= CONFIDENCE - SLACK


@pytest.mark.parametrize("rate", [0.9, 0.99])
@pytest.mark.parametrize(("n", "of"), [(30, None), (200, None), (200, 400), (500, 600)])
def test_the_interval_of_a_rate_holds_it_also_without_replacement(rate: float, n: int, of: int | None) -> None:
    chance = np.random.default_rng(n)
    passed = (
        chance.binomial(n, rate, 400)
        if of is None
        else chance.hypergeometric(round(rate * of), round((1 - rate) * of), n, 400)
    )
    true = rate if of is None else round(rate * of) / of
    population = None if of is None else Fraction(of)
    rates = [Fraction(int(one), n) for one in passed]
    ends = [rate_interval(one, one, Fraction(n), CONFIDENCE, population) for one in rates]
    assert np.mean([low - 1e-12 <= true <= high + 1e-12 for low, high in ends]) >= CONFIDENCE - SLACK


def test_what_is_missing_widens_each_interval_on_its_side() -> None:
    worst, best = Counter({1.0: 90, 0.0: 10}), Counter({1.0: 100})
    n, half = Fraction(100), Fraction(1, 2)
    for known, open_ in (
        (mean_interval((worst, worst), n, CONFIDENCE), mean_interval((worst, best), n, CONFIDENCE)),
        (quantile_interval((worst, worst), half, n, CONFIDENCE), quantile_interval((worst, best), half, n, CONFIDENCE)),
        (
            rate_interval(Fraction(9, 10), Fraction(9, 10), n, CONFIDENCE),
            rate_interval(Fraction(9, 10), Fraction(1), n, CONFIDENCE),
        ),
    ):
        assert known[0] == open_[0]
        assert known[1] <= open_[1]


def test_wilsons_interval_with_a_correction_for_a_finite_population_would_not_hold() -> None:
    """Why the exact one is taken: 200 of 400 rows, of which 99 % pass."""
    n, of, passing = 200, 400, 396
    passed = np.random.default_rng(1).hypergeometric(passing, of - passing, n, 2_000)
    size = Fraction(n * (of - 1), of - n)
    ends = [wilson_interval(Fraction(int(one), n) * size, size, CONFIDENCE) for one in passed]
    assert np.mean([low <= passing / of <= high for low, high in filter(None, ends)]) < 0.9
