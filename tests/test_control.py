"""What may be changed while a run is at work."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from fieval_tasks.control import LARGEST, Control, control_of, steered
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


def test_the_advice_for_a_variable_that_is_no_object_can_be_pasted() -> None:
    with pytest.raises(PlanError) as raised:
        control_of('to"night', "paused")
    advised = json.loads(str(raised.value).partition("write ")[2])
    assert control_of('to"night', advised) == Control(paused=True)


NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
PAUSED = Control(paused=True)
QUICK = Control(rate="20/s", concurrency=16)


def test_what_is_said_of_one_run_leaves_the_others_theirs() -> None:
    both = steered("one", QUICK, steered("two", PAUSED, {}, NOON), NOON)
    assert [control_of(run, both).model_dump() for run in ("one", "two")] == [QUICK.model_dump(), PAUSED.model_dump()]
    assert set(steered("two", Control(), both, NOON)) == {"one"}, "a run that goes by its plan needs no entry"


def test_however_many_runs_were_steered_the_next_one_can_be() -> None:
    variable = steered("still-paused", PAUSED, {"by-hand": {"rate": "1/s"}, "a slip": "paused"}, NOON)
    for n in range(200):
        variable = steered(f"nightly-{n}", QUICK, variable, NOON + timedelta(days=n))
        assert len(json.dumps(variable, separators=(",", ":"))) <= LARGEST
        assert control_of(f"nightly-{n}", variable).rate == "20/s"
    kept = [run for run in variable if run.startswith("nightly")]
    assert kept == [f"nightly-{n}" for n in range(200 - len(kept), 200)], "the oldest went"
    assert len(kept) > 40
    assert set(variable) - set(kept) == {"still-paused"}, "or it would go on, and spend money"


def test_the_age_of_what_was_said_does_not_hang_on_the_order_of_the_variable() -> None:
    """A PostgreSQL behind Prefect orders the names of an object as it likes."""
    variable: dict[str, Any] = {}
    for n in range(200):
        variable = steered(f"nightly-{999 - n}", QUICK, dict(sorted(variable.items())), NOON + timedelta(days=n))
    assert min(variable) == "nightly-800"
    assert "nightly-999" not in variable
