"""Prefect's side of a run: tasks for any flow, which know a run by its name, and thin ones for the parts of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import State, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.runtime import flow_run, task_run
from prefect.states import Cancelled
from prefect.tasks import Task

from fieval_tasks import dataframe
from fieval_tasks.blocks import EvaluationJob, EvaluationRun
from fieval_tasks.core.errors import FievalError, Interrupted
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.scrubbing import scrubbed_errors
from fieval_tasks.on_prefect import artifacts
from fieval_tasks.runs.conclusion import Ended, conclude, report_of
from fieval_tasks.runs.preparation import kept
from fieval_tasks.work.engine import Engine, current
from fieval_tasks.work.work_tuning import TUNING

# -- for any flow ----------------------------------------------------------------------------------------------------


@task(name="submit-run", cache_policy=NO_CACHE, persist_result=False)
def submit(plan: EvaluationPlan) -> str:
    """Send everything that a plan says, and come back without waiting for a verdict; the run's name.

    Raises PlanError, with every problem, before anything is sent, and RunStopped where it can't go on.
    """
    _say_if_alone()
    with scrubbed_errors():
        run: Any = EvaluationJob(plan=plan).trigger()  # in a plain task it is no coroutine
    return str(run.run_id)


@task(name="poll-run", task_run_name="poll-{run}", cache_policy=NO_CACHE, persist_result=False)
def poll(run: str, store: str | None = None) -> int:
    """Wait until each item has its verdict or is past its time, and write the run's files; how many are left pending.

    `run` is any run of the ledger, whoever began it. `store`: the plan's. Raises RunStopped where it can't go on.
    """
    _say_if_alone()
    begun = EvaluationRun(run, store=store)
    with scrubbed_errors():
        begun.wait_for_completion()
    summary: Any = begun.fetch_result()
    return int(summary["items"]["pending"])


@task(name="publish-run", task_run_name="publish-{run}", cache_policy=NO_CACHE, persist_result=False)
def publish(run: str, store: str | None = None) -> dict[str, Any]:
    """Show how a run stands as artifacts of the flow run that calls this; the figures, as in summary.json."""
    _say_if_alone()
    with scrubbed_errors(), kept(run, store) as found:
        if found.ledger.conclusions(found.run_id):
            report = report_of(found)
        else:  # the summary names its files
            report = conclude(found, Ended(waited=False), seconds=0.0).report
        artifacts.publish(report, found)
    return report.to_json()


def _say_if_alone() -> None:
    """A task that is called in a plain script does its work, and Prefect's own warning on that says nothing of use."""
    if flow_run.id is None:
        get_run_logger().warning(
            "this task was called outside of a flow: it does its work, and no flow run has its log and its artifacts; "
            "call it in a function with Prefect's @flow"
        )


evaluate_dataframe = task(name="evaluate-dataframe", cache_policy=NO_CACHE, persist_result=False)(
    dataframe.evaluate_dataframe
)
"""`fieval_tasks.dataframe.evaluate_dataframe` as a task: the frame, with a verdict's columns for each check."""


# -- parts of a run that this process works on -------------------------------------------------------------------------


def may_be_retried(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """An outage may pass; anything else that ends a chunk ends it for good."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, FievalError) and error.retryable


@task(
    name="submit",
    task_run_name="submit-{chunk}",
    retries=TUNING.chunk_tries - 1,
    retry_condition_fn=may_be_retried,
    cache_policy=NO_CACHE,  # a cached answer would leave a chunk unsent
    persist_result=False,
    log_prints=False,
)
def submit_chunk(chunk: int, run_id: str) -> int | State[Any]:
    """Send what a chunk of the run has left; how many items that was."""
    return _sent(run_id, lambda engine: engine.submit_chunk(chunk))


@task(
    name="submit-rest",
    retries=TUNING.chunk_tries - 1,
    retry_condition_fn=may_be_retried,
    cache_policy=NO_CACHE,
    persist_result=False,
    log_prints=False,
)
def submit_rest(run_id: str) -> int | State[Any]:
    """Send what is left in the run's chunks that nobody works on; how many items that was."""
    return _sent(run_id, lambda engine: engine.submit_rest())


def _sent(run_id: str, send: Callable[[Engine], int]) -> int | State[Any]:
    """How many items were sent; Cancelled where somebody stopped the run, which is no error of this task's."""
    engine = current(run_id)
    if engine is None:
        return Cancelled(message=f"run {run_id} had stopped before this began; nothing of it was sent")
    with scrubbed_errors():
        try:
            return send(_rested(engine))
        except Interrupted as error:
            return Cancelled(message=str(error))


def _rested(engine: Engine) -> Engine:
    """The engine, after the pause before the next try: there a stop ends it at once, and Prefect's own delay sleeps on."""
    tries = task_run.run_count or 1
    if tries > 1:
        pause = engine.tuning.chunk_pause(tries)
        get_run_logger().info("tries again in %.0f s", pause)
        engine.rest(pause)
    return engine
