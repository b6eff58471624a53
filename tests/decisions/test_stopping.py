"""Gates that are settled before all rows are evaluated: how soon, how often wrongly, and whatever order verdicts arrive in."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import betabinom, hypergeom

from fieval_tasks.decisions.stopping import FEWER, WEIGHT, Floats, Settled, Target, _ratio

N = 5_000
GATE = Target(">=", Fraction("0.95"), N, is_counted=True, confidence=0.99)
PASSES, FAILS = GATE._met[0][1].needed, GATE._broken[0][1].needed
NEVER = N + 1
Verdicts: TypeAlias = NDArray[np.bool_]


def drawn(rate: float, runs: int, seed: int, *, block: int = 500) -> Iterator[Verdicts]:
    """So many runs' rows in random orders, a row of the matrix each, in parts."""
    generator = np.random.default_rng(seed)
    rows = np.arange(N) < round(rate * N)
    yield from (generator.permuted(np.tile(rows, (block, 1)), axis=1) for _ in range(runs // block))


def first(reached: Verdicts) -> NDArray[np.int64]:
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, NEVER)


def ends(passed: Verdicts, known: Verdicts | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers of rows after which each run passes, and fails."""
    ones, zeros = (passed, ~passed) if known is None else (passed & known, ~passed & known)
    return (
        first(ones.cumsum(axis=1, dtype=np.int16) >= PASSES[1:]),
        first(zeros.cumsum(axis=1, dtype=np.int16) >= FAILS[1:]),
    )


@pytest.mark.parametrize(("rate", "median"), [(0.99, 180), (0.97, 1_000), (0.96, N)])
def test_a_gate_that_holds_passes_soon_and_always(rate: float, median: int) -> None:
    passes, fails = np.concatenate([ends(part) for part in drawn(rate, 1_000, seed=1)], axis=1)
    assert np.median(passes) <= median
    assert (passes <= N).all()
    assert (fails < passes).mean() <= 0.01


def test_a_gate_that_does_not_hold_fails_soon() -> None:
    [(passes, fails)] = [ends(part) for part in drawn(0.90, 500, seed=1)]
    assert np.median(fails) <= 240
    assert (passes == NEVER).all()


def test_no_more_than_one_run_in_a_hundred_passes_that_should_not() -> None:
    passed = [int((passes < fails).sum()) for passes, fails in map(ends, drawn(0.9498, 2_000, seed=1))]
    assert 0 < sum(passed) <= 20


def test_slow_failing_rows_let_no_more_runs_pass() -> None:
    """Rows are sent one after the other; one that passes takes as long as a hundred submissions, one that fails three times that."""
    wrong = careless = 0
    for passed in drawn(0.9498, 2_000, seed=1):
        done_at = np.arange(N) + np.where(passed, 100, 300)
        looks = np.geomspace(150, N + 300, 12).astype(int)
        # Once settled it stays so, whatever else becomes known: the last look sees what any did.
        seen = np.array([ends(passed, done_at <= now)[0] <= N for now in looks])
        assert (seen[:-1] <= seen[1:]).all()
        passes, fails = ends(passed)
        wrong += int((seen.any(axis=0) & (passes < fails)).sum())
        arrived = np.take_along_axis(passed, done_at.argsort(axis=1, kind="stable"), axis=1)
        careless += int((ends(arrived)[0] <= N).sum())
    assert wrong <= 20
    assert careless > 1_900  # what the order of completion would have passed


@pytest.mark.parametrize("is_counted", [True, False])
@given(data=st.data())
def test_a_verdict_for_sure_is_never_contradicted_and_all_rows_settle_what_is_to_be_counted(
    is_counted: bool, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, 60))
    score = st.sampled_from([0.0, 1.0]) if is_counted else st.sampled_from([0.0, 0.25, 0.5, 1.0])
    values = np.array(data.draw(st.lists(score, min_size=size, max_size=size)))
    operator = data.draw(st.sampled_from([">=", ">", "<=", "<", "=="]))
    threshold = data.draw(st.fractions(0, 1, max_denominator=20))
    target = Target(
        operator, threshold, size, is_counted, confidence=1 - 1e-12
    )  # so that only what is certain is settled
    mean = sum(map(Fraction, values.tolist())) / size
    truth = {
        ">=": mean >= threshold,
        ">": mean > threshold,
        "<=": mean <= threshold,
        "<": mean < threshold,
        "==": mean == threshold,
    }
    found = target.settled(values, values)
    assert found is None or found.is_met is truth[operator]
    assert found is not None or not is_counted


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=200, max_size=200), st.data())
def test_what_is_settled_with_verdicts_missing_stays_so_when_they_come(
    values: list[float], data: st.DataObject
) -> None:
    target = Target(">=", Fraction(1, 2), 200, data.draw(st.booleans()), confidence=0.9)
    truth = np.array(values)
    known = np.array(data.draw(st.lists(st.booleans(), min_size=200, max_size=200)))
    more = known | np.array(data.draw(st.lists(st.booleans(), min_size=200, max_size=200)))
    before, after = (target.settled(np.where(seen, truth, 0.0), np.where(seen, truth, 1.0)) for seen in (known, more))
    assert before is None or after is None or (after.is_met is before.is_met and after.after <= before.after)


def test_missing_verdicts_count_against_both_outcomes() -> None:
    ones, zeros = np.ones(N), np.zeros(N)
    assert GATE.settled(zeros, ones) is None
    late = np.where(np.arange(N) < 300, 0.0, 1.0)  # the first 300 are slow: too many for the gate to hold without them
    assert GATE.settled(late, ones) is None
    assert GATE.settled(ones, ones) == Settled(True, int(np.argmax(np.arange(N + 1) >= PASSES)), N)


def test_the_ratio_is_the_one_of_two_distributions_of_scipy() -> None:
    excluded = 4_749
    a, b = WEIGHT / (1 - excluded / N), WEIGHT * FEWER
    for n, ones in [(1, 1), (100, 97), (312, 310), (2_000, 1_930), (N, 4_750)]:
        known = betabinom.logpmf(ones, n, a, b) - hypergeom.logpmf(ones, N, excluded, n)
        assert _ratio(ones, n, N, excluded) == pytest.approx(known, rel=1e-6)


@pytest.mark.parametrize("excluded", [0, 1, 30, 75, 99])
def test_above_the_mean_more_ones_always_refute_more(excluded: int) -> None:
    """By which the numbers that settle a claim may be searched by halving."""
    for n in range(1, 101):
        ones = np.arange(-(-n * excluded // 100), n + 1)
        refuted = _ratio(ones, n, 100, excluded) >= -np.log(0.49)
        assert (refuted[:-1] <= refuted[1:]).all()


def means(mean: float, runs: int, seed: int) -> Iterator[Floats]:
    generator = np.random.default_rng(seed)
    scores = generator.beta(8 * mean, 8 * (1 - mean), 1_000)
    scores = np.clip(scores + mean - scores.mean(), 0.0, 1.0)
    yield from (generator.permutation(scores) for _ in range(runs))


def test_a_gate_on_a_mean_is_settled_by_bets_and_seldom_wrongly() -> None:
    gate = Target(">=", Fraction("0.8"), 1_000, is_counted=False, confidence=0.95)
    soon = [gate.settled(values, values) for values in means(0.85, 50, seed=3)]
    assert all(found is not None and found.is_met for found in soon)
    assert np.median([found.after for found in soon if found]) < 200
    wrong = [gate.settled(values, values) for values in means(0.799, 400, seed=3)]
    assert sum(found is not None and found.is_met for found in wrong) <= 20


def test_a_hundred_thousand_rows_are_settled_as_soon() -> None:
    gate = Target(">=", Fraction("0.95"), 100_000, is_counted=True, confidence=0.99)
    ones = np.ones(100_000)
    assert gate.settled(ones, ones) == Settled(True, 115, 100_000)
