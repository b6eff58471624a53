"""Put every row of a dataset to the checks of a plan: the flow, and `python -m flows.evaluate`."""

from __future__ import annotations

if __name__ == "__main__":  # first of all: the command starts a Prefect server, where one is needed, before the import
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "evaluate_command")

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, TypeAlias

from prefect import State, flow, get_run_logger, unmapped
from prefect.exceptions import Pause, TerminationSignal
from prefect.futures import PrefectFutureList
from prefect.runtime import deployment, flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from fieval_tasks.blocks import FutureAGICredentials
from fieval_tasks.core.errors import ExitCode, FievalError, Interrupted, PlanError
from fieval_tasks.core.locations import each, is_allowed, is_stream
from fieval_tasks.core.plan import EvaluationPlan, Mode
from fieval_tasks.core.scrubbing import raise_without_secrets
from fieval_tasks.ledger.database import file_of, store_url
from fieval_tasks.on_prefect import ending
from fieval_tasks.on_prefect.artifacts import publish
from fieval_tasks.on_prefect.ending import concluded, refused, rests
from fieval_tasks.on_prefect.events import announce, announce_cancelled
from fieval_tasks.on_prefect.naming import tag, title
from fieval_tasks.on_prefect.parameters import in_parameters, plan_given
from fieval_tasks.on_prefect.shared import require_limit
from fieval_tasks.on_prefect.showing import shown_in_prefect
from fieval_tasks.on_prefect.watching import Watch, reason_of, steerable, suspended_state
from fieval_tasks.runs.conclusion import Ended, Outcome, conclude
from fieval_tasks.runs.display import display
from fieval_tasks.runs.preparation import Prepared, prepared
from fieval_tasks.tasks import submit_chunk
from fieval_tasks.work.engine import ROUND, SUBMITTERS, Engine
from fieval_tasks.work.options import Share
from flows.poll import poll_evaluations

Start: TypeAlias = Callable[[Engine], PrefectFutureList[Any]]
"""Begins to submit what this process may."""


@flow(
    name="evaluate",
    flow_run_name=title,
    task_runner=ThreadPoolTaskRunner(max_workers=SUBMITTERS),  # type: ignore[arg-type]
    persist_result=False,
    validate_parameters=False,  # they are read here, and refused in a sentence
)
def evaluate(plan: EvaluationPlan, credentials: FutureAGICredentials | None = None) -> State[None]:
    """Evaluate a dataset: submit its chunks, wait for the verdicts meanwhile, and publish the report.

    Args:
        plan: What is evaluated, and how. Left as it is, it evaluates the bundled sample on the local evaluator.
        credentials: A saved block of keys. None: by the plan's connection.
    """
    try:
        whole = plan_given(plan, credentials)
        may_begin(whole)
        with prepared(whole, flow_run_id=flow_run.id) as run:
            if whole.resume and whole.store:
                may_begin(run.plan)  # what it says comes from a ledger that a parameter names
            tag(run.run_id)
            for line in run.described():
                get_run_logger().info(in_parameters(line) if deployment.id else line)
            with steerable(run):
                return work_on(run)
    except FievalError as error:  # what kept the run from starting, or its ledger from being written
        return refused(error)
    except Exception as error:  # nobody foresaw it, and Prefect logs and keeps it
        raise_without_secrets(error)


def may_begin(plan: EvaluationPlan) -> None:
    """Raises PlanError for what only Prefect can tell."""
    if plan.base_url and deployment.id:  # or whoever may edit its parameters could have the keys sent anywhere
        raise PlanError("plan.base_url: a deployment takes none; set FI_BASE_URL for its worker, or use a block")
    require_doors(plan)
    require_limit(plan)


def require_doors(plan: EvaluationPlan) -> None:
    """Raises PlanError where a deployment's parameters name what its worker doesn't open to whoever may edit them."""
    if not deployment.id:
        return
    locations = [] if plan.dataset is None or plan.resume else each(plan.dataset)
    if "-" in locations:
        raise PlanError("plan.dataset: - is for a terminal; give a deployment the path or the URL of a file")
    if any(map(is_stream, locations)):  # which need not have an end
        raise PlanError(
            "plan.dataset: a pipe or a device is for a terminal; give a deployment the path or URL of a file"
        )
    named = {
        "dataset": locations,
        "output": [] if plan.output is None else [str(Path(plan.output).expanduser().absolute())],
    }
    if shut := [name for name, places in named.items() if not all(map(is_allowed, places))]:
        raise PlanError(*(f"plan.{name}: {_SHUT}" for name in shut))
    require_store(plan.store)


def require_store(store: str | None) -> None:
    """Raises PlanError where a deployment's parameters name another ledger than its worker may open."""
    if store is None or not deployment.id:
        return
    if store_url(store) == store_url():
        return
    path = file_of(store)
    if path is None:  # its host could ask for the worker's password
        raise PlanError("store: a deployment takes none on a server; set FIEVAL_STORE_URL where its worker runs")
    if not is_allowed(str(path)):
        raise PlanError(f"store: {_SHUT}")


_SHUT = (
    "this worker opens files in its working folder and in those that its FIEVAL_FOLDERS names "
    f"(folders with {os.pathsep!r} between them), and no others"
)


def work_on(run: Prepared) -> State[None]:
    """Take a prepared run as far as it goes, and publish what it came to."""
    began = monotonic()
    run.ledger.started(run.run_id, flow_run_id=flow_run.id)
    with terminable(run, began):
        ended = submit_and_wait(run)
    if isinstance(ended.stopped, Interrupted):
        return interrupted(run, seconds=monotonic() - began)
    return published(run, conclude(run, ended, seconds=monotonic() - began))


@contextmanager
def terminable(run: Prepared, began: float) -> Iterator[None]:
    """Around the work: a worker cancels by a signal, and sets the state itself; what carries the run on is said before."""
    try:
        yield
    except TerminationSignal:
        interrupted(run, seconds=monotonic() - began)
        raise


def start_submitting(engine: Engine) -> PrefectFutureList[Any]:
    """One mapped task for each chunk that has something left to send."""
    chunks = engine.to_submit()
    engine.expect(len(chunks))
    submissions = submit_chunk.map(chunks, run_id=unmapped(engine.run.run_id))
    for submission in submissions:
        submission.add_done_callback(lambda _: engine.chunk_done())
    return submissions


def submit_and_wait(run: Prepared, *, share: Share | None = None, start: Start = start_submitting) -> Ended:
    """Submit every chunk while the polling subflow waits for the verdicts, until all is done or something stops it.

    `start` begins each round of submissions.
    """
    series = None if share else series_of(run)  # its shards are one run
    with run.engine(share=share) as engine, shown_in_prefect(run.run.total, series=series):
        try:
            Watch(engine).look(at_once=True)  # a run that is to be paused buys nothing first
            work_once(engine, run.plan.mode, start)
            while engine.wait_for_others(display.get().show):
                work_once(engine, run.plan.mode, start)
        except (FievalError, Pause) as error:
            reason = reason_of(error)
            engine.stop(reason)  # chunks that have not begun end with the task runner, unsent
            engine.come_in(display.get().show)
            return Ended(reason, engine.notices)
        return Ended(notices=engine.notices, waited=run.plan.mode is not Mode.SUBMIT)


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
    watch = Watch(engine)
    while not engine.chunks_have_ended(
        within=ROUND
    ):  # Prefect's wait for so long goes by an alarm, and may hang for ever
        display.get().show(engine.progress)
        watch.look()
        if polls_later and engine.awaits_verdicts:
            poll_evaluations(engine.run.run_id)
    for submission in submissions:
        submission.wait()  # a task's state is known a moment after its work has ended
        if submission.state.is_cancelled():
            raise Interrupted(str(submission.state.message))
        submission.result()
    if polls_later and engine.awaits_verdicts:
        poll_evaluations(engine.run.run_id)


def published(run: Prepared, outcome: Outcome, *, series: str | None = None) -> State[None]:
    """Show the outcome to everyone.

    `series`: what its artifacts are versions of. None: see `series_of`.
    """
    publish(outcome.report, run.folder, series=series or series_of(run))
    announce(outcome)
    display.get().conclude(outcome)
    return concluded(outcome)


def series_of(run: Prepared) -> str:
    """What a run's artifacts are versions of: the deployment's, or else those of its dataset."""
    return deployment.name or run.series


def interrupted(run: Prepared, *, seconds: float) -> State[None]:
    """Somebody asked for an end soon, or for a rest: nothing is drawn up, for the ledger has it all."""
    run_id = run.run_id
    run.ledger.finished(run_id, exit_code=ExitCode.INTERRUPTED, seconds=seconds, complete=False)
    if deployment.id and (state := suspended_state()):  # Prefect suspends no others
        rests(state, f"run {run_id} is suspended; Resume in Prefect carries it on, or {run.resume_command}")
    announce_cancelled(run_id)
    return ending.cancelled(f"run {run_id} was interrupted; to carry on: {run.resume_command}")
