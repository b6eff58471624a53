"""Whatever mix of faults a platform has, the run's account and the platform's agree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fieval_tasks.core.items import Result
from fieval_tasks.core.plan import Mode
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.ledger.tuning import LedgerTuning
from tests.faults.account import Account
from tests.faults.driving import RUN_ID, new_run, work
from tests.faults.laws import Accounts
from tests.faults.mix import CURSES, FATES, REFUSALS, SILENCES, TAKEN, Mix
from tests.faults.platform import ALONE, IN_CONTEXT, FaultyPlatform


def chances(*faults: str, at_most: float = 0.3) -> st.SearchStrategy[dict[str, float]]:
    """Up to four of these faults, which leave at least some room for what goes well."""
    chance = st.sampled_from([0.02, 0.1, at_most])
    return st.dictionaries(st.sampled_from(faults), chance, max_size=4).filter(lambda drawn: sum(drawn.values()) < 0.7)


MIXES = st.builds(
    Mix,
    seed=st.integers(0, 10_000),
    post=chances(*REFUSALS, *SILENCES, *(TAKEN + silence for silence in SILENCES)),
    get=chances(*REFUSALS, *SILENCES),
    rows=chances(*FATES),
    items=chances(*CURSES, at_most=0.2),
    takes=st.sampled_from([(0.0, 0.0), (0.0, 0.05)]),
    unknown_for=st.sampled_from([0.0, 0.02]),
    camel_case=st.booleans(),
)
AS_DRAWN = (Phase.reuse, Phase.generate)
"""Each example is a run that takes a while, and a mix of a few faults is simple enough: nothing is gained by shrinking."""
COMMON = {"template": st.sampled_from([ALONE, IN_CONTEXT]), "items": st.integers(5, 60)}


@contextmanager
def a_ledger() -> Iterator[Ledger]:
    tuning = LedgerTuning(at_leisure=0.01)
    with TemporaryDirectory() as folder, Ledger(f"sqlite:///{Path(folder, 'ledger.db')}", tuning=tuning) as ledger:
        yield ledger


@settings(max_examples=12, phases=AS_DRAWN)
@given(mix=MIXES, mode=st.sampled_from([Mode.ASYNC, Mode.ASYNC, Mode.SYNC]), **COMMON)
def test_the_accounts_agree_after_any_mix_of_faults(mix: Mix, mode: Mode, template: str, items: int) -> None:
    with a_ledger() as ledger, closing(Account()) as account:
        work(ledger, new_run(ledger, template, items, mode=mode), FaultyPlatform(mix, account), item_timeout=0.4)
        assert Accounts.of(ledger, RUN_ID, account).disagreements() == []


@settings(max_examples=6, phases=AS_DRAWN)
@given(mix=MIXES, mode=st.sampled_from([Mode.ASYNC, Mode.SYNC]), ambiguous=st.sampled_from(["fail", "ask"]), **COMMON)
def test_nothing_is_bought_twice_where_the_user_wants_no_duplicate(
    mix: Mix, mode: Mode, ambiguous: str, template: str, items: int
) -> None:
    with a_ledger() as ledger, closing(Account()) as account:
        run, platform = new_run(ledger, template, items, mode=mode), FaultyPlatform(mix, account)
        for _ in range(2):
            work(ledger, run, platform, item_timeout=0.4, on_lost_reply=ambiguous)
        accounts = Accounts.of(ledger, RUN_ID, account)
        assert accounts.disagreements() == []
        assert accounts.duplicates == accounts.run.possible_duplicates == 0


@settings(max_examples=6, phases=AS_DRAWN)
@given(mix=MIXES, **COMMON)
def test_forgotten_evaluations_that_are_submitted_again_are_accounted_for(mix: Mix, template: str, items: int) -> None:
    mix = replace(mix, rows={**mix.rows, "stuck": 0.1})
    with a_ledger() as ledger, closing(Account()) as account:
        run = new_run(ledger, template, items, mode=Mode.ASYNC)
        work(ledger, run, FaultyPlatform(mix, account), item_timeout=0.4, on_stuck="resubmit")
        assert Accounts.of(ledger, RUN_ID, account).disagreements() == []


@settings(max_examples=6, phases=AS_DRAWN)
@given(mix=MIXES, **COMMON)
def test_what_a_bad_day_left_is_finished_on_a_good_one(mix: Mix, template: str, items: int) -> None:
    with a_ledger() as ledger, closing(Account()) as account:
        platform = FaultyPlatform(mix, account)
        run = new_run(ledger, template, items, mode=Mode.ASYNC)
        work(ledger, run, platform, item_timeout=0.4)
        platform.mix = replace(mix, post={}, get={}, rows={}, items={})
        assert work(ledger, run, platform, item_timeout=0.4) is None
        accounts = Accounts.of(ledger, RUN_ID, account)
        assert accounts.disagreements() == []
        assert {fate(account, result) for result in accounts.results if result.status == "pending"} <= {"stuck"}


def fate(account: Account, result: Result) -> str | None:
    """What the platform made of the evaluation that a result waits for."""
    evaluation = account.evaluation(result.eval_id) if result.eval_id else None
    return evaluation.fate if evaluation else None
