"""SQLite's dialect for the tests: whatever opens a ledger next finds its statements compiled."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

COMPILED: dict[Any, Any] = {}
"""For all engines of one process: each test opens a ledger of its own, and to compile its statements anew took a sixth of the time."""


class Alike(SQLiteDialect_pysqlite):
    """Equal to every other of its kind, as what is compiled is kept by dialect."""

    supports_statement_cache = True

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


def share_compiled_statements() -> None:
    """From now on, among all engines that this process makes for SQLite."""
    registry.register("sqlite", __name__, Alike.__name__)
    sa.event.listen(sa.Engine, "engine_connect", _share)


def _share(connection: sa.Connection) -> None:
    if isinstance(connection.dialect, Alike):
        connection.execution_options(compiled_cache=COMPILED)
