"""An asyncio loop in a thread of its own: what runs on it is begun from any thread, and ends where a run is stopped."""

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
from fieval_tasks.core.faults import as_unexpected
from fieval_tasks.core.scrubbing import without_secrets
from fieval_tasks.work.work_tuning import WorkTuning

T = TypeVar("T")
Begin: TypeAlias = Callable[[], Coroutine[Any, Any, T]]
"""Makes the coroutine once the loop comes to it: one that is made and never begun would be complained of."""


class LoopThread:
    """The loop. `stop` ends what was begun by `work` and `begin`; what was begun by `run` goes to its end."""

    def __init__(self, tuning: WorkTuning, *, ends_at: float = inf) -> None:
        """`ends_at`: by `time.monotonic`, when whatever is waited for is stopped."""
        self._tuning = tuning
        self._ends_at = ends_at
        self._loop = asyncio.new_event_loop()
        # a daemon: work that will not be cancelled must not keep the process from ending
        self._thread = threading.Thread(target=self._loop.run_forever, name="fieval-engine", daemon=True)
        self._is_closed = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopped: FievalError | None = None
        self._stopped_at = inf

    # -- from any thread -----------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Nothing runs any more. What a thread hands over from now on is never begun."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._is_closed = True
        self._loop.close()

    def call_soon(self, act: Callable[..., object], *arguments: Any) -> None:
        """On the loop, where that still runs."""
        with suppress(RuntimeError):  # it is closed, and everything has ended
            self._loop.call_soon_threadsafe(act, *arguments)

    def call_later(self, seconds: float, act: Callable[[], None]) -> None:
        """On the loop, after so long."""
        self.call_soon(self._loop.call_later, seconds, act)

    def run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def work(self, begin: Begin[T], each_round: Callable[[], None] = lambda: None) -> T:
        """What this comes to; `each_round` is called while it is waited for. Raises what stops the run."""
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
            # whoever waits in Prefect's thread must get away, even from work that swallows its cancellation
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
        """Why nothing goes on here."""
        return self._stopped or Interrupted("the run was interrupted")

    def stop(self, reason: FievalError) -> None:
        """Nothing new begins, and whoever waits for something gets the reason. The first reason stands."""
        if self._stopped is None:
            self._stopped, self._stopped_at = reason, monotonic()
            self.call_soon(self.cancel)

    # -- on the loop ---------------------------------------------------------------------------------------------

    def begin(self, work: Coroutine[Any, Any, T], *, until_cancelled: bool = False) -> asyncio.Task[T]:
        """At work from now on, though perhaps nobody waits for it: its error stops the run.

        `until_cancelled`: not ended by a stop, but by whoever began it.
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
        """Cancel everything, and wait for it, though not for ever."""
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
            if not error.retryable:  # no item survives it, so no other work may go on
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
    """Of an error that nobody waits for, why the run can't go on."""
    if not isinstance(error, FievalError):
        return as_unexpected(error)
    if not error.retryable:
        return error
    reason = RunStopped(str(error))
    reason.__cause__ = error
    without_secrets(reason)
    return reason
