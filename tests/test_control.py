"""What may be changed while a run is at work."""

from __future__ import annotations

from typing import Any

import pytest

from fieval_tasks.control import Control, control_of
from fieval_tasks.errors import PlanError


@pytest.mark.parametrize("variable", [None, {}, {"other": {"paused": True}}, {"mine": None}, {"mine": {}}])
def test_a_run_of_which_nothing_is_said_goes_by_its_plan(variable: Any) -> None:
    assert control_of("mine", variable) == Control()


def test_each_run_is_told_its_own() -> None:
    variable = {"mine": {"paused": True, "rate": "600/min"}, "other": {"concurrency": 4}}
    assert control_of("mine", variable) == Control(paused=True, rate="600/min")
    assert control_of("mine", variable).requests_a_second == 10
    assert control_of("other", variable).concurrency == 4


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("paused", "no JSON object"),
        ({"mine": "paused"}, "can't be read for run mine"),
        ({"mine": {"rate": "fast"}}, "'fast' is not a rate"),
        ({"mine": {"concurrency": 0}}, "concurrency"),
        ({"mine": {"pause": True}}, "pause"),
    ],
)
def test_what_can_not_be_read_is_refused_in_a_sentence(variable: Any, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        control_of("mine", variable)
