"""The view of verdicts: its columns stay, it says what results.jsonl says, and nothing private is in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.ledger.pruning import prune
from fieval_tasks.ledger.schema import figures, items, runs
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.ledger.views import VERDICTS, create_views
from fieval_tasks.runs.conclusion import Ended, conclude
from fieval_tasks.runs.preparation import Kept
from tests.runs.compared_runs import CHECK, NOON, a_run, told

COLUMNS = (
    *("run_id", "dataset", "run_created_at", "item_id", "row_number", "check_name", "repeat", "template", "model"),
    *(
        "status",
        "value_json",
        "score",
        "passed",
        "reason",
        "runtime_ms",
        "eval_id",
        "stage",
        "error_kind",
        "error_message",
    ),
    *("attempts", "submitted_at", "finished_at", "reused_from", "inputs_json"),
)
"""Dashboards name them: a column may be added, and none renamed or dropped."""
SECRET = "Bearer not-for-dashboards"


def ended(ledger: Ledger, tmp_path: Path, **fields: Any) -> dict[str, Any]:
    """The summary of a run that ended."""
    run = a_run(ledger, "one", told(True, True, False, None), exit_code=None, **fields)
    conclude(Kept(run, EvaluationPlan(output=str(tmp_path / "out")), ledger), Ended(), seconds=1.0)
    return dict(json.loads((tmp_path / "out" / "summary.json").read_text()))


def seen(ledger: Ledger) -> pd.DataFrame:
    """All of the view, as pandas reads it."""
    with ledger.database.engine.connect() as connection:
        return pd.read_sql(sa.text("SELECT * FROM fieval_verdicts ORDER BY row_number"), connection)


def test_its_columns_stay(ledger: Ledger) -> None:
    assert tuple(seen(ledger).columns) == COLUMNS


def test_views_that_users_made_of_it_stay_when_it_is_made_again(new_url: str) -> None:
    with Ledger(new_url) as ledger, ledger.database.transaction() as connection:
        connection.execute(sa.text("CREATE VIEW of_mine AS SELECT run_id, passed FROM fieval_verdicts"))
        create_views(connection)
        assert connection.execute(sa.text("SELECT * FROM of_mine")).all() == []


def test_it_says_what_the_summary_says(ledger: Ledger, tmp_path: Path) -> None:
    said, found = ended(ledger, tmp_path)["checks"]["tone"], seen(ledger)
    assert (len(found), found["passed"].sum(), found["passed"].mean()) == (4, said["passed"], said["pass_rate"])
    assert found["score"].mean() == said["mean"]
    assert found["status"].tolist() == ["scored", "scored", "scored", "pending"]
    assert {*found["template"]} == {said["template"]}
    assert {*found["model"]} == {said["model"]}
    assert json.loads(found["value_json"][0]) == "Passed"
    assert str(pd.to_datetime(found["finished_at"], utc=True)[0]) == str(NOON)


def test_choices_pass_as_the_plan_says_once_the_run_is_concluded(ledger: Ledger, tmp_path: Path) -> None:
    moods = replace(CHECK, output="choices", good=("Passed",))
    assert ended(ledger, tmp_path, check=moods)["checks"]["tone"]["pass_rate"] == 2 / 3
    assert seen(ledger)["passed"].fillna(-1).tolist() == [1, 1, 0, -1]
    ledger.amend(replace(ledger.run("one"), checks=(replace(moods, good=("Failed",)),)))
    conclude(Kept(ledger.run("one"), EvaluationPlan(output=str(tmp_path / "out")), ledger), Ended(), seconds=0.0)
    assert seen(ledger)["passed"].fillna(-1).tolist() == [0, 0, 1, -1]


def test_nothing_private_is_in_it_or_in_the_figures(ledger: Ledger, tmp_path: Path) -> None:
    check = replace(CHECK, params={"headers": {"Authorization": SECRET}})
    ended(ledger, tmp_path, check=check, plan={"base_url": f"https://x.test/?key={SECRET}"}, account=SECRET)
    with ledger.database.engine.connect() as connection:
        kept = pd.read_sql(sa.select(figures), connection)
    assert SECRET not in seen(ledger).to_csv() + kept.to_csv()


def test_drafts_and_pruned_runs_have_no_rows(ledger: Ledger, tmp_path: Path) -> None:
    a_run(ledger, "one", told(True))
    with ledger.database.transaction() as connection:
        connection.execute(sa.update(runs).values(is_whole=False))
    assert seen(ledger).empty
    with ledger.database.transaction() as connection:
        connection.execute(sa.update(runs).values(is_whole=True))
    assert len(seen(ledger)) == 1
    assert prune(ledger.database, "one")
    assert seen(ledger).empty


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_duckdb_understands_what_the_view_says(ledger: Ledger, tmp_path: Path) -> None:
    """It runs the text of an attached SQLite file's views itself. Its extension for that would have to be downloaded."""
    duckdb = pytest.importorskip("duckdb")
    ended(ledger, tmp_path)
    with ledger.database.engine.connect() as connection, duckdb.connect() as duck:
        for name in ("fieval_items", "fieval_runs", "fieval_figures", "fieval_choices"):
            table = pd.read_sql(sa.text(f"SELECT * FROM {name}"), connection)
            duck.register(f"{name}_frame", table)
            kinds = ", ".join(f'"{column.name}" {_in_duckdb(column)}' for column in runs.metadata.tables[name].columns)
            duck.execute(f"CREATE TABLE {name} ({kinds})")
            named = ", ".join(f'"{column}"' for column in table.columns)
            duck.execute(f"INSERT INTO {name} ({named}) SELECT {named} FROM {name}_frame")
        duck.execute(VERDICTS)
        found = duck.execute("SELECT avg(passed), count(*), min(status) FROM fieval_verdicts").fetchone()
    assert found == (2 / 3, 4, "pending")


def _in_duckdb(column: sa.Column[Any]) -> str:
    """As its extension reads a SQLite column: whole numbers, decimal ones, times, and all others as text."""
    kinds = {"INTEGER": "BIGINT", "BOOLEAN": "BIGINT", "FLOAT": "DOUBLE", "DATETIME": "TIMESTAMP"}
    return kinds.get(str(column.type), "VARCHAR")


def test_a_run_is_read_from_it_without_reading_the_others(ledger: Ledger) -> None:
    """A dashboard asks for one run of a thousand."""
    a_run(ledger, "one", told(True))
    how = "EXPLAIN QUERY PLAN" if ledger.database.engine.dialect.name == "sqlite" else "EXPLAIN"
    with ledger.database.engine.connect() as connection:
        told_ = connection.execute(sa.text(f"{how} SELECT avg(passed) FROM fieval_verdicts WHERE run_id = 'one'"))
        plan = "\n".join(map(str, told_))
    assert "SCAN i" not in plan
    assert items.name in plan or "SEARCH i" in plan
