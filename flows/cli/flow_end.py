"""How a flow that a command called has ended, as the screen takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx

from fieval_tasks.core.errors import ExitCode, FievalError
from fieval_tasks.core.unexpected import as_unexpected
from fieval_tasks.on_prefect.prefect_api import require_settings
from fieval_tasks.on_prefect.prefect_errors import why
from flows.cli.screen import WorkEnd

if TYPE_CHECKING:
    from prefect import State


def flow_end(flow: Callable[[], State[Any]], again: str) -> WorkEnd:
    """Call the flow, with all of its log sent before this returns. Raises Unexpected for what nobody foresaw, whether Prefect
    caught it or not; `again` is the command that carries on."""
    require_settings()
    from prefect import tags

    from fieval_tasks.on_prefect.laptop import on_laptop
    from flows.poll import TAG

    try:
        with on_laptop(), tags(TAG):
            state = flow()
        return _end_of(state)
    except FievalError:
        raise
    except Exception as error:
        if not isinstance(error, httpx.HTTPError) and not isinstance(error.__cause__, httpx.HTTPError):
            raise as_unexpected(error, then=f"to carry on: {again}") from error
        return WorkEnd(f"the Prefect API can't be asked ({why(error)}); to carry on: {again}", None)


def _end_of(state: State[Any]) -> WorkEnd:
    """Raises what the flow ended with, where that is no error of ours: Prefect keeps it with the state, in this process only."""
    message, data = str(state.message), getattr(state.data, "result", state.data)
    if state.is_cancelled():
        return WorkEnd(message, ExitCode.INTERRUPTED)
    if isinstance(data, FievalError):
        return WorkEnd(message, data.exit_code)
    if isinstance(data, BaseException):
        raise data
    return WorkEnd(message, ExitCode.OK if state.is_completed() else None)
