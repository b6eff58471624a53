"""Each item is in one hand: nothing is sent, adopted, decided or counted twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from fieval_tasks.core.items import Failed, Item, State, Ticket
from fieval_tasks.ledger.book import Book
from fieval_tasks.ledger.changes import Noted, Submitted
from fieval_tasks.ledger.recording import Recorder
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.work.open_items import OpenItems, PutBack
from tests.conftest import PATIENCE

FAILED = Failed("evaluate", "evaluation_error", "no")
BACK = PutBack(Noted((0,), "rate_limited", "", utc_now()))


class SlowReading(Book):
    """Which may be held between the reading of a chunk and its answer."""

    def hold(self) -> None:
        self.goes_on, self.has_read = threading.Event(), threading.Event()

    def unsent(self, chunk: int) -> list[Item]:
        found = super().unsent(chunk)
        self.has_read.set()
        self.goes_on.wait(PATIENCE)
        return found


class Hands:
    """What a process has in hand of a run of four items in one chunk."""

    def __init__(self, ledger: Ledger) -> None:
        check = CheckRecord("c", "c", None, {}, "Pass/Fail", {"output": "answer"})
        rows = ((Item(n, f"{n}", n, "c", "c", None, {"output": f"{n}"}, f"{n}"), None) for n in range(4))
        ledger.create(Run("r", utc_now(), "d", "f", "async", "test", (check,), {}, ()), rows, chunk_size=4)
        self.book = SlowReading(ledger.database, "r")
        self.book.hold()
        self.book.goes_on.set()
        self.recorder = Recorder(self.book)
        self.items = OpenItems(self.book, self.recorder)

    def submitted(self, seq: int, eval_id: str) -> None:
        self.book.apply([Submitted((Ticket(seq, eval_id),), utc_now())])

    async def take_up(self, sender: object) -> list[int]:
        return seqs(await self.items.take_up(0, sender))


@pytest.fixture
async def hands(tmp_path: Path) -> AsyncIterator[Hands]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        opened = Hands(ledger)
        yield opened
        await opened.recorder.aclose()


def seqs(found: Sequence[Item]) -> list[int]:
    return [item.seq for item in found]


async def test_two_who_read_the_same_items_do_not_both_take_them_up(hands: Hands) -> None:
    assert await hands.take_up("one") == [0, 1, 2, 3]
    assert await hands.take_up("other") == []


async def test_what_had_its_end_while_the_ledger_was_read_is_not_taken_up_from_the_old_reading(hands: Hands) -> None:
    await hands.take_up("one")
    hands.items.let_go([1, 2, 3])
    hands.book.hold()
    reading = asyncio.ensure_future(hands.take_up("other"))
    await asyncio.to_thread(hands.book.has_read.wait, PATIENCE)
    hands.items.let_go([0])
    hands.book.goes_on.set()
    assert await reading == [1, 2, 3]
    assert await hands.take_up("other") == [0], "a later reading knows what became of it"


async def test_of_two_readings_at_once_each_knows_what_was_let_go_since_it_began(hands: Hands) -> None:
    await hands.take_up("one")
    hands.items.let_go([1, 2, 3])
    hands.book.hold()
    first = asyncio.ensure_future(hands.take_up("first"))
    second = asyncio.ensure_future(hands.take_up("second"))
    await asyncio.to_thread(hands.book.has_read.wait, PATIENCE)
    hands.book.goes_on.set()
    assert sorted([*await first, *await second]) == [1, 2, 3]


async def test_a_ticket_is_adopted_once(hands: Hands) -> None:
    item = hands.items.adopt(0, "a", "c")
    assert item is not None
    assert (item.eval_id, item.sent_at, item.is_open) == ("a", None, True)
    assert hands.items.adopt(0, "a", "c") is None


async def test_what_is_put_back_has_no_ticket_until_it_has_another(hands: Hands) -> None:
    hands.submitted(0, "old")
    item = hands.items.adopt(0, "old", "c")
    assert item is not None
    item.questions = 2
    await hands.items.put_back(item, BACK._replace(counts=True), "sender")
    assert (item.is_open, hands.items.counts[State.READY]) == (False, 5), (
        "counted, though it was never counted as submitted"
    )
    item.ticketed("new", 1.0)
    assert (item.is_open, item.redone, item.sent_at, item.questions) == (True, 1, 1.0, 0)


async def test_a_ticket_that_is_given_up_once_because_the_server_does_not_know_it_is_not_given_up_again(
    hands: Hands,
) -> None:
    hands.submitted(0, "old")
    hands.book.reopen_failed()
    items = OpenItems(hands.book, hands.recorder)
    item = items.adopt(0, "old", "c")
    assert item is not None
    assert item.resend_if_unknown
    await items.put_back(item, BACK, "sender")
    items.let_go_all()
    again = items.adopt(0, "new", "c")
    assert again is not None
    assert not again.resend_if_unknown


async def test_the_first_verdict_stands(hands: Hands) -> None:
    hands.submitted(0, "a")
    item = hands.items.adopt(0, "a", "c")
    assert item is not None
    await hands.items.decide([(0, "a", FAILED)])
    assert not item.is_open
    await hands.items.decide([(0, "a", FAILED)])
    assert hands.items.counts[State.FAILED] == 1


async def test_what_was_not_sent_may_be_taken_up_again_and_what_was_left_may_not(hands: Hands) -> None:
    chunk = await hands.items.take_up(0, "one")
    hands.items[0].ticketed("a", 1.0)
    hands.items[1].is_left = True
    hands.items[3].ticketed("b", 1.0)
    await hands.items.put_back(hands.items[3], BACK, "other")  # who sends it once more
    hands.items.let_go_unsent(chunk, "one")
    assert await hands.take_up("one") == [2]
    hands.items.let_go_unsent(chunk, "other")
    assert await hands.take_up("one") == [3]
    hands.items.let_go_all()
    assert await hands.take_up("one") == [0, 1, 2, 3]


async def test_what_is_put_back_before_its_sender_has_ended_stays_in_the_hand_of_the_next(hands: Hands) -> None:
    item = hands.items.adopt(0, "a", "c")
    assert item is not None
    await hands.items.put_back(item, BACK, "one")
    item.ticketed("b", 1.0)
    await hands.items.put_back(item, BACK, "other")
    found = [await hands.items.read(0)]
    hands.items.let_go_unsent(found, "one")  # who sent it as "b"
    assert await hands.take_up("chunk") == [1, 2, 3]
    item.ticketed("c", 2.0)
    hands.items.let_go_unsent(found, "other")
    assert item.is_open
    assert hands.items[0] is item
