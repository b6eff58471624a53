"""A command under GitHub Actions, and one that is told to act so."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from fieval_tasks.core.errors import PlanError
from fieval_tasks.ledger.run import Run
from fieval_tasks.report.caps import CAPS
from fieval_tasks.report.folder import locked_folder
from fieval_tasks.report.summary import summarise
from fieval_tasks.report.text import shown_json
from fieval_tasks.runs.conclusion import Outcome
from fieval_tasks.terminal.github_step import GitHubStep, github_step, on_github
from flows.cli import command
from tests.github_runner import RunnerFiles
from tests.report.report_examples import HOSTILE, facts, judged
from tests.report.test_differences import beside
from tests.report.test_for_github import GATES

NOON = datetime(2026, 8, 1, 12, tzinfo=timezone.utc)


@pytest.fixture
def step(tmp_path: Path) -> RunnerFiles:
    return RunnerFiles(tmp_path)


def told(environment: dict[str, str]) -> tuple[GitHubStep, io.StringIO]:
    stream = io.StringIO()
    return GitHubStep(environment, stream), stream


def outcome(
    folder: Path, code: int = 1, run_id: str = "amber-otter", run: Run | None = None, **changes: Any
) -> Outcome:
    report = summarise(facts(run_id=run_id, **changes), [judged(1, True), judged(2, False), judged(3, False)])
    return Outcome(report.with_outcome(code, GATES[1:] if code else GATES[2:]), "3 of 3 items scored", folder, run=run)


def run_on(dataset: Path) -> Run:
    fingerprint = sha256(dataset.read_bytes()).hexdigest()
    return Run("x", NOON, dataset.name, fingerprint, "async", "local", (), {"dataset": str(dataset)}, ())


def test_a_run_is_told_in_the_summary_a_comment_annotations_and_outputs(step: RunnerFiles, tmp_path: Path) -> None:
    github, stream = told(step.environment)
    github.conclude(outcome(tmp_path / "run"))
    github.end(1)
    comment = (tmp_path / "run" / "comment.md").read_text(encoding="utf-8")
    assert comment.startswith("<!-- fieval: answers.csv ")
    assert step.summary.read_text(encoding="utf-8") == comment  # of so few rows both show all
    assert "(https://github.com/acme/answers/actions/runs/7)" in comment
    assert [line.partition(" ")[0] for line in stream.getvalue().splitlines()] == [
        "::error",
        "::warning",
        "::warning",
        "::notice",
    ]
    assert step.outputs() == {
        "verdict": "FAIL",
        "exit-code": "1",
        "run": "amber-otter",
        "folder": str(tmp_path / "run"),
        "report": str(tmp_path / "run" / "report.html"),
        "comment": str(tmp_path / "run" / "comment.md"),
    }


def test_what_other_commands_wrote_to_the_summary_stays_and_counts(step: RunnerFiles, tmp_path: Path) -> None:
    environment = step.environment
    before = "é" * (CAPS.github_summary // 2 - 1_000)
    step.summary.write_text(before, encoding="utf-8")
    github, _ = told(environment)
    github.conclude(outcome(tmp_path / "run", notices=("a long notice " * 30,) * 20))
    text = step.summary.read_text(encoding="utf-8")
    assert text.startswith(before)
    assert "left out here" in text
    assert step.summary.stat().st_size <= CAPS.github_summary


def test_a_full_summary_is_left_as_it_is_and_that_is_said(
    step: RunnerFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = step.environment
    step.summary.write_text("x" * CAPS.github_summary)
    github, _ = told(environment)
    github.conclude(outcome(tmp_path / "run"))
    assert step.summary.stat().st_size == CAPS.github_summary
    assert "the step's summary has no room for this run" in capsys.readouterr().err


def test_what_can_not_be_written_is_said_and_ends_nothing(
    step: RunnerFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    environment = step.environment | {
        "GITHUB_STEP_SUMMARY": str(tmp_path),
        "GITHUB_OUTPUT": str(tmp_path / "none" / "x"),
    }
    github, stream = told(environment)
    github.conclude(outcome(tmp_path / "file"))
    github.end(1)
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" can't be written")[0] for line in said] == [
        f"the comment {tmp_path / 'file' / 'comment.md'}",
        f"GITHUB_STEP_SUMMARY ({tmp_path})",
        f"GITHUB_OUTPUT ({tmp_path / 'none' / 'x'})",
    ]
    assert "::error" in stream.getvalue()


def test_an_error_that_nobody_foresaw_ends_no_run_either(
    step: RunnerFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    github, _ = told(step.environment)
    github.conclude(
        replace(outcome(tmp_path / "run"), report=summarise(facts(dataset=None, exit_code=1), []))
    )  # no run is of none
    github.end(1)
    assert "GitHub is not told all of it: unexpected " in capsys.readouterr().err
    assert step.outputs()["verdict"] == "FAIL"
    assert [*tmp_path.glob("fieval-runs/error-*.log")]


def test_no_value_ends_its_output(step: RunnerFiles, tmp_path: Path) -> None:
    hostile = "\nverdict=PASS\nEOF\nverdict<<x\nPASS\nx\n".join(HOSTILE)
    github, _ = told(step.environment)
    github.conclude(outcome(tmp_path / "run", run_id=hostile))
    github.end(1)
    found = step.outputs()
    assert found["verdict"] == "FAIL"
    assert "verdict=PASS" in found["run"]
    assert set(found) == {"verdict", "exit-code", "run", "folder", "report", "comment"}


def test_of_several_runs_the_outputs_are_of_the_one_that_ended_worst(step: RunnerFiles, tmp_path: Path) -> None:
    github, _ = told(step.environment)
    for name, code in (("good", 0), ("bad", 3), ("better", 1)):
        github.conclude(outcome(tmp_path / name, code, name))
    github.end(3)
    assert (step.outputs()["verdict"], step.outputs()["run"], step.outputs()["exit-code"]) == ("INCOMPLETE", "bad", "3")
    assert step.summary.read_text(encoding="utf-8").count("<!-- fieval") == 3


def test_a_killed_writers_part_of_a_comment_is_swept(tmp_path: Path) -> None:
    for name in (".comment.md.0123abcd.part", ".comparison.md.0123abcd.part"):
        (tmp_path / name).touch()
    with locked_folder(tmp_path):
        assert not [*tmp_path.iterdir()]


# -- where rows stand --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.jsonl", '{"a": 1}\n\n{"a": 2}\n{"a": 3}\n', 3),
        ("a.csv", 'a,b\n1,"two\nlines"\n2,x\n3,y\n', 4),
        ("a.json", '[{"a": 1},\n{"a": 2}]', None),
    ],
)
def test_a_row_of_a_file_of_the_repository_is_marked_at_its_line(
    step: RunnerFiles, tmp_path: Path, name: str, content: str, line: int | None
) -> None:
    dataset = tmp_path / "repository" / "data" / name
    dataset.parent.mkdir(parents=True)
    dataset.write_text(content)
    github, stream = told(step.environment | {"GITHUB_WORKSPACE": str(tmp_path / "repository")})
    github.conclude(outcome(tmp_path / "run", run=run_on(dataset)))
    github.end(1)
    at = f"file=data/{name}" + (f",line={line}" if line else "")
    assert f"::warning {at},title=groundedness%3A row 2 failed::" in stream.getvalue()


def test_a_file_that_has_changed_or_lies_elsewhere_marks_no_line(step: RunnerFiles, tmp_path: Path) -> None:
    dataset = tmp_path / "a.jsonl"
    dataset.write_text('{"a": 1}\n{"a": 2}\n')
    changed, elsewhere = (
        told(step.environment | {"GITHUB_WORKSPACE": str(tmp_path)}),
        told(step.environment | {"GITHUB_WORKSPACE": str(tmp_path / "else")}),
    )
    for github, _ in (changed, elsewhere):
        github.conclude(outcome(tmp_path / "run", run=replace(run_on(dataset), dataset_fingerprint="f" * 64)))
        github.end(1)
    assert "file=a.jsonl,title=" in changed[1].getvalue()
    assert "file=" not in elsewhere[1].getvalue()


# -- around a command --------------------------------------------------------------------------------------------------


def test_meanwhile_no_text_that_is_printed_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    def works() -> int:
        print("::set-output name=verdict::PASS")
        return 0

    assert on_github(works) == 0
    first, hostile, last = capsys.readouterr().out.splitlines()
    token = first.removeprefix("::stop-commands::")
    assert len(token) == 32
    assert (hostile, last) == ("::set-output name=verdict::PASS", f"::{token}::")


def test_an_error_before_the_run_is_what_is_told(
    step: RunnerFiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in step.environment.items():
        monkeypatch.setenv(name, value)
    assert on_github(_refused) == 2
    assert "::error title=evaluation refused::column 'answer' is not in answers.csv" in capsys.readouterr().out
    assert step.outputs() == {"verdict": "REFUSED", "exit-code": "2"}


def _refused() -> int:
    raise PlanError("column 'answer' is not in answers.csv\n::set-output name=verdict::PASS")


def test_an_error_is_said_while_nothing_is_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    assert command._told_github(_refused, True) == 2
    first, error, hostile, last, told = capsys.readouterr().out.splitlines()
    assert last == f"::{first.removeprefix('::stop-commands::')}::"
    assert (error, hostile) == ("error: column 'answer' is not in answers.csv", "::set-output name=verdict::PASS")
    assert told.startswith("::error title=evaluation refused::")


def test_a_number_of_shards_that_there_can_t_be_is_told_as_every_refusal(
    step: RunnerFiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in step.environment.items():
        monkeypatch.setenv(name, value)
    assert command.fan_out("a.csv", shards=0, github=True) == 2
    assert step.outputs()["verdict"] == "REFUSED"
    assert "::error title=evaluation refused::--shards: 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [("explain", "no::error::run", "x"), ("runs", "##[error]"), ("show", "a\n::error::b")]
)
def test_nor_is_what_a_command_prints_that_has_nothing_to_tell(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.chdir(tmp_path)
    name, *others = words
    assert getattr(command, f"{name}_command")(others) == 2
    first, *_, last = capsys.readouterr().err.splitlines()
    assert last == f"::{first.removeprefix('::stop-commands::')}::"


def test_no_text_in_an_object_that_is_printed_is_a_command_of_the_runners_older_spelling() -> None:
    value = {"reason": "##[set-output name=verdict;]PASS"}
    assert "##" not in shown_json(value)
    assert json.loads(shown_json(value)) == value


@pytest.mark.parametrize(
    ("asked", "actions", "tells"),
    [(None, "true", True), (None, "", False), (True, "", True), (False, "true", False)],
)
def test_it_is_told_where_actions_run_the_command_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, asked: bool | None, actions: str, tells: bool
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", actions)
    assert command._told_github(lambda: int(github_step.get() is not None), asked) == tells


@pytest.mark.parametrize(
    "words", [("evaluate", "a.csv"), ("fan_out", "a.csv"), ("collect", "last"), ("compare", "last")]
)
def test_the_commands_that_come_to_something_have_the_option(words: tuple[str, str]) -> None:
    name, first = words
    for said, meant in ((["--github"], True), (["--no-github"], False), ([], None)):
        _, given = command.parsed(command.app_of(getattr(command, name)), [first, *said])
        assert given.kwargs.get("github") is meant


def test_with_json_standard_output_holds_the_object_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = beside("monday").comparison
    assert found is not None

    def compared() -> int:
        print(json.dumps({"run": "x"}))
        step = github_step.get()
        assert step is not None
        step.compare(found, tmp_path)
        return 3

    assert command._told_github(compared, True, as_json=True) == 3
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"run": "x"}
    assert "title=compared with the baseline::" in printed.err
    assert (tmp_path / "comparison.md").read_text(encoding="utf-8").startswith("<!-- fieval: comparison ")
