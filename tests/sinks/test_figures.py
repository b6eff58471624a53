"""summary.json, results.parquet, the ledger's view and a sink's table give the same figures, read by pandas and by DuckDB."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
import sqlalchemy as sa

from fieval_tasks.core.items import Failed, Item, Scored, Ticket, Verdict
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.sink_names import TableName
from fieval_tasks.ledger.changes import Decided, Sending, Submitted
from fieval_tasks.ledger.reuse import Earlier
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.conclusion import Ended, conclude
from fieval_tasks.runs.preparation import Kept

NOON = datetime(2026, 8, 1, 12, tzinfo=timezone.utc)
CHECKS = (
    CheckRecord("tone", "tone", "turing_flash", {}, "Pass/Fail", {"output": "answer"}),
    CheckRecord("quality", "quality", "turing_flash", {}, "score", {"output": "answer"}),
    CheckRecord("mood", "mood", "turing_flash", {}, "choices", {"output": "answer"}, good=("joy",)),
)
ROWS = 40
FIGURES = ("n", "scored", "failed", "pending", "passed", "pass_rate", "mean")
COUNTED = """
SELECT {check} AS name, count(*) AS n,
    sum(CASE WHEN status = 'scored' THEN 1 ELSE 0 END) AS scored, sum(CASE WHEN status = 'failed' THEN 1 ELSE 0 END) AS failed,
    sum(CASE WHEN status = 'pending' THEN 1 ELSE 0 END) AS pending, sum(CAST(passed AS INTEGER)) AS passed,
    avg(CAST(CAST(passed AS INTEGER) AS FLOAT)) AS pass_rate, avg(score) AS mean
FROM {table} WHERE {where} GROUP BY {check}
"""


def verdict(check: CheckRecord, row: int, repeat: int) -> Verdict | None:
    """Every fifth row is pending and every seventh failed."""
    if row % 5 == 4:
        return None
    if row % 7 == 6:
        return Failed("evaluate", "hollow", "it gave no reason")
    if check.name == "tone":
        return Scored("Passed" if row % 3 else "Failed", float(row % 3 > 0), row % 3 > 0, "so it is", 1.0)
    if check.name == "quality":
        return Scored(row / ROWS, row / ROWS, None, "so it is", 1.0)
    return Scored([["joy"], ["fear", "joy"], "anger"][(row + repeat) % 3], None, None, "so it is", 1.0)


def items(repeats: int) -> list[Item]:
    each = [(row, check, repeat) for row in range(ROWS) for check in CHECKS for repeat in range(repeats)]
    return [
        Item(seq, f"id-{row}", row + 1, check.name, check.template, check.model, {"output": f"{row}"}, f"{check.name}{row}", repeat=repeat)
        for seq, (row, check, repeat) in enumerate(each)
    ]  # fmt: skip


@pytest.fixture
def summary(tmp_path: Path, to: str) -> dict[str, Any]:
    """That of a run with failures, pending items, two evaluations of each row, choices, and rows that are reused."""
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        for name, repeats, earlier in (
            ("old", 1, None),
            ("mine", 2, Earlier(frozenset({"old"}), NOON - timedelta(days=1))),
        ):
            run = Run(name, NOON, "a.csv", "f" * 64, "async", "local", CHECKS, {}, ())
            mine = items(repeats)
            ledger.create(run, [(item, None) for item in mine], chunk_size=50, earlier=earlier)
            book = ledger.book(name)
            unsent = [item.seq for chunk in book.unsent_chunks() for item in book.unsent(chunk)]
            book.apply(
                [Sending(tuple(unsent), NOON), Submitted(tuple(Ticket(seq, f"{name}-{seq}") for seq in unsent), NOON)]
            )
            # Of the old run only the first half was judged, so that the other one reuses half of it.
            told = ((mine[seq], verdict(_check(mine[seq]), mine[seq].row - 1, mine[seq].repeat)) for seq in unsent)
            book.apply(
                [
                    Decided(item.seq, said, NOON)
                    for item, said in told
                    if said and (name == "mine" or item.row < ROWS // 2)
                ]
            )
        plan = EvaluationPlan(output=str(tmp_path / "out"), to=(to,), repeats=2, reuse="7d")
        conclude(Kept(ledger.run("mine"), plan, ledger), Ended(), seconds=1.0)
    return dict(json.loads((tmp_path / "out" / "summary.json").read_text()))


def _check(item: Item) -> CheckRecord:
    return next(check for check in CHECKS if check.name == item.check)


def by_sql(answer: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {row["name"]: {name: row[name] for name in FIGURES} for row in answer.to_dict("records")}


def by_pandas(frame: pd.DataFrame, check: str = "check") -> dict[str, dict[str, Any]]:
    def of(rows: pd.DataFrame) -> dict[str, Any]:
        passed = rows["passed"].dropna().astype(float)
        counts = {name: (rows["status"] == name).sum() for name in ("scored", "failed", "pending")}
        return {
            "n": len(rows),
            **counts,
            "passed": passed.sum(min_count=1),
            "pass_rate": passed.mean(),
            "mean": rows["score"].mean(),
        }

    return {str(name): of(rows) for name, rows in frame.groupby(check)}


def agrees(found: Mapping[str, Mapping[str, Any]], summary: Mapping[str, Any]) -> None:
    for name, said in summary["checks"].items():
        for figure in ("n", "scored", "passed", "pass_rate", "mean"):
            value = found[name][figure]
            assert (None if pd.isna(value) else value) == pytest.approx(said[figure]), f"{name}: {figure}"
    for status in ("scored", "failed", "pending"):
        assert sum(figures[status] for figures in found.values()) == summary["items"][status]


def test_all_that_a_run_is_written_to_gives_the_same_figures(summary: dict[str, Any], to: str, tmp_path: Path) -> None:
    assert summary["items"]["reused"] > 0
    assert min(summary["items"][name] for name in ("scored", "failed", "pending")) > 0
    parquet = tmp_path / "out" / "results.parquet"
    agrees(by_pandas(pd.read_parquet(parquet)), summary)
    agrees(by_sql(duckdb.sql(COUNTED.format(check='"check"', table=f"'{parquet}'", where="true")).df()), summary)
    ledger = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    here = "run_id = 'mine'"
    view = COUNTED.format(check="check_name", table="fieval_verdicts", where=here)
    agrees(by_sql(pd.read_sql(view, ledger)), summary)
    agrees(by_pandas(pd.read_sql(f"SELECT * FROM fieval_verdicts WHERE {here}", ledger), "check_name"), summary)
    ledger.dispose()
    table, everything = (
        COUNTED.format(check='"check"', table='"order"', where=here),
        f'SELECT * FROM "order" WHERE {here}',
    )
    name = TableName.parse(to)
    if name.backend == "duckdb":
        with duckdb.connect(name.database, read_only=True) as mine:
            agrees(by_sql(mine.sql(table).df()), summary)
            agrees(by_pandas(mine.sql(everything).df()), summary)
        return
    engine = sa.create_engine(to.partition("#")[0].replace("postgresql://", "postgresql+psycopg://"))
    agrees(by_sql(pd.read_sql(table, engine)), summary)
    agrees(by_pandas(pd.read_sql(everything, engine)), summary)
    engine.dispose()
