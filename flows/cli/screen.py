"""Runs in the terminal: what is shown while they are worked on, what they came to, and the exit code. Prefect is not needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from shutil import get_terminal_size

from fieval_tasks.core.errors import ExitCode, FievalError
from fieval_tasks.report.listing import WIDEST, console_of
from fieval_tasks.report.output import parquet_missing
from fieval_tasks.report.table import table
from fieval_tasks.runs.conclusion import Outcome
from fieval_tasks.runs.display import display
from fieval_tasks.terminal.door import say
from fieval_tasks.terminal.github_step import github_step
from fieval_tasks.terminal.live import shown
from fieval_tasks.terminal.manner import answer, failed, is_quiet
from fieval_tasks.terminal.progress_lines import Terminal
from fieval_tasks.work.engine import stop_all
from flows.cli.interruption import Interruption


@dataclass(frozen=True)
class WorkEnd:
    """How the work of a command on its runs ended. What each run came to is its `Outcome`, which the display was given."""

    message: str
    """Said after the outcomes, unless one says the same: nothing came of it, it was about several runs, or what to do next.
    Empty: nothing is to be said."""
    exit_code: ExitCode | None = ExitCode.OK
    """None: it ended badly, and the outcomes say how; STOPPED where there are none."""


def run_shown(
    interruption: Interruption,
    again: str,
    work: Callable[[], WorkEnd],
    *,
    stop_work: Callable[[FievalError], bool] = stop_all,
    of_several: bool = False,
) -> int:
    """Work with the display of a terminal, and say what it came to; `again` is the command that carries it on.

    `of_several`: the work is on any number of runs.
    """
    with shown(quiet=is_quiet.get()) as screen:
        interruption.stop_work, interruption.clears_screen = stop_work, screen.leave
        interruption.says = lambda: _standing(screen, f"to carry on: {again}")
        token = display.set(screen)
        try:
            end = work()
        finally:
            display.reset(token)
    if screen.outcomes:
        interruption.says = lambda: _standing(screen)
    if end.exit_code is ExitCode.INTERRUPTED:
        if not interruption.has_come:
            say(failed(end.message))  # cancelled in Prefect
        return ExitCode.INTERRUPTED
    for outcome in screen.outcomes:
        _tell(outcome)
        if step := github_step.get():
            step.conclude(outcome)
    if screen.outcomes and not is_quiet.get() and (missing := parquet_missing()):
        print(missing)
    _say_end(end, screen.outcomes)
    code = max((end.exit_code or ExitCode.OK, *(outcome.exit_code for outcome in screen.outcomes)))
    code = code or (ExitCode.STOPPED if end.exit_code is None else ExitCode.OK)
    _answer(screen.outcomes, code, of_several=of_several)
    return code


def _tell(outcome: Outcome) -> None:
    """What a run came to; of a quiet command what a person must know of it."""
    if is_quiet.get():
        *gates, sentence = outcome.told_at_least
        for line in (*gates, f"run {outcome.report.facts.run_id}: {sentence}"):
            say(line)
        if not outcome.is_good:
            say(f"report: {outcome.folder / 'report.html'}")
        return
    out = console_of(sys.stdout, columns=min(get_terminal_size().columns, WIDEST))
    print(table(outcome.report, out), end="")
    print(f"report: {outcome.folder / 'report.html'}")
    items = outcome.report.items
    if items.pending or outcome.stopped is not None or (not outcome.is_good and items.scored < items.total):
        say(outcome.sentence)


def _say_end(end: WorkEnd, outcomes: Sequence[Outcome]) -> None:
    if end.message and end.message not in {outcome.message for outcome in outcomes}:
        is_bad = end.exit_code is not ExitCode.OK
        if is_bad or not is_quiet.get():
            say(failed(end.message) if is_bad else end.message)


def _answer(outcomes: Sequence[Outcome], code: int, *, of_several: bool) -> None:
    """Tell a program what one run came to, as in its summary.json, or what `of_several` did."""
    if (to := answer.get()) is not None:
        found = [outcome.report.to_json() for outcome in outcomes]
        to.found = {"runs": found, "exit_code": code} if of_several else found[-1] if found else None


def _standing(screen: Terminal, *then: str) -> str:
    """What an interrupted command has to say of its runs."""
    ended = (f"run {outcome.report.facts.run_id} had ended: {outcome.sentence}" for outcome in screen.outcomes)
    return "; ".join(("interrupted", *ended, *then))
