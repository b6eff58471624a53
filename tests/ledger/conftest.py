"""A ledger of its own for each test, on each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from tests import postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with postgres.serving() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return store_url(str(tmp_path / "ledger.db"))
    return store_url(postgres.fresh_database(request.getfixturevalue("postgres_server")))


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with Ledger(url) as opened:
        yield opened
