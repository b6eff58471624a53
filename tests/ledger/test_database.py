"""A database that is away is waited for, by a clock that a test hands in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from fieval_tasks.core.errors import StoreAway
from fieval_tasks.ledger.database import Database, store_url
from fieval_tasks.ledger.tuning import LedgerClock


class Pauses:
    """A clock that goes on while somebody sleeps."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def clock(self) -> LedgerClock:
        return LedgerClock(monotonic=lambda: sum(self.slept), sleep=self.slept.append)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def database(tmp_path: Path, pauses: Pauses) -> Iterator[Database]:
    opened = Database(store_url(str(tmp_path / "ledger.db")), clock=pauses.clock())
    yield opened
    opened.close()


def away(connection: Connection) -> None:
    raise OperationalError("SELECT 1", {}, Exception("server closed the connection unexpectedly"))


def test_it_is_waited_for_in_growing_pauses_for_its_patience_and_no_longer(database: Database, pauses: Pauses) -> None:
    for use in (database.look, database.write):
        pauses.slept.clear()
        with pytest.raises(StoreAway, match="see to the server or the network"):
            use(away)
        assert pauses.slept[:3] == [0.1, 0.2, 0.4]
        assert 25 < sum(pauses.slept) <= database.tuning.patience == 30


def test_once_it_is_back_nobody_hears_of_it(database: Database, pauses: Pauses) -> None:
    def back_at_the_third_try(connection: Connection) -> object:
        if len(pauses.slept) < 2:
            away(connection)
        return connection.scalar(sa.text("SELECT 7"))

    assert database.look(back_at_the_third_try) == 7
    assert pauses.slept == [0.1, 0.2]


def test_a_transaction_is_tried_once(database: Database, pauses: Pauses) -> None:
    with pytest.raises(StoreAway), database.transaction() as connection:
        away(connection)
    assert pauses.slept == []
