"""A process that works on run `r` with the embedded evaluator and hands its verdicts on; it may die in the middle of a write.

python -m tests.faults.handing_on TO ITEMS|resume [ROWS]: killed once ROWS rows are written to the SQLite file of TO and not all committed.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fieval_tasks.core.plan import Check, EvaluationPlan
from fieval_tasks.core.sink_names import TableName
from fieval_tasks.runs.conclusion import conclude
from fieval_tasks.runs.preparation import prepared
from fieval_tasks.runs.workers import how_it_ended, threads


def main(to: str, what: str, rows: str = "") -> int:
    if rows:
        die_after(int(rows), TableName.parse(to))
    if what == "resume":
        plan = EvaluationPlan(resume="r")
    else:
        lines = (json.dumps({"id": f"id-{n}", "text": f"[{n % 97}]"}) for n in range(int(what)))
        Path("data.jsonl").write_text("".join(f"{line}\n" for line in lines))
        plan = EvaluationPlan(
            dataset="data.jsonl",
            checks=(Check(template="is_json"),),
            id_column="id",
            run="r",
            connection="local",
            to=(to,),
        )
    with prepared(plan) as run:
        print("begun", flush=True)
        with run.engine() as engine, threads(engine) as workers:
            ended = how_it_ended(engine, run.plan.mode, workers)
        outcome = conclude(run, ended, seconds=0.0)
    print(outcome.message, flush=True)
    return outcome.exit_code


def die_after(rows: int, name: TableName) -> None:
    @sa.event.listens_for(sa.Engine, "connect")
    def _watch(connection: Any, _: object) -> None:
        if isinstance(connection, sqlite3.Connection) and _file_of(connection) == name.file:
            connection.set_progress_handler(lambda: _die_if(connection, rows), 1)


def _file_of(connection: sqlite3.Connection) -> Path:
    return Path(connection.execute("PRAGMA database_list").fetchone()[2])


def _die_if(connection: sqlite3.Connection, rows: int) -> None:
    if connection.in_transaction and connection.total_changes >= rows:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
