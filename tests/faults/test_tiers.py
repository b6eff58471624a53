"""A tier's hour that is used up."""

from __future__ import annotations

from pathlib import Path

from fieval_tasks.core.errors import RunStopped
from fieval_tasks.core.plan import Mode
from fieval_tasks.core.tiers import DEFAULT
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.pace.quota import Allowed
from tests.faults.account import Account
from tests.faults.driving import new_run, work
from tests.faults.mix import Mix
from tests.faults.platform import IN_CONTEXT, FaultyPlatform


def test_a_run_that_finds_its_hour_used_up_says_when_to_carry_on_and_loses_nothing(tmp_path: Path) -> None:
    used = [60.0 * n for n in range(1, 6) for _ in range(58)]
    platform = FaultyPlatform(Mix(), Account())
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        run = new_run(ledger, IN_CONTEXT, 30, mode=Mode.ASYNC)
        stopped = work(ledger, run, platform, allowed=Allowed(DEFAULT, {"turing_flash": used}))
        assert isinstance(stopped, RunStopped)
        assert "the evaluations that turing_flash may make (tier default) are used up until" in str(stopped)
        left = ledger.book(run.run_id).count_unsent()
        assert left == 20
        assert work(ledger, run, platform) is None
        assert ledger.book(run.run_id).count_unsent() == 0
