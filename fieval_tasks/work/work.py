"""The work on one run on the engine's event loop: sending items, polling tickets, and sending again what must be."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

from fieval_tasks.core.items import Failed, Item, State
from fieval_tasks.core.plan import Mode
from fieval_tasks.core.progress import Progress
from fieval_tasks.core.steering import Control
from fieval_tasks.ledger.book import Book, OpenTicket
from fieval_tasks.ledger.recording import Recorder
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.pace.pace import Pace
from fieval_tasks.work.agenda import Agenda, Answer
from fieval_tasks.work.early_end import EarlyEnd
from fieval_tasks.work.echoes import Echoes
from fieval_tasks.work.holdings import Holdings
from fieval_tasks.work.lanes import Lanes, packs
from fieval_tasks.work.loop import LoopThread
from fieval_tasks.work.open_items import OpenItem, OpenItems
from fieval_tasks.work.options import Options
from fieval_tasks.work.poller import Poller
from fieval_tasks.work.sending import Sender
from fieval_tasks.work.settlement import Settlement


class Work:
    """One run's work. Methods must be called on the engine's event loop; properties may be read from any thread."""

    def __init__(
        self,
        book: Book,
        lanes: Lanes,
        pace: Pace,
        holdings: Holdings,
        loop: LoopThread,
        options: Options,
        *,
        spent: Mapping[str, int],
    ) -> None:
        """`spent`: check -> evaluations that the run has sent before."""
        self._loop = loop
        self._spent = spent
        self._options = options
        self._recorder = Recorder(book, owner=options.owner, budget=options.budget)
        self.pace = pace
        self.items = OpenItems(book, self._recorder, options.audience)
        self.lanes = lanes
        echoes = Echoes(book)
        self.settlement = Settlement(self.lanes, echoes, self._recorder, pace, options)
        agenda = Agenda(
            give_up_after=options.item_timeout,
            to_come=lambda: self.items.counts[State.READY],
            tuning=options.work_tuning,
        )
        self.poller = Poller(
            agenda, self._ask_about, more_to_come=self._more_to_come, at_once=options.work_tuning.at_once
        )
        early_end = None
        if options.is_decided is not None:
            early_end = EarlyEnd(options.is_decided, book.draws, self.items, lanes, self.poller, loop, options)
        self.sender = Sender(self.lanes, self.items, echoes, self.poller, self._recorder, pace, options, early_end)
        self.chunks_left = 0
        """Chunks that will be submitted, and have not ended (`Engine.expect`)."""
        self._earlier_tickets: deque[OpenTicket] = deque()
        """Tickets of earlier processes that have not been asked about yet."""
        self._resending = 0
        self._asking: asyncio.Task[None] | None = None
        # Claims are renewed until all replies are in: that may take longer than a lease, and a stop must not end it.
        self._renewing = loop.begin(holdings.keep(), until_cancelled=True)

    async def close(self) -> None:
        """Start nothing new, and wait until the replies to requests under way are recorded."""
        await self._loop.cancelled()
        await self.sender.under_way.come_in()
        self._renewing.cancel()
        await asyncio.gather(self._renewing, return_exceptions=True)
        try:
            await self._recorder.aclose()
        finally:
            await self.lanes.client.aclose()

    def hurry(self) -> None:
        """Cancel requests under way after WorkTuning.last_moment, and record them as lost. From any thread."""
        self._loop.call_later(self._options.work_tuning.last_moment, self.sender.under_way.cut_off)

    def control(self, wanted: Control) -> None:
        """Pause or go on, and change the bounds. A rate is the run's, of which this process takes its share."""
        options, rate = self._options, wanted.requests_a_second
        self.sender.pause(wanted.paused)
        if rate is not None and options.share is not None:
            rate /= options.share.of
        self.pace.bound(concurrency=wanted.concurrency or options.concurrency, rate=rate or options.rate)

    @property
    def progress(self) -> Progress:
        under_way = len(self.sender.under_way)
        sent = {
            check.name: self._spent.get(check.name, 0) + self._recorder.spent[check.name]
            for check in self.lanes.run.checks
        }
        coming_in = f"stopping: {under_way:,} requests under way come in first"
        return self.items.counts.progress(
            self._options.budget.prices,
            sent,
            paused=self.sender.is_paused,
            lag=self._options.audience.lag if self._options.audience else "",
            waits=coming_in if self._loop.is_stopped and under_way else self.pace.waits or self.lanes.quotas.waits,
            throttled=self._recorder.so_far["throttled"],
        )

    # -- what is sent ----------------------------------------------------------------------------------------------

    async def send(self, chunk: int) -> int:
        """Send a chunk's unsent items that no other coroutine is working on; how many those were."""
        is_sync, sender = self._options.mode is Mode.SYNC, object()
        if is_sync:  # a lane whose calls keep failing submits instead; those tickets are polled at once
            self._ask()
        if self._asking is not None and not self._asking.done():
            self._adopt_earlier()
        items = await self.items.take_up(chunk, sender)
        try:
            ready = await self.sender.to_be_sent(items)
            # A synchronous pack with a bad item fails after the items before it were evaluated, and paid.
            await self.sender.send_all([(item,) for item in ready] if is_sync else packs(ready))
        finally:
            self._has_ended(sender, items)
        return len(ready)

    def _has_ended(self, sender: object, items: Sequence[Item]) -> None:
        if not self._loop.is_stopped:  # after a stop they may still be under way, and nothing is taken up any more
            self.items.let_go_unsent(items, sender)

    async def _send_again(self, item: OpenItem, sender: object, eval_id: str | None, failed: Failed | None) -> None:
        """Send an item again that the server accepted and did not judge; `failed`: how its evaluation failed, if it did."""
        found = await self.items.read(item.seq)
        try:
            if failed is None or await self.lanes.lane_of(item.check).breaker.relents():
                await self.sender.send_at_last(found)
            else:  # the lane was stopped, because its evaluations fail: the item keeps its failure
                await self.items.decide([(item.seq, eval_id, failed)])
        finally:
            self._has_ended(sender, [found])
        self._resending -= 1  # not after an error: the run must not seem done
        self.poller.wake()

    # -- what is asked about -----------------------------------------------------------------------------------------

    def ask_about_earlier(self, tickets: Sequence[OpenTicket]) -> None:
        """Ask about these tickets of earlier processes too."""
        self._earlier_tickets.extend(tickets)

    async def settle(self) -> None:
        """Poll until no ticket is left and none will come, or no verdict comes for `Options.quiet` seconds."""
        await asyncio.shield(self._ask())

    async def has_open_ends(self) -> bool:
        """Whether there are tickets to ask about, or items that are being sent once more.

        A coroutine, so that it runs on the loop: there an item is always either polled or being sent again.
        """
        return self.poller.open > 0 or self._resending > 0 or bool(self._earlier_tickets)

    def _more_to_come(self) -> bool:
        return self.chunks_left > 0 or self._resending > 0

    def _ask(self) -> asyncio.Task[None]:
        if self._asking is None or self._asking.done():
            self._asking = self._loop.begin(self._poll())
        return self._asking

    async def _poll(self) -> None:
        self._adopt_earlier()
        quiet = asyncio.ensure_future(self._leave_when_quiet())
        try:
            await self.poller.run()
            await self.items.decide(self.settlement.unknown())
        finally:
            quiet.cancel()

    def _adopt_earlier(self) -> None:
        """Adopt the tickets of earlier processes, and add them to the poller."""
        now = utc_now()
        while self._earlier_tickets:
            ticket = self._earlier_tickets.popleft()
            if item := self.items.adopt(ticket.seq, ticket.eval_id, ticket.check):
                self.poller.add(item, age=max((now - ticket.submitted_at).total_seconds(), 0.001))

    async def _leave_when_quiet(self) -> None:
        if self._options.quiet is not None:
            before = -1
            while before != (before := self.progress.settled):
                await asyncio.sleep(self._options.quiet)
            self.poller.leave()

    async def _ask_about(self, item: OpenItem) -> Answer:
        """Ask about an item's ticket, and do what the answer demands."""
        heard, eval_id = await self.settlement.ask(item), item.eval_id
        if heard.verdict is not None:
            await self.items.decide([(item.seq, eval_id, heard.verdict)])
        if heard.stops is not None:
            self._loop.stop(heard.stops)  # before it is recorded: meanwhile more would be sent in vain
        if heard.put_back is not None:
            await self.items.put_back(item, heard.put_back, sender := object())
            self.sender.allowance.given_back()  # an evaluation that a limit refused is not charged
            if not self._loop.is_stopped:
                self._resending += 1
                self._loop.begin(self._send_again(item, sender, eval_id, heard.put_back.failed))
        return heard.answer
