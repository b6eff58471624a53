"""How a judge agrees with itself: counted as by hand, and as others count it."""

from __future__ import annotations

import random
from collections import Counter
from statistics import fmean, stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import fleiss_kappa

from fieval_tasks.decisions.self_agreement import SelfAgreement


def counted(items: list[list[str]], figures: list[list[float]] | None = None) -> SelfAgreement:
    found = SelfAgreement()
    for verdicts, numbers in zip(items, figures or [[] for _ in items], strict=True):
        found.add(verdicts, numbers)
    return found


def test_three_items_by_hand() -> None:
    found = counted([["a", "a", "a"], ["a", "a", "b"], ["b"]], [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [0.0]])
    assert (found.items, found.unanimous, found.changed) == (2, 1, 1), "an item with one verdict tells nothing"
    assert found.pairwise == pytest.approx((1 + 1 / 3) / 2)
    assert found.mean_difference == pytest.approx((0 + 2 / 3) / 2)
    by_chance = (5 / 6) ** 2 + (1 / 6) ** 2
    assert found.kappa == pytest.approx((2 / 3 - by_chance) / (1 - by_chance))


@given(
    st.integers(2, 5).flatmap(lambda k: st.lists(st.lists(st.sampled_from("abc"), min_size=k, max_size=k), min_size=2))
)
def test_kappa_is_fleiss(items: list[list[str]]) -> None:
    found = counted(items)
    table = np.array([[item.count(one) for one in "abc"] for item in items])
    if len({one for item in items for one in item}) == 1:
        assert found.kappa is None
    else:
        assert found.kappa == pytest.approx(fleiss_kappa(table))


def test_nothing_at_all_says_nothing() -> None:
    found = SelfAgreement()
    assert (found.pairwise, found.kappa, found.mean_difference, found.changed_interval) == (None,) * 4
    assert found.noise(100) is None
    assert counted([["a", "a"]]).kappa is None
    assert counted([["a", "a"]], [[1.0, 1.0]]).noise(100) == 0.0


def test_scores_have_no_kappa() -> None:
    found = SelfAgreement()
    found.add([0.1, 0.2], [0.1, 0.2], are_named=False)
    assert found.kappa is None
    assert (found.changed, found.mean_difference) == (1, pytest.approx(0.1))


def test_judged_anew_a_pass_rate_moves_as_far_as_the_noise_says() -> None:
    """2,000 runs of one noisy judge on the same 400 rows: 95 % of their differences lie within what an audit of them says."""
    chance = random.Random(5)
    sure = [0.97 if n % 4 else 0.6 for n in range(400)]  # how likely each row passes
    found = SelfAgreement()
    for passes in sure * 20:  # an audit of many, so that the noise itself is known well
        pair = [float(chance.random() < passes) for _ in range(2)]
        found.add(pair, pair)
    rates = [fmean(chance.random() < passes for passes in sure) for _ in range(2_000)]
    moved = [abs(one - other) for one, other in zip(rates[::2], rates[1::2], strict=True)]
    noise = found.noise(400)
    assert noise == pytest.approx(1.96 * 2**0.5 * stdev(rates), rel=0.05)
    assert 0.93 <= fmean(one <= noise for one in moved) <= 0.97


def test_verdicts_may_be_in_any_order() -> None:
    items = [["a", "b", "a"], ["b", "b", "a"], ["c", "c", "c"]]
    turned = counted([sorted(one) for one in items])
    assert (turned.pairwise, turned.kappa) == (counted(items).pairwise, counted(items).kappa)
    assert Counter(one for item in items for one in item) == {"a": 3, "b": 3, "c": 3}
