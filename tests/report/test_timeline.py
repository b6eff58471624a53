"""How a run went over time."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.report.pages import html
from fieval_tasks.report.plots import evaluation_times, histogram, throughput
from fieval_tasks.report.timeline import Timeline
from tests.report.report_examples import START, failed, judged, reported


def of_seconds(*seconds: float, **said: object) -> Timeline:
    timeline = Timeline()
    for row, after in enumerate(seconds):
        timeline.add(judged(row, True, finished_at=START + timedelta(seconds=after), **said))
    return timeline


@given(st.lists(st.floats(0, 10_000_000), max_size=400))
def test_however_long_a_run_was_its_parts_are_few_and_hold_every_verdict(seconds: list[float]) -> None:
    timeline = of_seconds(*seconds)
    assert timeline.whole.verdicts == len(seconds)
    assert len(timeline.parts) <= 120
    assert sum(part.verdicts for _, part in timeline.drawn() if part is not None) == len(seconds)
    assert sum(1 for _ in timeline.drawn()) <= 4 * 120


def test_a_run_that_was_carried_on_a_week_later_is_drawn_as_finely_with_one_gap() -> None:
    timeline = of_seconds(*range(40), *(604_800 + second for second in range(40)))
    assert timeline.width == 1
    assert [part is None for _, part in timeline.drawn()].count(True) == 1


def test_copies_verdicts_of_earlier_runs_and_what_was_never_sent_are_no_evaluations_of_this_one() -> None:
    timeline = of_seconds(1, same_as=0)
    timeline.add(judged(2, True, finished_at=START, reused_from="earlier"))
    timeline.add(failed(3, finished_at=START))
    timeline.add(failed(4, finished_at=START, stage="validate"))
    assert (timeline.whole.verdicts, timeline.whole.errors) == (0, 1)


@pytest.mark.parametrize("milliseconds", [0.7, 12.0, 1500.0, 90_000.0])
def test_an_evaluation_time_is_told_to_two_in_a_hundred(milliseconds: float) -> None:
    found = of_seconds(1, 2, 3, runtime_ms=milliseconds).whole.seconds(Fraction(1, 2))
    assert found == pytest.approx(milliseconds / 1000, rel=0.022)


@pytest.mark.parametrize("timeline", [of_seconds(1), of_seconds(1, 2, 90_000, 90_001, runtime_ms=None)])
def test_plots_have_words_and_no_style_script_id_or_address_of_their_own(timeline: Timeline) -> None:
    for drawn in (throughput(timeline), evaluation_times(timeline), histogram([0, 3, 0, 1])):
        assert 'role="img" aria-label="' in drawn
        assert not any(word in drawn for word in ("style", "script", " id=", "http", "<!--", "NaN", "nan"))


def test_a_histogram_says_its_numbers() -> None:
    assert 'aria-label="Histogram of scores: 1,200 from 0.0 to 0.5, 3 from 0.5 to 1.0."' in histogram([1200, 3])


@pytest.mark.parametrize(("seconds", "drawings"), [([0.0, 1.0], 0), ([0.0, 20.0, 40.0, 60.0], 2)])
def test_a_run_that_was_too_short_to_be_drawn_has_its_times_in_words_and_no_empty_card(
    seconds: list[float], drawings: int
) -> None:
    run = [judged(row, True, finished_at=START + timedelta(seconds=after)) for row, after in enumerate(seconds, 1)]
    shown = html(reported(run))
    assert shown.count("<figure") == shown.count('class="plot"') == drawings
    assert "median 1.5 s" in shown
