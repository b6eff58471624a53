"""`python -m flows.label`, and runs that are judged by people's labels: on the embedded evaluator, as a user does it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import Check, EvaluationPlan
from fieval_tasks.runs.conclusion import Ended, Outcome, conclude
from fieval_tasks.runs.preparation import prepared
from fieval_tasks.runs.workers import work_on
from flows.cli.command import label_command

SAID = "The museum opens at nine and closes at {} in the evening."
SHEET = "fieval-runs/one/labels-groundedness.csv"
GATE = "groundedness.corrected_pass_rate >= {}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """60 answers in which a third is made up. Of the others people reject every fifth."""
    monkeypatch.chdir(tmp_path)
    answers()
    return tmp_path


def answers() -> None:
    rows = [
        {"id": f"={n}" if n < 3 else f"id-{n}", "output": SAID.format(n) if n % 3 else f"Bananas cost {n} euros.", "context": SAID.format(n)}
        for n in range(60)
    ]  # fmt: skip
    Path("answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def plan_of(**said: Any) -> EvaluationPlan:
    fields = {"dataset": "answers.jsonl", "id_column": "id", "connection": "local", "run": "one"}
    return EvaluationPlan(**{"checks": (Check(template="groundedness"),), **fields, **said})


def evaluated(plan: EvaluationPlan) -> Outcome:
    with prepared(plan) as run:
        work_on(run)
        return conclude(run, Ended(), seconds=1.0)


def filled(sheet: str = SHEET, to: str = "filled.csv") -> str:
    with Path(sheet).open(encoding="utf-8-sig", newline="") as file:
        rows = [*csv.DictReader(file)]
    for row in rows:
        number = int("".join(filter(str.isdigit, row["item_id"])))
        row["label"] = "pass" if number % 3 and number % 5 else "fail"
    with Path(to).open("w", encoding="utf-8-sig", newline="") as file:
        whole = csv.DictWriter(file, list(rows[0]))
        whole.writeheader()
        whole.writerows(rows)
    return to


def rate(run: str = "one") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("fieval-runs", run, "summary.json").read_text())["checks"]["groundedness"]
    return found["corrected_pass_rate"]  # type: ignore[no-any-return]


def test_thirty_items_are_labelled_read_back_and_gated_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluated(plan_of()).exit_code == 0
    assert label_command(["one", "--n", "30"]) == 0
    drawn = capsys.readouterr().out
    assert drawn.startswith("30 items of 60 that groundedness passed or failed, drawn with seed 0: ")
    assert f"python -m flows.label one --labels {SHEET}" in drawn
    assert label_command(["one", "--labels", filled()]) == 0
    said = capsys.readouterr().out
    assert "people pass  people fail\njudge passes" in said
    assert "corrected by 30 labels" in said
    assert "kappa 0." in said
    assert rate()["n_labels"] == 30
    assert rate()["interval"][0] < 32 / 60 < rate()["interval"][1]
    assert label_command(["--list"]) == 0
    assert "30 labels of 30 drawn in run one (judge local, template groundedness" in capsys.readouterr().out
    # a gate on the run that is there, and one on a new run of the same rows, with the sheet and without
    for verdict, least in (("PASS", 0.2), ("FAIL", 0.9)):
        outcome = evaluated(EvaluationPlan(resume="one", gates=(GATE.format(least),)))
        assert [gate.verdict for gate in outcome.report.gates] == [verdict]
    assert evaluated(plan_of(run="two", labels="filled.csv", gates=(GATE.format(0.2),))).exit_code == 0
    assert (rate("two")["method"], rate("two")["labelled_run"]) == ("ppi++", "one")
    assert evaluated(plan_of(run="three", gates=(GATE.format(0.2),))).exit_code == 0
    assert rate("three") == rate("two")
    evaluated(plan_of(run="four", limit=50, gates=(GATE.format(0.2),)))
    assert rate("four")["method"] == "rogan-gladen", "of other rows, for all that is known"
    # its process is gone, and another one concludes it: the labels are in the ledger
    Path("filled.csv").unlink()
    assert evaluated(EvaluationPlan(resume="two")).exit_code == 0
    assert rate("two")["n_labels"] == 30


def test_a_gate_without_labels_is_refused_before_anything_is_sent(folder: Path) -> None:
    with (
        pytest.raises(PlanError, match="there are no labels of groundedness"),
        prepared(plan_of(gates=(GATE.format(0.9),))),
    ):
        pytest.fail("it begins")
    evaluated(plan_of())
    with pytest.raises(PlanError, match="there are no labels of groundedness"):
        evaluated(EvaluationPlan(resume="one", gates=(GATE.format(0.9),)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody"], "no run 'nobody'"),
        (["one", "--n", "0"], "--n: draw one item at least"),
        (["one", "--n", "many"], "not a whole number"),
        (["one", "--check", "completeness"], "--check completeness: it is no Pass/Fail check of run one"),
        (["one", "--labels", "nowhere.csv"], "nowhere.csv"),
        (["one", "--labels", "nowhere.csv", "--n", "3"], "--n: it is for a sheet that is drawn"),
        ([], "RUN is missing"),
    ],
)
def test_what_can_t_be_meant_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    with prepared(plan_of()):
        pass
    assert label_command(words) == 2
    assert said in capsys.readouterr().err


def test_a_run_without_a_verdict_has_nothing_to_label(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with prepared(plan_of()):
        pass
    assert label_command(["one"]) == 2
    assert "no item of groundedness in run one has been passed or failed" in capsys.readouterr().err
    assert label_command(["--list"]) == 0
    assert "there are no labels in this ledger" in capsys.readouterr().out


def test_one_of_several_checks_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checks = (Check(template="groundedness"), Check(template="groundedness", name="again"))
    with prepared(plan_of(checks=checks)):
        pass
    assert label_command(["one"]) == 2
    assert "has several checks: name one of groundedness, again with --check" in capsys.readouterr().err


def test_a_check_without_a_pass_rate_has_none_to_correct(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with prepared(plan_of(checks=(Check(template="completeness"),), mapping={"input": "context"})):
        pass
    assert label_command(["one"]) == 2
    assert "no check of run one answers Pass/Fail" in capsys.readouterr().err


def test_labels_are_read_in_a_process_that_has_not_imported_prefect(folder: Path) -> None:
    evaluated(plan_of())
    root = Path(__file__).parents[2]
    program = "import sys; from flows.cli.command import label_command as c; c(sys.argv[1:]); sys.exit('prefect' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", program, "one"],
        env={"PYTHONPATH": str(root), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_flow_run_is_judged_by_labels_and_a_collector_writes_them_into_the_report(workplace: Path) -> None:
    from flows.collect import collect
    from flows.evaluate import evaluate

    answers()
    assert evaluate(plan_of(), return_state=True).is_completed()
    assert label_command(["one", "--n", "30"]) == 0
    filled()
    state = evaluate(plan_of(run="two", labels="filled.csv", gates=(GATE.format(0.9),)), return_state=True)
    assert (state.is_failed(), "corrected by 30 labels" in str(state.message)) == (True, True), state.message
    assert rate("two")["n_labels"] == 30
    (Path("fieval-runs") / "two" / "summary.json").unlink()
    assert collect("two", return_state=True).is_completed(), "there is nothing new"
    assert rate("two")["n_labels"] == 30
