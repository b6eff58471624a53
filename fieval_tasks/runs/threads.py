"""Working on a run with plain threads, without Prefect's tasks: submitting its chunks while polling."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from fieval_tasks.core.errors import FievalError, Interrupted, RunStopped
from fieval_tasks.core.plan import Mode
from fieval_tasks.runs.preparation import Prepared
from fieval_tasks.work.engine import Engine
from fieval_tasks.work.work_tuning import TUNING


def work_on(run: Prepared) -> None:
    """Work until every item has its verdict or is past its timeout. Raises RunStopped, which says how to carry on."""
    with resumable(run), run.engine() as engine:
        work_to_the_end(engine, run.plan.mode)


def work_to_the_end(engine: Engine, mode: Mode) -> None:
    """Submit and settle, also what other processes leave, until nothing is left to do. Raises what stops the run."""
    work_once(engine, mode)
    while engine.wait_for_others():
        work_once(engine, mode)


def work_once(engine: Engine, mode: Mode) -> None:
    """Submit what is unsent and settle what is open, as far as this process may. Raises what stops the run."""
    chunks = engine.to_submit()
    with submitting(engine) as threads:
        engine.expect(len(chunks))
        submissions = [threads.submit(submit, engine, chunk) for chunk in chunks]
        if mode is Mode.ASYNC:
            engine.settle()
        for submission in submissions:
            submission.result()
    if mode is Mode.SYNC and engine.awaits_verdicts:
        engine.settle()


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
    """Send a chunk, and report its end to the engine."""
    try:
        engine.submit_chunk(chunk)
    finally:
        engine.chunk_done()
