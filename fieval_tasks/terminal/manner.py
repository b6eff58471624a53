"""How a command speaks: to people, quietly, or to a program that reads one JSON object.

It imports next to nothing, as the door, which needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import Any, TextIO
from uuid import uuid4

is_quiet: ContextVar[bool] = ContextVar("is_quiet", default=False)
"""Whether nothing is said but errors, and one line on what a run came to: `--quiet`."""


class ProgramAnswer:
    """The one object that a program reads on standard output: `--json`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.errors: list[str] = []
        """The sentences on what went wrong."""
        self.found: dict[str, Any] | None = None
        """What the command found. It has the exit code, where there can be another one than 0."""

    def give(self, code: int) -> None:
        """Print the object: what was found, unless the command ended otherwise than that says; else the error and the code."""
        from fieval_tasks.report.text import shown_json

        found = self.found
        if found is None or found.get("exit_code", 0) != code:
            found = {**(found or {}), "error": "\n".join(self.errors), "exit_code": code}
        print(shown_json(found), file=self._out, flush=True)


answer: ContextVar[ProgramAnswer | None] = ContextVar("answer", default=None)
"""The answer of this command; None where it speaks to people."""


def as_one_object(work: Callable[[], int]) -> int:
    """Do the work and print its one object on standard output, with all else on standard error; its exit code."""
    one, code = ProgramAnswer(sys.stdout), 0
    token = answer.set(one)
    try:
        with redirect_stdout(sys.stderr):
            code = work()
    except SystemExit as end:  # a signal
        code = int(end.code or 0)
    finally:
        answer.reset(token)
    one.give(code)
    return code


def failed(sentence: str) -> str:
    """The sentence, which a program is told, too."""
    if one := answer.get():
        one.errors.append(sentence)
    return sentence


# -- under GitHub Actions ------------------------------------------------------------------------------------------


def is_on_github() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


@contextmanager
def no_commands(stream: TextIO) -> Iterator[None]:
    """Meanwhile nothing that is printed is a workflow command: a row's text may look like one."""
    token = uuid4().hex
    print(f"::stop-commands::{token}", file=stream, flush=True)
    try:
        yield
    finally:
        print(f"::{token}::", file=stream, flush=True)
