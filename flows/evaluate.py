"""Put every row of a dataset to the checks of a plan: the flow, and `python -m flows.evaluate`."""

from __future__ import annotations

if __name__ == "__main__":  # first of all: the command starts a Prefect server, where one is needed, before the import
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "evaluate_command")

from collections.abc import Sequence
from typing import Any

from prefect import State, flow, unmapped
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from fieval_tasks.blocks import FutureAGICredentials
from fieval_tasks.core.errors import Interrupted
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.on_prefect.flow_runs import begun, ended_in_order, series_of, work_on
from fieval_tasks.on_prefect.naming import title
from fieval_tasks.on_prefect.permitted import require_permitted
from fieval_tasks.on_prefect.shared_limit import require_limit
from fieval_tasks.on_prefect.showing import shown_in_prefect
from fieval_tasks.on_prefect.watching import Watch
from fieval_tasks.runs.conclusion import Ended
from fieval_tasks.runs.preparation import Prepared
from fieval_tasks.runs.workers import Workers, how_it_ended
from fieval_tasks.tasks import submit_chunk, submit_rest
from fieval_tasks.work.options import Share
from fieval_tasks.work.work_tuning import TUNING
from flows.poll import poll_evaluations


@flow(
    name="evaluate",
    flow_run_name=title,
    task_runner=ThreadPoolTaskRunner(max_workers=TUNING.submitters),  # type: ignore[arg-type]
    persist_result=False,
    validate_parameters=False,  # they are read here, and refused in a sentence
)
def evaluate(plan: EvaluationPlan, credentials: FutureAGICredentials | None = None) -> State[None]:
    """Evaluate a dataset: submit its chunks, wait for the verdicts meanwhile, and publish the report.

    Args:
        plan: What is evaluated, and how. Left as it is, it evaluates the bundled sample on the local evaluator.
        credentials: A saved block of keys. None: by the plan's connection.
    """

    def evaluated() -> State[None]:
        with begun(plan, credentials, may_begin) as run:
            return work_on(run, lambda: submit_and_wait(run))

    return ended_in_order(evaluated)


def may_begin(plan: EvaluationPlan) -> None:
    """Raises PlanError where the plan needs something of Prefect that is not there: a limit, or permitted files."""
    require_permitted(plan)
    require_limit(plan)


def submit_and_wait(run: Prepared, *, share: Share | None = None) -> Ended:
    """Submit every chunk while the polling subflow waits for the verdicts, until all is done or something stops it.

    With a `share` of the run, also what other processes have not come to, or have left behind.
    """
    name, series = run.run_id, None if share else series_of(run)  # the shards are one run
    workers = Workers(
        lambda chunks: start_submitting(name, chunks, helps=share is not None), sent, lambda: poll_evaluations(name)
    )
    with run.engine(share=share) as engine, shown_in_prefect(run.run.total, series=series, watch=Watch(engine)):
        return how_it_ended(engine, run.plan.mode, workers)


def start_submitting(run_id: str, chunks: Sequence[int], *, helps: bool = False) -> Sequence[PrefectFuture[Any]]:
    """One mapped task for each chunk; where this process `helps`, one more for what others leave."""
    submissions = submit_chunk.map(chunks, run_id=unmapped(run_id))
    return [*submissions, submit_rest.submit(run_id)] if helps else submissions


def sent(submission: PrefectFuture[Any]) -> int:
    """How many items a task has sent. Raises its error; Interrupted where it was cancelled."""
    submission.wait()  # a task's state is known a moment after its work has ended
    if submission.state.is_cancelled():
        raise Interrupted(str(submission.state.message))
    return int(submission.result())
