"""A run in the terminal: what is shown while it goes on, what it came to, and the exit code."""

from __future__ import annotations

from collections.abc import Callable
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import httpx

from fieval_tasks.core.errors import ExitCode, FievalError
from fieval_tasks.core.faults import as_unexpected
from fieval_tasks.on_prefect.prefect_api import require_settings
from fieval_tasks.on_prefect.prefect_errors import why
from fieval_tasks.report.output import parquet_missing
from fieval_tasks.report.table import table
from fieval_tasks.runs.display import display
from fieval_tasks.terminal.bar import Terminal, shown
from fieval_tasks.terminal.door import say
from fieval_tasks.work.engine import stop_all
from flows.cli.interruption import Interruption

if TYPE_CHECKING:
    from prefect import State


def run_shown(
    interruption: Interruption,
    again: str,
    run: Callable[[], State[Any]],
    *,
    stop_work: Callable[[FievalError], bool] = stop_all,
) -> int:
    """Run a flow with the display of a terminal, and say what it came to; `again` is the command that carries it on."""
    with shown() as screen:
        interruption.stop_work = stop_work
        interruption.says = lambda: _standing(screen, f"to carry on: {again}")
        token = display.set(screen)
        try:
            state = _ended(run, again)
        finally:
            display.reset(token)
    if screen.outcomes:
        interruption.says = lambda: _standing(screen)
    if state.is_cancelled():
        if not interruption.has_come:
            say(str(state.message))  # cancelled in Prefect
        return ExitCode.INTERRUPTED
    for outcome in screen.outcomes:
        print(table(outcome.report, get_terminal_size().columns), end="")
        print(f"report: {outcome.folder / 'report.html'}")
        if not outcome.is_good or outcome.report.items.pending:
            say(outcome.sentence)
    if screen.outcomes and (missing := parquet_missing()):
        print(missing)
    if str(state.message) not in {outcome.message for outcome in screen.outcomes}:
        say(str(state.message))  # nothing came of it, or it was about several runs
    error = _error_of(state)
    codes = [outcome.exit_code for outcome in screen.outcomes] + ([error.exit_code] if error else [])
    return max(codes, default=ExitCode.OK) or (ExitCode.OK if state.is_completed() else ExitCode.STOPPED)


def _standing(screen: Terminal, *then: str) -> str:
    """What an interrupted command has to say of its runs."""
    ended = (f"run {outcome.report.facts.run_id} had ended: {outcome.sentence}" for outcome in screen.outcomes)
    return "; ".join(("interrupted", *ended, *then))


def _ended(run: Callable[[], State[Any]], again: str) -> State[Any]:
    """How the flow ended. Raises Unexpected for what nobody foresaw, whether Prefect caught it or not."""
    require_settings()
    from prefect import tags
    from prefect.states import Crashed

    from fieval_tasks.on_prefect.laptop import on_laptop
    from flows.poll import TAG

    try:
        with on_laptop(), tags(TAG):
            state = run()
        _error_of(state)
        return state
    except FievalError:
        raise
    except Exception as error:
        if not isinstance(error, httpx.HTTPError) and not isinstance(error.__cause__, httpx.HTTPError):
            raise as_unexpected(error, then=f"to carry on: {again}") from error
        lost: State[Any] = Crashed(message=f"the Prefect API can't be asked ({why(error)}); to carry on: {again}")
        return lost


def _error_of(state: State[Any]) -> FievalError | None:
    """What the flow ended with, where that was an error: Prefect keeps it with the state, in this process only.

    Raises it where it is none of ours.
    """
    data = getattr(state.data, "result", state.data)
    if state.is_cancelled() or not isinstance(data, BaseException):
        return None
    if isinstance(data, FievalError):
        return data
    raise data
