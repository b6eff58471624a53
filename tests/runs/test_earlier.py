"""What earlier runs sent counts in the windows of a tier, where it was sent with the same keys."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from fieval_tasks.api.account import Account
from fieval_tasks.api.client import Credentials
from fieval_tasks.core.items import Item, Ticket
from fieval_tasks.core.tiers import DEFAULT, NO_TIER, Tier
from fieval_tasks.ledger.changes import Requeued, Submitted
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.earlier import evaluated_before

MINE = Account.from_credentials(Credentials("my-key", "s", base_url="https://a.example"))
ANOTHERS = Account.from_credentials(Credentials("another-key", "s", base_url="https://a.example"))
ELSEWHERE = Account.from_credentials(Credentials("my-key", "s", base_url="https://b.example"))


def sent(ledger: Ledger, name: str, account: Account, model: str, *at: datetime) -> None:
    """A run that sent an item at each of these times."""
    check = CheckRecord("groundedness", "groundedness", model, {}, "Pass/Fail", {})
    run = Run(name, utc_now(), "d", "f", "async", "test", (check,), {}, ())
    rows = [
        (Item(n, f"{n}", n + 1, check.name, check.template, model, {"output": f"{n}"}, f"{n}"), None) for n in range(9)
    ]
    ledger.create(run, rows, chunk_size=9)
    ledger.bind(name, account.address, account.sealed())
    ledger.book(name).apply([Submitted((Ticket(n, f"{name}-{n}"),), moment) for n, moment in enumerate(at)])


def test_only_what_the_same_keys_sent_to_the_same_server_within_a_day_counts_by_its_judge(ledger: Ledger) -> None:
    now = utc_now()
    minute, hour, week = (now - timedelta(**{unit: 1}) for unit in ("minutes", "hours", "weeks"))
    sent(ledger, "recent", MINE, "turing_flash", minute, hour, week)
    sent(ledger, "another-judge", MINE, "turing_large", minute)
    sent(ledger, "another-account", ANOTHERS, "turing_flash", minute)
    sent(ledger, "elsewhere", ELSEWHERE, "turing_flash", minute)
    found = evaluated_before(ledger, MINE, None)
    assert {model: sorted(ago) for model, ago in found.items()} == {
        "turing_flash": [pytest.approx(60, abs=30), pytest.approx(3600, abs=30)],
        "turing_large": [pytest.approx(60, abs=30)],
    }


def test_what_was_refused_and_put_back_does_not_count(ledger: Ledger) -> None:
    sent(ledger, "run", MINE, "turing_flash", utc_now(), utc_now())
    ledger.book("run").apply([Requeued(1)])
    assert [len(ago) for ago in evaluated_before(ledger, MINE, DEFAULT).values()] == [1]


def test_a_run_that_ended_more_than_a_day_ago_is_not_looked_at(ledger: Ledger) -> None:
    sent(ledger, "run", MINE, "turing_flash", utc_now())
    ledger.finished("run", exit_code=0, seconds=1.0, complete=True)
    assert evaluated_before(ledger, MINE, DEFAULT)
    assert ledger.active_since(utc_now() + timedelta(seconds=1), MINE.address) == []


@pytest.mark.parametrize(("tier", "count"), [(Tier.parse("3/min"), 3), (NO_TIER, 0)])
def test_no_more_are_read_than_a_tier_holds(ledger: Ledger, tier: Tier, count: int) -> None:
    sent(ledger, "run", MINE, "turing_flash", *[utc_now()] * 9)
    assert sum(map(len, evaluated_before(ledger, MINE, tier).values())) == count
