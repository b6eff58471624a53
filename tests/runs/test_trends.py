"""A trend joins only what can be compared, says why where it does not, and counts what older versions left uncounted once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from fieval_tasks.core.errors import PlanError
from fieval_tasks.ledger.check_figures import CheckFigures
from fieval_tasks.ledger.history import History
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.schema import figures
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.trends import past_of, trend
from tests.runs.compared_runs import CHECK, NOON, a_run, told

PLAIN: dict[str, Any] = {
    **{"template": "groundedness", "model": "flash", "server": "local", "params": "p", "good": "", "asked": "q"},
    **{"total": 10, "scored": 10, "failed": 0, "pending": 0, "pass_rate": 0.5, "pass_rate_low": 0.4, "pass_rate_high": 0.6},
}  # fmt: skip


def ended(ledger: Ledger, name: str, *, dataset: str = "a.csv", **changed: Any) -> None:
    """A run without items that came to these figures."""
    at = NOON + timedelta(days=len(ledger.names("")))
    ledger.create(Run(name, at, dataset, "f" * 64, "async", "local", (CHECK,), {}, ()), [], chunk_size=1)
    said = {**PLAIN, **changed}
    History(ledger.database).record(name, [CheckFigures(run_id=name, check_name="tone", at=at, **said)])
    ledger.finished(name, exit_code=0, seconds=1.0, complete=True)


def test_a_change_is_of_the_run_before(ledger: Ledger) -> None:
    for name, rate in (("one", 0.5), ("two", 0.75), ("three", 0.25)):
        ended(ledger, name, pass_rate=rate)
    found = trend(ledger, "a.csv", "tone")
    assert [(point.run_id, point.change) for point in found.points] == [("one", None), ("two", 0.25), ("three", -0.5)]
    assert [[point.run_id for point in line] for line in found.lines] == [["one", "two", "three"]]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"model": "small"}, "judge model small, was flash"),
        ({"model": None}, "judge model none, was flash"),
        ({"template": "tone"}, "template tone, was groundedness"),
        ({"server": "https://api.test"}, "server https://api.test, was local"),
        ({"params": "other"}, "other parameters"),
        ({"asked": "other"}, "other rows in the dataset"),
        (
            {"asked": "whole:f"},
            "other rows in the dataset; give its rows ids by --id COLUMN, so that new answers are told from other rows",
        ),
        ({"good": "joy"}, "good choices joy, was none"),
    ],
)
def test_the_line_is_broken_where_figures_are_of_another_kind(
    ledger: Ledger, changed: dict[str, Any], why: str
) -> None:
    ended(ledger, "one")
    ended(ledger, "two", **changed)
    ended(ledger, "three", **changed)
    found = trend(ledger, "a.csv", "tone")
    assert [point.breaks for point in found.points] == [(), (why,), ()]
    assert [point.change for point in found.points] == [None, None, 0.0]
    assert [len(line) for line in found.lines] == [1, 2]


def test_other_labels_break_the_line_and_first_labels_do_not(ledger: Ledger) -> None:
    for n, policy in enumerate((None, "strict", None, "strict", None, "mild")):
        ended(ledger, f"run-{n}", policy=policy)
    breaks = [point.breaks for point in trend(ledger, "a.csv", "tone").points]
    assert breaks == [(), (), (), (), (), ("labelling policy mild, was strict",)]


def test_a_run_that_measured_nothing_is_passed_over(ledger: Ledger) -> None:
    ended(ledger, "one")
    ended(ledger, "two", pass_rate=None, scored=0, failed=10)
    ended(ledger, "three", pass_rate=0.75)
    found = trend(ledger, "a.csv", "tone")
    assert [point.change for point in found.points] == [None, None, 0.25]
    assert [len(line) for line in found.lines] == [2]


def test_a_run_without_a_figure_breaks_no_line(ledger: Ledger) -> None:
    """As one that answers with choices of which none is called good."""
    none = {"pass_rate": None, "pass_rate_low": None, "pass_rate_high": None}
    ended(ledger, "one", good="joy")
    ended(ledger, "two", **none)
    ended(ledger, "three", **none)
    ended(ledger, "four", good="joy")
    ended(ledger, "five", good="fear")
    found = trend(ledger, "a.csv", "tone")
    assert [point.breaks for point in found.points] == [(), (), (), (), ("good choices fear, was joy",)]
    assert [point.change for point in found.points] == [None, None, None, 0.0, None]


def test_the_last_runs_are_meant_and_the_oldest_comes_first(ledger: Ledger) -> None:
    for n in range(5):
        ended(ledger, f"run-{n}")
    found = trend(ledger, "a.csv", "tone", last=2)
    assert [point.run_id for point in found.points] == ["run-3", "run-4"]
    assert len(trend(ledger, "a.csv", "tone", last=None).points) == 5


@pytest.mark.parametrize(
    ("named", "runs"), [("a-1.csv", ["one"]), ("data/a-2.csv", ["two"]), ("a-*.csv", ["one", "two"])]
)
def test_a_dataset_is_named_by_its_name_its_path_or_a_pattern(ledger: Ledger, named: str, runs: list[str]) -> None:
    for name, dataset in (("one", "a-1.csv"), ("two", "a-2.csv"), ("three", "b.csv")):
        ended(ledger, name, dataset=dataset)
    assert [point.run_id for point in trend(ledger, named, "tone").points] == runs


def test_what_is_not_there_is_told_with_what_is(ledger: Ledger) -> None:
    with pytest.raises(PlanError, match=r"'a\.csv': it has no runs yet"):
        trend(ledger, "a.csv", "tone")
    ended(ledger, "one")
    with pytest.raises(PlanError, match=r"'b\.csv': there are a\.csv"):
        trend(ledger, "b.csv", "tone")
    with pytest.raises(PlanError, match="has a check 'tune': there are tone"):
        trend(ledger, "a.csv", "tune")


def test_a_run_at_work_is_in_no_trend(ledger: Ledger) -> None:
    ended(ledger, "one")
    a_run(ledger, "at work", told(None), exit_code=None)
    assert [point.run_id for point in trend(ledger, "a.csv", "tone").points] == ["one"]


def test_runs_of_an_older_version_are_counted_once(ledger: Ledger) -> None:
    names = ["one", "two"]
    for name in names:
        a_run(ledger, name, told(True, False), check=replace(CHECK, template="is_helpful"))
    said: list[str] = []
    for _ in range(2):
        points = trend(ledger, "a.csv", "tone", tell=said.append).points
        assert [point.figures.pass_rate for point in points] == [0.5, 0.5]
    assert said == ["2 runs of an older version must be counted, once: this takes a while"]


def test_a_run_that_can_not_be_counted_hides_no_other(ledger: Ledger) -> None:
    a_run(ledger, "odd", told(True), plan={"mode": "by pigeon"})
    a_run(ledger, "one", told(True))
    said: list[str] = []
    points = trend(ledger, "a.csv", "tone", tell=said.append).points
    assert [(point.run_id, point.figures.pass_rate) for point in points] == [("odd", None), ("one", 1.0)]
    assert "run odd can't be counted" in said[1]


def test_a_trend_reads_no_items(ledger: Ledger) -> None:
    ended(ledger, "one")
    statements: list[str] = []
    sa.event.listen(
        ledger.database.engine, "before_cursor_execute", lambda *event: statements.append(str(event[2])) and None
    )
    trend(ledger, "a.csv", "tone")
    assert any(figures.name in text for text in statements)
    assert not any("fieval_items" in text for text in statements)


def test_the_pages_in_prefect_get_the_last_twenty_runs_of_each_check_with_what_broke_the_line(ledger: Ledger) -> None:
    for number in range(22):
        ended(ledger, f"run-{number}", pass_rate=number / 22, model="small" if number == 21 else "flash")
    ended(ledger, "elsewhere", dataset="b.csv")
    found = past_of(ledger, "a.csv", ["tone", "unheard"])
    assert [run.run_id for run in found["tone"].runs] == [f"run-{number}" for number in range(2, 22)]
    assert found["tone"].breaks == [("A", 20, "judge model small, was flash")]
    assert found["tone"].runs[-1].interval == (0.4, 0.6)
    assert not found["unheard"].runs
