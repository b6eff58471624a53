"""Comparing two runs: tests that hold their level, intervals that cover, and verdicts that missing ones can't buy."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from fieval_tasks.decisions.comparison import (
    Compared,
    ComparisonVerdict,
    Paired,
    Terms,
    clustered,
    compare,
    holm,
    mcnemar,
    mean_interval,
    rate_interval,
    sign_flips,
)

SAME, BETTER, WORSE, CANT_TELL = ComparisonVerdict
NONE = float("nan")
TERMS = Terms()


def rates(kept: int, worse: int, better: int, failing: int = 0, **said: object) -> Paired:
    """So many pairs that pass in both runs, pass only in the baseline, only in the run, and in neither."""
    before = [1.0] * (kept + worse) + [0.0] * (better + failing)
    now = [1.0] * kept + [0.0] * worse + [1.0] * better + [0.0] * failing
    return Paired(np.array(now), np.array(before), is_rate=True, **said)  # type: ignore[arg-type]


def scores(run: object, baseline: object, clusters: object = None) -> Paired:
    numbers = None if clusters is None else np.asarray(clusters)
    return Paired(np.asarray(run, float), np.asarray(baseline, float), is_rate=False, clusters=numbers)


def one(pair: Paired, terms: Terms = TERMS) -> Compared:
    return compare({"tone": pair}, terms)["tone"]


def noisy(rng: np.random.Generator, n: int, shift: float = 0.0) -> Paired:
    before = rng.beta(4, 2, n)
    return scores(np.clip(before + shift + rng.normal(0, 0.15, n), 0, 1), before)


# -- agreement with scipy and with published figures ---------------------------------------------------------------


@pytest.mark.parametrize(("worse", "better"), [(0, 0), (1, 0), (6, 0), (9, 2), (5, 5), (40, 70)])
def test_mcnemar_is_the_exact_test_less_half_of_what_was_seen(worse: int, better: int) -> None:
    n = worse + better
    exact = stats.binomtest(worse, n).pvalue if n else 1.0
    seen = float(stats.binom.pmf(worse, n, 0.5))
    assert mcnemar(worse, better) == pytest.approx(min(1.0, exact - seen) if worse != better else 1.0)


def test_the_mid_p_value_of_the_published_example() -> None:
    """Airway hyper-responsiveness before and after stem cell transplantation: Fagerland et al. 2013, table 1."""
    assert mcnemar(1, 7) == pytest.approx(0.039, abs=5e-4)


def test_few_differences_are_flipped_in_every_way() -> None:
    differences = np.array([0.2, 0.1, 0.4, -0.05, 0.3])
    every = np.array(np.meshgrid(*[[1, -1]] * 5)).reshape(5, -1).T @ differences
    assert sign_flips(differences) == pytest.approx(np.mean(np.abs(every) >= differences.sum() - 1e-12))


def test_many_differences_say_what_flipping_them_says() -> None:
    rng = np.random.default_rng(5)
    many = rng.normal(0.004, 0.1, 2_400)
    flipped = (rng.integers(0, 2, (4_000, 2_400)) * 2 - 1) @ many
    assert sign_flips(many) == pytest.approx(np.mean(np.abs(flipped) >= abs(many.sum())), abs=0.03)


def test_holm_is_as_done_by_hand() -> None:
    pairs = {"a": rates(50, 9, 0), "b": rates(50, 9, 2), "c": rates(50, 3, 3)}
    found = compare(pairs)
    p = [mcnemar(9, 0), mcnemar(9, 2), 1.0]
    assert [found[name].p_holm for name in pairs] == pytest.approx([3 * p[0], 2 * p[1], 1.0])
    assert [found[name].verdict for name in pairs] == [WORSE, CANT_TELL, CANT_TELL], "b alone would be worse"
    assert one(pairs["b"]).verdict is WORSE


@pytest.mark.parametrize("n", [1, 2, 7])
def test_holm_is_as_statsmodels_has_it(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "collect", lambda: 0)  # statsmodels does it at each call, for a second among many tests
    for p_values in np.random.default_rng(n).random((20, n)) ** 4:
        assert holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_what_could_have_been_seen_is_the_published_figure() -> None:
    """references: 1,175 pairs for 2 points at 6 % discordance and 80 % power."""
    found = one(rates(940, 30, 30))
    assert found.pairs_needed == 1_175
    assert one(rates(1_175 * 94 // 100, 35, 35)).detectable == pytest.approx(0.02, abs=2e-4)


def test_the_power_is_what_was_promised() -> None:
    rng = np.random.default_rng(11)
    seen = [mcnemar(worse, better) < 0.05 for _, worse, better in rng.multinomial(1_175, [0.94, 0.02, 0.04], 1_000)]
    assert 0.76 < np.mean(seen) < 0.85


# -- levels and coverage, simulated --------------------------------------------------------------------------------


def test_mcnemar_holds_its_level() -> None:
    drawn = np.random.default_rng(1).multinomial(300, [0.9, 0.05, 0.05], 4_000)
    assert np.mean([mcnemar(worse, better) < 0.05 for _, worse, better in drawn]) < 0.055


def test_flipped_signs_hold_their_level() -> None:
    rng = np.random.default_rng(2)
    assert np.mean([sign_flips(rng.choice([-0.2, 0.1, 0.0, -0.1, 0.2], 12)) < 0.05 for _ in range(300)]) < 0.08


def test_holm_holds_the_level_over_all_checks() -> None:
    rng = np.random.default_rng(3)
    called = 0
    for _ in range(400):
        drawn = rng.multinomial(200, [0.9, 0.05, 0.05], 8)
        found = compare({str(i): rates(*map(int, counts)) for i, counts in enumerate(drawn)})
        called += any(one.verdict in (BETTER, WORSE) for one in found.values())
    assert called / 400 < 0.05 + 2 * 0.011


@pytest.mark.parametrize(("n", "flips"), [(30, (0.1, 0.05)), (200, (0.04, 0.06)), (1_000, (0.01, 0.002))])
def test_the_interval_of_a_rate_covers(n: int, flips: tuple[float, float]) -> None:
    worse, better = flips
    drawn = np.random.default_rng(4).multinomial(n, [1 - worse - better, worse, better], 1_500)
    intervals = [rate_interval(down, up, n, 0.05) for _, down, up in drawn]
    assert np.mean([low <= better - worse <= high for low, high in intervals]) > 0.94


@pytest.mark.parametrize("n", [15, 60])
def test_the_interval_of_a_mean_covers(n: int) -> None:
    rng = np.random.default_rng(6)
    covered = []
    for _ in range(200):
        low, high = mean_interval(rng.normal(0.05, 0.1, n), np.ones(n), 0.05) or (1, 1)
        covered.append(low <= 0.05 <= high)
    assert np.mean(covered) > 0.91


def test_turns_of_one_conversation_are_not_as_many_witnesses() -> None:
    """Ten turns that fall or rise together: without clusters every second run would be called changed."""
    rng = np.random.default_rng(7)
    numbers = np.repeat(np.arange(12), 10)
    alone, together = [], []
    for _ in range(80):
        turns = np.repeat(rng.choice([-0.1, -0.05, 0.05, 0.1], 12), 10) + rng.normal(0, 0.02, 120)
        sums, sizes = clustered(turns, numbers)
        low, high = mean_interval(sums, sizes, 0.05) or (1, 1)
        together.append(low <= 0 <= high)
        low, high = mean_interval(turns, np.ones(120), 0.05) or (1, 1)
        alone.append(low <= 0 <= high)
    assert np.mean(together) > 0.9 > 0.7 > np.mean(alone)
    assert one(scores(turns, np.zeros(120), numbers)).n_independent == 12


# -- verdicts ------------------------------------------------------------------------------------------------------


def test_the_four_verdicts() -> None:
    assert one(rates(900, 40, 10)).verdict is WORSE
    assert one(rates(900, 10, 40)).verdict is BETTER
    assert one(rates(2_000, 5, 5)).verdict is SAME
    assert one(rates(100, 5, 5)).verdict is CANT_TELL


def test_where_lower_is_better_a_rise_is_worse() -> None:
    rng = np.random.default_rng(8)
    up = noisy(rng, 200, shift=0.1)
    down = Paired(up.run, up.baseline, is_rate=False, higher_is_better=False)
    assert one(up).verdict is BETTER
    found = one(down)
    assert (found.verdict, found.difference, found.regressions) == (WORSE, one(up).difference, one(up).fixes)


def test_no_pair_one_pair_and_pairs_without_any_difference() -> None:
    none = one(rates(0, 0, 0))
    assert (none.n_pairs, none.verdict, none.interval, none.p_value, none.detectable) == (
        0,
        CANT_TELL,
        None,
        None,
        None,
    )
    for alone in (rates(1, 0, 0), rates(0, 1, 0), scores([0.5], [0.5])):
        assert one(alone).verdict is CANT_TELL
    assert one(scores([0.5] * 50, [0.5] * 50)).verdict is CANT_TELL, "too few to exclude a change of 2 points"
    alike = one(scores([0.5] * 200, [0.5] * 200))
    assert alike.verdict is SAME
    assert alike.interval is not None
    assert alike.interval[0] < 0 < alike.interval[1], "nobody knows that nothing changed"


def test_a_margin_is_what_same_means() -> None:
    found = rates(480, 20, 20)
    assert one(found).verdict is CANT_TELL
    assert one(found, Terms(margin=0.05)).verdict is SAME


def test_missing_verdicts_leave_open_what_they_could_change() -> None:
    better = rates(100, 0, 12)
    assert one(better).verdict is BETTER
    few = Paired(np.append(better.run, [NONE]), np.append(better.baseline, [1.0]), is_rate=True)
    assert one(few).verdict is BETTER, "one more failure would not change it"
    many = Paired(np.append(better.run, [NONE] * 9), np.append(better.baseline, [1.0] * 9), is_rate=True)
    found = one(many)
    assert (found.verdict, found.is_open, found.missing, found.n_pairs) == (CANT_TELL, True, 9, 112)
    failing = Paired(np.append(better.run, [NONE] * 9), np.append(better.baseline, [0.0] * 9), is_rate=True)
    assert one(failing).verdict is BETTER, "what failed before can't be a regression"


def test_without_any_verdict_nothing_is_said() -> None:
    found = one(Paired(np.full(80, NONE), np.ones(80), is_rate=True))
    assert (found.verdict, found.is_open, found.n_pairs, found.missing) == (CANT_TELL, True, 0, 80)


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, NONE]), st.sampled_from([0.0, 1.0, NONE])), max_size=60))
def test_a_verdict_that_stands_stands_whatever_the_missing_ones_are(pairs: list[tuple[float, float]]) -> None:
    run, baseline = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    found = one(Paired(run, baseline, is_rate=True))
    assert found.n_pairs + found.missing == len(pairs)
    rng = np.random.default_rng(len(pairs))
    for _ in range(3):
        whole = [np.where(np.isnan(side), rng.integers(0, 2, len(pairs)), side) for side in (run, baseline)]
        if found.verdict is not CANT_TELL:
            assert one(Paired(*whole, is_rate=True)).verdict is found.verdict


@given(st.integers(0, 300), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_the_interval_holds_the_difference_and_turning_the_runs_round_turns_the_answer(
    kept: int, worse: int, better: int, failing: int
) -> None:
    found, turned = one(rates(kept, worse, better, failing)), one(rates(kept, better, worse, failing))
    assert (found.regressions, found.fixes) == (turned.fixes, turned.regressions) == (worse, better)
    assert found.p_value == turned.p_value
    if found.interval and found.difference is not None:
        assert found.interval[0] <= found.difference <= found.interval[1]


@pytest.mark.parametrize("differences", [[], [0.0, 0.0], [0.4], [0.0, -0.3]])
def test_a_single_difference_proves_nothing(differences: list[float]) -> None:
    assert sign_flips(np.array(differences)) == 1.0
