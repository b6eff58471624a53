"""People's labels in the ledger: which items were drawn to be labelled, and what the labels say of the judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from fieval_tasks.ledger.database import Database
from fieval_tasks.ledger.schema import calibrations, label_draws


@dataclass(frozen=True)
class LabelDraw:
    """Items that were drawn at random to be labelled."""

    run_id: str
    check_name: str
    at: datetime
    policy: str
    """The labelling policy's name; empty where none was named."""
    seed: int
    of: int
    """Items that could have been drawn: those that had a verdict then."""
    items: Sequence[str]
    """Their ids, in the order in which they were drawn."""


@dataclass(frozen=True)
class Calibration:
    """Labels that were read back, for one check of a run."""

    run_id: str
    """The run that they were read for."""
    check_name: str
    at: datetime
    identity: Mapping[str, Any]
    """What they are worth anything for: the judge's server, template, model and parameters, and the labelling policy."""
    labelled_run: str
    """The run whose items were drawn and labelled: often this one."""
    is_of_these_items: bool
    """This run has the very items that were labelled: it is that run, or one of the same rows."""
    labels: Mapping[str, bool]
    """Item id -> passed, by a person."""
    drawn: int
    """Items of the draw; those without a label were left blank."""
    outside: Sequence[str] = ()
    """Ids of the run's items that could not have been drawn, since they had no verdict yet: the labels don't speak of them."""
    cells: Sequence[int] | None = None
    """The four counts of labels and verdicts, as `Confusion.cells`; None while the run has not been concluded with them."""
    n: int | None = field(default=None, compare=False)
    """Its number in the ledger; None before it is written."""

    @property
    def policy(self) -> str:
        return str(self.identity.get("policy", ""))

    @property
    def content(self) -> dict[str, Any]:
        """The fields that the ledger keeps together, as JSON."""
        return {name: getattr(self, name) for name in _IN_CONTENT}


_IN_COLUMNS = ("run_id", "check_name", "at", "identity")
_IN_CONTENT = ("labelled_run", "is_of_these_items", "labels", "drawn", "outside", "cells")


class Calibrations:
    """The labels that a ledger holds. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record_draw(self, draw: LabelDraw) -> None:
        same = sa.select(label_draws.c.n).where(label_draws.c.run_id == draw.run_id, label_draws.c.at == draw.at)
        self._insert_once(label_draws, vars(draw), same)

    def draws(self, run_id: str | None = None, check: str | None = None) -> list[LabelDraw]:
        """Those of a run, or of a check, the newest first."""
        query = sa.select(*(column for column in label_draws.c if column.name != "n")).order_by(label_draws.c.n.desc())
        query = query if run_id is None else query.where(label_draws.c.run_id == run_id)
        query = query if check is None else query.where(label_draws.c.check_name == check)
        return [LabelDraw(**row) for row in self._database.read(query)]

    def record(self, calibration: Calibration) -> None:
        row = {name: getattr(calibration, name) for name in (*_IN_COLUMNS, "content")}
        same = sa.select(calibrations.c.n).where(
            *(calibrations.c[name] == row[name] for name in ("run_id", "check_name", "at"))
        )
        self._insert_once(calibrations, row, same)

    def set_cells(self, calibration: Calibration, cells: Sequence[int]) -> None:
        """Record what the labels and the run's verdicts come to together."""
        content = replace(calibration, cells=cells).content
        self._database.execute(sa.update(calibrations).where(calibrations.c.n == calibration.n).values(content=content))

    def all(self) -> list[Calibration]:
        """The newest first."""
        rows = self._database.read(sa.select(calibrations).order_by(calibrations.c.n.desc()))
        return [Calibration(**{name: row[name] for name in (*_IN_COLUMNS, "n")}, **row["content"]) for row in rows]

    def _insert_once(self, table: sa.Table, row: Mapping[str, Any], same: sa.Select[Any]) -> None:
        """Insert the row unless it is there: a write is tried again where the database was away while it was made."""

        def make(connection: sa.Connection) -> None:
            if connection.execute(same).first() is None:
                connection.execute(sa.insert(table).values(**row))

        self._database.write(make)
