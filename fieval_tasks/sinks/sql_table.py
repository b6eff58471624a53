"""A table in PostgreSQL or SQLite, by SQLAlchemy."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from fieval_tasks.core.errors import RowsUnwanted, SinkError
from fieval_tasks.core.private_files import make_file
from fieval_tasks.core.sink_names import TableName
from fieval_tasks.ledger.database import network_timeouts
from fieval_tasks.ledger.schema import Moment, Text
from fieval_tasks.report.columns import TABLE
from fieval_tasks.sinks.sink_tuning import TUNING
from fieval_tasks.sinks.verdict_table import KEY, VerdictTable, in_a_line

TYPES: Mapping[str, Any] = {
    "string": Text,
    "int64": sa.BigInteger,
    "double": sa.Double,
    "bool": sa.Boolean,
    "time": Moment,
}
OF_THE_ROWS = ("22", "23", "44", "54", "P0")
"""Classes of PostgreSQL's SQLSTATE: a value of the wrong length or kind, a constraint, a view's check, a value that no index holds,
a trigger's refusal."""


class SqlTable(VerdictTable):
    """A table in PostgreSQL or SQLite."""

    def __init__(self, name: TableName, run_id: str) -> None:
        super().__init__(name, run_id)
        self._engine = _engine(name)
        columns = (sa.Column(column, TYPES[kind], primary_key=column in KEY) for column, kind in TABLE.items())
        # Quoted, so that capitals stay and a reserved word is a name like any other.
        schema = None if name.schema is None else sa.quoted_name(name.schema, quote=True)
        self._table = sa.Table(sa.quoted_name(name.table, quote=True), sa.MetaData(), *columns, schema=schema)
        insert = (postgresql.insert if name.backend == "postgresql" else sqlite.insert)(self._table)
        others = {column: insert.excluded[column] for column in TABLE if column not in KEY}
        # What is the same is not written: no trigger of the user's fires for it, and a dead row less is left to be cleared.
        changed = sa.or_(*(self._table.c[column].is_distinct_from(new) for column, new in others.items()))
        self._statement = insert.on_conflict_do_update(index_elements=KEY, set_=others, where=changed)
        self._is_there = False

    def close(self) -> None:
        self._engine.dispose()

    def _write(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        connection.execute(self._statement, rows)

    def _has_run(self, connection: Connection) -> bool:
        mine = sa.select(sa.literal(1)).where(self._table.c.run_id == self._run_id).limit(1)
        return connection.scalar(mine) is not None

    def _columns(self, connection: Connection) -> dict[str, bool]:
        return {
            column["name"]: not (
                column["nullable"]
                or column.get("default") is not None
                or column.get("autoincrement") is True
                or "identity" in column
                or "computed" in column
            )
            for column in sa.inspect(connection).get_columns(self._table.name, schema=self._table.schema)
        }

    @contextmanager
    def _transaction(self, *, keep: bool) -> Iterator[Connection]:
        is_there, self._is_there = self._is_there, False  # until this is done: somebody may have dropped it
        try:
            if keep and self.name.file is not None:
                make_file(self.name.file)
            with self._engine.connect() as connection, connection.begin() as transaction:
                if not is_there:
                    self._table.create(connection, checkfirst=True)
                yield connection
                if not keep:
                    transaction.rollback()
            self._is_there = keep
        except (SQLAlchemyError, OSError) as error:
            said = in_a_line(error)
            hint = "; PGPASSWORD or ~/.pgpass gives it" if "password" in said else ""
            kind = RowsUnwanted if _is_of_the_rows(error) else SinkError
            raise kind(f"--to {self.name}: {said}{hint}") from error


def _is_of_the_rows(error: Exception) -> bool:
    """Whether others than these rows may be taken."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
    return isinstance(error, DataError | IntegrityError) or state.startswith(OF_THE_ROWS)


def _engine(name: TableName) -> Engine:
    if name.file is None:
        url = sa.make_url(name.database).set(drivername="postgresql+psycopg")
        arguments: dict[str, Any] = dict(network_timeouts(url))
        logging.getLogger("psycopg").addFilter(_is_news)
    else:
        url, arguments = sa.URL.create("sqlite", database=str(name.file)), {"timeout": TUNING.waits_for_file}
    try:
        # pre_ping: a connection that was cut while idle is noticed before rows are lost with it.
        engine = sa.create_engine(url, pool_size=1, pool_pre_ping=True, hide_parameters=True, connect_args=arguments)
    except ImportError as error:
        raise SinkError(
            f"--to {name}: the driver of PostgreSQL is not installed ({error}): pip install 'psycopg[binary]'"
        ) from error
    if name.file is not None:
        sa.event.listen(engine, "connect", _no_transaction_of_its_own)
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _is_news(record: logging.LogRecord) -> bool:
    """Not what the driver warns of beside the exception that it raises: a refused row leaves a pipeline that is cut off."""
    return not record.getMessage().startswith("error ignored ")


def _no_transaction_of_its_own(connection: Any, _: object) -> None:
    """The driver's would not hold the making of a table, which a check takes back."""
    connection.isolation_level = None
