"""`--reuse`: a nightly run over a dataset that grows pays only for what is new."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa

from fieval_tasks.api.account import Account
from fieval_tasks.api.client import Credentials
from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import Check, EvaluationPlan
from fieval_tasks.ledger import schema
from fieval_tasks.ledger.reuse import reused
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.summary import Report
from fieval_tasks.report.table import table
from fieval_tasks.runs.biography import as_text, biographies
from fieval_tasks.runs.conclusion import Ended, conclude
from fieval_tasks.runs.preparation import prepared
from fieval_tasks.runs.workers import work_on


def nightly(rows: int, **said: Any) -> EvaluationPlan:
    """A plan on the first rows of a table that grows."""
    Path("d.jsonl").write_text("".join(f'{{"id": "r{n}", "text": "[{n % 40}]"}}\n' for n in range(rows)))
    fields = {"dataset": "d.jsonl", "checks": (Check(template="is_json"),), "id_column": "id", "connection": "local"}
    return EvaluationPlan(**fields | {"store": "ledger.db"} | said)


def evaluated(plan: EvaluationPlan) -> Report:
    with prepared(plan) as run:
        work_on(run)
        return conclude(run, Ended(), seconds=1.0).report


def lines(run: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("fieval-runs", run, "results.jsonl").read_text().splitlines()]


def items_sent(report: Report) -> int:
    return sum(line["attempts"] for line in lines(report.facts.run_id))


def changed(**values: Any) -> None:
    """Write to the table of runs what another account's, or another year's, would have there."""
    with Ledger("sqlite:///ledger.db") as ledger, ledger.database.transaction() as connection:
        connection.execute(sa.update(schema.runs).values(**values))


def test_the_second_night_sends_only_the_new_rows_and_says_so_everywhere() -> None:
    first = evaluated(nightly(30, run="monday", reuse="7d"))
    assert (first.items.reused, items_sent(first)) == (0, 30)
    assert "--reuse 7d: no run of this ledger" in " ".join(first.notices)
    second = evaluated(nightly(35, run="tuesday", reuse="7d"))
    assert (second.items.total, second.items.scored, second.items.reused) == (35, 35, 30)
    assert items_sent(second) == 5
    assert second.facts.requests.submits <= 5
    assert [line["reused_from"] for line in lines("tuesday")] == ["monday"] * 30 + [None] * 5
    was, now = lines("monday")[0], lines("tuesday")[0]
    same = ("item_id", "value", "score", "passed", "reason", "runtime_ms", "eval_id", "finished_at")
    assert {name: was[name] for name in same} == {name: now[name] for name in same}
    assert "30 verdicts of earlier runs (30 of monday) are reused: not sent, and not paid again" in " ".join(
        second.notices
    )
    assert "35 items: 35 scored (30 of them reused)" in table(second)
    summary = json.loads(Path("fieval-runs/tuesday/summary.json").read_text())
    assert summary["items"]["reused"] == summary["checks"]["is_json"]["reused"] == 30
    cases = ElementTree.parse("fieval-runs/tuesday/junit.xml").getroot().iter("testcase")
    assert sum("(reused from run monday)" in (case[0].text or "") for case in cases) == 30
    with Path("fieval-runs/tuesday/results.csv").open(encoding="utf-8-sig") as file:
        assert [row["reused_from"] for row in csv.DictReader(file)] == ["monday"] * 30 + [""] * 5
    for page in ("report.html", "report.md"):
        assert "30 of them reused" in Path("fieval-runs/tuesday", page).read_text()
    assert "reused_from" not in lines_of_a_plain_run()[0]


def lines_of_a_plain_run() -> list[dict[str, Any]]:
    evaluated(nightly(2, run="plain"))
    return lines("plain")


def test_the_third_night_names_the_runs_that_paid() -> None:
    for name, rows in (("monday", 3), ("tuesday", 5), ("wednesday", 6)):
        evaluated(nightly(rows, run=name, reuse="7d"))
    assert [line["reused_from"] for line in lines("wednesday")] == ["monday"] * 3 + ["tuesday"] * 2 + [None]


def test_nothing_is_sent_where_nothing_is_new() -> None:
    evaluated(nightly(4, run="monday"))
    again = evaluated(nightly(4, run="tuesday", reuse="1d"))
    assert (again.items.reused, again.facts.requests.submits, again.facts.exit_code) == (4, 0, 0)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("other server", {"address": "https://api.futureagi.com"}),
        ("other account", {"account": Account.from_credentials(Credentials("a", "b")).sealed()}),
        ("not known", {"address": None}),
    ],
)
def test_verdicts_of_another_server_or_account_never_stand_for_this_one_s(what: str, said: dict[str, Any]) -> None:
    evaluated(nightly(4, run="monday"))
    changed(**said)
    assert evaluated(nightly(4, run="tuesday", reuse="7d")).items.reused == 0, what


@pytest.mark.parametrize(
    "other",
    [
        {"checks": (Check(template="one_line"),)},
        {"checks": (Check(template="is_json"),), "mapping": {"text": "id"}},
        {"reuse": "1m"},
        {"reuse": None},
    ],
)
def test_another_template_other_inputs_and_old_verdicts_are_evaluated(other: dict[str, Any]) -> None:
    evaluated(nightly(4, run="monday"))
    with Ledger("sqlite:///ledger.db") as ledger, ledger.database.transaction() as connection:
        finished_at = ledger.now() - timedelta(hours=1)
        connection.execute(sa.update(schema.items).values(finished_at=finished_at))
    report = evaluated(nightly(4, run="tuesday", **{"reuse": "7d", "mapping": {"text": "text"}} | other))
    assert (report.items.reused, items_sent(report)) == (0, 4)


def test_other_parameters_are_another_item(tmp_path: Path) -> None:
    def plan(keyword: str, name: str) -> EvaluationPlan:
        check = Check(template="contains", params={"keyword": keyword})
        return nightly(4, run=name, checks=(check,), reuse="7d")

    evaluated(plan("1", "one"))
    assert evaluated(plan("2", "two")).items.reused == 0
    assert evaluated(plan("1", "three")).items.reused == 4


def test_a_run_that_reused_is_resumed_with_what_is_left_and_not_with_another_window() -> None:
    evaluated(nightly(3, run="monday"))
    with prepared(nightly(5, run="tuesday", reuse="7d")) as run:
        assert run.book.count_unsent() == 2  # and the process is killed here
    with pytest.raises(PlanError, match="was begun with another reuse"):
        evaluated(EvaluationPlan(resume="tuesday", reuse="8d", store="ledger.db"))
    report = evaluated(EvaluationPlan(resume="tuesday", store="ledger.db"))
    assert (report.items.scored, report.items.reused) == (5, 3)
    assert items_sent(report) == 2


def test_copies_share_what_is_reused(tmp_path: Path) -> None:
    evaluated(nightly(3, run="monday"))
    report = evaluated(nightly(85, run="tuesday", reuse="7d"))  # after 40 rows the texts begin anew
    assert report.items.reused == 9
    assert items_sent(report) == 37
    assert report.checks["is_json"].evaluations == 40


def test_copies_that_are_to_be_judged_each_on_its_own_share_no_earlier_verdict() -> None:
    with pytest.raises(PlanError, match="reuse would give all copies of a row one earlier verdict"):
        nightly(3, reuse="7d", sharing=False)


def test_an_item_tells_whose_verdict_it_has() -> None:
    evaluated(nightly(1, run="monday"))
    evaluated(nightly(1, run="tuesday", reuse="7d"))
    with Ledger("sqlite:///ledger.db") as ledger:
        [life] = biographies(ledger, ledger.run("tuesday"), "r0")
    said = as_text(life)
    assert "reused: it has the verdict of an earlier run, and was not sent; Passed" in said
    assert "as run monday got it, at 20" in said
    assert "cost: nothing: run monday paid for it" in said


def test_what_will_be_reused_is_said_before_anything_is_sent() -> None:
    evaluated(nightly(3, run="monday"))
    with prepared(nightly(5, run="tuesday", reuse="7d")) as run:
        assert any("3 verdicts of earlier runs (3 of monday) are reused" in line for line in run.described())


def test_a_frame_reuses_what_its_store_has() -> None:
    import pandas as pd

    from fieval_tasks.dataframe import evaluate_dataframe

    frame = pd.DataFrame({"text": ["[1]", "no"]})
    with pytest.raises(PlanError, match="reuse: of a DataFrame it needs store"):
        evaluate_dataframe(frame, "is_json", connection="local", reuse="7d")
    for _ in range(2):
        scored = evaluate_dataframe(frame, "is_json", connection="local", reuse="7d", store="ledger.db")
        assert scored["is_json.passed"].tolist() == [True, False]
    with Ledger("sqlite:///ledger.db") as ledger:
        assert sum(reused(ledger.database, ledger.run("last").run_id).values()) == 2


def test_a_number_without_a_unit_is_not_taken_for_days() -> None:
    with pytest.raises(PlanError, match=r"reuse: verdicts of the last 7 seconds are too few .* as in 7d"):
        nightly(4, reuse="7")
