"""What is wrong with every item is noticed on the first few."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.mix import Mix
from tests.faults.running import Command, accounts, dataset, serving


def test_a_mapping_that_the_server_refuses_costs_five_requests_at_most(tmp_path: Path, prefect_api: str) -> None:
    with serving(tmp_path, Mix(reply=0.04, refuses="Missing required keys: question")) as server:
        command = Command(tmp_path, server, *dataset(tmp_path, 1_000))
        code = command.ended(within=150)
        assert server.account.posts() <= 5
        assert code in (3, 4), command.said
        assert "Missing required keys: question" in command.said
        assert accounts(tmp_path, server).disagreements() == []


@pytest.mark.parametrize("takes", [(0.2, 0.4), (2.0, 4.0)])
def test_a_judge_that_fails_on_everything_stops_before_the_rest_is_spent_whatever_it_says(
    tmp_path: Path, prefect_api: str, takes: tuple[float, float]
) -> None:
    with serving(tmp_path, Mix(reply=0.04, takes=takes, rows={"fails": 1.0})) as server:
        command = Command(tmp_path, server, *dataset(tmp_path, 2_000))
        code = command.ended(within=150)
        assert server.account.items_accepted() <= 150
        assert code in (3, 4), command.said
        assert "the judge gave no verdict on" in command.said
        assert "(request #)" in command.said
        assert accounts(tmp_path, server).disagreements() == []
