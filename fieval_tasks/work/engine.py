"""One asyncio engine per run and process: one connection pool, one pace, one agenda of open tickets.

Prefect's tasks are threads; they hand their coroutines to the engine's loop, which runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError, wait
from contextlib import suppress
from functools import partial
from math import inf
from time import monotonic
from typing import Any, TypeVar

from fieval_tasks.api.client import EvalClient
from fieval_tasks.core.errors import FievalError, Interrupted, RunStopped, StoreAway
from fieval_tasks.core.faults import fault
from fieval_tasks.core.items import Failed, Item, State, Ticket, Verdict
from fieval_tasks.core.lanes import other_judges
from fieval_tasks.core.plan import Mode
from fieval_tasks.core.progress import Progress
from fieval_tasks.core.scrubbing import without_secrets
from fieval_tasks.core.steering import Control
from fieval_tasks.ledger.book import OpenTicket
from fieval_tasks.ledger.changes import Decided
from fieval_tasks.ledger.claims import Claim
from fieval_tasks.ledger.recording import Recorder
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.pace.pace import LongestWait, Pace
from fieval_tasks.pace.permits import Permits, SharedPace, Source
from fieval_tasks.pace.quota import Quotas
from fieval_tasks.work.agenda import Agenda
from fieval_tasks.work.breaker import Breaker
from fieval_tasks.work.echoes import Echoes, Told, digest
from fieval_tasks.work.open_items import OpenItems
from fieval_tasks.work.options import Options
from fieval_tasks.work.poller import Poller
from fieval_tasks.work.settlement import Settlement
from fieval_tasks.work.submission import Lane, Post, Submission, Submitter, UnderWay, evaluating, packs, submitting

T = TypeVar("T")

LAST_MOMENT = 0.8
"""Seconds that submissions under way get once somebody is in a hurry (Ctrl-C, SIGTERM): `flows.cli.command` ends the process
1.7 s after it. Whatever else stops a run lets them come in, each within its own time: a reply that is lost may be paid for twice."""
CANCELLED_WITHIN = 5.0
"""Seconds in which work that is cancelled ends, on the busiest machine; what does not is left behind with its loop."""
LONGEST_WAIT = 3600.0
"""Seconds that a server may ask everyone to wait (Retry-After), and no more than an item's time: what is open would be past
it, and a day's limit is better met by a run that has ended and says when to carry on. An hour is the platform's longest limit
but that of a day."""
SHORTEST_WAIT = 60.0
"""Seconds of such a wait that are never too much, however short an item's time is: limits of a minute are common."""
SUBMITTERS = 4
"""Chunks that are submitted at the same time."""
ROUND = 0.25
"""Seconds between two looks at the progress."""
LEASE = 60.0
"""Seconds after which a process that is not heard of loses its chunks to another one."""
LOOK_FOR_OTHERS = 1.0
"""Seconds between two looks at what other processes do."""


class Engine:
    """Works on one run until each of its items has a verdict, is left pending, or the run is stopped."""

    def __init__(
        self,
        run: Run,
        ledger: Ledger,
        connect: Callable[[], EvalClient],
        options: Options,
        *,
        open_limit: Callable[[], Source] | None = None,
    ) -> None:
        """`open_limit` opens the source of permits that every request needs; None: no request needs any."""
        self.run = run
        self.ledger = ledger
        self._book = ledger.book(run.run_id)
        self._connect = connect
        self._options = options
        self._mode = options.mode
        self._owner = options.owner
        self._share = options.share
        self._deadline = None if options.timeout is None else monotonic() + options.timeout
        self._open_limit = open_limit
        self._permits: Permits | None = None
        self._claimed: set[int] = set()
        self._tried: set[int] = set()
        self._helping_with: list[int] = []
        self._adopted: list[int] | None = None
        self._found_open: deque[OpenTicket] = deque()
        self._counts = self._book.counts()
        self._repeats = self._book.repeats()
        self._lanes_stopped: dict[str, str] = {}
        """Check -> why."""
        self._lanes: dict[str, Lane] = {}
        self._longest_wait = LongestWait(
            max(SHORTEST_WAIT, min(LONGEST_WAIT, options.item_timeout)),
            ends_at=inf if self._deadline is None else self._deadline,
        )
        self._quotas = Quotas(
            options.allowed,
            # who only submits asks nothing: the news that a quota waits for would never come
            hears=options.may_have_tiers and options.mode is not Mode.SUBMIT,
            waits_for_judges=options.mode is Mode.SYNC,
            tuning=options.tuning,
            longest_wait=self._longest_wait,
        )
        self._paused = False
        self._chunks = Chunks(self._soon_wake)
        self._resending = 0
        self._stopped: FievalError | None = None
        self._stopped_at = inf
        self._closed = False
        """The loop has ended: what a thread hands to it now would never be done."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fieval-engine", daemon=True)
        self._work: set[asyncio.Task[Any]] = set()
        self._under_way = UnderWay()
        self._asking: asyncio.Task[None] | None = None

    # -- from any thread -----------------------------------------------------------------------------------------

    def __enter__(self) -> Engine:
        self._thread.start()
        try:
            if self._open_limit is not None:
                self._permits = Permits(self._open_limit())
            if self._mode is not Mode.SUBMIT:
                self._look_into(self._claim(self._own(self._book.open_chunks())))
            self._call(self._open())
        except BaseException:
            self._end(self._give_back())
            raise
        _engines[self.run.run_id] = self
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # nothing new is sent while what is on its way comes in
            self.stop(Interrupted("the run was interrupted"), hurry=not issubclass(kind, Exception))
        try:
            self._end(self._close())
        finally:
            _engines.pop(self.run.run_id, None)

    def _end(self, last: Coroutine[Any, Any, None]) -> None:
        ending = asyncio.run_coroutine_threadsafe(last, self._loop)
        try:
            ending.result()
        except BaseException:
            if not ending.done():  # somebody is in a hurry now
                self._soon(self._hurry)
                ending.result()
            raise
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._closed = True
            self._loop.close()

    def expect(self, chunks: int) -> None:
        """So many chunks will be submitted, each reported by `chunk_done`."""
        self._chunks.expect(chunks)

    def chunk_done(self) -> None:
        """A chunk's task has ended, well or badly."""
        self._chunks.done()

    def chunks_have_ended(self, *, within: float) -> bool:
        """Wait until every chunk that was expected is done, or so many seconds."""
        return self._chunks.have_ended(within=within)

    def to_submit(self) -> list[int]:
        """The chunks that have something left to send and are for this process to try."""
        unsent = self._book.unsent_chunks()
        ours = self._own(unsent) if self._adopted is None else [chunk for chunk in unsent if chunk in self._adopted]
        self._tried.update(ours)
        return ours

    def _own(self, chunks: list[int]) -> list[int]:
        return chunks if self._share is None else self._share.of_these(chunks)

    def submit_chunk(self, chunk: int) -> int:
        """Send what a chunk has left; how many items that was. Raises RunStopped, StoreError or Unreachable."""
        is_new = chunk not in self._claimed
        if not self._claim([chunk]):  # another process works on it
            self._tried.discard(chunk)  # and may let go of it unfinished
            return 0
        if is_new and self._mode is not Mode.SUBMIT:  # one that helped with it may have died since this run began
            self._look_into([chunk])
            self._soon(self._ask_for_found)
        return self._until_done(self._send(chunk))

    def _claim(self, chunks: Sequence[int]) -> list[int]:
        ours = self._book.claims.take(chunks, self._owner, lease=LEASE)
        self._claimed.update(ours)
        self._tried.update(ours)
        return ours

    def submit_rest(self) -> int:
        """Send what is left in chunks that nobody works on, one after the other; how many items that was.

        Where that failed for an outage and is tried again, it goes on with the chunk that it was at.
        """
        sent = 0
        while self._helping_with or (ours := self._take_one()):
            self._helping_with = self._helping_with or ours
            self._soon(self._ask_for_found)
            sent += sum(self._until_done(self._send(chunk)) for chunk in self._helping_with)
            self._helping_with = []
        return sent

    def _take_one(self) -> list[int]:
        """A free chunk that nobody else was quicker to take; the processes begin to look at different ones."""
        free = self._free()
        start = 0 if self._share is None else len(free) * self._share.number // self._share.of
        attempts = (self._take([chunk]) for chunk in free[start:] + free[:start])
        return next(filter(None, attempts), [])

    def _free(self) -> list[int]:
        """Unfinished chunks whose process is gone, and those that nobody holds and this process has not tried: no shard
        has come to them, or another process held them when this one did, and has let them go."""
        unfinished = self._unfinished()
        claims = {claim.chunk: claim for claim in self._book.claims.of_others(self._owner)}
        gone = [chunk for chunk in unfinished if chunk in claims and not claims[chunk].is_live]
        return gone + [chunk for chunk in unfinished if chunk not in claims and chunk not in self._tried]

    def _unfinished(self) -> list[int]:
        """The chunks in which this process could still do something."""
        if self._mode is Mode.SUBMIT:
            return self._book.unsent_chunks()
        return self._book.unfinished_chunks()

    def _take(self, chunks: Sequence[int]) -> list[int]:
        """Those of the chunks that are ours from now on, with what was submitted in them before."""
        ours = self._claim(chunks) if chunks else []
        if self._mode is not Mode.SUBMIT:
            self._look_into(ours)
        return ours

    def _look_into(self, chunks: Sequence[int]) -> None:
        """Note their tickets from before this process, before any of its own are among them."""
        if chunks:
            self._found_open.extend(self._book.open_tickets(chunks))

    def rest(self, seconds: float) -> None:
        """Do nothing for so long. Raises what stops the run as soon as it does."""
        self._until_done(asyncio.sleep(seconds))

    def wait_for_others(self, show: Callable[[Progress], None] | None = None) -> bool:
        """Wait while other processes work on the run. True: something that nobody works on is ours to finish.

        What this process has done all it can for is let go first: two that wait for each other would wait for ever.
        """
        self._call(self._let_go())
        while True:
            self._adopted = self._take(self._free())
            self._counts = self._book.counts()
            if self._adopted or not self._others():
                return bool(self._adopted)
            self._until_done(asyncio.sleep(LOOK_FOR_OTHERS), show)

    def _others(self) -> list[Claim]:
        unfinished = set(self._unfinished())
        claims = self._book.claims.of_others(self._owner)
        return [claim for claim in claims if claim.chunk in unfinished]

    def settle(self, show: Callable[[Progress], None] | None = None) -> int:
        """Ask for every open ticket until all are settled, or it is quiet; how many are left pending."""
        self._until_done(self._settled(), show)
        return self._poller.given_up + self.left

    @property
    def left(self) -> int:
        """Open tickets that nobody asks about here any more, though their time is not over."""
        return self._poller.open

    def control(self, wanted: Control) -> None:
        """Submit or pause, and keep to other bounds than the plan's, from now on."""
        self._soon(self._do_as_told, wanted)

    def _do_as_told(self, wanted: Control) -> None:
        self._paused = wanted.paused
        self._submitter.pause(wanted.paused)
        self._pace.bound(
            concurrency=wanted.concurrency or self._options.concurrency,
            rate=self._part_of(wanted.requests_a_second) or self._options.rate,
        )

    def _part_of(self, rate: float | None) -> float | None:
        """This process's part of a rate that is the whole run's."""
        return rate if rate is None or self._share is None else rate / self._share.of

    @property
    def notices(self) -> tuple[str, ...]:
        """What came up in this process and a reader must know."""
        orphans = len(self._settlement.orphans)
        forgotten = (
            f"{orphans:,} of the items were pending far longer than others that were submitted later and are done: the "
            f"server may have forgotten them; python -m flows.collect asks again, --on-stuck resubmit sends them once more"
        )
        return (
            *(self._stopped_lane(check, why) for check, why in self._lanes_stopped.items()),
            *([forgotten] if orphans else []),
            *self._without_permits(),
            *self._asked_to_wait(),
            *self._settlement.notices,
            *self._echoes.notices,
            *self._client.notices,
        )

    def _asked_to_wait(self) -> tuple[str, ...]:
        asked = self._pace.longest_asked
        return (f"the server asked everyone to wait, for up to {asked:,.0f} s",) if asked > SHORTEST_WAIT else ()

    def _without_permits(self) -> tuple[str, ...]:
        away = self._permits.times_away if self._permits else 0
        told = f"the shared limit could not be asked {away:,} times: what needed its permits waited"
        return (told,) if away else ()

    @property
    def awaits_verdicts(self) -> bool:
        """There are tickets to ask about, or items that are sent once more by themselves and may bring some."""
        return self._call(self._has_open_ends())

    def stop(self, reason: FievalError, *, hurry: bool = False) -> None:
        """End all work: nothing new begins, and whoever waits for it gets `reason`. The first reason stands.

        Submissions under way come in before the engine ends; with a `hurry` they get LAST_MOMENT.
        """
        if self._stopped is None:
            self._stopped, self._stopped_at = reason, monotonic()
            self._soon(self._wind_down)
        if hurry:
            self._soon(self._hurry)

    def come_in(self, show: Callable[[Progress], None]) -> None:
        """After a stop: wait until every submission under way has had its answer, within its own time."""
        coming = asyncio.run_coroutine_threadsafe(self._under_way.come_in(), self._loop)
        while not wait([coming], timeout=ROUND).done:
            show(self.progress)

    @property
    def progress(self) -> Progress:
        counts = self._counts
        return Progress(
            total=sum(counts.values()),
            scored=counts[State.SCORED],
            failed=counts[State.FAILED],
            waiting=counts[State.SUBMITTED],
            paused=self._paused,
            waits=self._waits,
        )

    @property
    def _waits(self) -> str:
        if self._stopped is not None and (left := len(self._under_way)):
            return f"stopping: {left:,} requests under way come in first"
        return self._pace.waits or self._quotas.waits

    def _until_done(self, work: Coroutine[Any, Any, T], show: Callable[[Progress], None] | None = None) -> T:
        owned = self._owned(work)
        try:
            future = asyncio.run_coroutine_threadsafe(owned, self._loop)
        except RuntimeError:  # the loop is closed: a chunk's thread was late
            raise self._too_late(owned, work) from None
        while not wait([future], timeout=ROUND).done:
            if self._closed:
                raise self._too_late(owned, work)
            if self._deadline is not None and monotonic() > self._deadline:
                self.stop(RunStopped("the time given by --timeout is over"))
            if monotonic() > self._stopped_at + CANCELLED_WITHIN:
                raise self._reason
            if show is not None:
                show(self.progress)
        try:
            return future.result()
        except CancelledError:
            raise self._reason from None

    def _too_late(self, *work: Coroutine[Any, Any, Any]) -> FievalError:
        """Why this work is never begun."""
        for one in work:
            one.close()
        return self._reason

    @property
    def _reason(self) -> FievalError:
        return self._stopped or Interrupted("the run was interrupted")

    def _soon(self, act: Callable[..., None], *arguments: Any) -> None:
        """On the loop, where that still runs."""
        with suppress(RuntimeError):  # it is closed, and everything has ended
            self._loop.call_soon_threadsafe(act, *arguments)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # -- on the loop ---------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self._open_items = OpenItems(self._book.redone())
        self._echoes = Echoes(self._book)
        self._client = self._connect()
        self._recorder = Recorder(self._book, owner=self._owner, tuning=self.ledger.tuning)
        self._pace = self._paced()
        self._submitter = Submitter(
            self._lane_of,
            self._recorder,
            self._pace,
            self._open_items,
            self._echoes,
            params=self._params,
            on_tickets=self._ticketed,
            on_verdicts=self._decide,
            on_stop=self.stop,
            takes_submissions=self._client.takes_submissions,
            under_way=self._under_way,
            ambiguous=self._options.on_lost_reply,
        )
        self._settlement = Settlement(
            self._client,
            self._recorder,
            self._pace,
            open_items=self._open_items,
            echoes=self._echoes,
            lane_of=self._lane_of,
            decide=self._decide,
            send_again=self._send_again,
            on_stop=self.stop,
            resendable=self._book.resendable(),
            item_timeout=self._options.item_timeout,
            orphans=self._options.on_stuck,
        )
        agenda = Agenda(give_up_after=self._options.item_timeout, to_come=lambda: self._counts[State.READY])
        self._poller = Poller(
            agenda,
            self._settlement.ask,
            more_to_come=self._more_to_come,
            ask_urgently=partial(self._settlement.ask, urgent=True),
        )
        self._claims_kept = asyncio.Lock()
        self._renewing = asyncio.ensure_future(self._renew())

    def _paced(self) -> Pace:
        options = self._options
        if self._permits is None:
            return Pace(
                concurrency=options.concurrency,
                rate=options.rate,
                longest_wait=self._longest_wait,
                tuning=options.tuning,
            )
        return SharedPace(
            self._permits,
            concurrency=options.concurrency,
            rate=options.rate,
            longest_wait=self._longest_wait,
            tuning=options.tuning,
        )

    def _lane_of(self, check: str) -> Lane:
        if check not in self._lanes:
            quota, breaker = self._quotas.of(self.run.check(check).model), self._breaker(check)
            self._lanes[check] = Lane(check, self._posts(), quota, breaker)
        return self._lanes[check]

    def _posts(self) -> list[Post]:
        ask_for_tickets = submitting(self._client, item_timeout=self._options.item_timeout)
        at_once = evaluating(self._client, item_timeout=self._options.item_timeout)
        return [at_once, ask_for_tickets] if self._mode is Mode.SYNC else [ask_for_tickets]

    def _breaker(self, check: str) -> Breaker:
        def stopped(why: str) -> None:
            self._lanes_stopped[check] = why

        judge = self.run.check(check)
        return Breaker(
            stopped,
            awaits_verdicts=self._mode is not Mode.SUBMIT,
            other_judges=other_judges(judge.template, judge.model, judge.models),
        )

    def _stopped_lane(self, check: str, why: str) -> str:
        left = self._book.count_unsent(check=check)
        return f"{check} was stopped: {why}" + (f"; {left:,} of its items are still to be sent" if left else "")

    async def _close(self) -> None:
        self._cancel_work()
        if self._work:
            await asyncio.wait(self._work, timeout=CANCELLED_WITHIN)
        await self._under_way.come_in()
        self._renewing.cancel()
        await asyncio.gather(self._renewing, return_exceptions=True)
        try:
            await self._recorder.aclose()
        finally:
            try:
                await self._client.aclose()
            finally:
                await self._give_back()

    async def _give_back(self) -> None:
        """What other processes may have from now on."""
        try:
            await asyncio.to_thread(self._book.claims.release, self._owner)
        finally:
            if self._permits is not None:
                await self._permits.aclose()

    async def _let_go(self) -> None:
        async with self._claims_kept:
            self._claimed.clear()
            self._open_items.let_go_all()
            await asyncio.to_thread(self._book.claims.release, self._owner)

    async def _renew(self) -> None:
        """Keep hold of the chunks, while this process lives."""
        while True:
            await asyncio.sleep(LEASE / 3)
            try:
                async with self._claims_kept:
                    held = len(self._claimed)
                    kept = await asyncio.to_thread(self._book.claims.renew, self._owner, lease=LEASE)
            except StoreAway:
                continue  # what is to be written waits for longer (recording), and a takeover shows at the next renewal
            except Exception as error:
                return self.stop(_as_reason(error))
            if kept < held:
                return self.stop(
                    RunStopped("this process was not heard of for too long: another one took over its work")
                )

    def _wind_down(self) -> None:
        """Nothing new starts, and whoever waits is told; what is on its way comes in."""
        self._pace.stop()
        self._quotas.stop()
        self._cancel_work()

    def _hurry(self) -> None:
        """What has not come in by then is cut off, and recorded as lost."""
        self._loop.call_later(LAST_MOMENT, self._under_way.cut_off)

    def _cancel_work(self) -> None:
        for task in self._work:
            task.cancel()

    async def _owned(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it so that `stop` ends it, and so that a failure that no item survives ends everything else."""
        if self._stopped is not None:
            work.close()
            raise self._stopped
        task = asyncio.ensure_future(work)
        self._work.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            raise self._reason from None
        except FievalError as error:
            if not error.retryable:
                self.stop(error)
            raise
        finally:
            self._work.discard(task)

    def _params(self, item: Item) -> dict[str, Any]:
        return {**self.run.check(item.check).params, **item.params}

    def _ticketed(self, items: Sequence[Item], tickets: Sequence[Ticket], submission: Submission) -> None:
        for n, (item, ticket) in enumerate(zip(items, tickets, strict=True)):
            self._count(State.SUBMITTED)
            if self._mode is Mode.SUBMIT:
                self._open_items.let_go((ticket.seq,))
            else:
                if self._mode is Mode.SYNC:
                    self._ask()  # its lane turned to submitting to hear why its calls failed: at once
                self._open_items.ticketed(ticket.seq, ticket.eval_id, submission.began_at, digest=digest(item.inputs))
                is_sentinel = n == 0 and submission.is_sentinel
                is_last = self._lane_of(item.check).quota.is_last_lap(self._counts[State.READY])
                self._poller.add(ticket.seq, ticket.eval_id, item.check, scout=is_sentinel or is_last)

    async def _send(self, chunk: int) -> int:
        """Send what a chunk has left and nobody has in hand; how many items that was."""
        items = await self._open_items.take_up(asyncio.to_thread(self._book.unsent, chunk))
        try:
            ready = await self._submitter.to_be_sent(items)
            await self._submitter.send_all(self._requests(ready))
        finally:
            self._sender_ended(items)
        return len(ready)

    def _sender_ended(self, items: Sequence[Item], *, put_back: bool = False) -> None:
        if self._stopped is None:  # else they may still be under way, and nobody takes up anything more
            self._open_items.let_go_unsent(items, put_back=put_back)

    def _requests(self, items: Sequence[Item]) -> list[tuple[Item, ...]]:
        """Packed, except where a bad neighbour would have others evaluated, and paid, before the request fails."""
        return [(item,) for item in items] if self._mode is Mode.SYNC else packs(items)

    async def _decide(self, told: Sequence[Told]) -> None:
        """Record verdicts, each for its item and for those that repeat it. An item's first verdict stands."""
        now = utc_now()
        found = {seq: held for seq, _, _ in told if (held := self._open_items.decide(seq))}
        told = [one for one in told if one[0] in found]
        shared = [(seq, e, verdict) for first, e, verdict in told for seq in self._repeats.pop(first, ())]
        await self._recorder.record(
            *(Decided(seq, verdict, now, e, polls=found[seq].questions) for seq, e, verdict in told),
            *(Decided(seq, verdict, now, e) for seq, e, verdict in shared),
            at_leisure=all(held.eval_id for held in found.values()),  # a ticket can be asked about again
        )
        for seq, _, verdict in told:
            self._count(_state(verdict), leaving=State.SUBMITTED if found[seq].eval_id else State.READY)
        for _, _, verdict in shared:
            self._count(_state(verdict))
        self._open_items.let_go(found)

    def _count(self, state: State, *, leaving: State = State.READY) -> None:
        self._counts[leaving] -= 1
        self._counts[state] += 1

    async def _has_open_ends(self) -> bool:
        """On the loop, where an item is either asked about or sent again, and never between the two."""
        return self._poller.open > 0 or self._resending > 0 or bool(self._found_open)

    def _soon_wake(self) -> None:
        self._soon(self._poller.wake)

    def _more_to_come(self) -> bool:
        return self._chunks.left > 0 or self._resending > 0

    async def _settled(self) -> None:
        await asyncio.shield(self._ask())

    def _ask(self) -> asyncio.Task[None]:
        """What asks for tickets, until none are left and none will come: one at a time."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._poll())
            self._work.add(self._asking)
            self._asking.add_done_callback(self._asked)
        return self._asking

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.stop(_as_reason(error))

    async def _poll(self) -> None:
        self._ask_for_found()
        quiet = asyncio.ensure_future(self._leave_when_quiet())
        try:
            await self._poller.run()
            await self._settlement.fail_unknown()
        finally:
            quiet.cancel()

    async def _leave_when_quiet(self) -> None:
        if self._options.quiet is not None:
            before = -1
            while before != (before := self.progress.settled):
                await asyncio.sleep(self._options.quiet)
            self._poller.leave()

    def _ask_for_found(self) -> None:
        """Ask, in their turn, for tickets from before this process."""
        now = utc_now()
        while self._found_open:
            ticket = self._found_open.popleft()
            age = (now - ticket.submitted_at).total_seconds()
            if self._open_items.adopt(ticket.seq, ticket.eval_id):
                self._poller.add(ticket.seq, ticket.eval_id, ticket.check, age=max(age, 0.001))

    def _send_again(self, seq: int, failed: Told | None = None) -> None:
        """The server took this item and did not judge it; `failed`: its evaluation failed.

        It stays in hand, so no chunk sends it as well.
        """
        if self._stopped is not None:
            return
        self._count(State.READY, leaving=State.SUBMITTED)
        self._resending += 1
        again = asyncio.ensure_future(self._sent_alone(seq, failed))
        self._work.add(again)
        again.add_done_callback(self._sent_again)

    async def _sent_alone(self, seq: int, failed: Told | None) -> None:
        item = await asyncio.to_thread(self._book.item, seq)
        try:
            if failed is None or await self._lane_of(item.check).breaker.relents():
                self._recorder.count("retries")
                await self._submitter.send_at_last(item)
            else:  # a check whose evaluations all fail is stopped: this one has failed already
                await self._decide([failed])
        finally:
            self._sender_ended((item,), put_back=True)

    def _sent_again(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            return self.stop(_as_reason(error))  # and still counted, so that the run does not seem done
        self._resending -= 1
        self._poller.wake()


class Chunks:
    """Chunks that are being submitted, counted by the threads that submit them and by those that wait."""

    def __init__(self, on_done: Callable[[], None]) -> None:
        self._on_done = on_done
        self._changed = threading.Condition()
        self.left = 0

    def expect(self, chunks: int) -> None:
        with self._changed:
            self.left += chunks

    def done(self) -> None:
        with self._changed:
            self.left -= 1
            self._changed.notify_all()
        self._on_done()

    def have_ended(self, *, within: float) -> bool:
        """Wait for so many seconds at most."""
        with self._changed:
            return self._changed.wait_for(lambda: self.left <= 0, timeout=within)


def _as_reason(error: BaseException) -> FievalError:
    """Of an error that nobody waits for, why the run can't go on."""
    if not isinstance(error, FievalError):
        return fault(error)
    if not error.retryable:
        return error
    reason = RunStopped(str(error))
    reason.__cause__ = error
    without_secrets(reason)
    return reason


def _state(verdict: Verdict) -> State:
    return State.FAILED if isinstance(verdict, Failed) else State.SCORED


_engines: dict[str, Engine] = {}


def current(run_id: str) -> Engine | None:
    """The engine that works on this run in this process."""
    return _engines.get(run_id)


def stop_all(reason: FievalError) -> bool:
    """Stop every run that this process works on, in a hurry. False where there is none."""
    engines = list(_engines.values())
    for engine in engines:
        engine.stop(reason, hurry=True)
    return bool(engines)
