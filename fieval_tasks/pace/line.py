"""Those who wait to begin, on asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Generic, Literal, Protocol, TypeVar

Kind = Literal["submit", "poll"]
T = TypeVar("T")
B = TypeVar("B")
"""What whoever begins gets."""


class Pacer(Protocol[B]):
    """Decides who may begin, and when. Time is passed in."""

    def wait(self, now: float) -> float:
        """Seconds until the next one may begin: 0 now, inf not before something happens."""

    def begin(self, now: float, n: int) -> B:
        """It begins, and asks for `n`; what it gets."""

    def leave(self, begun: B) -> None:
        """It has ended, or never used what it got."""


class FairQueue(Generic[T]):
    """The urgent first; then, first come first served within a kind, and two submissions to a poll where both wait.

    A submission sets off seconds of work elsewhere, a poll only hears of it, so submissions go first; but verdicts come
    by polls alone, so those never wait for more than two others. A question on which submissions depend is urgent.
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


class Line(Generic[B]):
    """Those who wait to begin. One future each, one timer for all; whoever may begin is woken, and nobody else."""

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
        """Wait until it may begin; what it gets."""
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
        """Let in whoever may begin by now, and see to it that the next one is let in when it may."""
        while self._waiting:
            now = self._clock()
            wait = self._pacer.wait(now)
            if wait > 0.0:
                return self._look_again(now, wait)
            begun, n = self._waiting.pop()
            if not begun.done():  # else it was cancelled
                begun.set_result(self._pacer.begin(now, n))

    def _look_again(self, now: float, wait: float) -> None:
        """A timer that is early enough stays: it finds out itself that it was too early."""
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
