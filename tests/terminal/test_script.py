"""The console script finds this project's commands, whatever lies in the folder."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from fieval_tasks.core.command_lines import command
from flows.cli.command import COMMANDS, fieval_app
from tests.conftest import PATIENCE

ROOT = Path(__file__).parents[2]


def fieval(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; sys.argv[0] = 'fieval'; from fieval_tasks.terminal.script import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder, env={"PYTHONPATH": f"{folder}:{ROOT}", "PATH": "", "HOME": str(folder)}, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip


def test_a_projects_own_flows_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").touch()
    for name in ("evaluate", "explain", "command"):
        (tmp_path / "flows" / f"{name}.py").write_text("print('the wrong one')\n")
    ended = fieval(tmp_path, "explain", "RUN", "ITEM")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "there is no ledger" in ended.stderr


def test_a_module_that_is_a_command_is_a_word_of_the_one_and_in_the_docs() -> None:
    modules = {file.stem for file in (ROOT / "flows").glob("*.py") if "run_command(" in file.read_text("utf-8")}
    assert {command.__name__ for command in COMMANDS} == modules, "what has a module in flows/ has a row in COMMANDS"
    docs = "".join(page.read_text("utf-8") for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    assert not [name for name in modules if f"flows.{name}" not in docs], "say it in README.md or docs/"


@pytest.mark.parametrize("name", ["evaluate", "collect", "explain", "label", "control", "fan-out"])
def test_every_command_is_there(tmp_path: Path, name: str) -> None:
    ended = fieval(tmp_path, name, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"Usage: fieval {name} " in ended.stdout


def test_what_is_no_command_is_refused_with_the_nearest(tmp_path: Path) -> None:
    ended = fieval(tmp_path, "evalaute")
    assert ended.returncode == 2
    assert 'Did you mean "evaluate"?' in ended.stderr
    assert fieval(tmp_path).returncode == 0


def test_a_shell_can_complete_the_words_of_every_command(tmp_path: Path) -> None:
    script = fieval_app().generate_completion(shell="bash")
    assert all(word in script for word in ("fan-out", "--on-lost-reply", "--unpause", "--json"))


def test_commands_that_are_shown_are_the_ones_that_were_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/fieval", "evaluate", "answers.csv"])
    assert command("fan_out", "--resume", "RUN") == "fieval fan-out --resume RUN"
    monkeypatch.setattr(sys, "argv", ["/home/somebody/flows/evaluate.py", "answers.csv"])
    assert command("fan_out", "--resume", "a b") == "python -m flows.fan_out --resume 'a b'"


def test_the_script_is_installed_under_its_name() -> None:
    (script,) = [found for found in entry_points(group="console_scripts") if found.name == "fieval"]
    assert script.value == "fieval_tasks.terminal.script:main"
