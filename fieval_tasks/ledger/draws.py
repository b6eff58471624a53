"""A run's items in the order in which they were drawn, and those that turn out not to be needed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fieval_tasks.core.items import State
from fieval_tasks.ledger.database import Database
from fieval_tasks.ledger.schema import items

IN_ORDER = sa.func.coalesce(items.c.drawn, items.c.seq)
"""In which a run's items are sent."""


class Draw(NamedTuple):
    """An item's place in the order in which the run's items were drawn."""

    seq: int
    place: int
    """From 0; among equal ones the order of their seqs counts."""
    chunk: int
    check: str
    repeat: int
    """Further evaluations of an item are counted from 1."""
    traits: Mapping[str, Any] | None


_SCORED, _NOT_NEEDED = State.SCORED.value, State.NOT_NEEDED.value


class End(NamedTuple):
    """How an item ended."""

    seq: int
    chunk: int
    is_scored: bool
    passed: bool | None
    score: float | None
    value: Any


class Draws:
    """One run's draws. Thread-safe; each call is tried again while the database is away."""

    def __init__(self, database: Database, run_id: str) -> None:
        self._database = database
        self._run_id = run_id

    def all(self) -> Iterator[Draw]:
        """Every item as it was drawn, in the order of their seqs. Streams."""
        columns = (
            items.c.seq,
            IN_ORDER.label("place"),
            items.c.chunk,
            items.c.check_name.label("check"),
            items.c.repeat,
            items.c.traits,
        )
        for row in self._database.pages(sa.select(*columns).where(self._mine), items.c.seq):
            yield Draw(**{**row, "traits": None if row["traits"] is None else json.loads(row["traits"])})

    def ends(self, chunks: Sequence[int]) -> list[End]:
        """The items of these chunks that are scored or failed."""
        columns = (items.c.seq, items.c.chunk, items.c.state, items.c.passed, items.c.score, items.c.value)
        # By the time, and not the state, by whose index SQLite would read the whole run.
        those = (self._mine, items.c.chunk.in_(chunks), items.c.finished_at.is_not(None))
        found = self._database.look(lambda connection: connection.execute(sa.select(*columns).where(*those)).all())
        return [
            End(seq, chunk, state == _SCORED, passed, score, None if value is None else json.loads(value))
            for seq, chunk, state, passed, score, value in found
            if state != _NOT_NEEDED
        ]

    def leave_out(self) -> dict[str, int]:
        """Nothing more of the run is needed, also where a submission's reply was lost; check -> how many items were left."""
        unsent = (self._mine, items.c.state.in_([State.READY.value, State.AMBIGUOUS.value]))
        counted = sa.select(items.c.check_name, sa.func.count().label("n")).where(*unsent).group_by(items.c.check_name)
        not_needed = {"state": State.NOT_NEEDED.value, "finished_at": self._database.clock.now()}

        def left(connection: Connection) -> dict[str, int]:
            found = {row.check_name: row.n for row in connection.execute(counted)}
            connection.execute(sa.update(items).where(*unsent).values(**not_needed))
            return found

        return self._database.write(left)

    def take_back_in(self) -> int:
        """What was not needed is to be sent after all; how many items those are."""
        those = (self._mine, items.c.state == State.NOT_NEEDED.value)
        ready = {"state": State.READY.value, "finished_at": None}
        return self._database.execute(sa.update(items).where(*those).values(**ready))

    def not_spent(self) -> int:
        """How many evaluations were not needed: copies would have shared others', and a lost reply may have been paid."""
        those = (self._mine, items.c.state == State.NOT_NEEDED.value, items.c.same_as.is_(None), items.c.doubts == 0)
        return self._database.number(sa.select(sa.func.count()).select_from(items).where(*those))

    @property
    def _mine(self) -> sa.ColumnElement[bool]:
        return items.c.run_id == self._run_id
