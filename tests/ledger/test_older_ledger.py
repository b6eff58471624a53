"""A ledger that an earlier version of this program wrote opens, reports, resumes and collects: see data/version-4.sql."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

from fieval_tasks.core.errors import ExitCode
from fieval_tasks.core.items import State
from fieval_tasks.core.plan import EvaluationPlan, Mode
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.biography import as_text, biographies
from fieval_tasks.runs.conclusion import Ended, conclude, report_of
from fieval_tasks.runs.overview import overviews
from fieval_tasks.runs.preparation import Prepared, kept, prepared
from fieval_tasks.runs.workers import work_on
from tests.platform import Platform

DATA = Path(__file__).parent / "data"
WAITING = {5: "waits for its verdict", 6: "waits, too", 7: "a bad answer that waits"}
"""The items with a ticket, each named by its number."""
IN_DOUBT = ("reply lost", "lost twice", "was on its way")
UNSENT = ("not sent", "not sent, and bad")


@pytest.fixture(autouse=True)
def _ledger_of_version_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fieval-runs").mkdir()
    with closing(sqlite3.connect("fieval-runs/ledger.db")) as connection:
        connection.executescript((DATA / "version-4.sql").read_text(encoding="utf-8"))


@pytest.fixture
def platform() -> Platform:
    """It has the tickets that were open when the earlier process ended."""
    known = Platform()
    for seq, answer in WAITING.items():
        known.rows[f"00000000-0000-4000-8000-{seq:012}"] = {"output": answer, "since": monotonic()}
    return known


@contextmanager
def resumed(platform: Platform, *, retry_failed: bool = False) -> Iterator[Prepared]:
    with prepared(EvaluationPlan(resume="older", retry_failed=retry_failed)) as run:
        yield replace(run, connection=replace(run.connection, open=platform.client))


def test_it_opens_with_all_that_was_known() -> None:
    with Ledger(store_url()) as ledger:
        run = ledger.run("last")
        counts = {state.value: n for state, n in ledger.book("older").counts().items()}
        conclusions = ledger.conclusions("older")
        [past] = ledger.book(run.run_id).pasts(item_id="r10")
    known = {"ready": 3, "sending": 1, "ambiguous": 2, "submitted": 3, "scored": 3, "failed": 3}
    assert counts == {**known, "not_needed": 0}
    assert (run.run_id, run.total, run.plan["rate"], run.checks[0].sources) == (
        "older",
        15,
        "50/s",
        {"output": "answer"},
    )
    assert (run.submits, run.polls, run.retries, run.throttled, run.possible_duplicates) == (5, 7, 2, 1, 1)
    assert [(one.exit_code, one.standing["items"]["pending"]) for one in conclusions] == [(3, 9)]
    assert [event.event for event in past.events] == ["lost_reply", "lost_reply"]


def test_it_reports_what_was_reported() -> None:
    with kept("older", None) as run:
        report = report_of(run)
        assert [(g.gate, g.bounds) for g in report.gates] == [
            ("helpful.pass_rate >= 0.5", (2 / 15, 14 / 15)),
            ("failures <= 4", (3.0, 12.0)),
        ]
        outcome = conclude(run, Ended(), seconds=0.0)
        [biography] = biographies(run.ledger, run.run, "row:10")
    assert (outcome.exit_code, outcome.is_news) == (ExitCode.INCOMPLETE, False)
    written = (outcome.folder / "results.jsonl").read_text(encoding="utf-8")
    assert written == (DATA / "version-4.results.jsonl").read_text(encoding="utf-8")
    assert "2 POSTs carried it, asked about 0 times, 2 replies lost: 1 possible duplicate" in as_text(biography)


def test_its_tickets_are_collected_and_nothing_is_sent(platform: Platform) -> None:
    with resumed(platform) as run:
        with run.engine(Mode.ASYNC) as engine:
            engine.settle()
        found = {result.row - 1: result for result in run.book.results()}
    assert [found[seq].value for seq in WAITING] == ["Passed", "Passed", "Failed"]
    assert found[14].value == "Passed", "it repeats item 5"
    assert (platform.posts, sum(result.status == "pending" for result in found.values())) == (0, 5)


def test_it_is_resumed_where_it_stood_and_nothing_more_is_bought(platform: Platform) -> None:
    with resumed(platform) as run:
        work_on(run)
        outcome = conclude(run, Ended(), seconds=1.0)
        counts = run.ledger.book("older").counts()
    assert platform.taken == dict.fromkeys((*IN_DOUBT, *UNSENT), 1)
    assert (counts[State.SCORED], counts[State.FAILED], sum(counts.values())) == (12, 3, 15)
    assert outcome.report.facts.requests.possible_duplicates == 4
    assert outcome.exit_code is ExitCode.INCOMPLETE, "three items failed"


def test_its_failed_items_are_tried_again(platform: Platform) -> None:
    with resumed(platform, retry_failed=True) as run:
        work_on(run)
        failed = [result.item_id for result in run.book.results() if result.status == "failed"]
    assert failed == ["r3"], "its row is blank"
    assert platform.taken == dict.fromkeys((*IN_DOUBT, *UNSENT, "refused by the server", "its evaluation failed"), 1)


def test_it_is_listed_with_what_it_came_to_which_is_counted_once() -> None:
    said: list[str] = []
    with Ledger(store_url()) as ledger:
        for _ in range(2):
            [one] = overviews(ledger, tell=said.append)
            assert (one.run.run_id, one.ended, one.run.pruned_at) == ("older", "incomplete", None)
            figures = one.figures["helpful"]
            assert (figures.total, figures.scored, figures.failed, figures.pending) == (15, 3, 3, 9)
            assert (figures.passed, figures.bounds_low, figures.bounds_high) == (2, 2 / 15, 14 / 15)
            assert [gate["verdict"] for gate in one.gates] == ["UNDECIDED", "UNDECIDED"]
    assert len(said) == 1
