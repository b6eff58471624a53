"""Evaluations from request to outcome."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

from fieval_tasks.local.catalogue import TEMPLATES, Template
from fieval_tasks.local.intake import Submission
from fieval_tasks.local.store import PENDING, Outcome, Request, Row, Store
from fieval_tasks.local.verdicts import NoInput, Unscorable, Verdict
from fieval_tasks.local.workers import Workers

_log = logging.getLogger(__name__)

_VISIBLE_WITHIN: Final = 0.05
"""Seconds after which a verdict is recorded even if the handful it came with is not finished."""
_CLOSE_WITHIN: Final = 2.0


class Evaluator:
    """Scores submissions on a few threads and keeps every outcome in the store."""

    def __init__(self, database: Path | str | None, workers: int, delay: float) -> None:
        self._store = Store(database)
        self._delay = delay
        self._running: set[str] = set()
        self._workers = Workers(workers, self._settle)
        self._recovered = False
        # An app that nobody closed must not leave an open database behind when it is collected.
        self._release = weakref.finalize(self, self._store.close)
        self._release.atexit = False

    async def run(self, submission: Submission) -> list[tuple[Row, Verdict]]:
        """Score a synchronous submission: all items, or the error of the first that has no verdict."""
        await asyncio.sleep(self._delay)
        requests = _requests(submission, model=None)
        call = self._workers.call(lambda: [_timed(request) for request in requests])
        timed = await asyncio.wrap_future(call)
        outcomes = [_sync_outcome(submission.template, verdict, runtime) for verdict, runtime in timed]
        return list(zip(self._store.add(requests, outcomes), (verdict for verdict, _ in timed), strict=True))

    def submit(self, submission: Submission) -> list[Row]:
        """Record an asynchronous submission; its rows are on disk when this returns."""
        requests = _requests(submission, model=submission.model)
        rows = self._store.add(requests, [PENDING] * len(requests))
        self._workers.schedule([row.eval_id for row in rows], time.monotonic() + self._delay)
        return rows

    def find(self, eval_id: UUID) -> Row | None:
        return self._store.find(eval_id)

    def is_running(self, row: Row) -> bool:
        return row.eval_id in self._running

    def recover(self) -> None:
        """Take up, once, what an earlier process left unfinished in this database."""
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

    def _settle(self, eval_ids: Sequence[str]) -> None:
        """Score these rows and record their outcomes, a few at a time: a write costs more than a short text's score."""
        self._running.update(eval_ids)
        try:
            settled: list[tuple[str, Outcome]] = []
            written = time.monotonic()
            for row in filter(None, map(self._store.find, eval_ids)):
                settled.append((row.eval_id, _async_outcome(row.request)))
                if time.monotonic() - written > _VISIBLE_WITHIN:
                    self._store.settle(settled)
                    settled, written = [], time.monotonic()
            self._store.settle(settled)
        finally:
            self._running.difference_update(eval_ids)


def _requests(submission: Submission, model: str | None) -> list[Request]:
    name, params, localizer = submission.template.name, submission.params, submission.wants_localizer
    return [Request(name, item, params, model, submission.is_async and localizer) for item in submission.items]


def _timed(request: Request) -> tuple[Verdict, float]:
    """A verdict and the milliseconds it took: whole ones, for the official SDK reads no others."""
    # Scoring modules load on the first evaluation, and on a worker: they are slow to import.
    from fieval_tasks.local.scoring import score

    started = time.perf_counter()
    verdict = score(TEMPLATES[request.template], request.inputs, request.params)
    return verdict, float(round((time.perf_counter() - started) * 1000))


def _async_outcome(request: Request) -> Outcome:
    try:
        verdict, runtime = _timed(request)
    except (NoInput, Unscorable) as error:
        return Outcome(status="failed", error=str(error))
    except Exception as error:
        _log.exception("scoring %s broke", request.template)
        return Outcome(status="failed", error=f"{type(error).__name__}: {error}")
    return _scored("completed", TEMPLATES[request.template], verdict, runtime)


def _sync_outcome(template: Template, verdict: Verdict, runtime: float) -> Outcome:
    """As the platform stores it: a synchronous call that did not pass reads back as `failed`."""
    passed = verdict.value != "Failed" and not (template.is_code and verdict.value == 0)
    return _scored("completed" if passed else "failed", template, verdict, runtime)


def _scored(status: str, template: Template, verdict: Verdict, runtime: float) -> Outcome:
    return Outcome(status, template.output, str(verdict.value), verdict.reason, runtime)
