"""The recorder: group commits, in which changes that arrive during one commit go into the next one together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import TypeAlias

from fieval_tasks.core.budget import UNBOUNDED, Budget
from fieval_tasks.core.errors import StoreAway, StoreError
from fieval_tasks.ledger.book import Book
from fieval_tasks.ledger.changes import Change, Counted, Spent
from fieval_tasks.ledger.claims import Stamp
from fieval_tasks.ledger.database import pauses
from fieval_tasks.ledger.processes import owner_name
from fieval_tasks.ledger.spending import OverBudget
from fieval_tasks.ledger.tuning import DEFAULT_TUNING, LedgerTuning

Batch: TypeAlias = "Sequence[tuple[Sequence[Change], asyncio.Future[None]]]"
"""The changes of each waiting call of `record`, and what answers it."""


class Recorder:
    """Writes one run's changes to the ledger from an event loop, without blocking it."""

    def __init__(
        self,
        book: Book,
        *,
        owner: str | None = None,
        budget: Budget = UNBOUNDED,
        tuning: LedgerTuning = DEFAULT_TUNING,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`owner`: the process's name in its claims; once it is deposed, its changes are refused. `budget`: the run's."""
        self._book = book
        self._owner = owner or owner_name()
        self._budget = budget
        self._tuning = tuning
        self._clock = clock
        self._sleep = sleep
        self._commits = 0
        self._waiting: list[tuple[Sequence[Change], asyncio.Future[None]]] = []
        self._hurry = asyncio.Event()
        self._tally: Counter[str] = Counter()
        self.so_far: Counter[str] = Counter()
        """Request counter -> its sum in this process."""
        self.spent: Counter[str] = Counter()
        """Check -> evaluations that this process has sent, and that may be charged."""
        self._draining: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")

    async def record(self, *changes: Change, at_leisure: bool = False) -> None:
        """Returns when the changes are committed. Raises StoreError where they could not be, and OverBudget where they would
        spend more than is left: then none of them is made.

        `at_leisure`: the commit may wait for more changes; if these were lost, the server could be asked again for free.
        """
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((changes, written))
        if not at_leisure or len(self._waiting) >= self._tuning.enough:
            self._hurry.set()
        if self._draining is None or self._draining.done():
            self._draining = asyncio.create_task(self._drain())
        await asyncio.shield(written)  # if the caller is cancelled, the change is committed all the same

    def count(self, name: str, n: int = 1) -> None:
        """Add to one of the run's request counters; written with the next commit."""
        self._tally[name] += n
        self.so_far[name] += n

    async def aclose(self) -> None:
        """Commit what is left."""
        try:
            await self.record()
        finally:
            if self._draining is not None:
                await self._draining
            self._thread.shutdown(wait=True)

    async def _drain(self) -> None:
        while self._waiting:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._tuning.at_leisure)
            self._hurry.clear()
            batch, self._waiting = self._waiting, []
            counted, self._tally = self._tally, Counter()
            try:
                made = await self._affordable(batch, [Counted(**counted)] if counted else [])
            except Exception as error:  # raised again in every caller whose change was in the batch
                self._tally += counted
                _answer(batch, error)
            else:
                for change in (change for changes, _ in made for change in changes if isinstance(change, Spent)):
                    self.spent[change.check] += change.evaluations
                _answer(made, None)
            await asyncio.sleep(self._tuning.gather)

    async def _affordable(self, batch: Batch, counted: Sequence[Change]) -> Batch:
        """Commit a batch without the changes that the budget has no room for, whose callers are answered; what was committed."""
        while True:
            try:
                await self._commit([*(change for group, _ in batch for change in group), *counted])
            except OverBudget as over:  # nothing was committed
                for one in batch:
                    if (refusal := over.of(one[0])) is not None:
                        _answer([one], refusal)
                batch = [one for one in batch if over.of(one[0]) is None]
            else:
                return batch

    async def _commit(self, changes: Sequence[Change]) -> None:
        self._commits += 1
        stamp = Stamp(self._owner, self._commits)
        loop = asyncio.get_running_loop()
        patience = self._tuning.recorder_patience
        waits = pauses(patience, self._tuning, self._clock)
        while True:
            try:
                return await loop.run_in_executor(self._thread, self._book.apply, changes, stamp, self._budget)
            except StoreAway as error:
                pause = next(waits, None)
                if pause is None:
                    raise StoreError(f"{error} (tried for {patience:.0f} s)") from error
            await self._sleep(pause)


def _answer(batch: Batch, error: Exception | None) -> None:
    for _, written in batch:
        if written.done():
            continue
        if error is None:
            written.set_result(None)
        else:
            written.set_exception(error)
