"""A queue of coroutines that wait until a pacer lets them begin, on asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Generic, Literal, Protocol, TypeVar

Kind = Literal["submit", "poll"]
T = TypeVar("T")
B = TypeVar("B")
"""What a pacer gives to a coroutine that may begin, such as its start time."""


class Pacer(Protocol[B]):
    """Decides when the next in line may begin. Time is passed in."""

    def wait(self, now: float) -> float:
        """Seconds until the next one may begin; 0: now; inf: not before `WaitingLine.advance` is called for another reason."""

    def begin(self, now: float, n: int) -> B:
        """The next one begins, and asks for `n`; what it gets."""

    def leave(self, begun: B) -> None:
        """One that began has ended, or was cancelled before it used what it got."""


class FairQueue(Generic[T]):
    """Urgent entries first; then two submissions for each poll where both wait; first come, first served within a kind.

    A submission starts seconds of work at the server and a poll only asks for its result, so submissions go first. But
    verdicts come by polls only, so a poll never waits for more than two others. A question on which submissions depend
    is urgent.
    """

    ORDER: tuple[Kind, ...] = ("submit", "submit", "poll")

    def __init__(self) -> None:
        self._urgent: deque[T] = deque()
        self._waiting: dict[Kind, deque[T]] = {"submit": deque(), "poll": deque()}
        self._served = 0

    def __bool__(self) -> bool:
        return bool(self._urgent or self._waiting["submit"] or self._waiting["poll"])

    def push(self, kind: Kind, one: T, *, urgent: bool = False) -> None:
        (self._urgent if urgent else self._waiting[kind]).append(one)

    def pop(self) -> T:
        if self._urgent:
            return self._urgent.popleft()
        submits, polls = self._waiting["submit"], self._waiting["poll"]
        if not (submits and polls):
            return (submits or polls).popleft()
        kind = self.ORDER[self._served % len(self.ORDER)]
        self._served += 1
        return self._waiting[kind].popleft()


class WaitingLine(Generic[B]):
    """Coroutines that wait to begin: a future for each and one timer for all; only those that may begin are woken."""

    def __init__(self, pacer: Pacer[B], clock: Callable[[], float]) -> None:
        self._pacer = pacer
        self._clock = clock
        self._waiting: FairQueue[tuple[asyncio.Future[B], int]] = FairQueue()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._stopped = False

    def __bool__(self) -> bool:
        return bool(self._waiting)

    async def enter(self, kind: Kind = "submit", n: int = 1, *, urgent: bool = False) -> B:
        """Wait in line; what the pacer gives."""
        if self._stopped:
            raise asyncio.CancelledError
        if not self._waiting:
            now = self._clock()
            if self._pacer.wait(now) <= 0.0:
                return self._pacer.begin(now, n)
        return await self._wait(kind, n, urgent=urgent)

    async def _wait(self, kind: Kind, n: int, *, urgent: bool) -> B:
        begun: asyncio.Future[B] = asyncio.get_running_loop().create_future()
        alone = not self._waiting
        self._waiting.push(kind, (begun, n), urgent=urgent)
        if alone:
            self.advance()
        try:
            got = await begun
        except asyncio.CancelledError:
            if begun.done() and not begun.cancelled():
                self.leave(begun.result())
            raise
        if self._stopped:
            self.leave(got)
            raise asyncio.CancelledError
        return got

    def leave(self, begun: B) -> None:
        self._pacer.leave(begun)
        self.advance()

    def advance(self) -> None:
        """Let in all that may begin by now, and set the timer for the next."""
        while self._waiting:
            now = self._clock()
            wait = self._pacer.wait(now)
            if wait > 0.0:
                return self._look_again(now, wait)
            begun, n = self._waiting.pop()
            if not begun.done():  # its coroutine may have been cancelled
                begun.set_result(self._pacer.begin(now, n))

    def _look_again(self, now: float, wait: float) -> None:
        """Set the timer, unless it is set early enough: a timer that fires too early only sets the next."""
        if now + wait < self._timer_at:
            self._forget_timer()
            self._timer_at = now + wait
            self._timer = asyncio.get_running_loop().call_later(wait, self._time_has_come)

    def _time_has_come(self) -> None:
        self._timer, self._timer_at = None, inf
        self.advance()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, inf

    def stop(self) -> None:
        self._stopped = True
        self._forget_timer()
        while self._waiting:
            self._waiting.pop()[0].cancel()
