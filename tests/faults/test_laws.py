"""The laws themselves: each wrong that could be done is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fieval_tasks.core.plan import Mode
from fieval_tasks.ledger.store import Ledger
from tests.faults.account import Account
from tests.faults.driving import RUN_ID, inputs, new_run, work
from tests.faults.laws import Accounts
from tests.faults.mix import Mix
from tests.faults.platform import ALONE, FaultyPlatform

ITEMS = 10


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    """Of a run in which some replies were lost and nothing went wrong."""
    mix = Mix(post={"taken drop": 0.5}, seed=1)
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger, closing(Account()) as account:
        work(ledger, new_run(ledger, ALONE, ITEMS, mode=Mode.SYNC), FaultyPlatform(mix, account))
        yield Accounts.of(ledger, RUN_ID, account)


def test_a_run_without_a_wrong_agrees(accounts: Accounts) -> None:
    assert accounts.duplicates > 0
    assert accounts.disagreements() == []


def test_a_missing_item_is_found(accounts: Accounts) -> None:
    [wrong] = replace(accounts, results=accounts.results[1:]).disagreements()[:1]
    assert "10 items went in and 9 came out" in wrong


def test_verdicts_given_to_each_others_items_are_found(accounts: Accounts) -> None:
    one, other, *rest = (result for result in accounts.results if result.status == "scored")
    swapped = (replace(one, inputs=other.inputs), replace(other, inputs=one.inputs), *rest)
    wrong = replace(accounts, results=swapped).disagreements()
    assert sum("has the ticket of" in sentence for sentence in wrong) == 2
    assert sum("was given" in sentence for sentence in wrong) == 2


def test_an_evaluation_that_no_ticket_and_no_lost_reply_explains_is_found(accounts: Accounts) -> None:
    item = inputs(ALONE, 3)
    lost = accounts.lost[item["output"]]
    for _ in range(lost + 2):
        accounts.platform.accepted(1, item["output"], item, "judged", 0.0)
    assert any("that no ticket names" in sentence for sentence in accounts.disagreements())


def test_duplicates_that_are_not_declared_are_found(accounts: Accounts) -> None:
    silent = replace(accounts, run=replace(accounts.run, possible_duplicates=0))
    assert any("evaluations too many, and 0 declared" in sentence for sentence in silent.disagreements())


def test_duplicates_that_never_were_are_found(accounts: Accounts) -> None:
    boasting = replace(accounts, lost=Counter())
    assert any("and only 0 replies lost" in sentence for sentence in boasting.disagreements())


def test_a_submission_that_the_run_does_not_count_is_found(accounts: Accounts) -> None:
    forgetful = replace(accounts, run=replace(accounts.run, submits=3))
    assert any("the run counts 3 submissions" in sentence for sentence in forgetful.disagreements())


def test_a_failure_that_the_platform_never_told_is_found(accounts: Accounts) -> None:
    invented = replace(accounts.results[0], status="failed", stage="evaluate", error={"kind": "x", "message": "y"})
    wrong = replace(accounts, results=(invented, *accounts.results[1:])).disagreements()
    assert any("failed" in sentence and "the platform's row is" in sentence for sentence in wrong)
