"""The flows, whole, against a real Prefect server and the embedded evaluator."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from fieval_tasks.report.record import FIELDS

SUMMARY_FIELDS = [
    *("run_id", "flow_run_id", "dataset", "mode", "connection", "started_at", "finished_at", "wall_seconds"),
    *("exit_code", "items", "checks", "requests", "gates", "amendments"),
]
ROWS = [
    {"q": "What is the capital of France?", "a": "The capital of France is Paris.", "docs": "Paris is the capital."},
    {"q": "How long is the warranty?", "a": "The warranty lasts two years.", "docs": "The warranty lasts two years."},
    {"q": "Is there parking?", "a": "Yes, and a helipad.", "docs": "There is parking behind the shop."},
]


def dataset(folder: Path, rows: list[dict[str, Any]], name: str = "answers.jsonl") -> str:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def plan_of(**fields: Any) -> Any:
    from fieval_tasks.core.plan import Check, EvaluationPlan

    fields.setdefault("checks", (Check(template="groundedness"), Check(template="completeness")))
    fields.setdefault("mapping", {"output": "a", "input": "q"})
    fields.setdefault("connection", "local")
    return EvaluationPlan(**fields)


def evaluated(plan: Any) -> Any:
    from flows.evaluate import evaluate

    return evaluate(plan, return_state=True)


def lines(run: str) -> list[dict[str, Any]]:
    text = Path("fieval-runs", run, "results.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def summary(run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("fieval-runs", run, "summary.json").read_text(encoding="utf-8"))
    return found


def told(run: str) -> dict[tuple[str, str], Any]:
    return {(line["item_id"], line["check"]): (line["status"], line["value"], line["reason"]) for line in lines(run)}


def test_half_a_character_in_a_row_crashes_no_run(workplace: Path) -> None:
    """Gates name it, and so do the flow's state, its log and its events."""
    name = dataset(workplace, [{**ROWS[0], "lang": "\ud83d"}, {**ROWS[2], "lang": "\x1b[2J"}])
    state = evaluated(plan_of(dataset=name, run="half", gates=("groundedness.mean[lang=*] >= 1.0",), keep=("lang",)))
    assert state.name == "Gate failed"
    assert {gate["verdict"] for gate in summary("half")["gates"]} <= {"PASS", "FAIL"}
    assert "\x1b" not in str(state.message)


def test_the_sample_is_evaluated_and_every_task_run_is_recorded(workplace: Path) -> None:
    from fieval_tasks.core.plan import EvaluationPlan

    state = evaluated(EvaluationPlan(run="sample"))
    assert state.is_completed()
    counted = {"total": 120, "scored": 120, "failed": 0, "pending": 0, "not_needed": 0, "reused": 0}
    assert summary("sample")["items"] == counted
    recorded = task_runs(UUID(summary("sample")["flow_run_id"]))
    assert sorted(recorded) == sorted([*(f"submit-{i}" for i in range(6)), "poll-evaluations-0"])
    assert set(recorded.values()) == {"COMPLETED"}


def task_runs(flow_run_id: UUID) -> dict[str, str]:
    """Name -> state type of what the server has recorded, once it has recorded all that was sent to it."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.events.worker import EventsWorker

    EventsWorker.instance().wait_until_empty()
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        for _ in range(100):
            found = {t.name: t.state_type.value for t in client.read_task_runs(flow_run_filter=of_run) if t.state_type}
            if len(found) == 7 and set(found.values()) == {"COMPLETED"}:
                break
            from time import sleep

            sleep(0.1)
    return found


def test_the_run_has_its_artifacts_and_its_polling_subflow(workplace: Path) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        ArtifactFilter,
        ArtifactFilterFlowRunId,
        FlowRunFilter,
        FlowRunFilterName,
    )

    state = evaluated(plan_of(dataset=dataset(workplace, ROWS), run="seen"))
    assert state.is_completed()
    run_id = UUID(summary("seen")["flow_run_id"])
    with get_client(sync_client=True) as client:
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
        shown = {a.key: str(a.data) for a in client.read_artifacts(artifact_filter=mine)}
        named = FlowRunFilter(name=FlowRunFilterName(any_=["seen", "poll-seen"]))
        runs = {r.name: r for r in client.read_flow_runs(flow_run_filter=named)}
    kinds = ("summary", "worst-rows", "progress", "-groundedness", "-completeness")
    assert shown.keys() == {f"fieval-answers-jsonl-{what}" for what in kinds}, "none of them a link"
    assert str(Path("fieval-runs/seen").resolve()) in shown["fieval-answers-jsonl-summary"].replace("\\", "")
    for name in ("seen", "poll-seen"):
        assert runs[name].state_type is not None
        assert runs[name].state_type.value == "COMPLETED"
    assert runs["poll-seen"].tags == ["fieval"], "by which the automation would find it dead"


def test_a_deployment_waits_for_nobody_to_type_its_rows(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a-deployment")
    state = evaluated(plan_of(dataset="-"))
    assert state.is_failed()
    assert "plan.dataset: - is for a terminal" in str(state.message)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"dataset": "/etc/answers.csv"}, "plan.dataset: this worker opens files in its working folder"),
        ({"dataset": "file:///etc/answers.csv"}, "plan.dataset: this worker opens"),
        ({"dataset": "../answers.csv", "output": "/etc/x"}, "plan.dataset: this worker opens"),
        ({"dataset": "https://files.test/a.csv\n/etc/b.csv"}, "plan.dataset: this worker opens"),
        ({"dataset": "a.csv\n-"}, "plan.dataset: - is for a terminal"),
        ({"dataset": "/dev/zero"}, "plan.dataset: a pipe or a device"),
        ({"labels": "/etc/labels.csv"}, "plan.labels: this worker opens"),
        ({"labels": "-"}, "plan.labels: - is for a terminal"),
        ({"output": "https://../../x"}, "plan.output: this worker opens"),
        ({"store": "/etc/ledger.db"}, "store: this worker opens"),
        ({"store": "sqlite:///file:/etc/ledger.db?uri=true"}, "store: a deployment takes none on a server"),
        ({"store": "postgresql://me@evil.test/db"}, "store: a deployment takes none on a server"),
    ],
)
def test_a_worker_with_folders_of_its_own_opens_no_others_to_who_edits_a_deployments_parameters(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, named: dict[str, str], said: str
) -> None:
    from flows.collect import collect

    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a-deployment")
    monkeypatch.setenv("FIEVAL_FOLDERS", str(workplace))
    state = evaluated(plan_of(**named))
    assert (state.is_failed(), said in str(state.message)) == (True, True), state.message
    if "store" in named:
        state = collect(store=named["store"], return_state=True)
        assert (state.is_failed(), said in str(state.message)) == (True, True), state.message
    assert not Path("fieval-runs").exists()


@pytest.mark.parametrize("folders", [None, "/data"])
def test_a_deployment_opens_what_lies_in_its_folders(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, folders: str | None
) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a-deployment")
    if folders is not None:
        monkeypatch.setenv("FIEVAL_FOLDERS", folders)
    rows = dataset(workplace, ROWS)
    assert evaluated(plan_of(dataset=rows, run="inside", store="sub/ledger.db", output="sub/files")).is_completed()


def test_the_files_have_the_documented_fields(workplace: Path) -> None:
    evaluated(plan_of(dataset=dataset(workplace, ROWS), run="files"))
    folder = Path("fieval-runs/files")
    assert {p.name for p in folder.iterdir()} == {
        "results.jsonl", "results.csv", "results.parquet", "summary.json", "report.html", "report.md", "junit.xml",
    }  # fmt: skip
    assert [list(line) for line in lines("files")] == [list(FIELDS)] * 6
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file))
    assert [name for name in header if not name.startswith("inputs.")] == [name for name in FIELDS if name != "inputs"]
    assert {"inputs.output", "inputs.input", "inputs.context"} == {
        name for name in header if name.startswith("inputs.")
    }
    assert list(summary("files")) == SUMMARY_FIELDS
    assert "local heuristics" in (folder / "report.html").read_text(encoding="utf-8")
    assert "local heuristics" in (folder / "report.md").read_text(encoding="utf-8")


def test_every_mode_gives_the_same_verdicts(workplace: Path) -> None:
    from flows.collect import collect

    rows = dataset(workplace, ROWS)
    for mode in ("async", "sync", "submit"):
        assert evaluated(plan_of(dataset=rows, run=mode, mode=mode)).is_completed()
    assert {status for status, _, _ in told("submit").values()} == {"pending"}
    assert collect("submit", return_state=True).is_completed()
    assert told("async") == told("sync") == told("submit")
    assert summary("sync")["requests"]["polls"] == 0


def test_auto_chooses_a_lane_says_why_and_keeps_to_it(workplace: Path) -> None:
    from fieval_tasks.core.plan import EvaluationPlan

    assert evaluated(plan_of(dataset=dataset(workplace, ROWS), run="auto", mode="auto")).is_completed()
    assert (summary("auto")["mode"], summary("auto")["requests"]["polls"]) == ("sync", 0)
    assert "fewer requests" in Path("fieval-runs/auto/report.md").read_text(encoding="utf-8")
    assert evaluated(EvaluationPlan(resume="auto", mode="auto")).is_completed()


def test_bad_rows_are_failed_items_and_the_rest_goes_on(workplace: Path) -> None:
    rows = [*ROWS, {"q": "x", "a": "", "docs": "d"}, {"q": "x", "a": None, "docs": "d"}, {"q": "a\0b", "a": "y"}]
    state = evaluated(plan_of(dataset=dataset(workplace, rows), run="bad"))
    assert state.is_failed()
    assert "scored" in (state.message or "")
    counted = summary("bad")
    assert counted["exit_code"] == 3
    items = counted["items"]
    assert items["total"] == items["scored"] + items["failed"] + items["pending"] == 12
    failed = [line for line in lines("bad") if line["status"] == "failed"]
    assert {line["stage"] for line in failed} == {"validate"}
    assert {line["attempts"] for line in failed} == {0}
    assert counted["requests"]["submits"] == 4  # three good rows for each check: one goes ahead, two follow packed


def test_failures_within_the_allowance_are_fine(workplace: Path) -> None:
    rows = dataset(workplace, [*ROWS, {"q": "x", "a": "", "docs": "d"}])
    assert evaluated(plan_of(dataset=rows, run="few", allow_failures="25%")).is_completed()
    assert summary("few")["exit_code"] == 0


def test_a_wrong_plan_fails_the_flow_with_every_problem_and_sends_nothing(workplace: Path) -> None:
    from fieval_tasks.core.plan import Check

    plan = plan_of(dataset=dataset(workplace, ROWS), checks=(Check(template="groundednes"),), mapping={"out": "b"})
    state = evaluated(plan)
    assert state.is_failed()
    assert "groundedness" in str(state.message)
    assert not Path("fieval-runs/local.db").exists() or not any(Path("fieval-runs").glob("*/results.jsonl"))


def test_a_finished_run_resumed_sends_nothing_more(workplace: Path) -> None:
    from fieval_tasks.core.plan import EvaluationPlan

    evaluated(plan_of(dataset=dataset(workplace, ROWS), run="done"))
    before = told("done"), summary("done")["requests"]
    assert evaluated(EvaluationPlan(resume="done")).is_completed()
    assert (told("done"), summary("done")["requests"]) == before


def test_a_flow_run_that_is_tried_again_carries_on_its_own_run(workplace: Path) -> None:
    from fieval_tasks.ledger.database import store_url
    from fieval_tasks.ledger.store import Ledger
    from flows.evaluate import evaluate

    again = evaluate.with_options(retries=1)
    with pytest.MonkeyPatch.context() as patched:
        broken = iter([OSError("the report's disk is away")])

        def publish(*_: Any, **__: Any) -> None:
            if error := next(broken, None):
                raise error

        patched.setattr("fieval_tasks.on_prefect.flow_runs.publish", publish)
        state = again(plan_of(dataset=dataset(workplace, ROWS)), return_state=True)
    assert state.is_completed()
    with Ledger(store_url()) as ledger:
        [name] = ledger.names("")
        assert ledger.run(name).submits == 4


def test_a_flow_run_that_is_tried_again_knows_its_run_also_after_others_worked_on_it(workplace: Path) -> None:
    from fieval_tasks.ledger.database import store_url
    from fieval_tasks.ledger.store import Ledger
    from flows.evaluate import evaluate

    names: list[set[str]] = []

    def publish(*_: Any, **__: Any) -> None:
        with Ledger(store_url()) as ledger:
            names.append(ledger.names(""))
            for name in names[-1]:
                ledger.started(name, flow_run_id="a-collector")
        if len(names) == 1:
            raise OSError("the process is gone")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fieval_tasks.on_prefect.flow_runs.publish", publish)
        state = evaluate.with_options(retries=1)(plan_of(dataset=dataset(workplace, ROWS)), return_state=True)
    assert state.is_completed()
    assert [len(known) for known in names] == [1, 1]


def test_a_plan_from_the_ui_arrives_as_json(workplace: Path) -> None:
    from flows.evaluate import evaluate

    as_json = plan_of(dataset=dataset(workplace, ROWS), run="form").model_dump(mode="json")
    state = evaluate(as_json, return_state=True)
    assert state.is_completed()


def test_polling_a_run_that_is_not_worked_on_here_is_an_error(workplace: Path) -> None:
    from flows.poll import poll_evaluations

    with pytest.raises(Exception, match=r"flows\.collect"):
        poll_evaluations("elsewhere")


def test_a_suspended_run_rests_with_what_it_bought_and_a_resume_carries_it_on(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import Pause
    from prefect.flow_engine import run_flow
    from prefect.states import Pending, Running, Suspended

    from fieval_tasks.ledger.database import store_url
    from fieval_tasks.ledger.store import Ledger
    from fieval_tasks.work.engine import Engine
    from flows.evaluate import evaluate

    rows = [{**ROWS[0], "q": f"{n}, what is the capital of France?"} for n in range(120)]
    plan = plan_of(dataset=dataset(workplace, rows), run="rests", chunk_size=10, rate="60/s")
    with get_client(sync_client=True) as client:
        begun = client.create_flow_run(evaluate, parameters={"plan": plan}, state=Pending())
        monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a-deployment")
        asked: list[bool] = []

        with monkeypatch.context() as patched:
            progress = Engine.progress

            def suspended_once(engine: Engine) -> Any:
                found = progress.fget(engine)  # type: ignore[attr-defined]
                if found.waiting + found.settled >= 10 and not asked:
                    asked.append(True)
                    client.set_flow_run_state(begun.id, Suspended(), force=True)
                return found

            patched.setattr("fieval_tasks.on_prefect.watching.Rhythm.due", lambda _: True)
            patched.setattr(Engine, "progress", property(suspended_once))
            with pytest.raises(Pause):
                run_flow(evaluate, flow_run=begun, parameters={"plan": plan}, return_type="state")
        rests = client.read_flow_run(begun.id)
        assert (rests.state_type.value if rests.state_type else None, rests.state_name) == ("PAUSED", "Suspended")
        with Ledger(store_url()) as ledger:
            sent = ledger.run("rests").submits
            assert 10 <= sent < 240
            assert ledger.run("rests").exit_code == 130
        client.set_flow_run_state(begun.id, Running(), force=True)
        client.set_flow_run_state(begun.id, Pending(), force=True)
        again = client.read_flow_run(begun.id)
    ended = run_flow(evaluate, flow_run=again, parameters={"plan": plan}, return_type="state")
    assert ended.is_completed(), ended.message  # type: ignore[union-attr]
    counted = summary("rests")
    assert counted["items"]["scored"] == 240
    assert counted["requests"]["possible_duplicates"] == 0
