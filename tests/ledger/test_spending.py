"""The account of what was sent: kept in the commit of the intent, over all processes, and never beyond the budget."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest

from fieval_tasks.core.budget import Budget
from fieval_tasks.core.items import Item, State
from fieval_tasks.ledger.changes import Noted, Sending, Spent
from fieval_tasks.ledger.recording import Recorder
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.ledger.spending import OverBudget
from fieval_tasks.ledger.store import Ledger

CHECKS = ("tone", "toxicity")
ITEMS = 40


@pytest.fixture
def run(ledger: Ledger) -> Run:
    checks = tuple(CheckRecord(name, name, "m", {}, "Pass/Fail", {"output": "answer"}) for name in CHECKS)
    run = Run("r", utc_now(), "d", "f", "async", "test", checks, {}, (), population=1_000)
    rows = (
        (Item(n, f"id-{n}", n + 1, CHECKS[n % 2], CHECKS[n % 2], "m", {"output": f"{n}"}, f"{n}"), None)
        for n in range(ITEMS)
    )
    return ledger.create(run, rows, chunk_size=10)


def test_a_run_begins_with_nothing_spent_and_knows_of_how_many_rows_it_is_a_sample(ledger: Ledger, run: Run) -> None:
    assert ledger.spent("r") == {"tone": 0, "toxicity": 0}
    assert ledger.run("r").population == 1_000


def test_what_is_spent_and_given_back_is_counted_for_each_check(ledger: Ledger, run: Run) -> None:
    book = ledger.book("r")
    book.apply([Spent("tone", 3), Spent("toxicity", 2), Spent("tone", -1), Spent("tone", 4), Spent("toxicity", 0)])
    assert ledger.spent("r") == {"tone": 6, "toxicity": 2}


def test_beyond_the_budget_nothing_at_all_is_recorded_and_the_room_that_is_left_is_said(
    ledger: Ledger, run: Run
) -> None:
    book = ledger.book("r")
    fits, too_much = Spent("tone", 4), Spent("tone", 5)
    with pytest.raises(OverBudget) as refusal:
        book.apply([Sending((0, 2)), fits, Sending((4,)), too_much], budget=Budget(7))
    assert (refusal.value.of([too_much]), refusal.value.fitting) != (None, 0)
    assert refusal.value.fitting == 3
    assert refusal.value.of([fits, Sending((0, 2))]) is None
    assert ledger.spent("r") == {"tone": 0, "toxicity": 0}
    assert book.counts()[State.READY] == ITEMS


def test_what_is_given_back_in_a_commit_makes_room_for_the_others_of_it(ledger: Ledger, run: Run) -> None:
    book = ledger.book("r")
    book.apply([Spent("tone", 7)], budget=Budget(7))
    book.apply([Spent("toxicity", 2), Spent("tone", -2)], budget=Budget(7))
    assert ledger.spent("r") == {"tone": 5, "toxicity": 2}


async def test_a_recorder_commits_what_fits_and_refuses_only_those_that_do_not(ledger: Ledger, run: Run) -> None:
    recorder = Recorder(ledger.book("r"), budget=Budget(7))
    unhashable = Noted((0,), "event", "detail", utc_now())
    answers = await asyncio.gather(
        recorder.record(Sending((0,)), Spent("tone", 4)),
        recorder.record(Sending((2,)), Spent("tone", 4)),
        recorder.record(unhashable),
        recorder.record(Sending((1,)), Spent("toxicity", 3)),
        return_exceptions=True,
    )
    await recorder.aclose()
    assert [type(answer) for answer in answers] == [type(None), OverBudget, type(None), type(None)]
    assert ledger.spent("r") == {"tone": 4, "toxicity": 3}
    assert ledger.book("r").counts()[State.SENDING] == 2


def test_processes_that_spend_together_never_spend_more_than_the_budget_and_never_wait_in_a_circle(
    ledger: Ledger, run: Run
) -> None:
    budget = Budget(100, Fraction(30), {"tone": Fraction(1, 4), "toxicity": Fraction(1, 2)})

    def spender(number: int) -> int:
        book, bought = ledger.book("r"), 0
        for turn in range(40):
            both = [Spent(check, 1 + (turn + number) % 3) for check in CHECKS]
            try:
                book.apply(both if number % 2 else both[::-1], budget=budget)
                bought += sum(one.evaluations for one in both)
            except OverBudget:
                continue
        return bought

    with ThreadPoolExecutor(4) as processes:
        bought = sum(processes.map(spender, range(4)))
    spent = ledger.spent("r")
    assert sum(spent.values()) == bought
    assert 70 <= bought <= 100
    assert budget.cost_of(spent) <= 30
