"""What a later report of the same run says differently, and what may have been paid twice."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given

from fieval_tasks.core.items import Result
from fieval_tasks.report.amendments import Standing
from fieval_tasks.report.pages import html, markdown
from fieval_tasks.report.summary import Report, Requests, summarise
from fieval_tasks.report.table import table
from fieval_tasks.report.words import amendment
from tests.report.report_examples import RUNS, START, facts, item, judged, small

LATER = START + timedelta(hours=1)


def told(run: list[Result]) -> Standing:
    """A report's standing, as the next process reads it in the ledger."""
    return dict(json.loads(json.dumps(summarise(facts(), run).standing)))


def after(*runs: list[Result]) -> Report:
    """The report of the last of these, each an hour after the one before."""
    times = [START + timedelta(hours=hour) for hour in range(len(runs))]
    earlier = [(at, told(run)) for at, run in zip(times, runs[:-1], strict=False)]
    return summarise(facts(), runs[-1]).amended(earlier, times[-1])


def shows_an_amendment(report: Report) -> list[bool]:
    return [
        "Amendments" in html(report),
        "Amendments" in markdown(report),
        "amended:" in table(report),
        report.to_json()["amendments"] != [],
    ]


WAITING = [judged(1, True), item(2), item(3)]
SETTLED = [judged(1, True), judged(2, False), judged(3, True)]


def test_late_verdicts_are_shown_with_what_they_changed() -> None:
    report = after(WAITING, SETTLED)
    assert shows_an_amendment(report) == [True] * 4
    assert "amended: groundedness: pass rate 1.000 -> 0.667, 2 more verdicts; pending 2 -> 0" in table(report)
    assert report.to_json()["amendments"] == [
        {
            "at": "2026-11-20T18:00:00.000000+00:00",
            "before": {
                "items": {"scored": 1, "pending": 2},
                "checks": {"groundedness": {"scored": 1, "passed": 1, "pass_rate": 1.0, "mean": 1.0}},
            },
            "after": {
                "items": {"scored": 3, "pending": 0},
                "checks": {"groundedness": {"scored": 3, "passed": 2, "pass_rate": 2 / 3, "mean": 2 / 3}},
            },
        }
    ]


@given(RUNS)
def test_a_first_report_amends_nothing_and_an_equal_one_neither(run: list[Result]) -> None:
    for report in (after(run), after(run, run), after(run, run, run)):
        assert shows_an_amendment(report) == [False] * 4


@given(RUNS, RUNS)
def test_a_run_of_other_figures_is_always_an_amendment(first: list[Result], second: list[Result]) -> None:
    report = after(first, second)
    differs = [told(first)[part] != told(second)[part] for part in ("items", "checks")]
    assert shows_an_amendment(report) == [any(differs)] * 4
    assert all(amendment(change) for change in report.amendments)


def test_more_polls_alone_are_no_amendment() -> None:
    more = summarise(facts(requests=Requests(polls=99)), SETTLED).amended([(START, told(SETTLED))], LATER)
    assert shows_an_amendment(more) == [False] * 4


def test_an_amendment_stays_on_the_page_when_a_later_report_changes_nothing() -> None:
    report = after(WAITING, SETTLED, SETTLED)
    assert shows_an_amendment(report) == [True, True, False, True]
    assert len(report.amendments) == 1


def test_every_amendment_is_kept_in_order() -> None:
    report = after(small(), WAITING, SETTLED)
    assert [change.at for change in report.amendments] == [LATER, LATER + timedelta(hours=1)]


# -- what may have been paid twice ---------------------------------------------------------------------------------


def doubtful(row: int) -> Result:
    """A result of which a reply was lost."""
    return replace(judged(row, True), lost=1, doubts=1)


def test_possible_duplicates_are_explained_and_named() -> None:
    run = [doubtful(row) for row in range(25)] + [judged(99, True)]
    known = facts(requests=Requests(possible_duplicates=25), explain_command="python -m flows.explain amber-otter ITEM")
    report = summarise(known, run)
    for shown in (html(report), markdown(report), " ".join(table(report).split())):
        assert "25 evaluations may have been made, and paid, twice" in shown
        assert "python -m flows.explain amber-otter ITEM" in shown
    for shown in (html(report), markdown(report)):
        assert "s-19" in shown
        assert "s-20" not in shown
        assert "s-99" not in shown


def test_a_lost_reply_that_was_not_sent_again_may_be_paid_for_nothing() -> None:
    report = summarise(facts(), [doubtful(1)])
    assert "1 item may have been evaluated, and paid, for nothing" in html(report)


@pytest.mark.parametrize("shown", [html, markdown, table])
def test_nothing_is_said_of_duplicates_where_no_reply_was_lost(shown: object) -> None:
    assert callable(shown)
    assert "may have been" not in shown(summarise(facts(), small()))
