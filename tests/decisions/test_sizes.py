"""Sample sizes: those of the textbook, and enough for the interval that a report shows."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from fieval_tasks.decisions.sizes import half_width, sample_size


@pytest.mark.parametrize(
    ("precision", "population", "confidence", "rows"),
    [
        # z = 1.95996: n0 = z^2 / (4 e^2), n = n0 / (1 + (n0 - 1) / N)
        (0.02, 10_000, 0.95, 1_936),  # 2400.91 -> 1936.2
        (0.05, 1_000, 0.95, 278),  # 384.15 -> 277.7
        (0.01, 1_000_000, 0.95, 9_513),  # 9603.65 -> 9512.3, and Wilson's interval needs 9509
        (0.02, 10_000, 0.99, 2_932),  # z = 2.57583: 4146.81 -> 2931.5
        (0.02, 100, 0.95, 96),
        (0.1, 1, 0.95, 1),
    ],
)
def test_sizes_are_those_that_are_worked_out_by_hand(
    precision: float, population: int, confidence: float, rows: int
) -> None:
    assert sample_size(precision, population, confidence) == pytest.approx(rows, abs=1)


def test_the_size_for_two_points_of_ten_thousand_rows_is_the_one_in_every_textbook() -> None:
    assert sample_size(0.02, 10_000) == 1_936


def test_an_endless_population_needs_what_statsmodels_says() -> None:
    from statsmodels.stats.proportion import proportion_confint, samplesize_confint_proportion

    n = sample_size(0.03, 10**9)
    assert n == pytest.approx(samplesize_confint_proportion(0.5, 0.03), abs=1)
    low, high = proportion_confint(n / 2, n, method="wilson")
    assert (high - low) / 2 == pytest.approx(half_width(n, 10**9), rel=1e-4)


SIZES = {"precision": st.floats(0.002, 0.4), "population": st.integers(1, 10**6)}


@given(**SIZES, confidence=st.sampled_from([0.8, 0.95, 0.99]), rate=st.floats(0, 1))
def test_a_sample_of_that_size_answers_and_is_never_more_than_there_is(
    precision: float, population: int, confidence: float, rate: float
) -> None:
    n = sample_size(precision, population, confidence, rate)
    assert 1 <= n <= population
    assert half_width(n, population, confidence, rate) <= precision


@given(**SIZES, rate=st.floats(0.02, 0.98))
def test_no_rate_needs_more_rows_than_a_half_and_a_finer_answer_never_fewer(
    precision: float, population: int, rate: float
) -> None:
    assert sample_size(precision, population, rate=rate) <= sample_size(precision, population) + 1
    assert sample_size(precision, population) <= sample_size(precision / 2, population)


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.97])
def test_a_sample_of_that_size_misses_by_more_than_the_precision_as_rarely_as_was_asked(rate: float) -> None:
    """Exact, over all samples: the found rate lies within the precision of the population's 95 % of the time or so."""
    population, precision = 2_000, 0.03
    n, passing = sample_size(precision, population, rate=rate), ceil(rate * population)
    near = range(ceil(n * (passing / population - precision)), int(n * (passing / population + precision)) + 1)
    assert sum(hypergeom.pmf(k, population, passing, n) for k in near) >= 0.945
