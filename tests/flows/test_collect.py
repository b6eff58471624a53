"""Runs that were only submitted are collected later, each for itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.on_prefect.times import PrefectTimes
from tests.conftest import Evaluator
from tests.flows.test_evaluate import ROWS, dataset, evaluated, plan_of, summary


def test_what_is_wrong_with_one_run_keeps_no_other_from_its_verdicts(
    workplace: Path, block: Any, evaluator: Evaluator, capfd: pytest.CaptureFixture[str]
) -> None:
    from flows.cli.command import collect_command

    rows = dataset(workplace, ROWS)
    for run, connection in (("keyless", "evaluator"), ("sound", "local")):
        assert evaluated(plan_of(dataset=rows, run=run, mode="submit", connection=connection)).is_completed()
    type(block).delete("evaluator")
    assert collect_command([]) == 3
    told = capfd.readouterr().err
    assert "run keyless: --connection 'evaluator' is neither local nor env" in told
    assert "6 of 6 items scored" in told
    assert summary("sound")["items"]["scored"] == 6


def test_a_run_that_was_sent_elsewhere_is_refused_and_its_tickets_are_kept(
    workplace: Path, evaluator: Evaluator, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.cli.command import collect_command
    from flows.collect import collect

    for name, value in evaluator.environment.items():
        monkeypatch.setenv(name, value)
    plan = plan_of(dataset=dataset(workplace, ROWS), run="theirs", mode="submit", connection="env")
    assert evaluated(plan).is_completed()
    monkeypatch.setenv("FI_BASE_URL", "http://127.0.0.1:9")
    with Ledger(store_url()) as ledger:
        before = ledger.run("theirs"), ledger.book("theirs").counts()
        for arguments in (["theirs"], []):
            capfd.readouterr()
            assert collect_command(arguments) == 2
            told = capfd.readouterr().err
            assert f"run theirs was sent to {evaluator.environment['FI_BASE_URL']}" in told
            assert told.count("\n") == 1
        assert "was sent to" in str(collect(return_state=True).message)
        assert (ledger.run("theirs"), ledger.book("theirs").counts()) == before


def test_a_run_that_brings_nothing_new_is_told_to_nobody_but_who_asks(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from fieval_tasks.api.client import EvalClient
    from fieval_tasks.core.items import Evaluation, Pending
    from fieval_tasks.ledger.database import store_url
    from fieval_tasks.ledger.store import Ledger
    from flows.cli.command import collect_command
    from flows.collect import collect

    gates = ("groundedness.pass_rate >= 1",)
    plan = plan_of(dataset=dataset(workplace, ROWS), run="forgotten", mode="submit", item_timeout=0.1, gates=gates)
    evaluated(plan)
    told: list[str] = []
    monkeypatch.setattr("fieval_tasks.on_prefect.events.emit_event", lambda event, **_: told.append(event))
    with Ledger(store_url()) as ledger:
        forgotten = min(ledger.book("forgotten").open_tickets(), key=lambda ticket: ticket.seq).eval_id
    ask = EvalClient.get_row

    async def get_row(client: EvalClient, eval_id: str) -> Any:
        while eval_id != forgotten:
            if not isinstance((answer := await ask(client, eval_id)).verdict, Pending):
                return answer
            await asyncio.sleep(0.01)
        return Evaluation(Pending(), None)

    monkeypatch.setattr(EvalClient, "get_row", get_row)
    assert collect(return_state=True).is_failed()
    assert (told, summary("forgotten")["items"]["pending"]) == (["fieval.run.completed", "fieval.gate.failed"], 1)

    told.clear()
    again = collect(return_state=True)
    assert (again.is_completed(), again.message) == (True, "run forgotten: nothing new, 1 pending")
    capfd.readouterr()
    assert collect_command(["forgotten"]) == summary("forgotten")["exit_code"] == 1
    shown = capfd.readouterr()
    assert "forgotten/report.html" in shown.out
    assert "nothing new, 1 pending" in shown.err
    assert told == []

    monkeypatch.setattr(EvalClient, "get_row", ask)
    collect(return_state=True)
    assert told == ["fieval.run.completed", "fieval.gate.failed"]
    assert summary("forgotten")["items"]["pending"] == 0


def test_a_deployments_collector_holds_no_worker_while_the_platform_thinks(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieval_tasks.api.client import EvalClient
    from fieval_tasks.core.items import Evaluation, Pending
    from flows.collect import collect

    for run in ("slow", "quick"):
        evaluated(
            plan_of(
                dataset=dataset(workplace, ROWS),
                run=run,
                mode="submit",
                checks=({"template": "completeness"},),
                mapping={"output": "a", "input": "q"},
            )
        )
    told: list[str] = []
    monkeypatch.setattr("fieval_tasks.on_prefect.events.emit_event", lambda event, **_: told.append(event))
    monkeypatch.setattr("flows.collect.deployment", SimpleNamespace(id="of a deployment"))
    monkeypatch.setattr("flows.collect.TIMES", PrefectTimes(collector_quiet=1.0))
    with Ledger(store_url()) as ledger:
        slow = {ticket.eval_id for ticket in ledger.book("slow").open_tickets()}
    ask = EvalClient.get_row

    async def get_row(client: EvalClient, eval_id: str) -> Any:
        return Evaluation(Pending(), None) if eval_id in slow else await ask(client, eval_id)

    monkeypatch.setattr(EvalClient, "get_row", get_row)
    state = collect(return_state=True)
    assert state.is_completed()
    waiting = f"run slow: {len(slow)} of {len(slow)} items still wait for their verdicts"
    report = f"report: {workplace / 'fieval-runs/quick/report.html'}"
    said = f"run quick: {len(slow)} of {len(slow)} items scored\n{report}"
    assert set(str(state.message).split("; ")) == {waiting, said}
    assert told == ["fieval.run.completed"]

    slow.clear()
    assert "items scored" in str(collect(return_state=True).message)
    assert summary("slow")["items"]["pending"] == 0


def test_of_a_run_whose_items_are_all_sent_the_report_names_the_collector_and_a_resume_asks_too(
    workplace: Path,
) -> None:
    evaluated(plan_of(dataset=dataset(workplace, ROWS), run="sent", mode="submit"))
    report = (workplace / "fieval-runs/sent/report.md").read_text(encoding="utf-8")
    assert "python -m flows.collect sent" in report
    assert "--resume" not in report
    assert evaluated(EvaluationPlan(resume="sent")).is_completed()
    assert summary("sent")["items"]["scored"] == 6


def test_a_report_that_can_not_be_written_keeps_no_other_run_waiting_and_is_tried_again(workplace: Path) -> None:
    from flows.collect import collect

    rows = dataset(workplace, ROWS)
    for run, output in (("broken", "taken"), ("sound", None)):
        assert evaluated(plan_of(dataset=rows, run=run, mode="submit", output=output)).is_completed()
    (workplace / "taken").rename(workplace / "away")
    (workplace / "taken").touch()
    for _ in range(2):
        state = collect(return_state=True)
        assert state.is_failed()
        assert "the files of run broken can't be written to taken" in state.message
        assert summary("sound")["items"]["scored"] == 6
    (workplace / "taken").unlink()
    assert collect(return_state=True).message.startswith("run broken: 6 of 6 items scored\nreport: ")
    assert (workplace / "taken" / "report.html").is_file()
    assert collect(return_state=True).message == "no run waits for anything"


def test_a_run_that_was_cut_off_between_its_last_verdict_and_its_report_is_concluded(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.collect import collect

    def killed(*_: Any) -> None:
        raise RuntimeError("as if the process were gone")

    with monkeypatch.context() as patched:
        patched.setattr("fieval_tasks.runs.conclusion.write_results", killed)
        assert evaluated(plan_of(dataset=dataset(workplace, ROWS), run="cut")).is_failed()
    told: list[str] = []
    monkeypatch.setattr("fieval_tasks.on_prefect.events.emit_event", lambda event, **_: told.append(event))
    state = collect(return_state=True)
    report = workplace / "fieval-runs/cut/report.html"
    assert (state.is_completed(), state.message) == (True, f"run cut: 6 of 6 items scored\nreport: {report}")
    assert (summary("cut")["exit_code"], told) == (0, ["fieval.run.completed"])


def test_a_fault_of_ours_in_one_run_keeps_no_other_from_its_verdicts(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.states import Completed

    import flows.collect

    def collect_run(name: str, *_: Any, **options: Any) -> Any:
        return Completed(message="b is done") if name == "b" else {}[name]

    monkeypatch.setattr(flows.collect, "runs_to_collect", lambda _: ["a", "b"])
    monkeypatch.setattr(flows.collect, "collect_run", collect_run)
    state = flows.collect.collect(return_state=True)
    assert state.is_failed()
    assert str(state.message).startswith(
        "run a: unexpected KeyError: 'a'; the log with its traceback is fieval-runs/error-"
    )
    assert str(state.message).endswith("; run b: b is done")


def test_a_collector_that_is_cancelled_goes_on_to_no_other_run(workplace: Path) -> None:
    from prefect.states import Cancelled, Completed

    import flows.collect

    asked: list[str] = []

    def collect_run(name: str, *_: Any, **options: Any) -> Any:
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
