"""A run worked on by threads alone, without Prefect's tasks: what is left of it is sent, and settled meanwhile."""

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
    """Until every item has its verdict or is past its time. Raises RunStopped, which says how to carry on."""
    with resumable(run), run.engine() as engine:
        work_once(engine, run.plan.mode)
        while engine.wait_for_others():
            work_once(engine, run.plan.mode)


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
    """Send what this process may; how many items that was."""
    with submitting(engine) as threads:
        return sum(threads.map(engine.submit_chunk, engine.to_submit()))


@contextmanager
def resumable(run: Prepared) -> Iterator[None]:
    """An error that ends the block names the command that goes on from there."""
    try:
        yield
    except FievalError as error:
        raise RunStopped(f"{error}; to carry on: {run.resume_command}") from error


@contextmanager
def submitting(engine: Engine) -> Iterator[ThreadPoolExecutor]:
    """Threads for chunks. Whatever ends the block early, Ctrl-C too, ends their work: nothing more is sent."""
    with ThreadPoolExecutor(TUNING.submitters) as threads:
        try:
            yield threads
        except BaseException as error:
            engine.stop(error if isinstance(error, FievalError) else Interrupted("the run was interrupted"))
            raise


def submit(engine: Engine, chunk: int) -> None:
    """Send a chunk, and report its end."""
    try:
        engine.submit_chunk(chunk)
    finally:
        engine.chunk_done()
