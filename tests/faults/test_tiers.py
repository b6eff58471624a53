"""A tier's hour that is used up."""

from __future__ import annotations

from pathlib import Path

from fieval_tasks.core.items import State
from fieval_tasks.core.plan import Mode
from fieval_tasks.core.tiers import DEFAULT
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.pace.quota import Allowed
from tests.faults.account import Account
from tests.faults.driving import new_run, work
from tests.faults.mix import Mix
from tests.faults.platform import IN_CONTEXT, FaultyPlatform


def test_a_run_that_finds_its_hour_used_up_asks_about_what_it_bought_and_says_when_to_carry_on(tmp_path: Path) -> None:
    used = [60.0 * n for n in range(1, 6) for _ in range(58)]
    platform = FaultyPlatform(Mix(), Account())
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        run = new_run(ledger, IN_CONTEXT, 30, mode=Mode.ASYNC)
        assert work(ledger, run, platform, allowed=Allowed(DEFAULT, {"turing_flash": used})) is None
        counts = ledger.book(run.run_id).counts()
        assert (counts[State.SCORED], counts[State.READY], counts[State.SUBMITTED]) == (10, 20, 0)
        assert work(ledger, run, platform) is None
        assert ledger.book(run.run_id).counts()[State.SCORED] == 30
