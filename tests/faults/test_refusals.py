"""What is wrong with every item is noticed on the first few."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.mix import Mix
from tests.faults.running import accounts, evaluated, serving


def test_a_mapping_that_the_server_refuses_costs_five_requests_at_most(tmp_path: Path) -> None:
    with serving(tmp_path, Mix(reply=0.04, refuses="Missing required keys: question")) as server:
        outcome = evaluated(tmp_path, server, 300)
        assert server.account.posts() <= 5
        assert outcome.exit_code in (3, 4), outcome.message
        assert "Missing required keys: question" in outcome.message
        assert accounts(tmp_path, server).disagreements() == []


@pytest.mark.parametrize("takes", [(0.2, 0.4), (2.0, 4.0)])
def test_a_judge_that_fails_on_everything_stops_before_the_rest_is_spent_whatever_it_says(
    tmp_path: Path, takes: tuple[float, float]
) -> None:
    with serving(tmp_path, Mix(reply=0.04, takes=takes, rows={"fails": 1.0})) as server:
        outcome = evaluated(tmp_path, server, 600)
        assert server.account.items_accepted() <= 150
        assert outcome.exit_code in (3, 4), outcome.message
        assert "the judge gave no verdict on" in outcome.message
        assert "(request #)" in outcome.message
        assert accounts(tmp_path, server).disagreements() == []
