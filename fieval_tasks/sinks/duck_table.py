"""A table in a DuckDB file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from fieval_tasks.core.errors import RowsUnwanted, SinkError
from fieval_tasks.core.sink_names import TableName
from fieval_tasks.ledger.schema import storable
from fieval_tasks.report.columns import TABLE
from fieval_tasks.sinks.verdict_table import KEY, VerdictTable, in_a_line

TYPES = {"string": "VARCHAR", "int64": "BIGINT", "double": "DOUBLE", "bool": "BOOLEAN", "time": "TIMESTAMPTZ"}
_COLUMNS = "SELECT column_name, is_nullable, column_default FROM duckdb_columns() WHERE NOT internal AND table_name = ? AND schema_name = "


class DuckTable(VerdictTable):
    """A table in a DuckDB file.

    One process at a time may have such a file open, so it is open only while a batch is written: processes that share a
    run take turns, and others can read between two batches.
    """

    def __init__(self, name: TableName, run_id: str) -> None:
        super().__init__(name, run_id)
        self._file = Path(name.database).expanduser()
        try:
            self._duckdb = import_module("duckdb")
        except ImportError as error:
            raise SinkError(f"--to {name}: DuckDB is not installed ({error}): pip install duckdb") from error
        self._table = ".".join(f'"{part}"' for part in (name.schema, name.table) if part)
        columns, key = ", ".join(f'"{c}" {TYPES[kind]}' for c, kind in TABLE.items()), ", ".join(f'"{c}"' for c in KEY)
        self._make = f"CREATE TABLE IF NOT EXISTS {self._table} ({columns}, PRIMARY KEY ({key}))"
        # Of lists, a column each: row by row the driver takes a hundred times as long (2.5 ms a row).
        lists = ", ".join(f"unnest(?::{TYPES[kind]}[])" for kind in TABLE.values())
        names = ", ".join(f'"{column}"' for column in TABLE)
        others = [f'"{column}"' for column in TABLE if column not in KEY]
        update = ", ".join(f"{column} = excluded.{column}" for column in others)
        changed = " OR ".join(f"{self._table}.{column} IS DISTINCT FROM excluded.{column}" for column in others)
        self._insert = (
            f"INSERT INTO {self._table} ({names}) SELECT {lists} "
            f"ON CONFLICT ({key}) DO UPDATE SET {update} WHERE {changed}"
        )

    def _write(self, connection: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        columns = zip(*(map(_storable, row.values()) for row in rows), strict=True)
        connection.execute(self._insert, [list(column) for column in columns])

    def _has_run(self, connection: Any) -> bool:
        found = connection.execute(f"SELECT 1 FROM {self._table} WHERE run_id = ? LIMIT 1", [self._run_id])
        return found.fetchone() is not None

    def _columns(self, connection: Any) -> dict[str, bool]:
        schema = "current_schema()" if self.name.schema is None else "?"
        asked = [part for part in (self.name.table, self.name.schema) if part]
        found = connection.execute(f"{_COLUMNS}{schema}", asked).fetchall()
        return {name: not (is_nullable or default is not None) for name, is_nullable, default in found}

    @contextmanager
    def _transaction(self, *, keep: bool) -> Iterator[Any]:
        try:
            is_new = not self._file.exists()
            with self._duckdb.connect(str(self._file)) as connection:
                if is_new:
                    self._file.chmod(0o600)
                connection.execute("BEGIN")
                connection.execute(self._make)
                yield connection
                connection.execute("COMMIT" if keep else "ROLLBACK")
        except (self._duckdb.Error, OSError) as error:
            is_of_the_rows = isinstance(error, self._duckdb.DataError | self._duckdb.IntegrityError)
            kind = RowsUnwanted if is_of_the_rows else SinkError
            raise kind(f"--to {self.name}: {in_a_line(error)}") from error


def _storable(value: Any) -> Any:
    return storable(value) if isinstance(value, str) else value
