"""Group commits: nothing is answered before it is written, and nothing that was said is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieval_tasks.errors import StoreError
from fieval_tasks.recording import Recorder
from fieval_tasks.store import Change, Counted, Ledger, Requeued, store_url

DISK_FULL = StoreError("the store can't be used: disk is full")


class Pages:
    """A book in memory. It can be held up, and told to fail its next commits."""

    def __init__(self, *, failures: int = 0) -> None:
        self.commits: list[list[Change]] = []
        self.failures = failures
        self.tries = 0
        self.open = threading.Event()
        self.open.set()
        self.reached = threading.Semaphore(0)

    def apply(self, run_id: str, changes: Sequence[Change]) -> None:
        assert run_id == "run"
        self.reached.release()
        assert self.open.wait(10)
        self.tries += 1
        if self.tries <= self.failures:
            raise DISK_FULL
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
        assert await asyncio.to_thread(self.reached.acquire, timeout=10)


@asynccontextmanager
async def recording(pages: Pages) -> AsyncIterator[Recorder]:
    recorder = Recorder(pages, "run")
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


@settings(max_examples=30)
@given(st.lists(st.integers(1, 4), max_size=30), st.integers(0, 3))
def test_whatever_comes_together_each_change_is_committed_once_or_its_failure_is_told(
    groups: list[int], failures: int
) -> None:
    async def work() -> None:
        pages, seqs = Pages(failures=failures), iter(range(1000))
        changes = [[Requeued(next(seqs)) for _ in range(size)] for size in groups]
        async with recording(pages) as recorder:
            told = []
            for at_once in (changes[: len(changes) // 2], changes[len(changes) // 2 :]):
                told += await asyncio.gather(*(recorder.record(*c) for c in at_once), return_exceptions=True)
            pages.failures = 0
        kept = [change.seq for group, error in zip(changes, told, strict=True) if error is None for change in group]
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
    recorder = Recorder(Pages(), "run")
    recorder.count("pols")
    for finish in (recorder.record, recorder.aclose):
        with pytest.raises(TypeError, match="pols"):
            await asyncio.wait_for(finish(), timeout=5)


async def test_closing_commits_the_rest_and_ends_the_thread() -> None:
    pages = Pages()
    recorder = Recorder(pages, "run")
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
    recorder = Recorder(Pages(failures=1), "run")
    recorder.count("polls")
    with pytest.raises(StoreError, match="disk is full"):
        await recorder.aclose()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ledger")]


async def test_a_ledger_that_can_not_be_written_is_told_to_whom_it_concerns(tmp_path: Path) -> None:
    with Ledger(store_url(str(tmp_path / "ledger.db"))) as ledger:
        recorder = Recorder(ledger, "no such run")
        await recorder.record(Requeued(0))
        break_it: Callable[[], object] = (tmp_path / "ledger.db").unlink
        ledger.close()
        break_it()
        (tmp_path / "ledger.db").write_bytes(b"not a database, by now")
        with pytest.raises(StoreError, match="not a database"):
            await recorder.record(Requeued(1))
        with pytest.raises(StoreError):
            await recorder.aclose()
