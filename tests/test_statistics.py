from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.statistics import unmeasured_bounds, wilson_interval

ROOM = 1e-9


def scores(size: int) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(0, 1), max_size=size)


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
    assert unmeasured_bounds(0.0, 0, 0) is None


@pytest.mark.parametrize(("passed", "n"), [(2, 1), (-1, 1)])
def test_impossible_counts_are_refused(passed: int, n: int) -> None:
    with pytest.raises(ValueError, match="cannot pass"):
        wilson_interval(passed, n)


@given(scores(30), scores(30))
def test_bounds_hold_the_mean_for_every_completion_of_the_unmeasured(known: list[float], missing: list[float]) -> None:
    bounds = unmeasured_bounds(sum(known), len(known), len(missing))
    if bounds is None:
        assert not known + missing
    else:
        mean = sum(known + missing) / len(known + missing)
        assert bounds[0] - ROOM <= mean <= bounds[1] + ROOM


@given(scores(30).filter(bool), st.integers(0, 30))
def test_bounds_are_reached_by_all_zeros_and_all_ones(known: list[float], missing: int) -> None:
    n = len(known) + missing
    bounds = unmeasured_bounds(sum(known), len(known), missing)
    assert bounds == pytest.approx((sum(known + [0.0] * missing) / n, sum(known + [1.0] * missing) / n))
