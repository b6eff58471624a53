"""What the tables of all databases have in common: their columns, and how one is checked."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from fieval_tasks.core.errors import SinkError
from fieval_tasks.core.items import Result
from fieval_tasks.core.sink_names import TableName
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.ledger.troubles import first_line
from fieval_tasks.report.columns import TABLE, table_row
from fieval_tasks.report.text import clean, clip
from fieval_tasks.sinks.sink import Sink

KEY = ("run_id", "item_id", "check", "repeat")
"""Columns that tell the rows of the table apart."""
LONGEST_MESSAGE = 300
"""Characters of what a database says."""
_PENDING = Result(
    "row-1", 1, "check", "template", None, "pending", None, None, None, None, None, None, None, None, 0, None, None, {}
)  # fmt: skip
_SCORED = replace(
    _PENDING, item_id="row-2", status="scored", value="Passed", score=0.5, passed=True, reason="because", finished_at=utc_now()
)  # fmt: skip
_FAILED = replace(
    _PENDING, item_id="row-3", status="failed", stage="submit", error={"kind": "refused", "message": "it is"}
)
_TRIED = (_PENDING, _SCORED, _FAILED)
"""What is written, and taken back, to see whether a table takes verdicts of all kinds."""
_ALWAYS = [name for name in TABLE if all(table_row("", one)[name] is not None for one in _TRIED)]
"""Columns in which every row has a value."""


class VerdictTable(Sink, ABC):
    """A table of the user's own as a `Sink`: a row for each item of a run, written again when it changes."""

    def __init__(self, name: TableName, run_id: str) -> None:
        self.name = name
        self._run_id = run_id

    def check(self, *, is_new: bool) -> None:
        """Raises SinkError where the table can't be written to, or a new run has the name of one whose verdicts it holds;
        RowsUnwanted where it refuses rows that are tried: it may take others."""
        file = self.name.file
        if file is not None and not file.exists():
            if not os.access(file.parent, os.W_OK | os.X_OK):
                raise SinkError(f"--to {self.name}: there is no folder {file.parent}, or it can't be written to")
            if self.name.schema not in (None, "main"):
                raise SinkError(
                    f"--to {self.name}: there is no file {file}, so it has no schema {self.name.schema}: make them first"
                )
            return  # it is made with the first verdict
        with self._transaction(keep=False) as connection:
            self._require_fit(self._columns(connection))
            if is_new and self._has_run(connection):
                raise SinkError(
                    f"--to {self.name}: the table holds verdicts of a run named {self._run_id} already, which this one would "
                    f"write over: choose another --run"
                )
            self._write(connection, [table_row("", result) for result in _TRIED])

    def take(self, results: Sequence[Result]) -> None:
        with self._transaction(keep=True) as connection:
            self._write(connection, [table_row(self._run_id, result) for result in results])

    bring_up_to_date = take

    @abstractmethod
    def _transaction(self, *, keep: bool) -> AbstractContextManager[Any]:
        """A connection with a transaction, in which the table is there: it is made where there is none. `keep`: what is done
        in the block stays, else it is taken back. Errors of the block become a SinkError, or RowsUnwanted."""

    @abstractmethod
    def _columns(self, connection: Any) -> dict[str, bool]:
        """Column of the table -> whether it must be given a value."""

    @abstractmethod
    def _has_run(self, connection: Any) -> bool:
        """Whether the table has rows of a run of this name."""

    @abstractmethod
    def _write(self, connection: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows, or write them over those that have their KEY."""

    def _require_fit(self, columns: Mapping[str, bool]) -> None:
        """Raises SinkError where the table that is there lacks a column, or needs a value where a verdict may have none.

        `columns`: column -> whether it must be given a value.
        """
        has = ", ".join(TABLE)
        if missing := [name for name in TABLE if name not in columns]:
            raise SinkError(
                f"--to {self.name}: there is such a table, and it lacks {', '.join(missing)}; it is left as it is: name another "
                f"(it is made), or give it the columns {has}"
            )
        if needed := [name for name, is_needed in columns.items() if is_needed and name not in _ALWAYS]:
            raise SinkError(
                f"--to {self.name}: there is such a table, and it wants values for {', '.join(needed)}, which not every verdict has; "
                f"name another table, or let them be empty"
            )


def in_a_line(error: Exception) -> str:
    """What the database said: it may repeat a text of a row, which can be long and steer a terminal."""
    return clip(clean(first_line(error)), LONGEST_MESSAGE)
