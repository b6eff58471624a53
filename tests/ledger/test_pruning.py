"""Pruning and history on every database: what is deleted is gone, and what runs came to is still read."""

from __future__ import annotations

from datetime import timedelta

from fieval_tasks.ledger.history import History
from fieval_tasks.ledger.pruning import give_back, prunable, prune
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.overview import overviews, page_of
from fieval_tasks.runs.trends import trend
from tests.runs.compared_runs import NOON, a_run, told


def test_a_run_is_pruned_and_stays_in_its_history(ledger: Ledger) -> None:
    for n, name in enumerate(("old", "new")):
        a_run(ledger, name, told(True, False, True), created_at=NOON + timedelta(days=n))
    before = trend(ledger, "a.csv", "tone")
    found = prunable(ledger.database, NOON + timedelta(hours=1))
    assert ([run.run_id for run in found.runs], found.verdicts, found.kept) == (["old"], 3, {})
    assert found.size > 0
    assert prune(ledger.database, "old")
    assert not isinstance(give_back(ledger.database), str) or "PostgreSQL" in str(give_back(ledger.database))
    assert trend(ledger, "a.csv", "tone") == before
    assert [one.figures["tone"].passed for one in overviews(ledger)] == [2, 2]
    assert page_of(ledger, "old", None).counts["scored"] == 3
    assert ledger.names("") == {"old", "new"}
    assert [run.pruned_at is None for run in History(ledger.database).runs()] == [True, False]
    assert prunable(ledger.database, NOON + timedelta(hours=1)).runs == []


def test_runs_are_counted_as_at_work_waiting_or_ended(ledger: Ledger) -> None:
    a_run(ledger, "ended", told(True), exit_code=3)
    a_run(ledger, "unfinished", told(None), exit_code=None)
    a_run(ledger, "at work", told(None), exit_code=None)
    ledger.book("at work").claims.take([0], "another machine/1", lease=1e6)
    assert {one.run.run_id: one.ended for one in overviews(ledger)} == {
        "ended": "incomplete",
        "unfinished": "unfinished",
        "at work": "at work",
    }
