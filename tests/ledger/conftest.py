"""A ledger of its own for each test, on each kind of database."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from fieval_tasks.ledger import schema
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from tests import postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def new_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with nothing in it."""
    if backend == "sqlite":
        return store_url(str(tmp_path / "ledger.db"))
    return store_url(postgres.emptied(request.getfixturevalue("postgres_server")))


@pytest.fixture
def url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A ledger without a run: making its tables takes longer than most tests."""
    if backend == "sqlite":
        shutil.copyfile(request.getfixturevalue("begun_file"), tmp_path / "ledger.db")
        return store_url(str(tmp_path / "ledger.db"))
    begun = request.getfixturevalue("begun_database")
    postgres.cut_connections(begun)
    engine = sa.create_engine(store_url(begun))
    with engine.begin() as connection:
        for table in reversed(schema.metadata.sorted_tables):
            if table is not schema.schema:
                connection.execute(sa.delete(table))
    engine.dispose()
    return store_url(begun)


@pytest.fixture(scope="session")
def begun_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("ledger") / "begun.db"
    Ledger(store_url(str(file))).close()
    return file


@pytest.fixture(scope="session")
def begun_database(postgres_server: str) -> str:
    database = postgres.fresh_database(postgres_server)
    Ledger(store_url(database)).close()
    return database


@pytest.fixture
def own_postgres_server() -> Iterator[postgres.Server]:
    """For a test that stops it."""
    with postgres.server() as server:
        yield server


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with Ledger(url) as opened:
        yield opened
