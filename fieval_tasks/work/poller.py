"""The loop that asks about each open ticket when the agenda says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeAlias

from fieval_tasks.work.agenda import Agenda, Answer, OpenTicket

AT_ONCE = 200
"""Questions under way."""

Ask: TypeAlias = "Callable[[int, str, str, float], Awaitable[Answer | bool]]"


class Poller:
    """Asks about each ticket when the agenda says so.

    `ask` gets seq, eval_id, check and age, and tells what the question brought; a bool means whether it is settled.
    `ask_urgently` does the same for questions that are not to wait behind others.
    """

    def __init__(
        self,
        agenda: Agenda,
        ask: Ask,
        *,
        more_to_come: Callable[[], bool],
        ask_urgently: Ask | None = None,
        clock: Callable[[], float] = monotonic,
        at_once: int = AT_ONCE,
    ) -> None:
        self._agenda = agenda
        self._ask = ask
        self._ask_urgently = ask_urgently or ask
        self._more_to_come = more_to_come
        self._clock = clock
        self._at_once = at_once
        self._asking: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._news = asyncio.Event()
        self._leaving = False
        self.given_up = 0
        """Tickets that are still pending after their time."""

    @property
    def open(self) -> int:
        return len(self._agenda) + len(self._asking)

    def add(self, seq: int, eval_id: str, check: str, *, age: float = 0.0, scout: bool = False) -> None:
        self._agenda.add(seq, eval_id, check, now=self._clock(), age=age, scout=scout)
        self._news.set()

    def wake(self) -> None:
        """Look again whether more is to come."""
        self._news.set()

    def leave(self) -> None:
        """Ask nothing more: what is still open is somebody else's to ask about, later."""
        self._leaving = True
        self._news.set()

    async def run(self) -> None:
        """Ends when no ticket is left and none will come, or the rest is left. Raises what `ask` raised."""
        try:
            while self._asking or self._more_to_come() or (self.open and not self._leaving):
                self._start_asking()
                await self._something_happens()
                if self._failure is not None:
                    raise self._failure
        finally:
            for task in self._asking:
                task.cancel()
            await asyncio.gather(*self._asking, return_exceptions=True)

    def _start_asking(self) -> None:
        while len(self._asking) < self._at_once and not self._leaving:
            ticket = self._agenda.take(self._clock(), closing=not self._more_to_come())
            if ticket is None:
                return
            task = asyncio.create_task(self._settle(ticket))
            self._asking.add(task)
            task.add_done_callback(self._asked)

    async def _settle(self, ticket: OpenTicket) -> None:
        ask = self._ask_urgently if ticket.urgent else self._ask
        answer = await ask(ticket.seq, ticket.eval_id, ticket.check, ticket.asked_at - ticket.since)
        if isinstance(answer, bool):
            answer = Answer.DECIDED if answer else Answer.PENDING
        if not self._agenda.answered(ticket, answer, now=self._clock()):
            self.given_up += 1

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._asking.discard(task)
        if task.cancelled():
            self._failure = self._failure or asyncio.CancelledError()
        elif error := task.exception():
            self._failure = self._failure or error
        self._news.set()

    async def _something_happens(self) -> None:
        """Until a ticket is due and may be asked about, one comes, or a question is answered."""
        self._news.clear()
        may_ask = len(self._asking) < self._at_once and not self._leaving
        at = self._agenda.next_at() if may_ask else None
        timer = None
        if at is not None:
            timer = asyncio.get_running_loop().call_later(max(0.0, at - self._clock()), self._news.set)
        try:
            await self._news.wait()
        finally:
            if timer is not None:
                timer.cancel()
