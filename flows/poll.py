"""The polling subflow: waits on the eval_ids of a run while its later chunks are still being submitted."""

from __future__ import annotations

from typing import Any

import httpx
from prefect import State, flow, get_run_logger, tags
from prefect.exceptions import Pause
from prefect.states import Cancelled

from fieval_tasks.core.command_lines import command
from fieval_tasks.core.errors import Interrupted, RunStopped
from fieval_tasks.core.scrubbing import scrubbed_errors
from fieval_tasks.on_prefect.prefect_errors import why
from fieval_tasks.on_prefect.watching import SUSPENDED
from fieval_tasks.runs.display import display
from fieval_tasks.work.engine import current

TAG = "fieval"
"""Of every flow run of ours: the automation that finds dead ones goes by it."""


def poll_evaluations(run_id: str) -> int:
    """Ask for each open ticket until it has its verdict; how many are left pending at their time limit.

    Raises what stops the run.
    """
    try:
        with tags(TAG):  # a subflow does not get its parent's
            ended: State[Any] = polling(run_id, return_state=True)
    except httpx.HTTPError as error:  # Prefect's own, at the subflow's begin or end
        raise RunStopped(f"the Prefect API can't be asked ({why(error)})") from error
    except Pause as pause:  # Prefect may notice a suspension before `Watch` does
        raise Interrupted(SUSPENDED) from pause
    if ended.is_cancelled():
        raise Interrupted(str(ended.message))
    return int(ended.result())


@flow(name="poll-evaluations", flow_run_name="poll-{run_id}", persist_result=False, validate_parameters=False)
def polling(run_id: str) -> int | State[Any]:
    """The subflow itself: Cancelled where somebody stopped the run, as the run's own flow is."""
    engine = current(run_id)
    if engine is None:
        raise RunStopped(f"run {run_id} is not worked on in this process: use {command('collect', run_id)}")
    show = display.get().show
    try:
        with scrubbed_errors():
            left = engine.settle(show)
    except Interrupted as error:
        return Cancelled(message=str(error))
    show(engine.progress)
    if left:
        get_run_logger().warning("%d evaluations are still pending", left)
    return left
