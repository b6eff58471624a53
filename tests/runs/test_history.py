"""What a run came to is kept when it ends: once, as its summary has it, and as it stands after an amendment."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fieval_tasks.core.items import Scored
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.ledger.changes import Decided
from fieval_tasks.ledger.check_figures import CheckFigures
from fieval_tasks.ledger.history import History
from fieval_tasks.ledger.schema import figures
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.conclusion import Ended, conclude, count_anew
from fieval_tasks.runs.preparation import Kept
from tests.runs.compared_runs import CHECK, NOON, Told, a_run, told


@pytest.fixture
def plan(tmp_path: Path) -> EvaluationPlan:
    return EvaluationPlan(output=str(tmp_path / "out"), gates=("tone.pass_rate >= 0.9", "failures == 0"))


def ended(ledger: Ledger, plan: EvaluationPlan, name: str, verdicts: list[Told], **fields: Any) -> dict[str, Any]:
    """The summary of a run that ended with these verdicts."""
    run = a_run(ledger, name, verdicts, exit_code=None, **fields)
    conclude(Kept(run, plan, ledger), Ended(), seconds=1.0)
    return dict(json.loads((Path(plan.output or "") / "summary.json").read_text()))


def kept(ledger: Ledger, name: str) -> CheckFigures:
    return History(ledger.database).of_runs([name])[name]["tone"]


def test_the_figures_of_a_check_are_those_of_the_summary(ledger: Ledger, plan: EvaluationPlan) -> None:
    said = ended(ledger, plan, "one", told(True, True, False, None))
    check, found = said["checks"]["tone"], kept(ledger, "one")
    assert (found.total, found.scored, found.failed, found.pending) == (4, 3, 0, 1)
    assert (found.passed, found.pass_rate, found.mean) == (check["passed"], check["pass_rate"], check["mean"])
    assert [*(found.interval or ())] == check["pass_rate_interval"]
    assert [found.bounds_low, found.bounds_high] == check["bounds"]
    assert found.gates == [{name: gate[name] for name in ("gate", "verdict", "sentence")} for gate in said["gates"]]
    assert found.at is not None


def test_figures_are_replaced_when_the_run_is_concluded_again(ledger: Ledger, plan: EvaluationPlan) -> None:
    ended(ledger, plan, "one", told(True, False))
    run = Kept(ledger.run("one"), plan, ledger)
    for _ in range(2):
        conclude(run, Ended(), seconds=0.0)
    with ledger.database.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(figures)) == 1


def test_an_amended_run_is_kept_as_it_stands_now(ledger: Ledger, plan: EvaluationPlan) -> None:
    ended(ledger, plan, "one", told(True, None))
    before = kept(ledger, "one")
    ledger.book("one").apply([Decided(1, Scored("Failed", 0.0, False, "No.", 1.0), NOON)])
    conclude(Kept(ledger.run("one"), plan, ledger), Ended(), seconds=0.0)
    after = kept(ledger, "one")
    assert [(one.scored, one.pending, one.pass_rate) for one in (before, after)] == [(1, 1, 1.0), (2, 0, 0.5)]


def test_what_ended_before_figures_were_kept_is_counted_once_and_to_the_same(
    ledger: Ledger, plan: EvaluationPlan
) -> None:
    ended(ledger, plan, "one", told(True, False, None), also=replace(CHECK, name="again"))
    before, history = kept(ledger, "one"), History(ledger.database)
    assert history.uncounted(["one"]) == []
    with ledger.database.transaction() as connection:
        connection.execute(sa.update(figures).values(**dict.fromkeys(("at", "total", "pass_rate", "asked"))))
    assert history.uncounted(["one"]) == ["one"]
    count_anew(Kept(ledger.run("one"), plan, ledger))
    assert history.uncounted(["one"]) == []
    assert replace(kept(ledger, "one"), at=before.at) == before


@pytest.mark.parametrize(
    ("changed", "is_same"),
    [
        ([Told(True, "q0", "a0"), Told(True, "q1", "a1")], True),
        ([Told(True, "q1", "a1"), Told(True, "q0", "a0")], True),
        ([Told(False, "q0", "another answer"), Told(True, "q1", "a1")], True),
        ([Told(True, "q0", "a0"), Told(True, "another question", "a1")], False),
        ([Told(True, "q0", "a0")], False),
        ([Told(True, "q0", "a0"), Told(True, "q1", "a1"), Told(True, "q1", "a1")], False),
    ],
)
def test_rows_are_the_same_where_their_questions_are_whatever_was_answered(
    ledger: Ledger, plan: EvaluationPlan, changed: list[Told], is_same: bool
) -> None:
    ended(ledger, plan, "one", [Told(True, "q0", "a0"), Told(True, "q1", "a1")])
    ended(ledger, plan, "two", changed)
    assert (kept(ledger, "one").asked == kept(ledger, "two").asked) is is_same


@pytest.mark.parametrize(("has_ids", "is_same"), [(True, True), (False, False)])
def test_answers_without_questions_are_told_from_other_rows_by_their_ids(
    ledger: Ledger, plan: EvaluationPlan, has_ids: bool, is_same: bool
) -> None:
    check = replace(CHECK, sources={"output": "answer"})
    for name in ("one", "two"):
        rows = [Told(True, "", f"answer {n} of {name}", item_id=f"row-{n}") for n in range(3)]
        known = {"id_column": "id"} if has_ids else {}
        run = a_run(ledger, name, rows, check=check, exit_code=None, plan=known, dataset_fingerprint=name * 21)
        conclude(Kept(run, plan, ledger), Ended(), seconds=1.0)
    assert (kept(ledger, "one").asked == kept(ledger, "two").asked) is is_same
