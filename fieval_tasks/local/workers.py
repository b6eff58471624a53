"""A few threads, each with a process that scores, that take work as it falls due and go away when there is none.

Threads rather than asyncio tasks: nothing here is then tied to an event loop, so one process may use the evaluator from
several loops in turn.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, TypeVar

from fieval_tasks.local.scorer import Scorer

Result = TypeVar("Result")

_log = logging.getLogger(__name__)

_CLOSED: Final = "this evaluator is closed"

LINGER: Final = 2.0
"""Seconds an idle thread waits for more work before it ends, and its process with it: a new one takes 0.1 s to start."""
_LAST_WORDS: Final = 1.0
"""Seconds in which a thread ends once its process has gone."""


class Workers:
    """Runs calls that somebody waits for first, then ids whose time has come, a handful at a go."""

    def __init__(
        self,
        count: int,
        handle: Callable[[Scorer, Sequence[str]], None],
        handful: int = 32,
        scorer: Callable[[], Scorer] = Scorer,
    ) -> None:
        self._count = count
        self._handle = handle
        self._handful = handful
        self._scorer = scorer
        self._changed = threading.Condition()
        self._calls: deque[tuple[Callable[[Scorer], Any], Future[Any]]] = deque()
        self._due: list[tuple[float, int, str]] = []
        self._tickets = 0
        self._threads: dict[threading.Thread, Scorer] = {}
        self._closed = False

    def call(self, function: Callable[[Scorer], Result]) -> Future[Result]:
        """The future result of `function`, run ahead of every id."""
        future: Future[Result] = Future()
        with self._changed:
            self._check_open()
            self._calls.append((function, future))
            self._wake(1)
        return future

    def schedule(self, ids: Iterable[str], due: float) -> None:
        """Hand these ids to `handle` once `time.monotonic()` reaches `due`."""
        with self._changed:
            self._check_open()
            before = self._tickets
            for name in ids:
                heapq.heappush(self._due, (due, self._tickets, name))
                self._tickets += 1
            self._wake(self._tickets - before)

    def close(self, timeout: float) -> None:
        """End the threads after the work in hand; what takes longer than `timeout` seconds is cut off. Idempotent.

        Calls that have not begun raise RuntimeError; ids that have not are let go.
        """
        with self._changed:
            self._closed = True
            threads = dict(self._threads)
            abandoned = [future for _, future in self._calls]
            self._calls.clear()
            self._changed.notify_all()
        for future in abandoned:
            if future.set_running_or_notify_cancel():
                future.set_exception(RuntimeError(_CLOSED))
        until = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        late = [thread for thread in threads if thread.is_alive()]
        for thread in late:
            threads[thread].close()
        for thread in late:
            thread.join(_LAST_WORDS)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(_CLOSED)

    def _wake(self, pieces: int) -> None:
        for _ in range(min(pieces, self._count - len(self._threads))):
            scorer = self._scorer()
            thread = threading.Thread(target=self._work, args=(scorer,), name="local-evaluator", daemon=True)
            self._threads[thread] = scorer
            thread.start()
        self._changed.notify(min(pieces, self._count))

    def _work(self, scorer: Scorer) -> None:
        while piece := self._next():
            try:
                piece(scorer)
            except Exception:
                _log.exception("a piece of work broke")
        scorer.release()

    def _next(self) -> Callable[[Scorer], None] | None:
        """The next piece of work; None when this thread is to end."""
        with self._changed:
            idle_until = time.monotonic() + LINGER
            while not self._closed:
                if self._calls:
                    return partial(_run, self._calls.popleft())
                now = time.monotonic()
                if self._due and self._due[0][0] <= now:
                    return _handled(self._handle, self._take(now))
                wake_at = self._due[0][0] if self._due else idle_until
                if wake_at <= now:
                    break
                self._changed.wait(wake_at - now)
            del self._threads[threading.current_thread()]
            return None

    def _take(self, now: float) -> list[str]:
        fair_share = 1 + len(self._due) // self._count
        ids: list[str] = []
        while self._due and self._due[0][0] <= now and len(ids) < min(fair_share, self._handful):
            ids.append(heapq.heappop(self._due)[2])
        return ids


def _handled(handle: Callable[[Scorer, Sequence[str]], None], ids: Sequence[str]) -> Callable[[Scorer], None]:
    return lambda scorer: handle(scorer, ids)


def _run(call: tuple[Callable[[Scorer], Result], Future[Result]], scorer: Scorer) -> None:
    function, future = call
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function(scorer))
    except BaseException as error:
        future.set_exception(error)
