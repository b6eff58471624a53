"""Tiers as they are named."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.tiers import CUSTOM, DAY, DEFAULT, NO_TIER, Tier


def test_a_tier_is_named_or_written_out() -> None:
    assert [Tier.parse(name) for name in ("default", "Custom", "none")] == [DEFAULT, CUSTOM, NO_TIER]
    assert Tier.parse("300/h, 50/min,1000/day").windows == DEFAULT.windows


@pytest.mark.parametrize("text", ["gold", "50", "50/fortnight", "0/min", "50/min;300/h", ""])
def test_what_is_no_tier_is_refused_with_what_would_do(text: str) -> None:
    with pytest.raises(ValueError, match="is not a tier: write default, custom, none, or limits such as 50/min"):
        Tier.parse(text)


def test_a_plan_with_a_wrong_tier_is_refused() -> None:
    with pytest.raises(PlanError, match="tier: 'gold' is not a tier"):
        EvaluationPlan(tier="gold")


def test_several_processes_share_a_tier_and_each_may_do_something() -> None:
    assert DEFAULT.divided(3).windows == ((16, 60.0), (100, 3600.0), (333, DAY))
    assert DEFAULT.divided(60).windows[0] == (1, 60.0)


def by_trying(tier: Tier, n: int, earlier: list[float]) -> list[float]:
    """The same by brute force: each evaluation is tried at every moment at which one leaves a window, until all have room."""
    sent, found, now = sorted(-ago for ago in earlier), list[float](), 0.0
    for _ in range(n):
        leaves = sorted({now, *(at + seconds for at in sent for _, seconds in tier.windows if at + seconds > now)})
        now = next(
            moment
            for moment in leaves
            if all(sum(moment - seconds < at <= moment for at in sent) < count for count, seconds in tier.windows)
        )
        sent.append(now)
        found.append(now)
    return found


WINDOWS = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from([1.0, 5.0, 20.0])), max_size=3, unique_by=lambda w: w[1]
)


@given(WINDOWS, st.integers(0, 25), st.lists(st.integers(0, 25).map(float), max_size=12))
def test_the_schedule_is_the_one_that_trying_every_moment_finds(
    windows: list[tuple[int, float]], n: int, earlier: list[float]
) -> None:
    tier = Tier("t", tuple(sorted(windows, key=lambda window: window[1])))
    assert list(tier.schedule(n, earlier)) == by_trying(tier, n, earlier)


def test_fifteen_hundred_evaluations_take_the_default_tier_more_than_a_day() -> None:
    times = DEFAULT.schedule(1_500)
    assert [times[n] for n in (0, 49, 50, 299, 300, 999)] == [0, 0, 60, 300, 3_600, 3 * 3_600 + 60]
    assert times[1_000] == DAY
    # 300 an hour again, and a day after those of the first day: 1,300 at 24 h, 1,499 an hour later and three minutes
    assert times[1_499] == DAY + 3_600 + 180
    assert DEFAULT.schedule(1, [10.0] * 300) == array("d", [3_590.0]), "what others sent within the hour counts"
    assert NO_TIER.schedule(3) == array("d", [0.0] * 3)
