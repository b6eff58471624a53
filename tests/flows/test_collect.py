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
