"""How a flow run is called, and how it ends: with its reason in the log, and a state that has a name."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from fieval_tasks.core.errors import KeysRefused, NoCredit, PlanError, RunStopped, StoreAway
from tests.flows.test_evaluate import ROWS, dataset, evaluated, plan_of, summary

AUTOMATIONS = Path(__file__).parents[2] / "deployments" / "automations"


def read(state: Any) -> Any:
    """The flow run as the server has it."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_flow_run(state.state_details.flow_run_id)


def named(name: str, plan: Any) -> Any:
    """The flow run that a caller, a form or a command has named before it began."""
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow
    from prefect.states import Pending

    from flows.evaluate import evaluate

    with get_client(sync_client=True) as client:
        begun = client.create_flow_run(evaluate, parameters={"plan": plan}, name=name, state=Pending())
    run_flow(evaluate, flow_run=begun, parameters={"plan": plan}, return_type="state")
    with get_client(sync_client=True) as client:
        return client.read_flow_run(begun.id)


@pytest.mark.parametrize("typed", ["Rustic-Zorse", "nightly-check", "release 4", "spectral-piculet-2"])
def test_a_name_that_somebody_typed_stays(workplace: Path, typed: str) -> None:
    assert named(typed, plan_of(dataset=dataset(workplace, ROWS))).name == typed


def test_a_run_that_nobody_named_is_called_by_its_dataset_and_time(workplace: Path) -> None:
    found = named("spectral-piculet", plan_of(dataset=dataset(workplace, ROWS)))
    assert found.name.startswith("answers 20")
    assert len(found.name) == len("answers 2026-11-27 12:00:00")


def test_the_ledgers_name_is_a_tag_and_in_the_state(workplace: Path) -> None:
    found = named("release 4", plan_of(dataset=dataset(workplace, ROWS), run="mine"))
    assert found.tags == ["mine"]
    assert found.state.message.startswith("run mine: 6 of 6 items scored")
    assert f"report: {workplace / 'fieval-runs/mine/report.html'}" in found.state.message


def test_prefects_own_names_are_known(prefect_home: object) -> None:
    from prefect.utilities.names import generate_slug

    from fieval_tasks.on_prefect.naming import is_made_up

    assert all(is_made_up(generate_slug(2)) for _ in range(200))


@pytest.mark.parametrize(
    ("fields", "name", "said"),
    [
        ({"gates": ("groundedness.pass_rate >= 0.99",)}, "Gate failed", "gate FAIL: groundedness.pass_rate >= 0.99"),
        ({"checks": ()}, "Plan refused", "no template is named"),
    ],
)
def test_a_run_that_is_not_good_says_why_in_its_log_and_in_its_states_name(
    workplace: Path, caplog: pytest.LogCaptureFixture, fields: dict[str, Any], name: str, said: str
) -> None:
    state = evaluated(plan_of(dataset=dataset(workplace, ROWS), **fields))
    assert (state.is_failed(), state.name) == (True, name)
    [told] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert said in told.getMessage()
    assert told.exc_info is None


def test_a_row_without_a_verdict_is_told_by_the_states_name(workplace: Path) -> None:
    rows = dataset(workplace, [*ROWS, {"q": "x", "a": "", "docs": "d"}])
    assert evaluated(plan_of(dataset=rows, run="missing")).name == "Verdicts missing"
    assert evaluated(plan_of(dataset=rows, gates=("groundedness.pass_rate >= 0.4",))).name == "Gate undecided"
    assert summary("missing")["exit_code"] == 3


def test_the_reason_that_stopped_a_run_is_in_the_states_name(prefect_home: object) -> None:
    from fieval_tasks.on_prefect.final_states import state_name_of

    wrapped = RunStopped("the keys are refused")
    wrapped.__cause__ = KeysRefused("401")
    found = [
        state_name_of(error)
        for error in (wrapped, NoCredit("402"), StoreAway("locked"), RunStopped("x"), PlanError("y"))
    ]
    assert found == [
        "Stopped: keys refused", "Stopped: credit gone", "Stopped: ledger out of reach", "Stopped", "Plan refused",
    ]  # fmt: skip


@pytest.mark.parametrize("raised", ["FailedRun", "CancelledRun"])
def test_under_a_deployment_prefects_traceback_of_a_state_that_was_told_is_left_out_and_no_other(
    prefect_home: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, raised: str
) -> None:
    from prefect import exceptions
    from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

    from fieval_tasks.on_prefect import final_states

    logger = logging.getLogger("prefect.flow_runs")
    monkeypatch.setattr(logger, "filters", [])
    monkeypatch.setattr(final_states.deployment, "id", "a-deployment", raising=False)
    monkeypatch.setattr(final_states.flow_run, "id", "mine", raising=False)
    final_states._log_it_once()
    told = getattr(exceptions, raised)("gate FAIL")
    caplog.set_level(logging.ERROR)
    # Else Prefect would start a server of its own for the log, and keep it for as long as there are tests.
    with temporary_settings(updates={PREFECT_LOGGING_TO_API_ENABLED: False}), caplog.filtering(logging.Filter()):
        logger.addHandler(caplog.handler)
        for whose, error in (("mine", told), ("another's", told), ("mine", KeyError("a bug"))):
            logger.error(
                "Engine execution exited with unexpected exception", exc_info=error, extra={"flow_run_id": whose}
            )
        logger.error("a sentence", extra={"flow_run_id": "mine"})
        logger.removeHandler(caplog.handler)
    shown = [(r.flow_run_id, r.exc_info and type(r.exc_info[1])) for r in caplog.records]  # type: ignore[attr-defined]
    assert list(dict.fromkeys(shown)) == [("another's", type(told)), ("mine", KeyError), ("mine", None)]


def test_the_automation_for_runs_that_died_knows_every_state_in_which_one_ends(prefect_home: object) -> None:
    from prefect.server.events.schemas.automations import EventTrigger

    from fieval_tasks.on_prefect.final_states import NAMES

    [zombie] = [
        said for file in AUTOMATIONS.glob("*.yaml") if "zombie" in (said := yaml.safe_load(file.read_text()))["name"]
    ]
    trigger = EventTrigger.model_validate(zombie["trigger"])
    ends = ("Completed", "Failed", "Cancelled", "Crashed", "Suspended", *NAMES)
    assert [name for name in ends if not trigger.expects(f"prefect.flow-run.{name}")] == []
    assert not trigger.expects("prefect.flow-run.Running")
