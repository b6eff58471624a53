"""Group commits: nothing is answered before it is written, and nothing that was said is lost."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieval_tasks.core.budget import UNBOUNDED, Budget
from fieval_tasks.core.errors import StoreAway, StoreError
from fieval_tasks.core.items import Item, State
from fieval_tasks.ledger.book import Book
from fieval_tasks.ledger.changes import Asked, Change, Counted, Requeued, Sending
from fieval_tasks.ledger.claims import Stamp
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.recording import Recorder
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.ledger.tuning import LedgerTuning, utc_now
from tests import postgres
from tests.conftest import PATIENCE


def a_run() -> Run:
    known: dict[str, Any] = {"dataset": "d", "dataset_fingerprint": "f", "mode": "async", "connection": "local"}
    return Run("run", utc_now(), **known, checks=(), plan={}, notices=())


DISK_FULL = StoreError("the store can't be used: disk is full")


class Pages:
    """A book in memory. It can be held up, and told to fail its next commits."""

    def __init__(self, *, failures: int = 0, error: StoreError = DISK_FULL) -> None:
        self.commits: list[list[Change]] = []
        self.failures = failures
        self.error = error
        self.tries = 0
        self.open = threading.Event()
        self.open.set()
        self.reached = threading.Semaphore(0)

    def apply(self, changes: Sequence[Change], stamp: Stamp | None = None, budget: Budget = UNBOUNDED) -> None:
        self.reached.release()
        assert self.open.wait(PATIENCE)
        self.tries += 1
        if self.tries <= self.failures:
            raise self.error
        self.commits.append(list(changes))

    @property
    def written(self) -> list[int]:
        """The changes of the tests, in the order in which they were committed."""
        return [change.seq for commit in self.commits for change in commit if isinstance(change, Requeued)]

    @property
    def counted(self) -> dict[str, int]:
        totals = vars(Counted()).copy()
        for change in (c for commit in self.commits for c in commit if isinstance(c, Counted)):
            totals = {name: n + vars(change)[name] for name, n in totals.items()}
        return {name: n for name, n in totals.items() if n}

    @contextmanager
    def held_up(self) -> Iterator[None]:
        self.open.clear()
        try:
            yield
        finally:
            self.open.set()

    async def is_reached(self) -> None:
        """Until a commit has begun."""
        assert await asyncio.to_thread(self.reached.acquire, timeout=PATIENCE)


@asynccontextmanager
async def recording(pages: Pages, **tuning: Any) -> AsyncIterator[Recorder]:
    recorder = Recorder(pages, tuning=LedgerTuning(**tuning))
    try:
        yield recorder
    finally:
        await recorder.aclose()


async def all_begun() -> None:
    """Every task that is ready has run up to where it waits."""
    for _ in range(3):
        await asyncio.sleep(0)


def started(work: Sequence[Awaitable[None]]) -> list[asyncio.Future[None]]:
    return [asyncio.ensure_future(one) for one in work]


async def test_a_change_is_committed_when_record_returns() -> None:
    pages = Pages()
    async with recording(pages) as recorder:
        for seq in range(5):
            await recorder.record(Requeued(seq))
            assert pages.written[-1] == seq
        await recorder.record(Requeued(5), Requeued(6))
    assert pages.written == [0, 1, 2, 3, 4, 5, 6]


async def test_record_does_not_return_before_the_commit_does() -> None:
    pages = Pages()
    async with recording(pages) as recorder:
        with pages.held_up():
            (writing,) = started([recorder.record(Requeued(0))])
            await pages.is_reached()
            await all_begun()
            assert not writing.done()
        await writing
        assert pages.written == [0]


async def test_many_at_once_share_one_commit_and_keep_their_order() -> None:
    pages = Pages()
    async with recording(pages) as recorder:
        with pages.held_up():
            first = started([recorder.record(Requeued(0))])
            await pages.is_reached()
            rest = started([recorder.record(Requeued(seq)) for seq in range(1, 500)])
            await all_begun()
        await asyncio.gather(*first, *rest)
        assert len(pages.commits) == 2
    assert pages.written == list(range(500))


async def test_what_is_at_leisure_is_committed_with_what_is_not() -> None:
    pages = Pages()
    async with recording(pages) as recorder:
        patient = started([recorder.record(Requeued(seq), at_leisure=True) for seq in range(3)])
        await all_begun()
        assert pages.commits == []
        await recorder.record(Requeued(3))
        await asyncio.gather(*patient)
        assert [len(commit) for commit in pages.commits] == [4]


async def test_what_is_at_leisure_is_committed_though_nothing_else_comes() -> None:
    pages = Pages()
    async with recording(pages) as recorder:
        await recorder.record(Requeued(0), at_leisure=True)
        assert pages.written == [0]


async def test_many_that_are_at_leisure_wait_no_longer() -> None:
    pages = Pages()
    async with recording(pages, at_leisure=3600.0, enough=5) as recorder:
        await asyncio.gather(*(recorder.record(Requeued(seq), at_leisure=True) for seq in range(5)))
        assert pages.written == list(range(5))


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=30), st.integers(0, 3))
def test_whatever_comes_together_each_change_is_committed_once_or_its_failure_is_told(
    groups: list[tuple[int, bool]], failures: int
) -> None:
    async def work() -> None:
        pages, seqs = Pages(failures=failures), iter(range(1000))
        changes = [([Requeued(next(seqs)) for _ in range(size)], at_leisure) for size, at_leisure in groups]
        async with recording(pages) as recorder:
            told = []
            for at_once in (changes[: len(changes) // 2], changes[len(changes) // 2 :]):
                written = (recorder.record(*group, at_leisure=at_leisure) for group, at_leisure in at_once)
                told += await asyncio.gather(*written, return_exceptions=True)
            pages.failures = 0
        kept = [
            change.seq for (group, _), error in zip(changes, told, strict=True) if error is None for change in group
        ]
        assert pages.written == kept
        assert {error for error in told if error is not None} <= {DISK_FULL}

    asyncio.run(work())


async def test_a_failed_commit_reaches_everyone_whose_change_was_in_it_and_nobody_else() -> None:
    pages = Pages(failures=1)
    async with recording(pages) as recorder:
        with pages.held_up():
            unlucky = started([recorder.record(Requeued(0)), recorder.record(Requeued(1))])
            await pages.is_reached()
            lucky = started([recorder.record(Requeued(2)), recorder.record(Requeued(3))])
            await all_begun()
        assert await asyncio.gather(*unlucky, *lucky, return_exceptions=True) == [DISK_FULL, DISK_FULL, None, None]
        await recorder.record(Requeued(4))
    assert pages.written == [2, 3, 4]


async def test_a_waiter_that_is_cancelled_does_not_lose_its_change() -> None:
    pages = Pages()
    async with recording(pages) as recorder:
        with pages.held_up():
            in_commit = started([recorder.record(Requeued(0))])
            await pages.is_reached()
            waiting = started([recorder.record(Requeued(1)), recorder.record(Requeued(2))])
            await all_begun()
            in_commit[0].cancel()
            waiting[0].cancel()
        ended = await asyncio.gather(*in_commit, *waiting, return_exceptions=True)
        assert [type(e) for e in ended] == [asyncio.CancelledError, asyncio.CancelledError, type(None)]
    assert pages.written == [0, 1, 2]


async def test_a_failure_whose_waiters_are_all_gone_is_no_trouble() -> None:
    pages = Pages(failures=1)
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with recording(pages) as recorder:
        with pages.held_up():
            writing = started([recorder.record(Requeued(0))])
            await pages.is_reached()
            writing[0].cancel()
            await asyncio.gather(*writing, return_exceptions=True)
        await recorder.record(Requeued(1))
    assert pages.written == [1]
    assert complaints == []


async def test_counts_go_with_the_next_commit_and_are_committed_once() -> None:
    pages = Pages()
    async with recording(pages) as recorder:
        recorder.count("polls")
        recorder.count("polls", 2)
        recorder.count("submits")
        assert pages.commits == []
        await recorder.record(Requeued(0))
        assert pages.counted == {"polls": 3, "submits": 1}
        await recorder.record(Requeued(1))
        recorder.count("retries")
    assert pages.counted == {"polls": 3, "submits": 1, "retries": 1}


async def test_counts_are_committed_once_also_when_a_commit_fails_first() -> None:
    pages = Pages(failures=2)
    async with recording(pages) as recorder:
        recorder.count("polls", 2)
        for seq in range(2):
            with pytest.raises(StoreError, match="disk is full"):
                await recorder.record(Requeued(seq))
            recorder.count("polls")
        await recorder.record(Requeued(2))
    assert pages.counted == {"polls": 4}
    assert pages.written == [2]


async def test_a_count_that_no_run_has_is_told_and_does_not_leave_anyone_waiting() -> None:
    recorder = Recorder(Pages())
    recorder.count("pols")
    for finish in (recorder.record, recorder.aclose):
        with pytest.raises(TypeError, match="pols"):
            await asyncio.wait_for(finish(), timeout=5)


async def test_closing_commits_the_rest_and_ends_the_thread() -> None:
    pages = Pages()
    recorder = Recorder(pages)
    with pages.held_up():
        writing = started([recorder.record(Requeued(0)), recorder.record(Requeued(1))])
        await pages.is_reached()
        recorder.count("polls")
        (closing,) = started([recorder.aclose()])
        await all_begun()
        assert not closing.done()
    await asyncio.gather(closing, *writing)
    assert (pages.written, pages.counted) == ([0, 1], {"polls": 1})
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ledger")]


async def test_closing_ends_the_thread_also_where_the_rest_can_not_be_written() -> None:
    recorder = Recorder(Pages(failures=1))
    recorder.count("polls")
    with pytest.raises(StoreError, match="disk is full"):
        await recorder.aclose()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ledger")]


async def test_a_ledger_that_can_not_be_written_is_told_to_whom_it_concerns(tmp_path: Path) -> None:
    with Ledger(store_url(str(tmp_path / "ledger.db"))) as ledger:
        run = ledger.create(a_run(), [], chunk_size=1)
        recorder = Recorder(ledger.book(run.run_id))
        await recorder.record(Requeued(0))
        break_it: Callable[[], object] = (tmp_path / "ledger.db").unlink
        ledger.close()
        break_it()
        (tmp_path / "ledger.db").write_bytes(b"not a database, by now")
        with pytest.raises(StoreError, match="not a database"):
            await recorder.record(Requeued(1))
        with pytest.raises(StoreError):
            await recorder.aclose()


# A ledger that is away for a while

AWAY = StoreAway("the store can't be used: it is away")


class Clock:
    """Time passes only while somebody sleeps; `at` each step something may happen."""

    def __init__(self, at: Callable[[int], object] = lambda _: None) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self._at = at

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        self._at(len(self.slept))


class Unsteady:
    """A book whose connection is lost now and then: before a commit, or during it, when it is made and not told."""

    def __init__(self, book: Book, days: Iterator[str]) -> None:
        self._book = book
        self._days = days

    def apply(self, changes: Sequence[Change], stamp: Stamp | None = None, budget: Budget = UNBOUNDED) -> None:
        day = next(self._days, "good")
        if day == "lost before":
            raise AWAY
        self._book.apply(changes, stamp)
        if day == "lost during":
            raise AWAY


def begun(ledger: Ledger, size: int, name: str = "run") -> Run:
    check = CheckRecord("tone", "tone", None, {}, "choices", {"output": "answer"})
    items = (Item(seq, f"id-{seq}", seq + 1, "tone", "tone", None, {}, f"{seq:064}") for seq in range(size))
    return ledger.create(replace(a_run(), run_id=name, checks=(check,)), ((item, None) for item in items), chunk_size=3)


names = count()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["good", "lost before", "lost during"]), max_size=30))
def test_every_change_is_made_exactly_once_however_often_the_connection_is_lost(
    tmp_path: Path, days: list[str]
) -> None:
    async def work(ledger: Ledger, run: Run) -> None:
        clock = Clock()
        endless = LedgerTuning(recorder_patience=inf)
        recorder = Recorder(
            Unsteady(ledger.book(run.run_id), iter(days)), tuning=endless, clock=clock, sleep=clock.sleep
        )
        for seq in range(6):
            recorder.count("polls")
            await asyncio.gather(recorder.record(Sending((seq,))), recorder.record(Asked(seq, 1)))
        await recorder.aclose()

    with Ledger(store_url(str(tmp_path / "ledger.db"))) as ledger:
        run = begun(ledger, 6, f"run-{next(names)}")
        asyncio.run(work(ledger, run))
        assert [result.attempts for result in ledger.book(run.run_id).results()] == [1] * 6
        assert ledger.run(run.run_id).polls == 6


async def test_a_ledger_that_stays_away_is_tried_for_its_time_and_then_told_as_final() -> None:
    clock, pages = Clock(), Pages(failures=1_000, error=AWAY)
    recorder = Recorder(pages, clock=clock, sleep=clock.sleep)
    with pytest.raises(StoreError, match=r"it is away \(tried for 120 s\)") as told:
        await recorder.record(Requeued(0))
    assert not isinstance(told.value, StoreAway)
    assert 115 < sum(clock.slept) <= 120
    assert pages.tries == len(clock.slept) + 1
    assert clock.slept == sorted(clock.slept)
    pages.failures = 0
    await recorder.aclose()


async def test_a_failure_that_will_not_pass_is_told_at_once() -> None:
    clock, pages = Clock(), Pages(failures=1)
    recorder = Recorder(pages, clock=clock, sleep=clock.sleep)
    with pytest.raises(StoreError, match="disk is full"):
        await recorder.record(Requeued(0))
    assert clock.slept == []
    await recorder.aclose()


async def test_changes_that_come_while_the_ledger_is_away_are_written_after_those_that_wait() -> None:
    later: list[asyncio.Future[None]] = []
    pages = Pages(failures=3, error=AWAY)
    clock = Clock(at=lambda n: later.extend(started([recorder.record(Requeued(n))])))
    recorder = Recorder(pages, clock=clock, sleep=clock.sleep)
    await recorder.record(Requeued(0))
    await asyncio.gather(*later)
    assert pages.written == [0, 1, 2, 3]
    await recorder.aclose()


async def test_a_file_that_another_program_locks_is_waited_for(tmp_path: Path) -> None:
    brief = LedgerTuning(patience=0.02)  # SQLite's own, before we try again
    with Ledger(store_url(str(tmp_path / "ledger.db")), tuning=brief) as ledger:
        run = begun(ledger, 1)
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            clock = Clock(at=lambda n: n == 2 and other.execute("ROLLBACK"))
            recorder = Recorder(ledger.book(run.run_id), clock=clock, sleep=clock.sleep)
            await recorder.record(Sending((0,)))
            await recorder.aclose()
        assert len(clock.slept) == 2
        assert ledger.book(run.run_id).counts()[State.SENDING] == 1


async def test_connections_that_are_cut_again_and_again_lose_and_repeat_nothing(
    postgres_server: str,
) -> None:
    url = postgres.emptied(postgres_server)
    with Ledger(store_url(url)) as ledger:
        run = begun(ledger, 200)
        recorder = Recorder(ledger.book(run.run_id))

        def cut_often() -> None:
            for _ in range(20):
                postgres.cut_connections(url)

        cutting = asyncio.ensure_future(asyncio.to_thread(cut_often))
        for seq in range(200):
            recorder.count("polls")
            await recorder.record(Sending((seq,)))
        await cutting
        await recorder.aclose()
        assert [result.attempts for result in ledger.book(run.run_id).results()] == [1] * 200
        assert ledger.run(run.run_id).polls == 200


async def test_a_server_that_is_started_again_meanwhile_is_waited_for_by_writes_and_reads(
    own_postgres_server: postgres.Server,
) -> None:
    server = own_postgres_server
    with Ledger(store_url(server.url)) as ledger:
        run = begun(ledger, 3)
        clock = Clock(at=lambda n: server.start() if n == 2 else None)
        recorder = Recorder(ledger.book(run.run_id), clock=clock, sleep=clock.sleep)
        server.stop()
        await recorder.record(Sending((0, 1)))
        await recorder.aclose()
        assert len(clock.slept) == 2
        server.stop()
        reading = asyncio.ensure_future(asyncio.to_thread(ledger.book(run.run_id).counts))
        await asyncio.to_thread(server.start)
        assert (await reading)[State.SENDING] == 2
