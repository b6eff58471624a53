"""Each item is in one hand: nothing is sent, adopted, decided or counted twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fieval_tasks.core.items import Item
from fieval_tasks.work.open_items import OpenItems


def items(*seqs: int) -> list[Item]:
    return [Item(n, f"{n}", n, "c", "c", None, {"output": f"{n}"}, f"{n}") for n in seqs]


async def read(*seqs: int) -> list[Item]:
    return items(*seqs)


def seqs(found: Sequence[Item]) -> list[int]:
    return [item.seq for item in found]


async def test_two_who_read_the_same_items_do_not_both_take_them_up() -> None:
    hands = OpenItems()
    assert seqs(await hands.take_up(read(0, 1))) == [0, 1]
    assert seqs(await hands.take_up(read(0, 1, 2))) == [2]


async def test_what_had_its_end_while_the_ledger_was_read_is_not_taken_up_from_the_old_reading() -> None:
    hands, come = OpenItems(), asyncio.Event()
    await hands.take_up(read(0))

    async def slow_reading() -> list[Item]:
        found = items(0, 1)
        await come.wait()
        return found

    reading = asyncio.ensure_future(hands.take_up(slow_reading()))
    await asyncio.sleep(0)
    hands.let_go([0])
    come.set()
    assert seqs(await reading) == [1]
    assert seqs(await hands.take_up(read(0))) == [0], "a later reading knows what became of it"


def test_a_ticket_is_adopted_once() -> None:
    hands = OpenItems({0: 1})
    assert hands.adopt(0, "a")
    assert not hands.adopt(0, "a")
    held = hands.behind(0, "a")
    assert held is not None
    assert (held.redone, held.sent_at) == (1, None)


def test_only_the_open_ticket_of_an_item_is_worth_a_question() -> None:
    hands = OpenItems()
    hands.adopt(0, "old")
    hands.put_back(0, counts=True)
    assert hands.behind(0, "old") is None
    hands.ticketed(0, "new", 1.0)
    assert hands.behind(0, "old") is None
    held = hands.behind(0, "new")
    assert held is not None
    assert (held.redone, held.sent_at, held.questions) == (1, 1.0, 0)


def test_the_first_verdict_stands() -> None:
    hands = OpenItems()
    hands.adopt(0, "a")
    assert hands.decide(0) is not None
    assert hands.decide(0) is None
    assert hands.behind(0, "a") is None
    hands.let_go([0])
    assert hands.decide(0) is None


async def test_what_was_not_sent_may_be_taken_up_again_and_what_was_left_may_not() -> None:
    hands = OpenItems()
    chunk = await hands.take_up(read(0, 1, 2, 3))
    hands.ticketed(0, "a", 1.0)
    hands.leave([1])
    hands.ticketed(3, "b", 1.0)
    hands.put_back(3, counts=False)  # somebody else sends it once more
    hands.let_go_unsent(chunk)
    assert seqs(await hands.take_up(read(0, 1, 2, 3))) == [2]
    hands.let_go_unsent(items(3), put_back=True)
    assert seqs(await hands.take_up(read(0, 1, 2, 3))) == [3]
    hands.let_go_all()
    assert seqs(await hands.take_up(read(0, 1))) == [0, 1]


async def test_what_is_put_back_before_its_sender_has_ended_stays_in_the_hand_of_the_next() -> None:
    hands = OpenItems()
    hands.adopt(0, "a")
    hands.put_back(0, counts=False)
    hands.ticketed(0, "b", 1.0)
    hands.put_back(0, counts=False)
    hands.let_go_unsent(items(0), put_back=True)  # who sent it as "b"
    assert seqs(await hands.take_up(read(0))) == []
    hands.ticketed(0, "c", 2.0)
    hands.let_go_unsent(items(0), put_back=True)
    assert hands.behind(0, "c") is not None
