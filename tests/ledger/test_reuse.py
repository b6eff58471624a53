"""Verdicts that a new run takes over from earlier ones: the newest, never a failure, never further evaluations of a row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from tempfile import TemporaryDirectory

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.items import Failed, Item, Scored, State
from fieval_tasks.data.intake import mark_copies
from fieval_tasks.ledger.changes import Decided
from fieval_tasks.ledger.reuse import Earlier, reused
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.ledger.tuning import LedgerTuning
from tests.ledger.test_store import NO_ANSWER, NOON, a_run, an_item, results

HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with Ledger(url, tuning=LedgerTuning(batch=3)) as opened:  # so that copies lie in other batches
        yield opened


def judged(ledger: Ledger, name: str, verdicts: dict[str, Scored | Failed | None], at: datetime = NOON) -> Run:
    """A run with an item for each fingerprint, decided `at`; None: not yet."""
    made = [(an_item(seq, fingerprint=one * 64), None) for seq, one in enumerate(verdicts)]
    run = ledger.create(a_run(name), made, chunk_size=3)
    decided = [
        Decided(seq, verdict, at, f"{name}-{seq}")
        for seq, verdict in enumerate(verdicts.values())
        if verdict is not None
    ]
    ledger.book(name).apply(decided)
    return run


def passed(reason: str) -> Scored:
    return Scored("Passed", 1.0, True, reason, 12.5)


def begun(ledger: Ledger, items: list[Item], *runs: str, since: datetime = NOON - HOUR, name: str | None = None) -> Run:
    earlier = Earlier(frozenset(runs), since)
    return ledger.create(a_run(name), [(item, None) for item in items], chunk_size=3, earlier=earlier)


def test_the_newest_verdict_of_a_fingerprint_is_taken_and_whose_it_was(ledger: Ledger) -> None:
    judged(ledger, "monday", {"a": passed("old"), "b": passed("only")}, NOON)
    judged(ledger, "tuesday", {"a": passed("new")}, NOON + HOUR)
    run = begun(ledger, [an_item(n, fingerprint=one * 64) for n, one in enumerate("abc")], "monday", "tuesday")
    a, b, c = results(ledger, run)
    assert (a.status, a.reason, a.reused_from, a.eval_id) == ("scored", "new", "tuesday", "tuesday-0")
    assert (a.value, a.score, a.passed, a.runtime_ms) == ("Passed", 1.0, True, 12.5)
    assert a.finished_at == NOON + HOUR, "the time of the verdict, and not of its reuse"
    assert (a.attempts, a.submitted_at) == (0, None)
    assert (b.reused_from, b.reason) == ("monday", "only")
    assert (c.status, c.reused_from) == ("pending", None)
    book = ledger.book(run.run_id)
    assert reused(ledger.database, run.run_id) == {"monday": 1, "tuesday": 1}
    assert book.counts()[State.SCORED] == 2
    assert [item.seq for item in book.unsent(0)] == [2]


def test_neither_failures_nor_open_items_nor_other_accounts_runs_nor_old_verdicts_are_taken(ledger: Ledger) -> None:
    judged(ledger, "mine", {"a": NO_ANSWER, "b": None})
    judged(ledger, "old", {"c": passed("old")}, NOON - 2 * HOUR)
    judged(ledger, "theirs", {"d": passed("theirs")})
    run = begun(ledger, [an_item(n, fingerprint=one * 64) for n, one in enumerate("abcd")], "mine", "old")
    assert {result.status for result in results(ledger, run)} == {"pending"}
    assert reused(ledger.database, run.run_id) == {}


def test_whoever_reuses_what_was_reused_names_the_run_that_paid_and_its_age(ledger: Ledger) -> None:
    judged(ledger, "paid", {"a": passed("once")})
    begun(ledger, [an_item(0, fingerprint="a" * 64)], "paid", name="second")
    third = begun(ledger, [an_item(0, fingerprint="a" * 64)], "paid", "second")
    [result] = results(ledger, third)
    assert (result.reused_from, result.finished_at) == ("paid", NOON)
    late = begun(ledger, [an_item(0, fingerprint="a" * 64)], "paid", "second", since=NOON + HOUR)
    assert results(ledger, late)[0].status == "pending", "reuse does not make a verdict younger"


def test_copies_of_a_row_share_what_it_reuses_and_its_further_evaluations_are_bought(ledger: Ledger) -> None:
    judged(ledger, "paid", {"a": passed("once")})
    fingerprint = "a" * 64
    made = [an_item(0, fingerprint=fingerprint), an_item(1, fingerprint=fingerprint, repeat=1)]
    made += [an_item(seq, fingerprint=f"{seq:064}") for seq in range(2, 7)]
    made += [an_item(7, fingerprint=fingerprint, same_as=0), an_item(8, fingerprint=fingerprint, same_as=1, repeat=1)]
    run = begun(ledger, made, "paid")
    found = results(ledger, run)
    assert [seq for seq, result in enumerate(found) if result.status == "scored"] == [0, 7]
    assert (found[7].same_as, found[7].reused_from, found[7].reason) == (0, "paid", "once")
    assert ledger.book(run.run_id).copies() == {1: [(8, "tone")]}


KINDS = {"scored": passed("once"), "failed": NO_ANSWER, "open": None}
evaluations = st.tuples(st.sampled_from("abcd"), st.sampled_from(sorted(KINDS)), st.integers(0, 9))
nights = st.lists(st.lists(evaluations, max_size=4, unique_by=lambda one: one[0]), max_size=4)


@given(nights, st.sets(st.integers(0, 3)), st.lists(st.sampled_from("abcd"), min_size=1, max_size=8), st.integers(0, 9))
def test_an_item_has_the_newest_real_verdict_that_may_be_reused(
    earlier: list[list[tuple[str, str, int]]], mine: set[int], asked: str, since: int
) -> None:
    with TemporaryDirectory() as folder, Ledger(f"sqlite:///{folder}/l.db", tuning=LedgerTuning(batch=3)) as ledger:
        real: dict[str, list[tuple[int, str]]] = {}
        for n, night in enumerate(earlier):
            ledger.create(
                a_run(f"n{n}"),
                [(an_item(i, fingerprint=one * 64), None) for i, (one, _, _) in enumerate(night)],
                chunk_size=3,
            )
            for i, (one, kind, hour) in enumerate(night):
                if (verdict := KINDS[kind]) is not None:
                    ledger.book(f"n{n}").apply([Decided(i, verdict, NOON + hour * HOUR, f"n{n}-{i}")])
                if kind == "scored" and n in mine and hour >= since:
                    real.setdefault(one, []).append((hour, f"n{n}"))
        made = mark_copies((an_item(seq, fingerprint=one * 64), None) for seq, one in enumerate(asked))
        items = [item for item, _ in made]
        run = begun(ledger, items, *(f"n{n}" for n in mine), since=NOON + since * HOUR)
        for one, result in zip(asked, results(ledger, run), strict=True):
            newest = max(real.get(one, [(0, None)]), key=lambda found: (found[0], found[1] or ""))[1]
            assert (result.reused_from, result.status) == (newest, "scored" if newest else "pending")


def test_verdicts_are_found_by_the_index(ledger: Ledger) -> None:
    """A search through all that was ever evaluated would take minutes in a ledger of a year."""
    from fieval_tasks.ledger import reuse, schema

    if ledger.url.startswith("postgresql"):
        pytest.skip("its planner prefers to read a small table whole")
    statements: list[str] = []
    engine = ledger.database.engine
    sa.event.listen(engine, "before_cursor_execute", lambda *said: statements.append(said[2]))
    judged(ledger, "paid", {"a": passed("once")})
    begun(ledger, [an_item(0, fingerprint="a" * 64)], "paid")
    [search] = {one for one in statements if one.startswith("SELECT") and "earlier.fingerprint" in one}
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {search}", ("r", 0, 3, 0, "2026")).all()
    assert any("USING INDEX fieval_items_reusable (fingerprint=? AND finished_at>?)" in row[3] for row in plan), plan
    assert schema.items.name == "fieval_items"
    assert reuse.Earlier is Earlier
