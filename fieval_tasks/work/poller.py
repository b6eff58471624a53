"""The loop that asks about open tickets, in the order and at the times of the agenda."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from fieval_tasks.work.agenda import Agenda, Answer
from fieval_tasks.work.open_items import OpenItem


class Poller:
    """Asks about open tickets when the agenda says so. On the engine's event loop."""

    def __init__(
        self,
        agenda: Agenda,
        ask: Callable[[OpenItem], Awaitable[Answer]],
        *,
        more_to_come: Callable[[], bool],
        at_once: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`at_once`: questions that may be under way at the same time; `more_to_come`: more tickets may be added."""
        self._agenda = agenda
        self._ask = ask
        self._more_to_come = more_to_come
        self._clock = clock
        self._at_once = at_once
        self._asking: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._news = asyncio.Event()
        self._is_leaving = False
        self.given_up = 0
        """Tickets that were still pending when their time was over."""

    @property
    def open(self) -> int:
        return len(self._agenda) + len(self._asking)

    def add(self, item: OpenItem, *, age: float = 0.0, is_sentinel: bool = False) -> None:
        """Ask about an item's ticket from now on; as `Agenda.add`."""
        self._agenda.add(item, now=self._clock(), age=age, is_sentinel=is_sentinel)
        self._news.set()

    def wake(self) -> None:
        """Check again whether more tickets are to come: `more_to_come` has changed."""
        self._news.set()

    def leave(self) -> None:
        """Ask nothing more; the open tickets are left to a later process."""
        self._is_leaving = True
        self._news.set()

    async def run(self) -> None:
        """Ask until no ticket is left and none will come, or until `leave`. Raises what `ask` raised."""
        try:
            while self._asking or self._more_to_come() or (self.open and not self._is_leaving):
                self._start_asking()
                await self._something_happens()
                if self._failure is not None:
                    raise self._failure
        finally:
            for task in self._asking:
                task.cancel()
            await asyncio.gather(*self._asking, return_exceptions=True)

    @property
    def _may_ask(self) -> bool:
        return len(self._asking) < self._at_once and not self._is_leaving

    def _start_asking(self) -> None:
        while self._may_ask and (item := self._agenda.take(self._clock(), closing=not self._more_to_come())):
            task = asyncio.create_task(self._settle(item))
            self._asking.add(task)
            task.add_done_callback(self._asked)

    async def _settle(self, item: OpenItem) -> None:
        if not self._agenda.answered(item, await self._ask(item), now=self._clock()):
            self.given_up += 1

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._asking.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._failure = self._failure or error
        self._news.set()

    async def _something_happens(self) -> None:
        """Wait until a ticket is due and may be asked about, one is added, or a question is answered."""
        self._news.clear()
        at = self._agenda.next_at() if self._may_ask else None
        timer = None
        if at is not None:
            timer = asyncio.get_running_loop().call_later(max(0.0, at - self._clock()), self._news.set)
        try:
            await self._news.wait()
        finally:
            if timer is not None:
                timer.cancel()
