"""What may be changed while a run is at work."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan_fields import RUN_NAME
from fieval_tasks.core.steering import PREFIX, Control, control_of, value_of, variable_of

RUNS = st.from_regex(RUN_NAME, fullmatch=True)


@pytest.mark.parametrize("value", [None, {}, {"run": "mine"}])
def test_a_run_of_which_nothing_is_said_goes_by_its_plan(value: Any) -> None:
    assert control_of("mine", value) == Control()


def test_what_is_said_is_read_as_it_was_written() -> None:
    wanted = Control(paused=True, rate="600/min")
    assert control_of("mine", value_of("mine", wanted)) == wanted
    assert wanted.requests_a_second == 10
    assert control_of("mine", {"concurrency": 4}).concurrency == 4, "by hand, without the run's name"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("paused", 'the variable fieval_control_mine is no JSON object: write {"paused": true}'),
        ({"rate": "fast"}, "'fast' is not a rate"),
        ({"concurrency": 0}, "the variable fieval_control_mine can't be read"),
        ({"pause": True}, "pause"),
    ],
)
def test_what_can_not_be_read_is_refused_in_a_sentence(value: Any, said: str) -> None:
    with pytest.raises(PlanError) as raised:
        control_of("mine", value)
    assert said in str(raised.value)


def test_a_variable_is_called_as_its_run_where_prefect_lets_it() -> None:
    assert variable_of("nightly-20260101-020000") == "fieval_control_nightly-20260101-020000"
    assert variable_of("Q3.answers").startswith("fieval_control_q3_answers-")


@given(st.sets(RUNS, min_size=2, max_size=20))
def test_each_run_has_a_variable_of_its_own_that_prefect_takes(runs: set[str]) -> None:
    names = {variable_of(run) for run in runs}
    assert len(names) == len(runs)
    for name in names:
        assert name.startswith(PREFIX)
        assert len(name) <= 255
        assert {*name} <= {*"abcdefghijklmnopqrstuvwxyz0123456789-_"}


@pytest.mark.parametrize(("one", "other"), [("A", "a"), ("a.b", "a_b"), ("a.b", "a-b"), ("A.b", "a.B")])
def test_runs_of_nearly_one_name_have_two(one: str, other: str) -> None:
    assert variable_of(one) != variable_of(other)
