"""Put every row of a dataset to the checks of a plan: the flow, and `python -m flows.evaluate`."""

from __future__ import annotations

if __name__ == "__main__":  # first of all: the command starts a Prefect server, where one is needed, before the import
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "evaluate_command")

from collections.abc import Callable
from typing import Any, TypeAlias

from prefect import State, flow, unmapped
from prefect.exceptions import Pause
from prefect.futures import PrefectFutureList
from prefect.task_runners import ThreadPoolTaskRunner

from fieval_tasks.blocks import FutureAGICredentials
from fieval_tasks.core.errors import FievalError, Interrupted
from fieval_tasks.core.plan import EvaluationPlan, Mode
from fieval_tasks.on_prefect.flow_runs import begun, ended_in_order, series_of, work_on
from fieval_tasks.on_prefect.naming import title
from fieval_tasks.on_prefect.permitted import require_permitted
from fieval_tasks.on_prefect.shared import require_limit
from fieval_tasks.on_prefect.showing import shown_in_prefect
from fieval_tasks.on_prefect.watching import Watch, reason_of
from fieval_tasks.runs.conclusion import Ended
from fieval_tasks.runs.display import display
from fieval_tasks.runs.preparation import Prepared
from fieval_tasks.tasks import submit_chunk
from fieval_tasks.work.engine import Engine
from fieval_tasks.work.options import Share
from fieval_tasks.work.work_tuning import TUNING
from flows.poll import poll_evaluations

Start: TypeAlias = Callable[[Engine], PrefectFutureList[Any]]
"""Starts the submit tasks for the chunks of this process."""


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


def submit_and_wait(run: Prepared, *, share: Share | None = None, start: Start | None = None) -> Ended:
    """Submit every chunk while the polling subflow waits for the verdicts, until all is done or something stops it.

    `start` begins each round of submissions; None: `start_submitting`.
    """
    series = None if share else series_of(run)  # its shards are one run
    with run.engine(share=share) as engine, shown_in_prefect(run.run.total, series=series, watch=Watch(engine)) as show:
        try:
            work_once(engine, run.plan.mode, start or start_submitting)
            while engine.wait_for_others(show):
                work_once(engine, run.plan.mode, start or start_submitting)
        except (FievalError, Pause) as error:
            reason = reason_of(error)
            engine.stop(reason)  # chunks that have not begun end with the task runner, unsent
            engine.come_in(show)
            return Ended(reason, engine.notices)
        return Ended(notices=engine.notices, waited=run.plan.mode is not Mode.SUBMIT)


def start_submitting(engine: Engine) -> PrefectFutureList[Any]:
    """One mapped task for each chunk that has something left to send."""
    chunks = engine.to_submit()
    engine.expect(len(chunks))
    submissions = submit_chunk.map(chunks, run_id=unmapped(engine.run.run_id))
    for submission in submissions:
        submission.add_done_callback(lambda _: engine.chunk_done())
    return submissions


def work_once(engine: Engine, mode: Mode, start: Start) -> None:
    """Submit what is unsent and settle what is open, as far as this process may. Raises what stops the run."""
    submissions = start(engine)
    if mode is Mode.ASYNC:
        poll_evaluations(engine.run.run_id)
    finish(submissions, engine, polls_later=mode is Mode.SYNC)


def finish(submissions: PrefectFutureList[Any], engine: Engine, *, polls_later: bool) -> None:
    """Wait for every chunk. Raises the error of the first that failed for good.

    `polls_later`: synchronous calls bring their verdicts, but a lane whose calls keep failing turns to submitting.
    """
    # Prefect's own wait for so many seconds goes by an alarm, and may hang for ever.
    while not engine.chunks_have_ended(within=TUNING.round):
        display.get().show(engine.progress)
        if polls_later and engine.awaits_verdicts:
            poll_evaluations(engine.run.run_id)
    for submission in submissions:
        submission.wait()  # a task's state is known a moment after its work has ended
        if submission.state.is_cancelled():
            raise Interrupted(str(submission.state.message))
        submission.result()
    if polls_later and engine.awaits_verdicts:
        poll_evaluations(engine.run.run_id)
