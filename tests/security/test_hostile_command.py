"""The command on a hostile dataset: what it says, logs and leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli.command import evaluate_command
from tests.conftest import PATIENCE
from tests.security.hostile_runs import TEXTS
from tests.security.test_hostile_content import FILES, STEERS

NAME = "rows\x1b[31m\u202e=1.jsonl"
QUESTION, ANSWER = "question\x1b[2J", "answer\u202e<script>"
MAPPED = ("--map", f"input={QUESTION}", "--map", f"output={ANSWER}")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the dataset in it, whose name is hostile too."""
    rows = (
        {"id": f"{text[:99]}{n}", QUESTION: text[:999], ANSWER: text[:999]} for n, text in enumerate(TEXTS.values())
    )
    kept = [row for row in rows if "\0" not in row["id"] and row["id"].isprintable()]
    (tmp_path / NAME).write_text("".join(json.dumps(row) + "\n" for row in kept))
    return tmp_path


def said(place: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "flows.evaluate", *arguments],
        capture_output=True,
        text=True,
        cwd=place,
        env=os.environ | {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "DEBUG"},
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_run_on_hostile_rows_says_and_logs_nothing_that_steers_a_terminal(place: Path, prefect_api: str) -> None:
    arguments = (NAME, "--template", "completeness", "--connection", "local", "--id", "id", *MAPPED, "--run", "mine")
    code, told = said(place, *arguments)
    assert code in (0, 3), told
    assert "Beginning flow run" in told
    assert not STEERS.search(told)
    assert {path.name for path in (place / "fieval-runs" / "mine").iterdir()} == FILES


@pytest.mark.parametrize(
    "arguments",
    [
        ["missing\x1b[2J.jsonl", "--template", "completeness"],
        [NAME, "--template", "nope\x1b[2J"],
        [NAME, "--template", "completeness", "--id", "nope\x1b[2J"],
        [NAME, "--template", "completeness"],
        [NAME, "--template", "completeness", *MAPPED],
    ],
)
def test_no_complaint_steers_a_terminal(
    place: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    code = evaluate_command([*arguments, "--connection", "local", "--dry-run"])
    told = "".join(capfd.readouterr())
    assert (code, bool(told)) == (0 if "--map" in arguments else 2, True)
    assert not STEERS.search(told)
