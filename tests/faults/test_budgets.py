"""`--max-items` is never exceeded, whatever becomes of replies and processes, and on a good day it is used up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fieval_tasks.core.budget import Budget
from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import Mode
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.ledger.tuning import LedgerTuning
from tests.faults.account import Account
from tests.faults.driving import RUN_ID, new_run, work
from tests.faults.laws import Accounts
from tests.faults.mix import REFUSALS, SILENCES, TAKEN, Mix
from tests.faults.platform import ALONE, IN_CONTEXT, FaultyPlatform
from tests.faults.running import Command, accounts, dataset, evaluated, resumed, serving, summary, wait_until

TOO_FEW = "an item has no evaluation though the budget had room"


@contextmanager
def a_ledger() -> Iterator[Ledger]:
    tuning = LedgerTuning(at_leisure=0.01)
    with TemporaryDirectory() as folder, Ledger(f"sqlite:///{Path(folder, 'ledger.db')}", tuning=tuning) as ledger:
        yield ledger


def charged(account: Account) -> int:
    """Evaluations that the platform accepted and did not refuse for a limit."""
    return sum(one.fate != "rate_limited" for one in account.evaluations())


@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC])
@pytest.mark.parametrize("most", [1, 7, 40])
def test_as_many_are_evaluated_as_may_be_and_the_rest_stays_pending(mode: Mode, most: int) -> None:
    with a_ledger() as ledger, closing(Account()) as account:
        run, budget = new_run(ledger, ALONE, 60, mode=mode), Budget(most)
        assert work(ledger, run, FaultyPlatform(Mix(), account), budget=budget) is None
        assert account.taken().total() == sum(ledger.spent(RUN_ID).values()) == most
        found = Accounts.of(ledger, RUN_ID, account)
        assert found.statuses == {"scored": most, "pending": 60 - most}
        assert found.disagreements() == []
        again = FaultyPlatform(Mix(), account)
        assert work(ledger, run, again, budget=budget) is None, "the same end is reached at once"
        assert account.taken().total() == most
        assert work(ledger, run, again, budget=Budget(60)) is None
        assert Accounts.of(ledger, RUN_ID, account).statuses == {"scored": 60}


def test_a_cost_ends_the_run_at_the_last_evaluation_that_it_pays_for() -> None:
    with a_ledger() as ledger, closing(Account()) as account:
        budget = Budget(cost=Fraction("0.1"), prices={IN_CONTEXT: Fraction("0.003")})
        run = new_run(ledger, IN_CONTEXT, 60, mode=Mode.ASYNC)
        assert work(ledger, run, FaultyPlatform(Mix(), account), budget=budget) is None
        assert account.taken().total() == 33
        assert budget.cost_of(ledger.spent(RUN_ID)) == Fraction("0.099")


def test_what_the_server_refuses_for_now_or_for_a_limit_is_not_spent() -> None:
    mix = Mix(seed=3, post={"429": 0.3, "503": 0.2}, rows={"rate_limited": 0.3})
    with a_ledger() as ledger, closing(Account()) as account:
        run = new_run(ledger, ALONE, 60, mode=Mode.ASYNC)
        assert work(ledger, run, FaultyPlatform(mix, account), budget=Budget(40)) is None
        assert charged(account) <= 40
        assert Accounts.of(ledger, RUN_ID, account).statuses["scored"] >= 38, TOO_FEW


MIXES = st.builds(
    Mix,
    seed=st.integers(0, 10_000),
    post=st.dictionaries(
        st.sampled_from([*REFUSALS, *SILENCES, *(TAKEN + silence for silence in SILENCES)]),
        st.sampled_from([0.05, 0.2]),
        max_size=3,
    ),
    rows=st.dictionaries(st.sampled_from(["fails", "rate_limited", "hollow"]), st.just(0.1), max_size=2),
    takes=st.sampled_from([(0.0, 0.0), (0.0, 0.05)]),
)


@settings(max_examples=6, phases=(Phase.reuse, Phase.generate))
@given(mix=MIXES, mode=st.sampled_from([Mode.ASYNC, Mode.ASYNC, Mode.SYNC]), most=st.integers(1, 40))
def test_no_mix_of_faults_and_no_number_of_processes_buys_more_than_the_budget(mix: Mix, mode: Mode, most: int) -> None:
    with a_ledger() as ledger, closing(Account()) as account:
        run = new_run(ledger, ALONE, 40, mode=mode)
        for part in (mix, Mix()):  # a second process goes on, of which the ledger is all that it knows
            work(ledger, run, FaultyPlatform(part, account), budget=Budget(most), item_timeout=0.4)
            assert charged(account) <= sum(ledger.spent(RUN_ID).values()) <= most
        assert Accounts.of(ledger, RUN_ID, account).disagreements() == []


def test_a_run_that_is_killed_keeps_its_end_when_it_is_resumed_and_says_how_to_go_on(tmp_path: Path) -> None:
    mix = Mix(seed=5, post={"taken drop": 0.1, "drop": 0.05}, reply=0.04, takes=(0.2, 0.6))
    ends = ("--max-items", "80", "--max-cost", "0.5", "--price", "turing_flash=0.01", "--no-prefect")
    with serving(tmp_path, mix) as server:
        command = Command(tmp_path, server, *dataset(tmp_path, 200), *ends, "--concurrency", "4")
        wait_until(lambda: server.account.items_accepted() >= 20 or not command.is_running)
        command.kill()
        ended = resumed(tmp_path, server)
        assert ended.exit_code == 3
        assert "the end set by --max-items 80 and --max-cost 0.5 is reached" in ended.sentence
        assert 40 <= server.account.items_accepted() <= 50, "0.5 pays for 50"
        assert summary(tmp_path)["cost"]["total"] == 0.5
        server.become(Mix(reply=0.04))
        finished = resumed(tmp_path, server, max_items=500, max_cost="5")
        assert finished.exit_code == 0, finished.message
        found = accounts(tmp_path, server)
        assert found.disagreements(killed=True) == []
        assert server.account.items_accepted() <= summary(tmp_path)["cost"]["evaluations"] <= 500


def test_a_cost_can_not_be_set_on_a_run_whose_judge_has_no_price(tmp_path: Path) -> None:
    with serving(tmp_path, Mix()) as server:
        with pytest.raises(PlanError, match="--max-cost 5: turing_flash has no price"):
            evaluated(tmp_path, server, 5, max_cost="5")
        assert evaluated(tmp_path, server, 5, max_items=2).exit_code == 3
        with pytest.raises(PlanError, match="--max-cost 5: turing_flash has no price"):
            resumed(tmp_path, server, max_cost="5")
        assert server.account.items_accepted() == 2
