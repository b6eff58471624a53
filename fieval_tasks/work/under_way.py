"""Requests that are under way, and coroutines that run together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from fieval_tasks.core.errors import FievalError

T = TypeVar("T")


class UnderWay(set["asyncio.Task[Any]"]):
    """Requests that have gone out. If a caller is cancelled, its request goes on, and its reply is recorded."""

    async def finished(self, request: Coroutine[Any, Any, T]) -> T:
        """Run a request that is not cancelled with its caller; its result."""
        task = asyncio.ensure_future(request)
        self.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as seen: if its caller was cancelled, asyncio would log it as never retrieved

    async def come_in(self) -> None:
        """Wait until each request has ended; each has a timeout of its own."""
        while self:
            await asyncio.wait(self)

    def cut_off(self) -> None:
        """Cancel the requests; each is recorded as a lost reply."""
        for task in self:
            task.cancel()


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines concurrently; their results. An error that is not retryable cancels the others. Raises the gravest error
    once all have ended."""
    tasks = [asyncio.ensure_future(work) for work in works]
    at_work = set(tasks)
    try:
        while at_work:
            ended, at_work = await asyncio.wait(at_work, return_when=asyncio.FIRST_EXCEPTION)
            if any(task.cancelled() or _ends_all(task.exception()) for task in ended):
                break
    finally:
        for task in at_work:
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception())]
    if errors:
        raise max(errors, key=_ends_all)
    return [task.result() for task in tasks]


def _ends_all(error: BaseException | None) -> bool:
    return error is not None and not (isinstance(error, FievalError) and error.retryable)
