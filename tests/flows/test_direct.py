"""`--no-prefect`: the command as ever, and no Prefect in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from fieval_tasks.core.errors import KeysRefused
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from flows.cli.command import collect_command, control_command, evaluate_command, fan_out_command
from tests.conftest import PATIENCE, Evaluator
from tests.flows.test_command import INTERRUPTED

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
from flows.cli import command, direct
whole = direct.evaluated

def before_the_first_request(run):
    print("loaded:", *sorted({"pandas", "pyarrow", "scipy", "statsmodels"} & sys.modules.keys()), flush=True)
    return whole(run)

direct.evaluated = before_the_first_request
sys.exit(command.evaluate_command(["--no-prefect", "--limit", "3", "--run", "ci", "--baseline", "base"]))
"""


def test_prefect_is_never_imported_no_file_of_its_own_is_written_and_what_is_slow_comes_later(tmp_path: Path) -> None:
    assert evaluate("--limit", "3", "--run", "base") == 0
    homes = {"HOME": str(tmp_path / "home"), "PREFECT_HOME": str(tmp_path / "prefect")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SHUT_OUT], capture_output=True, text=True, env=os.environ | homes,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "to publish it to Prefect: python -m flows.collect ci" in done.stderr
    assert done.stdout.splitlines()[0] == "loaded:", "these take seconds, and the first request needs none of them"
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


# -- stopped, and carried on ---------------------------------------------------------------------------------------


def cut(place: str, *, by: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A run of six items to which a signal comes, twice, just before something."""
    script = INTERRUPTED.replace("signal.SIGINT", f"signal.{by}")
    return subprocess.run(
        [sys.executable, "-c", script, place, "--no-prefect", "--run", "cut-direct", "--limit", "3"], capture_output=True,
        text=True, timeout=PATIENCE, check=False, cwd=folder,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("place", "by"),
    [("fieval_tasks.work.sending.together", "SIGINT"), ("fieval_tasks.runs.workers.conclude", "SIGTERM")],
)
def test_a_signal_ends_it_in_order_and_the_command_that_carries_on_is_said(place: str, by: str) -> None:
    done = cut(place, by=by)
    assert done.returncode == 130, done.stderr
    said = [line for line in done.stderr.splitlines() if "interrupted" in line]
    assert said == ["interrupted; to carry on: python -m flows.evaluate --resume cut-direct --no-prefect"]
    assert "Traceback" not in done.stderr
    assert evaluate("--resume", "cut-direct") == 0
    assert summary("cut-direct")["items"]["scored"] == 6


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was killed before its first request."""
    folder = tmp_path_factory.mktemp("killed")
    assert cut("fieval_tasks.work.sending.together", by="SIGKILL", folder=folder).returncode == -9
    return folder


@pytest.mark.parametrize("words", [["--no-prefect"], []])
def test_a_killed_run_is_carried_on_with_and_without_prefect(words: list[str], killed: Path, workplace: Path) -> None:
    shutil.copytree(killed, workplace, dirs_exist_ok=True)
    assert evaluate_command(["--resume", "cut-direct", *words]) == 0
    told = summary("cut-direct")
    assert (told["items"]["scored"], told["flow_run_id"] is None) == (6, bool(words))


# -- Prefect, later ------------------------------------------------------------------------------------------------


def of(run_id: str, client: Any) -> tuple[Any, list[Any]]:
    """The flow run that published a run, and its artifacts."""
    from prefect.client.schemas.filters import (
        ArtifactFilter,
        ArtifactFilterFlowRunId,
        FlowRunFilter,
        FlowRunFilterTags,
    )

    [flow_run] = client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[run_id])))
    mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]))
    return flow_run, client.read_artifacts(artifact_filter=mine)


def test_a_run_that_prefect_knows_nothing_of_is_published_once_and_without_keys(
    workplace: Path, evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from prefect.client.orchestration import get_client

    told: list[str] = []
    monkeypatch.setattr("fieval_tasks.on_prefect.events.emit_event", lambda event, **_: told.append(event))
    with monkeypatch.context() as with_keys:
        for name, value in evaluator.environment.items():
            with_keys.setenv(name, value)
        gate = ("--gate", "groundedness.pass_rate >= 0.99")
        assert evaluate("--connection", "env", "--run", "made-in-ci", "--limit", "5", *gate) == 1
    before = summary("made-in-ci")
    submitted = len(evaluator.submissions(""))

    assert collect_command(["made-in-ci"]) == 1
    with get_client(sync_client=True) as client:
        flow_run, artifacts = of("made-in-ci", client)
    assert (flow_run.name, flow_run.state_type.value, flow_run.state_name) == ("made-in-ci", "FAILED", "Gate failed")
    assert {artifact.type for artifact in artifacts} >= {"markdown", "table"}
    assert told == ["fieval.run.completed", "fieval.gate.failed"]
    assert (summary("made-in-ci"), len(evaluator.submissions(""))) == (before, submitted)

    told.clear()
    capfd.readouterr()
    assert collect_command(["made-in-ci"]) == 1
    assert "run made-in-ci: nothing new" in capfd.readouterr().err
    assert told == []


def test_what_was_only_submitted_without_prefect_is_collected_in_it(
    workplace: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert evaluate("--run", "out-direct", "--limit", "3", "--mode", "submit") == 0
    assert summary("out-direct")["items"]["pending"] == 6
    assert "to publish it" not in capfd.readouterr().err
    assert collect_command(["out-direct"]) == 0
    assert (summary("out-direct")["items"]["scored"], summary("out-direct")["flow_run_id"] is None) == (6, False)


def test_a_run_that_was_stopped_is_published_with_what_stopped_it(
    workplace: Path, evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise KeysRefused("the keys are not taken")

    with monkeypatch.context() as refusing:
        refusing.setattr("fieval_tasks.work.engine.Engine.submit_chunk", refuse)
        assert evaluate("--run", "halted-direct", "--limit", "3") == 4
    for _ in range(2):
        capfd.readouterr()
        assert collect_command(["halted-direct"]) == 4
        told = capfd.readouterr()
        assert "the keys are not taken" in told.err
    assert "nothing new" in told.err


def test_a_run_that_prefect_began_is_carried_on_without_it_and_published_then(workplace: Path) -> None:
    assert evaluate_command(["--run", "both-direct", "--limit", "3", "--mode", "submit"]) == 0
    assert evaluate("--resume", "both-direct") == 0
    told = summary("both-direct")
    assert (told["items"]["scored"], told["flow_run_id"], told["mode"]) == (6, None, "submit")
    assert collect_command(["both-direct"]) == 0
    with Ledger(store_url()) as ledger:
        assert ledger.run("both-direct").flow_run_id is not None
        assert ledger.run("both-direct").finished_at is not None


def test_a_run_that_is_worked_on_without_prefect_is_not_steered_by_it(
    workplace: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert evaluate("--run", "deaf", "--limit", "3", "--mode", "submit") == 0
    with Ledger(store_url()) as ledger:
        ledger.book("deaf").claims.take([0], "another process", lease=600.0)
    capfd.readouterr()
    assert control_command(["deaf", "--rate", "5/s"]) == 2
    assert "run deaf is worked on without Prefect" in capfd.readouterr().err
