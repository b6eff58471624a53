"""Working on a run with plain threads, without Prefect's tasks: submitting its chunks while polling, to its conclusion."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from time import monotonic

from fieval_tasks.core.errors import FievalError, Interrupted, RunStopped
from fieval_tasks.core.plan import Mode
from fieval_tasks.runs.conclusion import Ended, Outcome, conclude, interrupted
from fieval_tasks.runs.display import display
from fieval_tasks.runs.preparation import Prepared
from fieval_tasks.work.engine import Engine
from fieval_tasks.work.work_tuning import TUNING


def evaluated(run: Prepared) -> Outcome:
    """Work on the run until it is done or something stops it, and conclude it: what the flow `evaluate` does in Prefect.

    Raises Interrupted, which says how to carry on, and RunStopped where the run's files can't be written.
    """
    began = monotonic()
    run.ledger.started(run.run_id, flow_run_id=None)
    ended = _ended(run)
    seconds = monotonic() - began
    if isinstance(ended.stopped, Interrupted):
        raise Interrupted(interrupted(run, seconds=seconds)) from ended.stopped
    outcome = conclude(run, ended, seconds=seconds)
    display.get().conclude(outcome)
    return outcome


def _ended(run: Prepared) -> Ended:
    with run.engine() as engine:
        try:
            work_to_the_end(engine, run.plan.mode)
        except FievalError as error:
            engine.stop(error)
            engine.come_in(display.get().show)
            return Ended(error, engine.notices)
        return Ended(notices=engine.notices, waited=run.plan.mode is not Mode.SUBMIT)


def work_on(run: Prepared) -> None:
    """Work until every item has its verdict or is past its timeout. Raises RunStopped, which says how to carry on."""
    with resumable(run), run.engine() as engine:
        work_to_the_end(engine, run.plan.mode)


def work_to_the_end(engine: Engine, mode: Mode) -> None:
    """Submit and settle, also what other processes leave, until nothing is left to do. Raises what stops the run."""
    work_once(engine, mode)
    while engine.wait_for_others(display.get().show):
        work_once(engine, mode)


def work_once(engine: Engine, mode: Mode) -> None:
    """Submit what is unsent and settle what is open, as far as this process may. Raises what stops the run."""
    show, chunks = display.get().show, engine.to_submit()
    with submitting(engine) as threads:
        engine.expect(len(chunks))
        submissions = [threads.submit(submit, engine, chunk) for chunk in chunks]
        if mode is Mode.ASYNC:
            engine.settle(show)
        while not engine.chunks_have_ended(within=TUNING.round):
            show(engine.progress)
            if mode is Mode.SYNC and engine.awaits_verdicts:  # a lane whose calls keep failing turns to submitting
                engine.settle(show)
        for submission in submissions:
            submission.result()
    if mode is Mode.SYNC and engine.awaits_verdicts:
        engine.settle(show)
    show(engine.progress)


def submit_all(engine: Engine) -> int:
    """Send every chunk that this process may; how many items those were."""
    with submitting(engine) as threads:
        return sum(threads.map(engine.submit_chunk, engine.to_submit()))


@contextmanager
def resumable(run: Prepared) -> Iterator[None]:
    """Add the command that carries on to an error that ends the block."""
    try:
        yield
    except FievalError as error:
        raise RunStopped(f"{error}; to carry on: {run.resume_command}") from error


@contextmanager
def submitting(engine: Engine) -> Iterator[ThreadPoolExecutor]:
    """Yields a pool of threads for chunks. An error in the block, or Ctrl-C, stops the engine: nothing more is sent."""
    with ThreadPoolExecutor(TUNING.submitters) as threads:
        try:
            yield threads
        except BaseException as error:
            engine.stop(error if isinstance(error, FievalError) else Interrupted("the run was interrupted"))
            raise


def submit(engine: Engine, chunk: int) -> None:
    """Send a chunk, again after a pause where an outage keeps it, and report its end to the engine."""
    try:
        _submit_patiently(engine, chunk)
    finally:
        engine.chunk_done()


def _submit_patiently(engine: Engine, chunk: int) -> None:
    for tries in count(2):
        try:
            engine.submit_chunk(chunk)
        except FievalError as error:
            if not error.retryable or tries > engine.tuning.chunk_tries:
                raise
        else:
            return
        engine.rest(engine.tuning.chunk_pause(tries))
