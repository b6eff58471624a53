"""Blessed runs: baselines that somebody chose on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from fieval_tasks.ledger.database import Database
from fieval_tasks.ledger.schema import baselines


@dataclass(frozen=True)
class Blessing:
    """A mark on a run: later ones on the same dataset are compared with it."""

    run_id: str
    dataset: str
    at: datetime
    note: str


def bless(database: Database, blessing: Blessing) -> None:
    """Mark the run. Blessing it again replaces the time and the note."""

    def make(connection: sa.Connection) -> None:
        connection.execute(sa.delete(baselines).where(baselines.c.run_id == blessing.run_id))
        connection.execute(sa.insert(baselines).values(**vars(blessing)))

    database.write(make)


def blessings(database: Database, dataset: str | None = None) -> list[Blessing]:
    """The marks, of one dataset or of all, the newest first."""
    columns = (baselines.c.run_id, baselines.c.dataset, baselines.c.at, baselines.c.note)
    query = sa.select(*columns).order_by(baselines.c.n.desc())
    if dataset is not None:
        query = query.where(baselines.c.dataset == dataset)
    return [Blessing(**row) for row in database.read(query)]
