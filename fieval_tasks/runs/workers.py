"""Working on a run: some workers submit its chunks while another polls, be they plain threads or Prefect's tasks and subflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

from fieval_tasks.core.errors import FievalError, Interrupted, RunStopped
from fieval_tasks.core.plan import Mode
from fieval_tasks.runs.conclusion import Ended, Outcome, conclude, interrupted
from fieval_tasks.runs.display import display
from fieval_tasks.runs.preparation import Prepared
from fieval_tasks.work.engine import Engine
from fieval_tasks.work.work_tuning import TUNING


@dataclass(frozen=True)
class Workers:
    """What submits the chunks of a run and asks about its tickets: plain threads, or Prefect's tasks and a subflow."""

    start: Callable[[Sequence[int]], Sequence[Any]]
    """Starts submitting these chunks; the futures."""
    result: Callable[[Any], int]
    """Waits for such a future; how many items were sent. Raises what ended the submission."""
    settle: Callable[[], object]
    """Polls until all tickets are settled and no more will come."""


def evaluated(run: Prepared) -> Outcome:
    """Work on the run until it is done or something stops it, and conclude it: what the flow `evaluate` does in Prefect.

    Raises Interrupted, which says how to carry on, and RunStopped where the run's files can't be written.
    """
    began = monotonic()
    run.ledger.started(run.run_id, flow_run_id=None)
    with run.engine() as engine, threads(engine) as workers:
        ended = how_it_ended(engine, run.plan.mode, workers)
    seconds = monotonic() - began
    if isinstance(ended.stopped, Interrupted):
        raise Interrupted(interrupted(run, seconds=seconds)) from ended.stopped
    outcome = conclude(run, ended, seconds=seconds)
    display.get().conclude(outcome)
    return outcome


def work_on(run: Prepared) -> None:
    """Work until every item has its verdict or is past its timeout. Raises RunStopped, which says how to carry on."""
    with resumable(run), run.engine() as engine, threads(engine) as workers:
        work_to_the_end(engine, run.plan.mode, workers)


def how_it_ended(engine: Engine, mode: Mode, workers: Workers) -> Ended:
    """Work to the end, or until something stops it: then the replies to requests under way come in first."""
    try:
        work_to_the_end(engine, mode, workers)
    except FievalError as error:
        engine.stop(error)
        engine.come_in(display.get().show)
        return Ended(error, engine.notices)
    return Ended(notices=engine.notices, waited=mode is not Mode.SUBMIT)


def work_to_the_end(engine: Engine, mode: Mode, workers: Workers) -> None:
    """Submit and settle, also what other processes leave, until nothing is left to do. Raises what stops the run."""
    work_once(engine, mode, workers)
    while engine.wait_for_others(display.get().show):
        work_once(engine, mode, workers)


def work_once(engine: Engine, mode: Mode, workers: Workers) -> int:
    """Submit what is unsent and settle what is open, as far as this process may; how many items were sent. Raises what stops
    the run."""
    show = display.get().show
    submissions = workers.start(engine.to_submit())
    engine.expect(submissions)
    if mode is Mode.ASYNC:
        workers.settle()
    while not engine.chunks_have_ended(within=TUNING.round):
        show(engine.progress)
        if mode is Mode.SYNC and engine.awaits_verdicts:  # a lane whose calls keep failing turns to submitting
            workers.settle()
    sent = sum(map(workers.result, submissions))
    if mode is Mode.SYNC and engine.awaits_verdicts:
        workers.settle()
    show(engine.progress)
    return sent


@contextmanager
def resumable(run: Prepared) -> Iterator[None]:
    """Add the command that carries on to an error that ends the block."""
    try:
        yield
    except FievalError as error:
        raise RunStopped(f"{error}; to carry on: {run.resume_command}") from error


@contextmanager
def threads(engine: Engine) -> Iterator[Workers]:
    """Plain threads. An error in the block, or Ctrl-C, stops the engine: nothing more is sent."""
    show = display.get().show
    with ThreadPoolExecutor(TUNING.submitters) as pool:
        try:
            yield Workers(
                start=lambda chunks: [pool.submit(_submit_patiently, engine, chunk) for chunk in chunks],
                result=Future.result,
                settle=lambda: engine.settle(show),
            )
        except BaseException as error:
            engine.stop(error if isinstance(error, FievalError) else Interrupted("the run was interrupted"))
            raise


def _submit_patiently(engine: Engine, chunk: int) -> int:
    """Send a chunk, again after a pause where an outage keeps it; how many items that was."""
    tries = 1
    while True:
        try:
            return engine.submit_chunk(chunk)
        except FievalError as error:
            tries += 1
            if not error.retryable or tries > engine.tuning.chunk_tries:
                raise
        engine.rest(engine.tuning.chunk_pause(tries))
