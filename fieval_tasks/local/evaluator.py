"""Evaluations from request to outcome."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

from fieval_tasks.local.catalogue import TEMPLATES, Template
from fieval_tasks.local.intake import Submission
from fieval_tasks.local.scorer import Broken, Closed, Limits, Scorer
from fieval_tasks.local.store import PENDING, Outcome, Request, Row, Store
from fieval_tasks.local.verdicts import NoInput, Unscorable, Verdict
from fieval_tasks.local.workers import Workers

_log = logging.getLogger(__name__)

_VISIBLE_WITHIN: Final = 0.05
"""Seconds after which a verdict is recorded even if the handful it came with is not finished."""
_CLOSE_WITHIN: Final = 2.0


class Evaluator:
    """Has submissions scored, by a few threads with a process each, and keeps every outcome in the store.

    What waits for the store or for a verdict blocks: an event loop calls it in a thread, `run` and `aclose` apart.
    """

    def __init__(self, database: Path | str | None, workers: int, delay: float, limits: Limits) -> None:
        self._store = Store(database)
        self._delay = delay
        self._running: set[str] = set()
        self._workers = Workers(workers, self._settle, scorer=partial(Scorer, limits))
        self._recovering = threading.Lock()
        self._recovered = False
        # An app that nobody closed must not leave an open database behind when it is collected.
        self._release = weakref.finalize(self, self._store.close)
        self._release.atexit = False

    async def run(self, submission: Submission) -> list[tuple[Row, Verdict]]:
        """Score a synchronous submission: all items, or the error of the first that has no verdict."""
        await asyncio.sleep(self._delay)
        requests = _requests(submission, model=None)
        calls = [self._workers.call(partial(_scored_by, request)) for request in requests]
        try:
            timed = [await asyncio.wrap_future(call) for call in calls]
        finally:
            for call in calls:
                call.cancel()  # what has not begun behind one that failed
        outcomes = [_sync_outcome(submission.template, verdict, runtime) for verdict, runtime in timed]
        rows = await asyncio.to_thread(self._store.add, requests, outcomes)
        return list(zip(rows, (verdict for verdict, _ in timed), strict=True))

    def submit(self, submission: Submission) -> list[Row]:
        """Record an asynchronous submission; its rows are on disk when this returns."""
        self.recover()  # ahead of the new rows, which would else be taken up twice
        requests = _requests(submission, model=submission.model)
        rows = self._store.add(requests, [PENDING] * len(requests))
        self._workers.schedule([row.eval_id for row in rows], time.monotonic() + self._delay)
        return rows

    def find(self, eval_id: UUID) -> Row | None:
        self.recover()
        return self._store.find(eval_id)

    def is_running(self, row: Row) -> bool:
        return row.eval_id in self._running

    def recover(self) -> None:
        """Take up, once, what an earlier process left unfinished in this database."""
        with self._recovering:
            if self._recovered:
                return
            self._recovered = True
            elapsed = time.monotonic() - time.time()
            for submitted, eval_id in self._store.open_ids():
                self._workers.schedule([eval_id], submitted + self._delay + elapsed)

    async def aclose(self) -> None:
        """Stop the workers and close the database; unfinished rows stay pending. Idempotent."""
        await asyncio.to_thread(self._workers.close, _CLOSE_WITHIN)
        self._release()

    def _settle(self, scorer: Scorer, eval_ids: Sequence[str]) -> None:
        """Score these rows and record their outcomes, a few at a time: a write costs more than a short text's score."""
        self._running.update(eval_ids)
        settled: list[tuple[str, Outcome]] = []
        try:
            written = time.monotonic()
            with suppress(Closed):  # the rest stays pending
                for row in filter(None, map(self._store.find, eval_ids)):
                    settled.append((row.eval_id, _async_outcome(row.request, scorer)))
                    if time.monotonic() - written > _VISIBLE_WITHIN:
                        self._store.settle(settled)
                        settled, written = [], time.monotonic()
            self._store.settle(settled)
        finally:
            self._running.difference_update(eval_ids)


def _requests(submission: Submission, model: str | None) -> list[Request]:
    name, params, localizer = submission.template.name, submission.params, submission.wants_localizer
    return [Request(name, item, params, model, submission.is_async and localizer) for item in submission.items]


def _scored_by(request: Request, scorer: Scorer) -> tuple[Verdict, float]:
    return scorer.score(request)


def _async_outcome(request: Request, scorer: Scorer) -> Outcome:
    try:
        verdict, runtime = scorer.score(request)
    except (NoInput, Unscorable) as error:
        return Outcome(status="failed", error=str(error))
    except Broken as error:
        _log.error("scoring %s broke\n%s", request.template, error)
        return Outcome(status="failed", error=error.told)
    return _scored("completed", TEMPLATES[request.template], verdict, runtime)


def _sync_outcome(template: Template, verdict: Verdict, runtime: float) -> Outcome:
    """As the platform stores it: a synchronous call that did not pass reads back as `failed`."""
    passed = verdict.value != "Failed" and not (template.is_code and verdict.value == 0)
    return _scored("completed" if passed else "failed", template, verdict, runtime)


def _scored(status: str, template: Template, verdict: Verdict, runtime: float) -> Outcome:
    return Outcome(status, template.output, str(verdict.value), verdict.reason, runtime)
