"""`--retry-failed`, whatever was chosen before: what is bought again is declared, and what has a ticket is asked first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fieval_tasks.core.plan import Mode
from fieval_tasks.core.policy import MANY_UNKNOWN
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger
from tests.faults.account import Account
from tests.faults.driving import RUN_ID, new_run, work
from tests.faults.laws import Accounts
from tests.faults.mix import NONSENSE, Mix
from tests.faults.platform import ALONE, IN_CONTEXT, FaultyPlatform
from tests.faults.test_fault_mixes import MIXES, a_ledger

ITEMS = 40
FINE = Mix()


class Scene:
    """A run, its ledger and its platform."""

    def __init__(self, ledger: Ledger, account: Account, run: Run) -> None:
        self.ledger = ledger
        self.account = account
        self.run = run

    def work(self, mix: Mix, **options: Any) -> str:
        """Work on the run while the platform is so; what stopped it, if anything did."""
        stopped = work(self.ledger, self.run, FaultyPlatform(mix, self.account), **options)
        return str(stopped or "")

    def retry(self, mix: Mix, **options: Any) -> str:
        self.ledger.book(RUN_ID).reopen_failed()
        return self.work(mix, **options)

    @property
    def accounts(self) -> Accounts:
        return Accounts.of(self.ledger, RUN_ID, self.account)


@pytest.fixture
def account() -> Iterator[Account]:
    with closing(Account()) as opened:
        yield opened


@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC])
@pytest.mark.parametrize("template", [ALONE, IN_CONTEXT])
def test_what_was_failed_for_a_lost_reply_and_is_bought_again_is_declared(
    ledger: Ledger, account: Account, mode: Mode, template: str
) -> None:
    scene = Scene(ledger, account, new_run(ledger, template, ITEMS, mode=mode))
    scene.work(Mix(post={"taken drop": 0.3, "drop": 0.1}, seed=7), on_lost_reply="fail")
    before = scene.accounts
    assert before.statuses["failed"] == before.lost.total() > 5
    assert before.duplicates == before.run.possible_duplicates == 0
    scene.retry(FINE, on_lost_reply="fail")
    after = scene.accounts
    assert after.statuses == {"scored": ITEMS}
    assert after.disagreements() == []
    assert before.lost.total() == after.run.possible_duplicates >= after.duplicates > 3
    print(f"{mode.value}, {template}: {after.duplicates} evaluated twice, {after.run.possible_duplicates} declared")


def test_a_ticket_that_failed_while_waiting_is_asked_about_before_anything_is_bought(
    ledger: Ledger, account: Account
) -> None:
    scene = Scene(ledger, account, new_run(ledger, IN_CONTEXT, ITEMS, mode=Mode.ASYNC))
    scene.work(Mix(get={NONSENSE: 1.0}))
    assert {result.stage for result in scene.accounts.results} == {"wait"}
    posts = account.posts()
    scene.retry(FINE)
    assert scene.accounts.statuses == {"scored": ITEMS}
    assert scene.accounts.disagreements() == []
    assert (account.posts(), scene.accounts.duplicates, scene.accounts.run.possible_duplicates) == (posts, 0, 0)


def test_a_ticket_that_brings_nothing_again_is_given_up_and_declared(ledger: Ledger, account: Account) -> None:
    scene = Scene(ledger, account, new_run(ledger, IN_CONTEXT, ITEMS, mode=Mode.ASYNC))
    scene.work(Mix(get={NONSENSE: 1.0}))
    scene.retry(Mix(get={NONSENSE: 1.0}))
    accounts = scene.accounts
    assert accounts.duplicates == accounts.run.possible_duplicates == accounts.given_up.total() == ITEMS
    scene.retry(FINE)
    assert scene.accounts.statuses == {"scored": ITEMS}
    assert scene.accounts.disagreements() == []
    assert scene.accounts.run.possible_duplicates == ITEMS


def test_a_server_that_knows_no_ticket_stops_the_run_and_what_is_retried_then_is_declared(
    ledger: Ledger, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieval_tasks.core.policy.GRACE_FOR_UNKNOWN", 0.0)
    scene = Scene(ledger, account, new_run(ledger, IN_CONTEXT, ITEMS, mode=Mode.ASYNC))
    nowhere = Mix(unknown_for=1e6)
    for _ in range(2):
        assert "does not know any of the 10 evaluations" in scene.work(nowhere)
        assert scene.accounts.statuses == {"pending": ITEMS}
    sent = account.items_posted()
    scene.work(nowhere)
    assert account.items_posted() <= ITEMS
    scene.retry(nowhere)
    accounts = scene.accounts
    assert accounts.statuses["failed"] == 0
    assert accounts.duplicates == accounts.run.possible_duplicates == account.items_posted() - ITEMS > 0
    scene.work(FINE)
    assert scene.accounts.statuses == {"scored": ITEMS}
    assert scene.accounts.disagreements() == []
    print(f"{sent} sent before the server forgot, {accounts.duplicates} sent again and declared")


def test_a_few_unknown_tickets_fail_and_a_retry_asks_first(
    ledger: Ledger, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieval_tasks.core.policy.GRACE_FOR_UNKNOWN", 0.0)
    scene = Scene(ledger, account, new_run(ledger, IN_CONTEXT, MANY_UNKNOWN - 1, mode=Mode.ASYNC))
    assert scene.work(Mix(unknown_for=1e6)) == ""
    assert {(r.stage, (r.error or {})["kind"]) for r in scene.accounts.results} == {("wait", "lost")}
    scene.retry(FINE)
    assert scene.accounts.statuses == {"scored": MANY_UNKNOWN - 1}
    assert scene.accounts.disagreements() == []
    assert scene.accounts.run.possible_duplicates == 0


@settings(max_examples=12, phases=(Phase.reuse, Phase.generate))
@given(
    first=MIXES,
    second=MIXES,
    mode=st.sampled_from([Mode.ASYNC, Mode.SYNC]),
    policies=st.lists(st.sampled_from(["resubmit", "fail", "ask"]), min_size=3, max_size=3),
    orphans=st.lists(st.sampled_from(["wait", "resubmit"]), min_size=3, max_size=3),
    retried=st.lists(st.booleans(), min_size=2, max_size=2),
    template=st.sampled_from([ALONE, IN_CONTEXT]),
)
def test_the_accounts_agree_whatever_is_chosen_from_one_process_to_the_next(
    first: Mix, second: Mix, mode: Mode, policies: list[str], orphans: list[str], retried: list[bool], template: str
) -> None:
    with a_ledger() as ledger, closing(Account()) as account:
        scene = Scene(ledger, account, new_run(ledger, template, 30, mode=mode))
        mixes = (first, second, replace(second, post={}, get={}, rows={}, items={}))
        for turn, mix in enumerate(mixes):
            go_on = scene.retry if turn and retried[turn - 1] else scene.work
            go_on(mix, on_lost_reply=policies[turn], on_stuck=orphans[turn], item_timeout=0.4)
            assert scene.accounts.disagreements() == []
