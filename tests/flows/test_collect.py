"""Runs that were only submitted are collected later, each for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Evaluator
from tests.flows.test_evaluate import ROWS, dataset, evaluated, plan_of, summary


def test_what_is_wrong_with_one_run_keeps_no_other_from_its_verdicts(
    workplace: Path, block: Any, evaluator: Evaluator, capfd: pytest.CaptureFixture[str]
) -> None:
    from flows.command import collect_command

    rows = dataset(workplace, ROWS)
    for run, connection in (("keyless", "evaluator"), ("sound", "local")):
        assert evaluated(plan_of(dataset=rows, run=run, mode="submit", connection=connection)).is_completed()
    type(block).delete("evaluator")
    assert collect_command([]) == 4
    told = capfd.readouterr().err
    assert "run keyless: --connection 'evaluator' is neither local nor env" in told
    assert "6 of 6 items scored" in told
    assert summary("sound")["items"]["scored"] == 6


def test_a_collector_that_is_cancelled_goes_on_to_no_other_run(workplace: Path) -> None:
    from prefect.states import Cancelled, Completed

    import flows.collect

    asked: list[str] = []

    def collect_run(name: str, _: str | None) -> Any:
        asked.append(name)
        return Cancelled(message="interrupted") if name == "b" else Completed()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(flows.collect, "collect_run", collect_run)
        states = [*flows.collect.collected(["a", "b", "c"], None)]
    assert (asked, states[-1].is_cancelled()) == (["a", "b"], True)


def test_a_store_with_a_password_is_refused_in_the_collectors_state(workplace: Path) -> None:
    from flows.collect import collect

    state = collect(store="postgresql://me:pw-2f7@db/fieval", return_state=True)
    assert state.is_failed()
    assert "set it as FIEVAL_STORE_URL instead" in str(state.message)
    assert "pw-2f7" not in str(state.message)


def test_a_deployment_sends_keys_to_no_address_that_a_parameter_or_a_ledger_named_by_one_gives(
    workplace: Path, evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieval_tasks.plan import EvaluationPlan
    from flows.collect import collect

    for name in ("FI_API_KEY", "FI_SECRET_KEY"):
        monkeypatch.setenv(name, evaluator.environment[name])
    store = f"sqlite:///{workplace / 'theirs.db'}"
    elsewhere = {"connection": "env", "base_url": evaluator.environment["FI_BASE_URL"]}
    begun = plan_of(dataset=dataset(workplace, ROWS), run="planted", mode="submit", store=store, **elsewhere)
    assert evaluated(begun).is_completed(), "from a terminal it is the user's own word"

    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a-deployment")
    states = [
        evaluated(plan_of(dataset=begun.dataset, **elsewhere)),
        evaluated(EvaluationPlan(resume="planted", store=store)),
        collect("planted", store, return_state=True),
    ]
    assert [state.is_failed() for state in states] == [True] * 3
    assert all("a deployment takes none" in str(state.message) for state in states), states
