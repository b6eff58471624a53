"""Evaluations as rows in SQLite, so that a submitted one outlives the process that took it."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

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
_OURS: Final = int.from_bytes(b"fiel", "big")
"""SQLite's application_id of our files. Change it with the schema."""
_PRIVATE: Final = 0o600
_BUSY_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Request:
    """What one evaluation is to score."""

    template: str
    inputs: dict[str, Any]
    params: dict[str, Any]
    model: str | None
    wants_localizer: bool


@dataclass(frozen=True)
class Outcome:
    """How one evaluation ended. `error` is set when no verdict was reached; the rest is then None."""

    status: str
    """`completed` or `failed`; a verdict may be `failed` too."""
    output_type: str | None = None
    value: str | None = None
    reason: str | None = None
    runtime: float | None = None
    """Milliseconds."""
    error: str | None = None


PENDING: Final = Outcome(status="pending")


@dataclass(frozen=True)
class Row:
    """An evaluation as it stands."""

    eval_id: str
    request: Request
    submitted: float
    """Seconds since the epoch."""
    outcome: Outcome


class Store:
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

    def add(self, requests: Iterable[Request], outcomes: Iterable[Outcome]) -> list[Row]:
        """New rows, in order, all or none."""
        submitted = time.time()
        rows = [
            Row(str(uuid4()), request, submitted, outcome) for request, outcome in zip(requests, outcomes, strict=True)
        ]
        self._write_all("INSERT INTO evaluations VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", map(_flatten, rows))
        return rows

    def settle(self, outcomes: Sequence[tuple[str, Outcome]]) -> None:
        """Record how these evaluations, by id, ended. An outcome that another process recorded first stands."""
        self._write_all(
            "UPDATE evaluations SET status=?, output_type=?, value=?, reason=?, runtime=?, error=?"
            " WHERE eval_id=? AND status='pending'",
            ((*_columns(outcome), eval_id) for eval_id, outcome in outcomes),
        )

    def find(self, eval_id: UUID | str) -> Row | None:
        found = self._read("SELECT * FROM evaluations WHERE eval_id = ?", str(eval_id))
        return _unflatten(found[0]) if found else None

    def open_ids(self) -> list[tuple[float, str]]:
        """Submission time and id of each evaluation without an outcome, oldest first."""
        return self._read(
            "SELECT submitted, eval_id FROM evaluations WHERE status = 'pending' ORDER BY submitted, rowid"
        )

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
        self._connection.execute(f"PRAGMA application_id={_OURS}")
        self._connection.execute(_TABLE)
        self._connection.execute(_INDEX)
        self._connection.execute("COMMIT")
        with suppress(sqlite3.OperationalError):  # another process is at it, and the mode is the file's
            self._connection.execute("PRAGMA journal_mode=WAL")
        # In WAL mode NORMAL survives a killed process; only a power cut may lose the last rows.
        self._connection.execute("PRAGMA synchronous=NORMAL")

    def _read(self, statement: str, *values: str) -> list[Any]:
        with self._lock:
            return [] if self._is_closed else self._connection.execute(statement, values).fetchall()

    def _write_all(self, statement: str, values: Iterable[tuple[Any, ...]]) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(statement, values)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


def _make_private(database: Path) -> None:
    """Where there is no such file: one that only its owner may read. SQLite gives its log and its index the same rights.

    A file that is there is not opened: to close it again would take its locks from a connection of this process.
    """
    with suppress(OSError):  # it is there; or can't be made, which SQLite tells in its own words
        os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_EXCL, _PRIVATE))


def _keep_private(database: Path) -> None:
    """The same for a file of an earlier version, which left it open to all."""
    for path in (database, *(database.with_name(database.name + suffix) for suffix in ("-wal", "-shm"))):
        with suppress(FileNotFoundError, PermissionError):  # there is none, or it is another user's, who may share it
            path.chmod(_PRIVATE)


def _columns(outcome: Outcome) -> tuple[Any, ...]:
    return (outcome.status, outcome.output_type, outcome.value, outcome.reason, outcome.runtime, outcome.error)


def _flatten(row: Row) -> tuple[Any, ...]:
    request = row.request
    return (
        row.eval_id,
        request.template,
        json.dumps(request.inputs),
        json.dumps(request.params),
        request.model,
        request.wants_localizer,
        row.submitted,
        *_columns(row.outcome),
    )


def _unflatten(columns: tuple[Any, ...]) -> Row:
    eval_id, template, inputs, params, model, wants_localizer, submitted, *outcome = columns
    request = Request(template, json.loads(inputs), json.loads(params), model, bool(wants_localizer))
    return Row(eval_id, request, submitted, Outcome(*outcome))
