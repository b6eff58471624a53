"""Evaluations as rows in SQLite, so that a submitted one outlives the process that took it."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS evaluations (
    eval_id TEXT PRIMARY KEY,
    template TEXT NOT NULL,
    inputs TEXT NOT NULL,
    params TEXT NOT NULL,
    model TEXT,
    wants_localizer INTEGER NOT NULL,
    submitted REAL NOT NULL,
    status TEXT NOT NULL,
    output_type TEXT,
    value TEXT,
    reason TEXT,
    runtime REAL,
    error TEXT
)
"""
_INDEX: Final = "CREATE INDEX IF NOT EXISTS open_evaluations ON evaluations (submitted) WHERE status = 'pending'"
# SQLite's application_id of our files. Change it with the schema.
_OURS: Final = int.from_bytes(b"fiel", "big")
# Longer than any of our transactions takes, several processes and a slow disk together.
_BUSY_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Job:
    """One evaluation as it stands: what was asked, and how it ended. The fields are the table's columns."""

    template: str
    inputs: dict[str, Any]
    params: dict[str, Any]
    model: str | None = None
    wants_localizer: bool = False
    submitted: float = field(default_factory=time.time)
    """Seconds since the epoch."""
    status: str = "pending"
    """`pending`, `completed` or `failed`; a verdict may be `failed` too. While it is scored it reads `processing`."""
    output_type: str | None = None
    value: str | None = None
    reason: str | None = None
    runtime: float | None = None
    """Milliseconds."""
    error: str | None = None
    """Set when no verdict was reached; the four above are then None."""
    eval_id: str = field(default_factory=lambda: str(uuid4()))


_COLUMNS: Final = [column.name for column in fields(Job)]
_OUTCOME: Final = ("status", "output_type", "value", "reason", "runtime", "error")


class JobStore:
    """The table of evaluations. Safe to call from any thread; every method is one short transaction.

    Once closed it finds nothing, and outcomes that come too late are dropped: their rows stay pending.
    """

    def __init__(self, database: Path | str | None) -> None:
        """Raises sqlite3.Error where the file cannot be a database, ValueError where it is another program's."""
        self._lock = threading.Lock()
        self._is_closed = False
        if database is not None:
            _make_private(Path(database))
        self._connection = sqlite3.connect(
            ":memory:" if database is None else database,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._set_up()
            if database is not None:
                _keep_private(Path(database))
        except BaseException:
            self._connection.close()
            raise

    def add(self, evaluations: Iterable[Job]) -> None:
        """New rows, all or none."""
        names, places = ",".join(_COLUMNS), ",".join("?" * len(_COLUMNS))
        self._write(f"INSERT INTO evaluations ({names}) VALUES ({places})", map(_as_row, evaluations))

    def settle(self, ended: Job) -> None:
        """Record how it ended. An outcome that another process recorded first stands."""
        outcome = [getattr(ended, name) for name in _OUTCOME]
        changes = ", ".join(f"{name}=?" for name in _OUTCOME)
        self._write(
            f"UPDATE evaluations SET {changes} WHERE eval_id=? AND status='pending'", [(*outcome, ended.eval_id)]
        )

    def find(self, eval_id: str) -> Job | None:
        found = self._read(f"SELECT {','.join(_COLUMNS)} FROM evaluations WHERE eval_id = ?", eval_id)
        return _from_row(found[0]) if found else None

    def open_ids(self) -> list[str]:
        """Of the evaluations without an outcome, oldest first."""
        found = self._read("SELECT eval_id FROM evaluations WHERE status = 'pending' ORDER BY submitted, rowid")
        return [eval_id for (eval_id,) in found]

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            self._connection.close()

    def _set_up(self) -> None:
        # In one transaction: several processes may open a new file at once.
        self._connection.execute("BEGIN IMMEDIATE")
        (mark,) = self._connection.execute("PRAGMA application_id").fetchone()
        if mark != _OURS and self._connection.execute("SELECT name FROM sqlite_master LIMIT 1").fetchall():
            raise ValueError("the database belongs to another program; name a file of its own for the local evaluator")
        for statement in (f"PRAGMA application_id={_OURS}", _TABLE, _INDEX, "COMMIT"):
            self._connection.execute(statement)
        with suppress(sqlite3.OperationalError):  # another process is at it, and the mode is the file's
            self._connection.execute("PRAGMA journal_mode=WAL")
        # In WAL mode NORMAL survives a killed process; only a power cut may lose the last rows.
        self._connection.execute("PRAGMA synchronous=NORMAL")

    def _read(self, statement: str, *values: str) -> list[Any]:
        with self._lock:
            return [] if self._is_closed else self._connection.execute(statement, values).fetchall()

    def _write(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(statement, rows)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


def _make_private(database: Path) -> None:
    """Where there is no such file: one that only its owner may read. SQLite gives its log and its index the same rights.

    A file that is there is not opened: to close it again would take its locks from a connection of this process.
    """
    with suppress(OSError):  # it is there; or can't be made, which SQLite says in its own words
        os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _keep_private(database: Path) -> None:
    """The same for a file of an earlier version, which left it open to all."""
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError, PermissionError):  # there is none, or it is another user's, who may share it
            database.with_name(database.name + suffix).chmod(0o600)


def _as_row(evaluation: Job) -> tuple[Any, ...]:
    values = (getattr(evaluation, name) for name in _COLUMNS)
    return tuple(json.dumps(value) if isinstance(value, dict) else value for value in values)


def _from_row(row: tuple[Any, ...]) -> Job:
    columns = dict(zip(_COLUMNS, row, strict=True))
    as_json = {name: json.loads(columns[name]) for name in ("inputs", "params")}
    return Job(**{**columns, **as_json, "wants_localizer": bool(columns["wants_localizer"])})
