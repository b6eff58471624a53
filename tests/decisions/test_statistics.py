from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.decisions.statistics import effective_size, inverted_cdf, unmeasured_bounds, wilson_interval


def scores(size: int) -> st.SearchStrategy[list[Fraction]]:
    return st.lists(st.fractions(0, 1), max_size=size)


@pytest.mark.parametrize(
    ("passed", "n"), [(0, 1), (1, 1), (0, 40), (40, 40), (43, 57), (7, 10), (1, 1000), (999, 1000)]
)
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_interval_is_the_one_scipy_computes(passed: int, n: int, confidence: float) -> None:
    binomtest = pytest.importorskip("scipy.stats").binomtest
    known = binomtest(passed, n).proportion_ci(confidence, method="wilson")
    assert wilson_interval(passed, n, confidence) == pytest.approx((known.low, known.high), abs=1e-12)


@given(st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_rate_and_stays_within_0_and_1(counts: tuple[int, int]) -> None:
    passed, n = counts
    interval = wilson_interval(passed, n)
    assert interval is not None
    assert 0 <= interval[0] <= passed / n <= interval[1] <= 1


@given(st.integers(1, 5000))
def test_wilson_interval_has_a_width_even_where_all_pass(n: int) -> None:
    low, high = wilson_interval(n, n) or (1.0, 1.0)
    assert low < high == 1.0


def test_nothing_counted_gives_no_interval() -> None:
    assert wilson_interval(0, 0) is None
    assert unmeasured_bounds(0, 0, 0) is None


@pytest.mark.parametrize(("passed", "n"), [(2, 1), (-1, 1)])
def test_impossible_counts_are_refused(passed: int, n: int) -> None:
    with pytest.raises(ValueError, match="cannot pass"):
        wilson_interval(passed, n)


@given(scores(30), scores(30))
def test_bounds_hold_the_mean_for_every_completion_of_the_unmeasured(
    known: list[Fraction], missing: list[Fraction]
) -> None:
    bounds = unmeasured_bounds(Fraction(sum(known)), len(known), len(missing))
    if bounds is None:
        assert not known + missing
    else:
        assert bounds[0] <= Fraction(sum(known + missing)) / len(known + missing) <= bounds[1]


@given(scores(30).filter(bool), st.integers(0, 30))
def test_bounds_are_reached_by_all_zeros_and_all_ones(known: list[Fraction], missing: int) -> None:
    total, n = Fraction(sum(known)), len(known) + missing
    assert unmeasured_bounds(total, len(known), missing) == (total / n, (total + missing) / n)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=20))
def test_rows_that_share_verdicts_are_worth_no_more_than_the_verdicts(rows_of_each: list[int]) -> None:
    size = effective_size(sum(rows_of_each), sum(w * w for w in rows_of_each))
    assert 1 <= size <= len(rows_of_each)
    assert (size == len(rows_of_each)) == (len(set(rows_of_each)) == 1)


def test_the_effective_size_gives_the_variance_of_a_rate_over_rows_that_share_verdicts() -> None:
    """By every outcome of five independent verdicts, weighted by how likely each is."""
    rows_of_each, p = [7, 3, 1, 1, 1], Fraction(2, 5)
    rows = sum(rows_of_each)
    variance = Fraction(0)
    for outcome in range(2**5):
        passes = [outcome >> place & 1 for place in range(5)]
        likely = p ** sum(passes) * (1 - p) ** (5 - sum(passes))
        rate = Fraction(sum(w for w, passed in zip(rows_of_each, passes, strict=True) if passed), rows)
        variance += likely * (rate - p) ** 2
    assert variance == p * (1 - p) / effective_size(rows, sum(w * w for w in rows_of_each))


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.integers(1, 50))
def test_copies_of_every_row_change_no_interval(counts: tuple[int, int], copies: int) -> None:
    passed, n = counts
    size = effective_size(copies * n, n * copies**2)
    assert wilson_interval(Fraction(passed, n) * size, size) == wilson_interval(passed, n)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=40), st.integers(1, 100))
def test_a_quantile_is_the_one_that_numpy_finds_by_the_inverted_distribution(
    values: list[int], hundredths: int
) -> None:
    known = np.quantile(values, hundredths / 100, method="inverted_cdf")
    assert inverted_cdf(Counter(values), Fraction(hundredths, 100)) == known
    assert inverted_cdf({}, Fraction(1, 2)) is None
