"""`--no-prefect`: the command as ever, and no Prefect in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from flows.cli.command import evaluate_command, fan_out_command
from tests.conftest import PATIENCE

Command: TypeAlias = Callable[[list[str]], int]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def evaluate(*words: str) -> int:
    return evaluate_command(["--no-prefect", *words])


def summary(run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("fieval-runs", run, "summary.json").read_text(encoding="utf-8"))
    return found


SHUT_OUT = """
import sys
sys.modules["prefect"] = None  # any import of it is an error
from flows.cli.command import evaluate_command
code = evaluate_command(["--no-prefect", "--limit", "3", "--run", "ci"])
sys.exit(code)
"""


def test_prefect_is_never_imported_and_no_file_of_its_own_is_written(tmp_path: Path) -> None:
    homes = {"HOME": str(tmp_path / "home"), "PREFECT_HOME": str(tmp_path / "prefect")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SHUT_OUT], capture_output=True, text=True, env=os.environ | homes,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "to publish it to Prefect: python -m flows.collect ci" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["fieval-runs"]
    told = summary("ci")
    assert (told["flow_run_id"], told["exit_code"], told["items"]["scored"]) == (None, 0, 6)


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        (evaluate_command, ["--connection", "team"], "a block of keys is kept in Prefect: leave --no-prefect out"),
        (evaluate_command, ["--shared-limit", "fieval"], "the shared limit 'fieval' is kept in Prefect"),
        (fan_out_command, ["a.csv", "--template", "completeness"], "shards are flow runs in Prefect"),
    ],
)
def test_what_is_kept_in_prefect_is_refused_in_a_sentence_before_anything(
    command: Command, words: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(["--no-prefect", *words]) == 2
    told = capfd.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    with Ledger(store_url()) as ledger:
        assert ledger.names("") == set()


def test_a_gate_decides_the_exit_code_and_the_failing_sentence_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    assert evaluate("--run", "gated", "--gate", "groundedness.pass_rate >= 0.99") == 1
    told = capfd.readouterr()
    assert "groundedness.pass_rate >= 0.99" in told.out
    assert summary("gated")["exit_code"] == 1
    assert Path("fieval-runs/gated/report.html").exists()
