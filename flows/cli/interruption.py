"""Ctrl-C and SIGTERM: a command says how far it has come, stops in order, and ends soon in any case."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FrameType
from typing import Concatenate, ParamSpec

from fieval_tasks.core.errors import ExitCode, FievalError, Interrupted
from fieval_tasks.report.text import clean
from fieval_tasks.terminal.door import answered, say
from fieval_tasks.terminal.github_step import told_why
from fieval_tasks.terminal.manner import ProgramAnswer, answer, failed

P = ParamSpec("P")

ENDS_WITHIN = 1.7
"""Seconds after Ctrl-C in which a run may end in order; then the process ends. The ledger has all that is known. A person
waits two at most before they press again."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """The message and the way to stop if the command is interrupted at this moment; the command keeps both up to date."""

    def __init__(self) -> None:
        self.says: Callable[[], str] = lambda: "interrupted: nothing was sent"
        self.stop_work: Callable[[FievalError], bool] = lambda _: False
        """Stops what this process works on. False where it works on nothing."""
        self.clears_screen: Callable[[], None] = lambda: None
        """Takes a display off the screen, so that the message stands alone."""
        self.has_come = False


def interruptible(command: Callable[Concatenate[Interruption, P], int]) -> Callable[P, int]:
    """Have a command answer with its exit code, and tell its every failure, and every end by a signal, in a sentence."""

    @wraps(command)
    def until_interrupted(*arguments: P.args, **options: P.kwargs) -> int:
        def work() -> int:
            with _heard(interruption := Interruption()), told_why():
                return command(interruption, *arguments, **options)

        return answered(work)

    return until_interrupted


@contextmanager
def _heard(interruption: Interruption) -> Iterator[None]:
    """Within the block the first signal stops the command, and further ones change nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield  # a signal is never for another thread
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def stop(_: int, __: FrameType | None) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        interruption.has_come = True
        watchdog = threading.Timer(ENDS_WITHIN, _end_now, [answer.get()])
        watchdog.daemon = True
        watchdog.start()
        _say_between(failed(interruption.says()), interruption.clears_screen)
        if not interruption.stop_work(Interrupted("interrupted")):
            raise SystemExit(ExitCode.INTERRUPTED)

    for number in SIGNALS:
        signal.signal(number, stop)
    try:
        yield
    finally:
        if not interruption.has_come:  # else the process ends within ENDS_WITHIN, and more of them change nothing
            for number, handler in before.items():
                signal.signal(number, handler)


def _say_between(text: str, clears_screen: Callable[[], None]) -> None:
    """Say it from a signal's handler, which may have come in the middle of another print."""
    try:
        clears_screen()
        say(f"\n{text}")
    except RuntimeError:
        os.write(2, f"\n{clean(text)}\n".encode())


def _end_now(to: ProgramAnswer | None) -> None:
    """The end of a process that did not come to its own in time; a program gets its answer even so."""
    try:
        if to is not None:
            to.give(ExitCode.INTERRUPTED)
    finally:
        os._exit(ExitCode.INTERRUPTED)
