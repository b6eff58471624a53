"""Tiers as they are named."""

from __future__ import annotations

import pytest

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
