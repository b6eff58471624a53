"""Running evaluations from the request to the recorded outcome."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import LifoQueue
from uuid import UUID

from fieval_tasks.local.catalogue import CATALOGUE
from fieval_tasks.local.jobs import Job, JobStore
from fieval_tasks.local.scorer import Broken, Closed, ScoringLimits, ScoringProcess
from fieval_tasks.local.validation import Post
from fieval_tasks.local.verdicts import FAILED, NoInput, Unscorable, Verdict

_log = logging.getLogger(__name__)


class Evaluator:
    """Has evaluations scored, by a few threads with a process each, and keeps every outcome in its store.

    Threads rather than asyncio tasks: one process may use the evaluator from several loops in turn. What waits for the
    store blocks: an event loop calls it in a thread, `run` and `aclose` apart.
    """

    def __init__(
        self, database: Path | str | None, *, workers: int, delay: float, limits: ScoringLimits | None
    ) -> None:
        self._jobs = JobStore(database)
        self._delay = delay
        self._running: set[str] = set()
        # A call that somebody waits for never stands behind what was submitted: it has threads of its own.
        self._calls = ThreadPoolExecutor(workers, "local-evaluator-calls")
        self._background = ThreadPoolExecutor(workers, "local-evaluator")
        scorers = [ScoringProcess(limits) for _ in range(2 * workers)]
        self._idle: LifoQueue[ScoringProcess] = LifoQueue()  # the last in is the first out: its process has started
        for scorer in scorers:
            self._idle.put(scorer)
        # An app that nobody closed leaves no processes and no open database behind when it is collected.
        self._release = weakref.finalize(self, _release, scorers, self._jobs)
        for eval_id in self._jobs.open_ids():  # what an earlier process left unfinished
            self._background.submit(self._settle, eval_id)

    async def run(self, post: Post) -> list[tuple[Job, Verdict]]:
        """Score a synchronous post: all items, or the error of the first that has no verdict."""
        asked = [Job(post.template, item, post.params) for item in post.items]
        await asyncio.sleep(self._delay)
        return await asyncio.wrap_future(self._calls.submit(self._scored_now, asked))

    def submit(self, post: Post) -> list[Job]:
        """Record an asynchronous post; its evaluations are on disk when this returns."""
        asked = [Job(post.template, item, post.params, post.model, post.wants_localizer) for item in post.items]
        self._jobs.add(asked)
        for evaluation in asked:
            self._background.submit(self._settle, evaluation.eval_id)
        return asked

    def find(self, eval_id: UUID) -> Job | None:
        """The evaluation as a client may see it: `pending`, without its outcome, until its delay is over."""
        found = self._jobs.find(str(eval_id))
        if found is None or time.time() < found.submitted + self._delay:
            return found and replace(found, status="pending")
        return replace(found, status="processing") if found.eval_id in self._running else found

    async def aclose(self) -> None:
        """End all work and close the database; unfinished evaluations stay pending. Idempotent."""
        for threads in (self._calls, self._background):
            threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._release)
        for threads in (self._calls, self._background):
            await asyncio.to_thread(threads.shutdown)

    def _scored_now(self, asked: Sequence[Job]) -> list[tuple[Job, Verdict]]:
        scored = []
        for evaluation in asked:
            verdict, runtime = self._score(evaluation)
            # As the platform stores it: a synchronous call that did not pass reads back as `failed`.
            is_zero = CATALOGUE[evaluation.template].is_code and verdict.value == 0
            status = "failed" if verdict.value == FAILED or is_zero else "completed"
            scored.append((_ended(evaluation, status, verdict, runtime), verdict))
        self._jobs.add(evaluation for evaluation, _ in scored)
        return scored

    def _settle(self, eval_id: str) -> None:
        """Score one submitted evaluation and record its outcome."""
        self._running.add(eval_id)
        try:
            if found := self._jobs.find(eval_id):
                self._jobs.settle(self._outcome(found))
        except Closed:
            pass  # it stays pending, and is taken up by the next process that opens the database
        except Exception:
            _log.exception("evaluation %s broke", eval_id)
        finally:
            self._running.discard(eval_id)

    def _outcome(self, asked: Job) -> Job:
        try:
            return _ended(asked, "completed", *self._score(asked))
        except (NoInput, Unscorable) as error:
            return replace(asked, status="failed", error=str(error))
        except Broken as error:
            _log.error("scoring %s broke\n%s", asked.template, error)
            return replace(asked, status="failed", error=str(error).strip().rpartition("\n")[2])

    def _score(self, asked: Job) -> tuple[Verdict, float]:
        scorer = self._idle.get()
        try:
            return scorer.score(asked)
        finally:
            self._idle.put(scorer)


def _ended(asked: Job, status: str, verdict: Verdict, runtime: float) -> Job:
    return replace(
        asked,
        status=status,
        output_type=CATALOGUE[asked.template].output,
        value=str(verdict.value),
        reason=verdict.reason,
        runtime=runtime,
    )


def _release(scorers: Sequence[ScoringProcess], jobs: JobStore) -> None:
    for scorer in scorers:
        scorer.close()
    jobs.close()
