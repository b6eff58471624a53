from __future__ import annotations

import json
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.items import Result
from fieval_tasks.decisions.statistics import wilson_interval
from fieval_tasks.report.caps import CAPS, Caps
from fieval_tasks.report.endings import headline
from fieval_tasks.report.summary import GateOutcome, summarise
from fieval_tasks.report.words import belief, standing
from tests.report.report_examples import RUNS, facts, failed, item, judged, reported, scored, small

GOLDEN = {
    "run_id": "amber-otter",
    "flow_run_id": None,
    "dataset": "answers.csv",
    "mode": "async",
    "connection": "local",
    "started_at": "2026-11-20T17:00:00.000000+00:00",
    "finished_at": "2026-11-20T17:02:13.000000+00:00",
    "wall_seconds": 133.0,
    "exit_code": 3,
    "items": {"total": 12, "scored": 9, "failed": 1, "pending": 2, "not_needed": 0, "reused": 0},
    "checks": {
        "groundedness": {
            "template": "groundedness",
            "model": "turing_flash",
            "n": 4,
            "scored": 3,
            "reused": 0,
            "evaluations": 3,
            "no_score": 0,
            "passed": 2,
            "pass_rate": pytest.approx(2 / 3),
            "pass_rate_interval": [pytest.approx(0.20765, abs=1e-5), pytest.approx(0.93851, abs=1e-5)],
            "mean": pytest.approx(2 / 3),
            "bounds": [0.5, 0.75],
        },
        "fluency": {
            "template": "fluency",
            "model": None,
            "n": 4,
            "scored": 3,
            "reused": 0,
            "evaluations": 3,
            "no_score": 0,
            "passed": None,
            "pass_rate": None,
            "pass_rate_interval": None,
            "mean": pytest.approx(1.75 / 3),
            "bounds": [0.4375, 0.6875],
        },
        "tone": {
            "template": "tone",
            "model": "turing_small",
            "n": 4,
            "scored": 3,
            "reused": 0,
            "evaluations": 3,
            "no_score": 0,
            "passed": None,
            "pass_rate": None,
            "pass_rate_interval": None,
            "mean": None,
            "bounds": None,
        },
    },
    "requests": {"submits": 9, "polls": 20, "retries": 1, "throttled": 0, "possible_duplicates": 0},
    "gates": [],
    "amendments": [],
}


def test_the_small_run_comes_to_its_golden_summary() -> None:
    report = summarise(facts(), small())
    assert report.to_json() == GOLDEN
    assert list(report.to_json()) == list(GOLDEN)


def test_what_a_person_looks_at_next_is_there() -> None:
    report = reported(small())
    assert [(r.check, r.row) for r in report.worst] == [("groundedness", 2), ("fluency", 3), ("fluency", 1)]
    assert report.checks["fluency"].bins == [0, 0, 1, 0, 0, 1, 0, 0, 0, 1]
    assert {name: check.examples.choices for name, check in report.checks.items() if check.examples.choices} == {
        "tone": {"neutral": 2, "joy": 1, "love": 1}
    }
    assert [(g.check, g.stage, g.kind, g.count, g.rows) for g in report.failures] == [
        ("groundedness", "submit", "refused", 1, [4])
    ]
    assert [[one.row for one in report.page.first(name, "pending")] for name in report.checks] == [[], [4], [4]]


@given(RUNS)
def test_every_item_is_counted_once(run: list[Result]) -> None:
    report = reported(run, planned=len(run))
    items = report.items
    assert items.total == len(run) == items.scored + items.failed + items.pending
    assert items.total == sum(check.total for check in report.checks.values())
    assert items.failed == sum(group.count for group in report.failures)
    assert not report.findings


@given(RUNS)
def test_bounds_hold_the_mean_whatever_the_missing_scores_are(run: list[Result]) -> None:
    for name, check in summarise(facts(), run).checks.items():
        known = [r.score for r in run if r.check == name and r.score is not None]
        if check.bounds is None:
            continue
        for guess in (0.0, 0.37, 1.0):
            mean = (sum(known) + guess * (check.total - len(known))) / check.total
            assert check.bounds[0] - 1e-9 <= mean <= check.bounds[1] + 1e-9


@given(RUNS)
def test_summary_is_strict_json(run: list[Result]) -> None:
    text = json.dumps(summarise(facts(), run).to_json(), allow_nan=False)
    assert json.loads(text)["items"]["total"] == len(run)


@given(RUNS)
def test_a_result_with_a_full_score_is_never_among_the_worst(run: list[Result]) -> None:
    worst = summarise(facts(), run, caps=Caps(worst=3)).worst
    assert all(result.score is not None and result.score < 1 for result in worst)


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_keeps_the_lowest_scores_first_and_the_first_rows_among_equals(kept: int) -> None:
    run = [scored(row, score) for row, score in enumerate([0.9, 0.2, 0.5, 0.2, 0.1, 1.0], start=1)]
    assert [r.row for r in summarise(facts(), run, caps=Caps(worst=kept)).worst] == [5, 2, 4][:kept]


def test_an_error_never_raises_the_lower_bound() -> None:
    good = [judged(row, True) for row in range(9)]
    whole = summarise(facts(), good).checks["groundedness"]
    holed = summarise(facts(), [*good, failed(9)]).checks["groundedness"]
    assert whole.bounds == (1.0, 1.0)
    assert holed.pass_rate == 1.0
    assert holed.bounds == (0.9, 1.0)


def test_nothing_scored_leaves_everything_open() -> None:
    check = summarise(facts(), [failed(1), failed(2)]).checks["groundedness"]
    assert (check.passed, check.pass_rate, check.mean, check.bounds) == (0, None, None, (0.0, 1.0))


def test_accounts_that_do_not_add_up_are_said_and_not_raised() -> None:
    report = summarise(facts(planned=13), small())
    assert report.mistakes
    assert report.notices[-1] == ("this run's accounts do not add up: 13 items were planned and 12 are in the results")


def test_an_item_of_no_known_status_does_not_add_up() -> None:
    lost = replace(item(1), status="lost")  # type: ignore[arg-type]
    report = summarise(facts(), [lost])
    assert report.mistakes
    assert any("do not add up" in notice for notice in report.notices)


@pytest.mark.parametrize("odd", [None, float("nan"), float("inf"), -float("inf"), 1.5, -0.1])
def test_a_verdict_without_a_score_is_counted_and_said_and_in_no_mean(odd: float | None) -> None:
    report = summarise(facts(), [scored(1, 0.5), replace(scored(2, 0.0), score=odd, value=27.3)])
    check = report.checks["fluency"]
    assert (check.scored, check.no_score, check.mean, check.bounds) == (2, 1, 0.5, (0.25, 0.75))
    assert "fluency: 1 of 2 verdicts has no score from 0 to 1; the mean is of the others only" in report.notices
    assert "the mean score is 0.500 (1 is not counted in it)." in belief(check)
    assert "1 can't be counted, so with a figure from 0 to 1 for each, the mean of all 2 lies between" in belief(check)
    json.dumps(report.to_json(), allow_nan=False)


def test_a_template_whose_scores_are_all_out_of_range_is_not_one_that_gives_none() -> None:
    report = summarise(facts(), [replace(scored(1, 0.0), score=None, value=27.3)])
    assert "this template gives no score" not in belief(report.checks["fluency"])
    assert report.checks["fluency"].no_score == 1


def test_a_score_where_passed_or_failed_was_due_is_in_no_pass_rate_and_leaves_it_open() -> None:
    odd = item(2, status="scored", value=0.7, score=0.7)
    check = summarise(facts(), [judged(1, True), odd]).checks["groundedness"]
    assert (check.scored, check.no_score, check.pass_rate, check.bounds) == (2, 1, 1.0, (0.5, 1.0))


def test_rows_that_repeat_one_are_one_evaluation_to_the_interval_and_rows_to_the_rate() -> None:
    copies = [judged(row, True, same_as=0 if row else None) for row in range(500)]
    check = summarise(facts(), copies).checks["groundedness"]
    assert (check.total, check.scored, check.evaluations, check.pass_rate) == (500, 500, 1, 1.0)
    assert check.pass_rate_interval == wilson_interval(1, 1)
    said = belief(check)
    assert "All 500 items have a verdict from 1 evaluation and 500 of them pass" in said
    assert "(95 % interval of 1 evaluation)" in said


@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=12), st.randoms())
def test_the_interval_is_as_wide_as_the_evaluations_allow(shared: list[tuple[int, bool]], order: Random) -> None:
    firsts = [judged(seq, passed) for seq, (_, passed) in enumerate(shared)]
    repeats = [judged(99, passed, same_as=seq) for seq, (n, passed) in enumerate(shared) for _ in range(n - 1)]
    order.shuffle(repeats)
    check = summarise(facts(), [*firsts, *repeats]).checks["groundedness"]
    rows, passed = sum(n for n, _ in shared), sum(n for n, passed in shared if passed)
    size = Fraction(rows**2, sum(n * n for n, _ in shared))
    assert (check.total, check.evaluations, check.pass_rate) == (rows, len(shared), passed / rows)
    assert check.pass_rate_interval == wilson_interval(Fraction(passed, rows) * size, size)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60))
def test_a_mean_is_the_exact_one_of_the_scores_as_they_are_written(thousandths: list[int]) -> None:
    run = [scored(row, number / 1000) for row, number in enumerate(thousandths)]
    exactly = Fraction(sum(thousandths), 1000 * len(thousandths))
    assert summarise(facts(), run).checks["fluency"].average.value == exactly


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_no_score_is_too_small_to_count(some: list[float]) -> None:
    mean = summarise(facts(), [scored(row, score) for row, score in enumerate(some)]).checks["fluency"].average.value
    assert mean == sum(Fraction(repr(score)) for score in some) / len(some)


def test_a_check_that_no_item_belongs_to_is_still_listed() -> None:
    check = summarise(facts(), []).checks["fluency"]
    assert (check.total, check.mean, check.bounds) == (0, None, None)
    assert belief(check) == "No items were put to this check."


def test_the_mean_of_many_small_scores_is_exact() -> None:
    report = summarise(facts(), (scored(row, 0.1) for row in range(10_000)))
    assert report.checks["fluency"].mean == 0.1


def test_choices_beyond_the_limit_are_counted_together() -> None:
    run = [item(row, "tone", status="scored", value=f"free text {row}") for row in range(CAPS.choices_counted + 30)]
    choices = summarise(facts(), run).checks["tone"].examples.choices
    assert choices["(other)"] == 30
    assert len(choices) == CAPS.choices_counted + 1


def test_memory_does_not_grow_with_the_results() -> None:
    def peak(n: int) -> int:
        tracemalloc.start()
        summarise(facts(), (judged(row, row % 2 == 0) for row in range(n)))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    # The least of three: threads that earlier tests have left to Prefect allocate, too. A row that is kept takes hundreds of bytes.
    few, many = (min(peak(n) for _ in range(3)) for n in (400, 4_000))
    assert many - few < 8 * (4_000 - 400)


def test_says_what_can_be_believed() -> None:
    run = [*(judged(row, row < 43) for row in range(57)), *(failed(row) for row in range(57, 60))]
    said = belief(summarise(facts(), run).checks["groundedness"])
    assert said.startswith("57 of 60 items have a verdict and 43 of them pass, a rate of 0.754. 3 have no verdict, ")
    assert "so the true pass rate of all 60 lies between 0.716 and 0.767." in said


@pytest.mark.parametrize(
    ("passes", "said"),
    [
        ([True], "The one item has a verdict and it passes, "),
        ([False], "The one item has a verdict and does not pass, "),
        ([True, False], "All 2 items have a verdict and 1 of them passes, "),
    ],
)
def test_one_is_no_plural(passes: Sequence[bool], said: str) -> None:
    run = [judged(row, passed) for row, passed in enumerate(passes)]
    assert belief(summarise(facts(), run).checks["groundedness"]).startswith(said)


@pytest.mark.parametrize(
    ("exit_code", "run", "words"),
    [
        (0, [judged(1, True)], "Finished"),
        (0, [item(1)], "Submitted, verdicts still to come"),
        (1, [judged(1, False)], "A gate failed"),
        (3, [failed(1)], "Finished, with verdicts missing"),
        (3, [judged(1, True)], "Finished, and a table of yours lacks verdicts"),
        (4, [item(1)], "Stopped before the end"),
        (130, [item(1)], "Interrupted"),
        (None, [item(1)], "Waiting for verdicts"),
    ],
)
def test_the_headline_tells_how_it_ended(exit_code: int | None, run: list[Result], words: str) -> None:
    assert headline(summarise(facts(exit_code=exit_code), run)) == words


def test_the_headline_names_a_gate_only_where_one_is_undecided() -> None:
    gates = [GateOutcome("groundedness.pass_rate >= 0.9", "UNDECIDED")]
    undecided = summarise(facts(), [judged(1, True)]).with_outcome(3, gates)
    assert headline(undecided) == "Finished, with a gate undecided"


def test_standing_names_only_what_there_is() -> None:
    assert standing(summarise(facts(), [judged(1, True), failed(2)])) == "2 items: 1 scored, 1 failed"


def test_the_outcome_comes_last() -> None:
    said = {"sentence": "it lies between 0.43 and 0.69"}
    gate = GateOutcome("fluency.mean >= 0.5", "UNDECIDED", 0.58, (0.43, 0.69), **said)
    report = summarise(facts(exit_code=None), small()).with_outcome(3, [gate])
    written = report.to_json()
    assert written["exit_code"] == report.facts.exit_code == 3
    assert written["gates"] == [
        {
            "gate": "fluency.mean >= 0.5",
            "verdict": "UNDECIDED",
            "value": 0.58,
            "bounds": [0.43, 0.69],
            "n": None,
            "interval": None,
            "settled_after": None,
        }
        | said
    ]
