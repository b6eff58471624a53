"""Deleting the items of old runs, and giving their space back. What the runs came to stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fieval_tasks.ledger import claims
from fieval_tasks.ledger.blessings import blessings
from fieval_tasks.ledger.calibrations import Calibrations
from fieval_tasks.ledger.database import Database
from fieval_tasks.ledger.duplicates import of_run
from fieval_tasks.ledger.history import History
from fieval_tasks.ledger.reuse import reused
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.schema import baselines, calibrations, events, items, label_draws, runs, writers
from fieval_tasks.ledger.schema import claims as claimed


@dataclass(frozen=True)
class Prunable:
    """What pruning would delete and what it would keep."""

    runs: Sequence[Run]
    """Whose items would be deleted, the oldest first."""
    kept: Mapping[str, str]
    """Run that is as old -> why it stays, in words about several."""
    size: int
    """Bytes that the items of these runs take, about: the database's, by their share of all items."""

    @property
    def verdicts(self) -> int:
        """Items that would be deleted."""
        return sum(run.total for run in self.runs)


def prunable(database: Database, before: datetime) -> Prunable:
    """What there is to prune of the runs that were begun before then. Deletes nothing."""
    there = [run for run in History(database).runs() if run.pruned_at is None]
    old = [run for run in reversed(there) if run.created_at < before]
    kept = _still_used(database, old)
    _keep_lenders(database, there, {run.run_id for run in old}, kept)
    chosen = [run for run in old if run.run_id not in kept]
    share = sum(run.total for run in chosen) / max(1, sum(run.total for run in there))
    return Prunable(chosen, kept, round(share * database.look(_size)))


def _still_used(database: Database, old: Sequence[Run]) -> dict[str, str]:
    """Run -> why it stays, in words about several, whatever others need of it."""
    labels = Calibrations(database)
    labelled = {one.run_id for one in labels.draws()}
    labelled |= {run_id for one in labels.all() for run_id in (one.run_id, one.labelled_run)}
    blessed = {one.run_id for one in blessings(database)}
    busy = database.look(_at_work)
    kept = {}
    for run in old:
        if run.run_id in busy:
            kept[run.run_id] = "a process works on them"
        elif run.exit_code is None or run.finished_at is None:
            kept[run.run_id] = "they are not at their end"
        elif run.is_behind:
            kept[run.run_id] = "their --to tables lack verdicts"
        elif run.run_id in blessed:
            kept[run.run_id] = "they are blessed"
        elif run.run_id in labelled:
            kept[run.run_id] = "people labelled their items"
    return kept


def _at_work(connection: Connection) -> set[str]:
    named = connection.scalars(sa.select(claimed.c.run_id).distinct()).all()
    return {run_id for run_id in named if claims.holder(connection, run_id) is not None}


def _keep_lenders(database: Database, there: Sequence[Run], old: set[str], kept: dict[str, str]) -> None:
    """Also keep the runs whose verdicts were reused by runs that stay."""
    lenders = {run.run_id: reused(database, run.run_id) for run in there if run.plan.get("reuse")}
    left = [run_id for run_id in lenders if run_id not in old or run_id in kept]
    while left:
        borrower = left.pop()
        for lender in lenders[borrower]:
            if lender in old and lender not in kept:
                kept[lender] = f"run {borrower} reuses their verdicts"
                left += [lender] if lender in lenders else []


def prune(database: Database, run_id: str) -> bool:
    """Delete a run's items, in one transaction; False where it has come into use meanwhile."""
    return database.write(lambda connection: _pruned(connection, run_id, database.clock.now()))


def _pruned(connection: Connection, run_id: str, now: datetime) -> bool:
    used = [
        sa.exists().where(table.c.run_id == runs.c.run_id) for table in (baselines, calibrations, label_draws, claimed)
    ]
    at_rest = (
        runs.c.exit_code.is_not(None),
        runs.c.finished_at.is_not(None),
        runs.c.pruned_at.is_(None),
        ~runs.c.is_behind,
    )
    doubled = runs.c.possible_duplicates + of_run()  # which are counted from the items, as long as there are any
    this = sa.update(runs).where(runs.c.run_id == run_id, *at_rest, *(~one for one in used))
    if not connection.execute(this.values(pruned_at=now, possible_duplicates=doubled)).rowcount:
        return False
    for table in (events, items, writers):
        connection.execute(sa.delete(table).where(table.c.run_id == run_id))
    return True


def _size(connection: Connection) -> int:
    if connection.dialect.name == "postgresql":
        tables = (f"pg_total_relation_size('{table.name}')" for table in (items, events))
        return int(connection.scalar(sa.text(f"SELECT {' + '.join(tables)}")) or 0)
    pages = connection.scalar(sa.text("PRAGMA page_count")) - connection.scalar(sa.text("PRAGMA freelist_count"))
    return int(pages * connection.scalar(sa.text("PRAGMA page_size")))


def give_back(database: Database) -> int | str:
    """Make a SQLite file smaller: bytes by which it is, or why it is not. PostgreSQL uses the space for new rows by itself."""
    if database.engine.dialect.name == "postgresql":
        return "PostgreSQL uses the space for new rows; VACUUM FULL fieval_items would give it back"
    if busy := database.look(_at_work):
        return f"the file keeps its size while a process works on {', '.join(sorted(busy))}; new runs use the space"
    file = Path(database.engine.url.database or "")
    connection = database.engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # or the file still has what the log says is gone
        before = file.stat().st_size
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return max(0, before - file.stat().st_size)
    except sqlite3.OperationalError as error:  # it is in use, or the disk has no room for a copy
        return f"the file keeps its size ({error}); new runs use the space"
    finally:
        connection.close()
