"""The early end of a run whose gates are decided: until then its items are sent in the order of drawing, and not far ahead."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any, TypeVar

from fieval_tasks.core.items import Item, State
from fieval_tasks.ledger.draws import Draws
from fieval_tasks.work.lanes import Lanes
from fieval_tasks.work.loop import LoopThread
from fieval_tasks.work.open_items import OpenItems
from fieval_tasks.work.options import Options
from fieval_tasks.work.poller import Poller

T = TypeVar("T")
_DECIDED = "its gates are decided"


class NotNeeded(Exception):
    """Raised where a wait for leave to send ended because nothing more is needed."""


@dataclass(eq=False)
class EarlyEnd:
    """Lets items be sent until the run's gates are decided by the ledger. On the engine's event loop."""

    is_decided: Callable[[], bool]
    """Looks into the ledger, and blocks."""
    draws: Draws
    items: OpenItems
    lanes: Lanes
    poller: Poller
    loop: LoopThread
    options: Options
    _ended: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _waiting: list[tuple[int, int, int, asyncio.Future[bool]]] = field(default_factory=list, init=False)
    """A heap of place, number and size of each request that waits for its turn."""
    _number: count[int] = field(default_factory=count, init=False)
    _on_their_way: int = field(default=0, init=False)
    """Items that were let go and neither have a ticket nor came back."""
    _looking: asyncio.Task[None] | None = field(default=None, init=False)

    @asynccontextmanager
    async def turn(self, items: Sequence[Item]) -> AsyncIterator[bool]:
        """Waits until these items may be sent; yields False where they are not needed."""
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (items[0].drawn or 0, next(self._number), len(items), turn))
        if self._looking is None or self._looking.done():
            self._looking = self.loop.begin(self._look())
        is_needed = await turn
        try:
            yield is_needed
        finally:
            self._on_their_way -= is_needed * len(items)

    async def unless_over(self, wait: Coroutine[Any, Any, T]) -> T:
        """The result of a wait for leave to send: a tier may grant it in ten minutes only. Raises NotNeeded at the run's end."""
        waiting = asyncio.ensure_future(wait)
        over = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait((waiting, over), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise NotNeeded
            return waiting.result()
        finally:
            over.cancel()
            waiting.cancel()  # nothing happens to what is done
            await asyncio.gather(over, waiting, return_exceptions=True)

    async def _look(self) -> None:
        """Let items go while the gates are open; end the run once they are decided. Until nobody waits."""
        while self._waiting and not self._ended.is_set():
            began = monotonic()
            if await asyncio.to_thread(self.is_decided):
                self._ended.set()
            else:
                self._let_go()  # only after a look, so that no slow one buys more than the next wave
                pause = max(self.options.work_tuning.look_every, 10 * (monotonic() - began))
                await asyncio.sleep(min(pause, self.options.work_tuning.look_at_last))
        if self._ended.is_set():  # again for each item that is to be sent once more after the end
            self.lanes.end(_DECIDED)
            self.items.leave_out(await asyncio.to_thread(self.draws.leave_out))
        while self._waiting:
            self._answer(heapq.heappop(self._waiting)[-1], False)

    def _let_go(self) -> None:
        """Let go what was drawn first, as far as there is room."""
        most = max(self.options.work_tuning.ahead, int(self._settled * self.options.work_tuning.ahead_share))
        most = max(1, most // (self.options.share.of if self.options.share else 1))
        while self._waiting and self._on_their_way + self.poller.open < most:
            _, _, size, turn = heapq.heappop(self._waiting)
            self._on_their_way += size * self._answer(turn, True)

    @staticmethod
    def _answer(turn: asyncio.Future[bool], is_needed: bool) -> bool:
        """Whether somebody still waits for it: a stop may have cancelled the request."""
        if turn.done():
            return False
        turn.set_result(is_needed)
        return True

    @property
    def _settled(self) -> int:
        return self.items.counts[State.SCORED] + self.items.counts[State.FAILED]
