"""A table for each test, in each kind of database."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy as sa

from fieval_tasks.core.sink_names import TableName
from fieval_tasks.report.columns import TABLE
from tests import postgres

BACKENDS = ("sqlite", "postgresql", "duckdb")


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database, without a table."""
    if request.param == "postgresql":
        return postgres.emptied(request.getfixturevalue("postgres_server"))
    return f"{request.param}:///{tmp_path / 'mine.db'}"


@pytest.fixture
def to(place: str) -> str:
    return f"{place}#order"


TYPES = {"string": "VARCHAR", "int64": "BIGINT", "double": "DOUBLE PRECISION", "bool": "BOOLEAN", "time": "TIMESTAMPTZ"}


def made_by_hand(table: str, limit: str) -> str:
    """The statement that makes a table of the user's own; `limit`: a constraint."""
    columns = ", ".join(f'"{name}" {TYPES[kind]}' for name, kind in TABLE.items())
    return f'CREATE TABLE {table} ({columns}, PRIMARY KEY (run_id, item_id, "check", repeat), {limit})'


def asked(place: str, statement: str) -> list[tuple[Any, ...]]:
    """What the database says to a statement of SQL, which is committed."""
    name = TableName.parse(f"{place.partition('#')[0]}#t")
    if name.backend == "duckdb":
        with duckdb.connect(name.database) as connection:
            return connection.execute(statement).fetchall()
    url = (
        name.database.replace("postgresql://", "postgresql+psycopg://")
        if name.file is None
        else place.partition("#")[0]
    )
    engine = sa.create_engine(url)
    try:
        with engine.begin() as connection, closing(connection.exec_driver_sql(statement)) as answer:
            return [tuple(row) for row in answer] if answer.returns_rows else []
    finally:
        engine.dispose()
