"""The engine of a run in this process: the thread-safe door to the work on its event loop, for flows and their tasks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from functools import partial
from math import inf
from time import monotonic
from typing import Any

from fieval_tasks.api.client import EvalClient
from fieval_tasks.core.errors import FievalError, Interrupted
from fieval_tasks.core.plan import Mode
from fieval_tasks.core.progress import Progress
from fieval_tasks.core.steering import Control
from fieval_tasks.ledger.recognised_tiers import record_tier
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.pace.pace import LongestWait, Pace
from fieval_tasks.pace.permits import Permits, PermitSource
from fieval_tasks.pace.quota import Quotas
from fieval_tasks.work.holdings import Holdings
from fieval_tasks.work.lanes import Lanes
from fieval_tasks.work.loop import Begin, LoopThread, T
from fieval_tasks.work.options import Options
from fieval_tasks.work.work import Work


class Engine:
    """Works on one run until each of its items has a verdict, is left pending, or the run is stopped.

    A context manager; its methods may be called from any thread.
    """

    def __init__(
        self,
        run: Run,
        ledger: Ledger,
        connect: Callable[[], EvalClient],
        options: Options,
        *,
        open_limit: Callable[[], PermitSource] | None = None,
    ) -> None:
        """`open_limit` opens the source of permits that every request needs; None: no request needs any."""
        self.run = run
        self._database = ledger.database
        self._book = ledger.book(run.run_id)
        self._spent_before = ledger.spent(run.run_id)
        self._connect = connect
        self._options = options
        self._open_limit = open_limit
        self.tuning = options.work_tuning
        self._ends_at = inf if options.timeout is None else monotonic() + options.timeout
        self._loop = LoopThread(options.work_tuning, ends_at=self._ends_at)
        self._holdings = Holdings(self._book, options)
        self._permits: Permits | None = None
        self._work: Work | None = None
        self._helping_with: list[int] = []
        self._chunk_ended = threading.Condition()

    # -- begin and end ---------------------------------------------------------------------------------------------

    def __enter__(self) -> Engine:
        self._loop.start()
        try:
            if self._open_limit is not None:
                self._permits = Permits(self._open_limit())
            found = [] if self._options.mode is Mode.SUBMIT else self._holdings.with_open_tickets()
            self._work = self._loop.run(self._begun()).result()
            self._looked_into(found)
        except BaseException:
            self._end()
            raise
        _engines[self.run.run_id] = self
        return self

    async def _begun(self) -> Work:
        tuning, options = self.tuning, self._options
        longest = max(tuning.shortest_wait, min(tuning.longest_wait, options.item_timeout))
        longest_wait = LongestWait(longest, ends_at=self._ends_at)
        pace = Pace(
            concurrency=options.concurrency,
            rate=options.rate,
            permits=self._permits,
            longest_wait=longest_wait,
            tuning=options.pace_tuning,
        )
        quotas = Quotas(
            options.allowed,
            # A run that only submits asks no questions, so a quota would wait for news of refusals that never comes.
            hears_refusals=options.may_have_tiers and options.mode is not Mode.SUBMIT,
            waits_for_judges=options.mode is Mode.SYNC,
            longest_wait=longest_wait,
            tuning=options.pace_tuning,
        )
        lanes = Lanes(self.run, self._connect(), quotas, options)
        return Work(self._book, lanes, pace, self._holdings, self._loop, options, spent=self._spent_before)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # an error ends the block: send nothing new while replies under way come in
            self.stop(Interrupted("the run was interrupted"), hurry=not issubclass(kind, Exception))
        try:
            self._end()
        finally:
            _engines.pop(self.run.run_id, None)

    def _end(self) -> None:
        ending = self._loop.run(self._close())
        try:
            ending.result()
        except BaseException:
            if not ending.done():  # interrupted while waiting: hurry
                self.stop(Interrupted("the run was interrupted"), hurry=True)
                ending.result()
            raise
        finally:
            self._loop.close()

    async def _close(self) -> None:
        try:
            if self._work is not None:
                await self._work.close()
                if tier := _recognised(self.run, self._work.lanes):
                    await asyncio.to_thread(record_tier, self._database, self.run.run_id, tier)
        finally:
            try:
                await asyncio.to_thread(self._holdings.let_go)
            finally:
                if self._permits is not None:
                    await self._permits.aclose()

    def stop(self, reason: FievalError, *, hurry: bool = False) -> None:
        """Stop the run: nothing new is sent, and every waiting call raises `reason`. Later reasons are ignored.

        The engine's end waits for the replies to submissions under way; in a `hurry` only for WorkTuning.last_moment.
        """
        self._loop.stop(reason)
        if hurry and self._work is not None:
            self._work.hurry()

    def come_in(self, show: Callable[[Progress], None]) -> None:
        """After a stop: wait until every submission under way has its reply or is past its timeout."""
        coming = self._loop.run(self._at_work.sender.under_way.come_in())
        while not wait([coming], timeout=self.tuning.round).done:
            show(self.progress)

    @property
    def _at_work(self) -> Work:
        assert self._work is not None, "an engine is used as a context manager"
        return self._work

    def _done(self, begin: Begin[T], show: Callable[[Progress], None] | None = None) -> T:
        """Run a coroutine on the loop; its result. Shows the progress meanwhile. Raises the error that stops the run."""
        return self._loop.work(begin, (lambda: show(self.progress)) if show else (lambda: None))

    # -- submissions -------------------------------------------------------------------------------------------------

    def to_submit(self) -> list[int]:
        """The chunks with unsent items that this process should try."""
        return self._holdings.to_submit()

    def expect(self, submissions: Sequence[Any]) -> None:
        """Expect further tickets until each of these futures, which submit chunks, is done."""
        with self._chunk_ended:
            self._at_work.chunks_left += len(submissions)
        for submission in submissions:
            submission.add_done_callback(self._chunk_done)

    def _chunk_done(self, _: object) -> None:
        with self._chunk_ended:
            self._at_work.chunks_left -= 1
            self._chunk_ended.notify_all()
        self._loop.call_soon(self._at_work.poller.wake)

    def chunks_have_ended(self, *, within: float) -> bool:
        """Wait until every expected chunk is done, `within` seconds at most; whether they are."""
        # Prefect's own wait for a future goes by an alarm, and may hang for ever.
        with self._chunk_ended:
            return self._chunk_ended.wait_for(lambda: self._at_work.chunks_left <= 0, timeout=within)

    def submit_chunk(self, chunk: int) -> int:
        """Send a chunk's unsent items; how many those were. Raises RunStopped, StoreError or Unreachable."""
        is_new = not self._holdings.has(chunk)
        if not self._holdings.claim([chunk]):  # another process holds it
            return 0
        if is_new:  # one that helped with it may have died since this run began
            self._looked_into([chunk])
        with self._options.within("fieval chunk", {"fieval.run": self.run.run_id, "fieval.chunk": chunk}):
            return self._done(partial(self._at_work.send, chunk))

    def submit_rest(self) -> int:
        """Send the unsent items of chunks that no process holds, one chunk after the other; how many those were.

        A retry after an outage goes on with the chunk that it had reached.
        """
        sent = 0
        while chunks := self._helping_with or self._looked_into(self._holdings.take_one()):
            self._helping_with = chunks
            with self._options.within("fieval chunk", {"fieval.run": self.run.run_id, "fieval.chunk": chunks[0]}):
                sent += self._done(partial(self._at_work.send, chunks[0]))
            self._helping_with = []
        return sent

    def _looked_into(self, chunks: list[int]) -> list[int]:
        """The same chunks, after reading their open tickets: later this process's own would be among them."""
        if chunks and self._options.mode is not Mode.SUBMIT:
            self._loop.call_soon(self._at_work.ask_about_earlier, self._book.open_tickets(chunks))
        return chunks

    def rest(self, seconds: float) -> None:
        """Wait so many seconds. Raises the error that stops the run as soon as it is stopped."""
        self._done(partial(asyncio.sleep, seconds))

    # -- verdicts ----------------------------------------------------------------------------------------------------

    def settle(self, show: Callable[[Progress], None] | None = None) -> int:
        """Ask about every open ticket until all are settled, or no verdict comes for `Options.quiet` seconds; how many are
        left pending."""
        with self._options.within("fieval poll", {"fieval.run": self.run.run_id}):
            self._done(self._at_work.settle, show)
        return self._at_work.poller.given_up + self.left

    @property
    def left(self) -> int:
        """Open tickets that this process has left to a later one, though their time is not over."""
        return self._at_work.poller.open

    @property
    def awaits_verdicts(self) -> bool:
        """Whether there are tickets to ask about, or items that are being sent once more."""
        return self._loop.run(self._at_work.has_open_ends()).result()

    def wait_for_others(self, show: Callable[[Progress], None] | None = None) -> bool:
        """Wait while other processes work on the run. True: there are chunks without a process, now adopted by this one.

        Releases this process's own claims first: two processes that waited for each other's claims would never end.
        """
        # Let go of the items before the claims: once the claims are gone another process may send them.
        self._loop.call_soon(self._at_work.items.let_go_all)
        self._holdings.let_go()
        while True:
            adopted = self._looked_into(self._holdings.adopt())
            self._at_work.items.counts = self._book.counts()
            if adopted or not self._holdings.are_others_at_work():
                return bool(adopted)
            self._done(partial(asyncio.sleep, self.tuning.look_for_others), show)

    # -- what is seen of it, and how it is steered ---------------------------------------------------------------------

    def control(self, wanted: Control) -> None:
        """Pause or go on, and change the bounds of rate and concurrency, from now on."""
        self._loop.call_soon(self._at_work.control, wanted)

    @property
    def progress(self) -> Progress:
        return self._at_work.progress

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences for the report on what happened in this process."""
        work = self._at_work
        away, asked = self._permits.times_away if self._permits else 0, work.pace.longest_asked
        without_permits = f"the shared limit could not be asked {away:,} times: what needed its permits waited"
        asked_to_wait = f"the server asked everyone to wait, for up to {asked:,.0f} s"
        return (
            *(_stopped(check, why, self._book.count_unsent(check=check)) for check, why in work.lanes.stopped.items()),
            *([without_permits] if away else []),
            *([asked_to_wait] if asked > self.tuning.shortest_wait else []),
            *work.settlement.notices,
            *work.lanes.client.notices,
        )


def _recognised(run: Run, lanes: Lanes) -> str | None:
    """The tier that was recognised by refusals, for whoever plans the next run; None where it was named, or none was."""
    if lanes.options.allowed.tier is not None:
        return None
    tiers = (lanes.quotas.quota_of(check.model).tier for check in run.checks if check.model)
    return next((tier.name for tier in tiers if tier is not None and tier.windows), None)


def _stopped(check: str, why: str, left: int) -> str:
    return f"{check} was stopped: {why}" + (f"; {left:,} of its items are still to be sent" if left else "")


_engines: dict[str, Engine] = {}


def current(run_id: str) -> Engine | None:
    """The engine that works on this run in this process; None where none does."""
    return _engines.get(run_id)


def stop_all(reason: FievalError) -> bool:
    """Stop every run that this process works on, in a hurry. False where it works on none."""
    engines = list(_engines.values())
    for engine in engines:
        engine.stop(reason, hurry=True)
    return bool(engines)
