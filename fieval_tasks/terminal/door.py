"""The entry point of every command: whatever happens, the process ends with one of the documented exit codes.

It imports next to nothing, so that it also handles errors while the command itself is imported.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

from fieval_tasks.core.errors import ExitCode, FievalError, PlanError, Unexpected
from fieval_tasks.terminal.manner import failed

# Codes with which argparse, a server or a signal's handler ends the process; any other SystemExit is reported as 70.
BY_INTENT = (ExitCode.OK, ExitCode.BAD_INPUT, ExitCode.INTERRUPTED)

STANDARD_ERROR = 2


def run_command(module: str, function: str) -> NoReturn:
    """Call the command, and end the process with its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else the command is to ignore it: it runs aside
        signal.signal(signal.SIGINT, _interrupt_once)
    sys.stdout, sys.stderr = _outlet(sys.stdout, 1), _outlet(sys.stderr, STANDARD_ERROR)
    try:
        code = answered(lambda: int(getattr(import_module(module), function)()))
    except SystemExit as end:  # --help, a wrong argument, a signal
        code = int(end.code or 0)
    code = answered(lambda: _flushed(code))
    sys.exit(code)


def _interrupt_once(_: int, __: FrameType | None) -> NoReturn:
    """Handle the first Ctrl-C and ignore later ones, which would cut off the message and the orderly end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _flushed(code: int) -> int:
    """The code, after standard output and error are flushed; UNEXPECTED where that fails, as on a full disk."""
    sys.stdout.flush()
    return code


def answered(work: Callable[[], int], *, if_interrupted: str = "interrupted: nothing was sent") -> int:
    """Do the work; its exit code. A failure prints one sentence on standard error and gives its own exit code."""
    try:
        return work()
    except PlanError as error:
        for problem in error.problems:
            say(f"error: {failed(problem)}")
        return error.exit_code
    except FievalError as error:
        say(f"error: {failed(str(error))}")
        return error.exit_code
    except KeyboardInterrupt:
        say(failed(if_interrupted))
        return ExitCode.INTERRUPTED
    except SystemExit as end:
        if end.code is None or end.code in BY_INTENT:
            raise
        return _unforeseen(end)
    except BaseException as error:
        return _unforeseen(error)


def _unforeseen(error: BaseException) -> int:
    from fieval_tasks.core.unexpected import as_unexpected

    say(f"error: {failed(str(as_unexpected(error)))}")
    return ExitCode.UNEXPECTED


def say(text: str) -> None:
    """Print the text on standard error, with a visible mark for each character that would steer a terminal."""
    from fieval_tasks.core.scrubbing import scrubbed
    from fieval_tasks.report.text import clean

    print(clean(scrubbed(text)), file=sys.stderr, flush=True)


def _outlet(stream: Any, number: int) -> Any:
    """A standard stream that can be written to even when its reader is gone or it was closed from the start."""
    if stream is None:  # closed by whoever started this: a file that is opened next must not get its number
        return open(os.open(os.devnull, os.O_WRONLY), "w")
    stream.reconfigure(errors="backslashreplace")
    return Outlet(stream, number)


class Outlet:
    """A standard stream whose reader may go away, as `| head` does, and a terminal that is closed: later output is dropped.

    The run goes on to its end, so that what was paid for is recorded.
    """

    def __init__(self, stream: Any, number: int) -> None:
        self._stream = stream
        self._number = number
        self._is_terminal = stream.isatty()

    def write(self, text: str) -> int:
        try:
            return int(self._stream.write(text))
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Drop later output. Any error but that nobody is there any more, such as a full disk, is raised, once."""
        self._lead_nowhere()
        is_gone = isinstance(error, BrokenPipeError) or (self._is_terminal and error.errno == errno.EIO)
        if self._number != STANDARD_ERROR and not is_gone:
            why = error.strerror or str(error)
            raise Unexpected(
                f"standard output can't be written ({why}); ledgers and files are not touched by that"
            ) from error

    def _lead_nowhere(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._number)
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
