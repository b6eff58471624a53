"""How a flow that a command called has ended, as the screen takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx

from fieval_tasks.core.errors import ExitCode, FievalError
from fieval_tasks.core.faults import as_unexpected
from fieval_tasks.on_prefect.prefect_api import require_settings
from fieval_tasks.on_prefect.prefect_errors import why
from flows.cli.screen import WorkEnd

if TYPE_CHECKING:
    from prefect import State


def flow_end(flow: Callable[[], State[Any]], again: str) -> WorkEnd:
    """Call the flow, with all of its log sent before this returns. Raises Unexpected for what nobody foresaw, whether Prefect
    caught it or not; `again` is the command that carries on."""
    state = _ended(flow, again)
    message, error = str(state.message), _error_of(state)
    if state.is_cancelled():
        return WorkEnd(message, ExitCode.INTERRUPTED)
    if error is not None:
        return WorkEnd(message, error.exit_code)
    return WorkEnd(message, ExitCode.OK if state.is_completed() else None)


def _ended(flow: Callable[[], State[Any]], again: str) -> State[Any]:
    require_settings()
    from prefect import tags
    from prefect.states import Crashed

    from fieval_tasks.on_prefect.laptop import on_laptop
    from flows.poll import TAG

    try:
        with on_laptop(), tags(TAG):
            state = flow()
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
