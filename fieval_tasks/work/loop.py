"""An asyncio event loop in a thread of its own: other threads start coroutines on it, and a stop ends them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, TypeAlias, TypeVar

from fieval_tasks.core.errors import FievalError, Interrupted, RunStopped
from fieval_tasks.core.scrubbing import without_secrets
from fieval_tasks.core.unexpected import as_unexpected
from fieval_tasks.work.work_tuning import WorkTuning

T = TypeVar("T")
Begin: TypeAlias = Callable[[], Coroutine[Any, Any, T]]
"""Creates the coroutine on the loop: Python warns about a coroutine that is created and never started."""


class LoopThread:
    """The loop. `stop` cancels coroutines started by `work` and `begin`, but not those started by `run`."""

    def __init__(self, tuning: WorkTuning, *, ends_at: float = inf) -> None:
        """`ends_at`: when the run stops for its `--timeout`, by `time.monotonic`."""
        self._tuning = tuning
        self._ends_at = ends_at
        self._loop = asyncio.new_event_loop()
        # A daemon thread: a coroutine that swallows its cancellation must not keep the process from ending.
        self._thread = threading.Thread(target=self._loop.run_forever, name="fieval-engine", daemon=True)
        self._is_closed = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopped: FievalError | None = None
        self._stopped_at = inf

    # -- from any thread -----------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop the thread. Coroutines handed over later are never started."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._is_closed = True
        self._loop.close()

    def call_soon(self, act: Callable[..., object], *arguments: Any) -> None:
        """Call `act` on the loop soon; nothing happens where the loop is closed."""
        with suppress(RuntimeError):  # raised by a closed loop
            self._loop.call_soon_threadsafe(act, *arguments)

    def call_later(self, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` on the loop after so many seconds."""
        self.call_soon(self._loop.call_later, seconds, act)

    def run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def work(self, begin: Begin[T], each_round: Callable[[], None] = lambda: None) -> T:
        """Run a coroutine on the loop and wait; its result. Calls `each_round` meanwhile. Raises the error that stops the
        run."""
        task = self._ended_by_a_stop(begin)
        try:
            future = self.run(task)
        except RuntimeError:  # the loop is closed: a chunk's thread was late
            task.close()
            raise self.reason from None
        while not wait([future], timeout=self._tuning.round).done:
            if self._is_closed:
                task.close()
                raise self.reason
            if monotonic() > self._ends_at:
                self.stop(RunStopped("the time given by --timeout is over"))
            # A waiting Prefect thread must return even if the coroutine swallows its cancellation.
            if monotonic() > self._stopped_at + self._tuning.cancelled_within:
                raise self.reason
            each_round()
        try:
            return future.result()
        except CancelledError:
            raise self.reason from None

    @property
    def is_stopped(self) -> bool:
        return self._stopped is not None

    @property
    def reason(self) -> FievalError:
        """The reason of the stop; Interrupted where there was none."""
        return self._stopped or Interrupted("the run was interrupted")

    def stop(self, reason: FievalError) -> None:
        """Cancel the work; every waiting call raises the reason. Later reasons are ignored. From any thread."""
        if self._stopped is None:
            self._stopped, self._stopped_at = reason, monotonic()
            self.call_soon(self.cancel)

    # -- on the loop ---------------------------------------------------------------------------------------------

    def begin(self, work: Coroutine[Any, Any, T], *, until_cancelled: bool = False) -> asyncio.Task[T]:
        """Start a task that nobody needs to wait for: its error stops the run.

        `until_cancelled`: a stop does not cancel the task; its caller does.
        """
        task = asyncio.ensure_future(work)
        if not until_cancelled:
            self._ended_with_the_others(task)
        task.add_done_callback(self._stop_for_its_error)
        return task

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def cancelled(self) -> None:
        """Cancel all tasks and wait for their ends, WorkTuning.cancelled_within seconds at most."""
        self.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._tuning.cancelled_within)

    async def _ended_by_a_stop(self, begin: Begin[T]) -> T:
        if self._stopped is not None:
            raise self._stopped
        try:
            return await self._ended_with_the_others(asyncio.ensure_future(begin()))
        except asyncio.CancelledError:
            raise self.reason from None
        except FievalError as error:
            if not error.retryable:  # it concerns the whole run, so nothing else may go on
                self.stop(error)
            raise

    def _ended_with_the_others(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _stop_for_its_error(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.stop(_as_reason(error))


def _as_reason(error: BaseException) -> FievalError:
    """The error that stops the run, for an error of a task that nobody waits for."""
    if not isinstance(error, FievalError):
        return as_unexpected(error)
    if not error.retryable:
        return error
    reason = RunStopped(str(error))
    reason.__cause__ = error
    without_secrets(reason)
    return reason
