"""The pages that are artifacts in Prefect: a chart of numbers alone, failures folded, and texts that stay texts."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.report.artifact_pages import check_page, check_standing, run_page
from fieval_tasks.report.mermaid import axis, trend_chart
from fieval_tasks.report.page_data import PageData
from fieval_tasks.report.past_runs import PastRun, PastRuns
from fieval_tasks.report.summary import GateOutcome, Report, summarise
from tests.report.report_examples import facts, item

START = datetime(2026, 11, 1, tzinfo=timezone.utc)
NO_RUNS = PastRuns("pass rate", ())


def past(*values: float | None, changed: dict[int, str] | None = None) -> PastRuns:
    """Runs numbered from 1. `changed`: number -> why it is not comparable with the one before."""
    runs = [
        PastRun(f"run-{number}", START + timedelta(days=number), value, None, 20, (changed or {}).get(number, ""))
        for number, value in enumerate(values, start=1)
    ]
    return PastRuns("pass rate", runs)


def failing(n: int = 3) -> Report:
    """A run of which n verdicts failed for one reason, and one item has none."""
    judged = [
        item(row, status="scored", value="Failed", score=0.0, passed=False, reason=f"Row {row} names no source.")
        for row in range(1, n + 1)
    ]
    lost = item(n + 1, status="failed", stage="evaluate", error={"kind": "hollow", "message": "no verdict came"})
    report = summarise(facts(), [*judged, lost], page=PageData())
    gates = [GateOutcome("groundedness.pass_rate >= 0.9", "FAIL", sentence="gate FAIL: groundedness; it is 0")]
    return report.with_outcome(1, gates)


# -- the chart ---------------------------------------------------------------------------------------------------------


def test_each_run_is_a_bar_and_a_gap_with_a_letter_stands_where_runs_are_not_comparable() -> None:
    lines = past(0.9, 0.91, 0.97, changed={3: "another judge"}).chart.splitlines()
    assert lines[1:] == [
        "xychart-beta",
        '    x-axis ["1", "2", "A", "3"]',
        '    y-axis "pass rate" 0.86 --> 1',
        "    bar [0.9, 0.91, 0.8558, 0.97]",
    ]


def test_a_run_without_a_figure_has_an_empty_place() -> None:
    assert past(0.5, None, 0.6).chart.splitlines()[-1] == "    bar [0.5, 0.391, 0.6]"


def test_one_run_or_no_figure_makes_no_chart() -> None:
    assert [found.chart for found in (NO_RUNS, past(0.9), past(None, None))] == ["", "", ""]
    assert "first run" in past(0.9).sentence
    assert past(None, None).sentence == "No run has a pass rate yet."


@given(st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), max_size=20), st.sets(st.integers(0, 19)))
def test_a_chart_holds_nothing_that_mermaid_could_not_read(values: list[float | None], places: set[int]) -> None:
    if not any(value is not None for value in values):
        return
    breaks = {place: "A" for place in places if 0 < place < len(values)}
    labels, span, bars = trend_chart(values, breaks, figure="mean").splitlines()[2:]
    number = r"-?\d+(?:\.\d+)?"
    assert re.fullmatch(rf" +bar \[{number}(?:, {number})*\]", bars)
    low, high = re.fullmatch(rf' +y-axis "mean" ({number}) --> ({number})', span).groups()  # type: ignore[union-attr]
    assert float(low) < float(high)
    assert labels.count(",") == bars.count(",") == len(values) + len(breaks) - 1


def test_an_axis_of_rates_stays_within_0_and_1_and_never_closes() -> None:
    assert axis([1.0, 1.0]) == pytest.approx((0.97, 1.0))
    assert axis([0.0]) == pytest.approx((0.0, 0.03))
    assert axis([0.0, 1.0]) == (0.0, 1.0)


# -- the pages -----------------------------------------------------------------------------------------------------------


def test_the_page_of_a_run_says_the_verdict_first_then_draws_the_trend_and_folds_the_failures() -> None:
    page = run_page(failing(), {"groundedness": past(0.9, 0.0)})
    places = [
        page.index(part) for part in ("# A gate failed", "gate FAIL", "```mermaid", "<details><summary>3 items of")
    ]
    assert places == sorted(places)
    assert "<summary>3 items of groundedness: Row 1 names no source.</summary>" in page
    assert "<summary>1 item of groundedness, hollow: no verdict came</summary>" in page
    assert page.count("<details>") == page.count("</details>")


def test_the_page_of_a_check_begins_with_its_gates_verdict_and_has_its_failures_alone() -> None:
    page = check_page(failing(), "groundedness", past(0.9, 0.0))
    assert page.startswith("# groundedness: FAIL\n")
    assert check_standing(failing(), "groundedness") == "0.000 over 3 verdicts of 4, FAIL"
    assert check_page(failing(), "fluency", NO_RUNS).startswith("# fluency: mean \u2013\n")


def test_of_many_reasons_the_most_frequent_are_shown_and_the_others_counted() -> None:
    kinds = [*range(1, 16), 1]
    failed = [
        item(row, status="failed", stage="submit", error={"kind": f"k{kind}", "message": "no"})
        for row, kind in enumerate(kinds, start=1)
    ]
    report = summarise(facts(), failed, page=PageData())
    for shown in (run_page(report, {}), check_page(report, "groundedness", NO_RUNS)):
        assert shown.count("<details>") == 12
        assert shown.index("2 items of groundedness, k1:") < shown.index("1 item of groundedness, k2:")
        assert "3 more reasons: in report.html." in shown


def test_what_changed_stands_below_the_chart_by_its_letter() -> None:
    page = check_page(failing(), "groundedness", past(0.9, 0.8, changed={2: "the judge was turing_small"}))
    assert "\n- **A**, what changed before run 2: the judge was turing\\_small\n" in page


def test_a_run_of_many_checks_draws_the_first_trends_alone() -> None:
    checks = {f"c{number}": ("groundedness", None, "Pass/Fail") for number in range(40)}
    report = summarise(facts(checks=checks), [])
    page = run_page(report, {name: past(0.9, 0.8) for name in checks})
    assert page.count("```mermaid") == 5
    assert "35 more trends" in page
