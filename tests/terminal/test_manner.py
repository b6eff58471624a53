"""What a program reads on standard output: one object, however the command ended."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

import pytest

from fieval_tasks.core.errors import PlanError, RunStopped
from fieval_tasks.terminal.door import answered
from fieval_tasks.terminal.manner import answer, as_one_object, failed


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def finds(found: dict[str, Any], code: int = 0) -> int:
    print("a table")
    to = answer.get()
    assert to is not None
    to.found = found
    return code


def test_what_is_printed_meanwhile_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert as_one_object(lambda: finds({"run_id": "r", "exit_code": 3}, 3)) == 3
    out, err = capsys.readouterr()
    assert json.loads(out) == {"run_id": "r", "exit_code": 3}
    assert err == "a table\n"
    assert answer.get() is None
    assert sys.stdout is not sys.stderr


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PlanError("this is wrong", "so is that"), 2, "this is wrong\nso is that"),
        (RunStopped("the keys were refused"), 4, "the keys were refused"),
        (KeyboardInterrupt(), 130, "interrupted: nothing was sent"),
    ],
)
def test_an_error_is_told_with_its_exit_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> NoReturn:
        raise error

    assert as_one_object(lambda: answered(fails)) == code
    assert told(capsys) == {"error": said, "exit_code": code}


def test_a_signal_is_told_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> NoReturn:
        failed("interrupted; to carry on: do this")
        raise SystemExit(130)

    assert as_one_object(lambda: answered(interrupted)) == 130
    assert told(capsys) == {"error": "interrupted; to carry on: do this", "exit_code": 130}


def test_a_command_that_ended_otherwise_than_its_run_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    def ends() -> int:
        failed("the Prefect API can't be asked")
        return finds({"run_id": "r", "exit_code": 0}, 4)

    assert as_one_object(ends) == 4
    assert told(capsys) == {"run_id": "r", "error": "the Prefect API can't be asked", "exit_code": 4}


def test_no_text_in_the_object_steers_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    as_one_object(lambda: finds({"name": "\x1b[2J\u202e\x7f"}))
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.replace("\n", "").isprintable()
