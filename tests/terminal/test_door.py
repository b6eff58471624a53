"""The door of every command, from outside: whatever happens, the exit code means something and a sentence says why."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PATIENCE

COMMANDS = {
    "flows.evaluate": (["--dry-run"], "sqlalchemy"),
    "flows.collect": (["some"], "sqlalchemy"),
    "flows.control": (["some", "--pause"], "sqlalchemy"),
    "flows.fan_out": (["--dry-run"], "sqlalchemy"),
    "flows.explain": (["some", "row:1"], "sqlalchemy"),
    "deployments": (["setup"], "cyclopts"),
    "fieval_tasks.local": (["--generate-keys", "--port", "0"], "starlette"),
}
"""Each command, arguments that it takes, and something that it needs."""

BROKEN = """
import os, sys

class Breaking:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ.get("BREAK_IMPORT"):
            error = eval(os.environ["BREAK_WITH"])
            raise error() if callable(error) else error

def ctrl_c_twice():
    os.kill(os.getpid(), 2)
    os.kill(os.getpid(), 2)

sys.meta_path.insert(0, Breaking())
"""
"""Python runs it first: an import of this name fails so."""


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def breaking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BROKEN)
    monkeypatch.setenv("PYTHONPATH", str(site))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, timeout=PATIENCE, check=False
    )


@pytest.mark.parametrize(
    ("command", "error"),
    [
        *((command, "ImportError('no socksio')") for command in COMMANDS),
        *(
            ("flows.explain", error)
            for error in ("MemoryError()", "SystemExit(1)", "SystemExit('no')", "KeyError('FI')")
        ),
    ],
)
def test_what_nobody_foresaw_is_70_a_sentence_and_a_log_at_every_command(
    command: str, error: str, breaking: None
) -> None:
    arguments, needed = COMMANDS[command]
    done = run(command, *arguments, BREAK_IMPORT=needed, BREAK_WITH=error)
    assert done.returncode == 70, done.stderr
    kind = error.partition("(")[0]
    [told] = done.stderr.splitlines()
    assert told.startswith(f"error: unexpected {kind}")
    log = re.search(r"the log with its traceback is (\S+)", told)
    assert log
    assert kind in Path(log[1]).read_text().splitlines()[-1]


@pytest.mark.parametrize("command", ["flows.evaluate", "flows.explain", "fieval_tasks.local"])
def test_ctrl_c_while_the_command_is_imported_is_130_and_says_what_is_true(command: str, breaking: None) -> None:
    arguments, needed = COMMANDS[command]
    done = run(command, *arguments, BREAK_IMPORT=needed, BREAK_WITH="KeyboardInterrupt()")
    assert (done.returncode, done.stderr.count("\n")) == (130, 0 if command == "fieval_tasks.local" else 1), done.stderr
    assert "Traceback" not in done.stderr


def test_the_sentence_and_the_log_hold_no_secret(breaking: None) -> None:
    error = "OSError('http://me:pw-4c1@proxy refused key-77aa')"
    done = run("flows.evaluate", BREAK_IMPORT="sqlalchemy", BREAK_WITH=error, FI_SECRET_KEY="key-77aa")
    [log] = Path("fieval-runs").glob("error-*.log")
    assert done.returncode == 70
    assert not re.search("pw-4c1|key-77aa", done.stderr + log.read_text())
    assert log.stat().st_mode & 0o077 == 0, "it may quote what was evaluated"


def test_where_the_working_folder_takes_no_log_it_goes_to_the_systems(breaking: None, tmp_path: Path) -> None:
    Path("fieval-runs").write_text("a file where the folder would be")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = run("flows.evaluate", BREAK_IMPORT="sqlalchemy", BREAK_WITH="MemoryError()", TMPDIR=str(elsewhere))
    assert done.returncode == 70
    [log] = elsewhere.glob("error-*.log")
    assert str(log) in done.stderr


# -- a reader that goes away -----------------------------------------------------------------------------------------


def shell(line: str) -> tuple[list[int], str]:
    """The exit codes of a pipe's commands, and what came on standard error."""
    script = f'python() {{ {sys.executable} "$@"; }}; {line}; echo "codes: ${{PIPESTATUS[*]}}" >&2'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    told, _, codes = done.stderr.rpartition("codes: ")
    return [int(code) for code in codes.split()], told


@pytest.mark.parametrize(
    "line",
    [
        "python -m flows.evaluate --dry-run 2>&1 | :",
        "python -m flows.evaluate --help | :",
        "python -m flows.evaluate --dry-run 2> /dev/full",
        "python -m flows.evaluate --dry-run >&- 2>&-",
    ],
)
def test_a_command_whose_reader_goes_away_is_quiet_and_its_code_is_its_own(line: str) -> None:
    codes, told = shell(line)
    assert (codes[0], told) == (0, "")


def test_a_run_whose_reader_goes_away_goes_on_to_its_end(prefect_api: str) -> None:
    gate = "--gate 'completeness.mean >= 1'"
    codes, told = shell(f"python -m flows.evaluate --run heard {gate} 2>&1 | :")
    assert (codes, told) == ([1, 0], ""), "a gate failed, whoever listens"
    assert Path("fieval-runs/heard/report.html").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_run_whose_terminal_is_lost_goes_on_to_its_end() -> None:
    own, its = os.openpty()
    command = [sys.executable, "-m", "flows.evaluate", "--no-prefect", "--run", "lost"]
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, start_new_session=True) as run:
        os.close(its)
        shown = os.read(own, 1)  # it is at work, with its ledger
        os.close(own)
        assert (shown != b"", run.wait(PATIENCE)) == (True, 0)
    assert Path("fieval-runs/lost/report.html").exists()


def test_what_can_not_be_printed_for_another_reason_is_said() -> None:
    codes, told = shell("python -m fieval_tasks.local --generate-keys --port 0 > /dev/full")
    assert codes == [70]
    assert told.splitlines()[-1].startswith("error: standard output can't be written (No space left on device); ")


def test_a_terminal_that_has_no_such_letter_gets_another_one() -> None:
    codes, _ = shell("PYTHONIOENCODING=ascii python -m flows.evaluate --dry-run --run x")
    assert codes == [0]


def test_a_second_ctrl_c_does_not_cut_off_what_is_said_because_of_the_first(breaking: None) -> None:
    done = run("flows.explain", "some", "row:1", BREAK_IMPORT="sqlalchemy", BREAK_WITH="ctrl_c_twice")
    assert (done.returncode, done.stderr) == (130, "interrupted: nothing was sent\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_arguments_are_2_as_everywhere_and_a_terminal_of_ascii_is_shown_all_that_it_can_show(
    command: str,
) -> None:
    done = run(command, "--gr\u00f6\u00dfe-\u6771\u4eac", PYTHONIOENCODING="ascii:strict")
    assert done.returncode == 2
    assert r"--gr\xf6\xdfe-\u6771\u4eac" in done.stderr
    assert "See --help." in done.stderr or "usage: " in done.stderr
