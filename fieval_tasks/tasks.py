"""Prefect's side of a run: thin tasks that name a chunk and let the engine do the work."""

from __future__ import annotations

from typing import Any

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.tasks import Task, exponential_backoff

from fieval_tasks.engine import Engine, current
from fieval_tasks.errors import FievalError, RunStopped


def may_be_retried(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """An outage may pass; anything else that ends a chunk ends it for good."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, FievalError) and error.retryable


@task(
    name="submit",
    task_run_name="submit-{chunk}",
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=8),
    retry_jitter_factor=0.5,
    retry_condition_fn=may_be_retried,
    cache_policy=NO_CACHE,  # a cached answer would leave a chunk unsent
    persist_result=False,
    log_prints=False,
)
def submit(chunk: int, run_id: str) -> int:
    """Send what a chunk of the run has left; how many items that was."""
    return _engine(run_id).submit_chunk(chunk)


@task(
    name="submit-rest",
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=8),
    retry_jitter_factor=0.5,
    retry_condition_fn=may_be_retried,
    cache_policy=NO_CACHE,
    persist_result=False,
    log_prints=False,
)
def submit_rest(run_id: str) -> int:
    """Send what is left in the run's chunks that nobody works on; how many items that was."""
    return _engine(run_id).submit_rest()


def _engine(run_id: str) -> Engine:
    engine = current(run_id)
    if engine is None:
        raise RunStopped(f"run {run_id} is not being worked on in this process: start it with flows.evaluate")
    return engine
