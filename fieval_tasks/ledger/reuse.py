"""Verdicts of earlier runs that a run takes over while it is being written (`--reuse`): the same fingerprint, not paid again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fieval_tasks.core.items import State
from fieval_tasks.ledger.database import Database
from fieval_tasks.ledger.schema import items


@dataclass(frozen=True)
class Earlier:
    """The verdicts that a run may take over."""

    runs: frozenset[str]
    """The runs that were made at the same server with the same account."""
    since: datetime
    """No verdict is older. It counts from when the judge gave it, so one that was reused before does not become younger."""


def take_over(connection: Connection, run_id: str, earlier: Earlier, seqs: range) -> None:
    """Give the run's items in this range the newest verdict of an earlier run that has their fingerprint.

    An item that repeats another of the run shares its verdict, as always. Further evaluations of a row (`Item.repeat`)
    are never reused: they are there to be compared.
    """
    here = (items.c.run_id == run_id, items.c.seq >= seqs.start, items.c.seq < seqs.stop, items.c.state == _READY)
    same = sa.and_(_old.c.fingerprint == items.c.fingerprint, _IS_PAID, _old.c.finished_at >= earlier.since)
    first = (*here, items.c.same_as.is_(None), items.c.repeat == 0)
    found = _joined(same, _old.c.run_id.label("reused_from")).where(*first)
    # the newest last: of several rows for one item the dict below keeps that one
    rows = connection.execute(found.order_by(_old.c.finished_at, _old.c.run_id, _old.c.seq)).mappings()
    _write(connection, run_id, {row["seq"]: row for row in rows if row["reused_from"] in earlier.runs})
    lender = sa.and_(_old.c.run_id == items.c.run_id, _old.c.seq == items.c.same_as, _old.c.reused_from.is_not(None))
    rows = connection.execute(_joined(lender, _old.c.reused_from).where(*here)).mappings()
    _write(connection, run_id, {row["seq"]: row for row in rows})


def to_be_taken(database: Database, earlier: Earlier, fingerprints: Sequence[str]) -> set[str]:
    """Those of these fingerprints, of which an item has a verdict that may be taken over. At most as many as one read has rows."""
    query = sa.select(_old.c.fingerprint, _old.c.run_id).where(_IS_PAID, _old.c.finished_at >= earlier.since)
    found = database.read(query.where(_old.c.fingerprint.in_(fingerprints)))
    return {row["fingerprint"] for row in found if row["run_id"] in earlier.runs}


def reused(database: Database, run_id: str) -> dict[str, int]:
    """Earlier run -> how many of the run's items have a verdict of it."""
    query = sa.select(items.c.reused_from, sa.func.count().label("n")).where(items.c.run_id == run_id)
    query = query.where(items.c.reused_from.is_not(None)).group_by(items.c.reused_from)
    return {row["reused_from"]: row["n"] for row in database.read(query)}


def _joined(on: sa.ColumnElement[bool], reused_from: sa.ColumnElement[str]) -> sa.Select[Any]:
    taken = (_old.c[name] for name in _TAKEN)
    return sa.select(items.c.seq, *taken, reused_from).select_from(items.join(_old, on))


def _write(connection: Connection, run_id: str, verdicts: Mapping[int, sa.RowMapping]) -> None:
    """Write the verdict of each item, by its seq."""
    given = [
        {"run": run_id, "item": seq, **{f"to_{name}": row[name] for name in _WRITTEN}} for seq, row in verdicts.items()
    ]
    if given:
        connection.execute(_TAKE_OVER, given)


_old = items.alias("earlier")
_IS_PAID = sa.and_(
    _old.c.state == sa.literal_column(f"'{State.SCORED.value}'", sa.String),
    _old.c.reused_from.is_(None),
    _old.c.same_as.is_(None),
)
"""As the index `fieval_items_reusable` has it, word for word, or no database uses it."""
_READY = sa.literal_column(f"'{State.READY.value}'", sa.String)
_TAKEN = ("eval_id", "finished_at", "value", "score", "passed", "reason", "runtime_ms")
"""Columns of a verdict."""
_WRITTEN = (*_TAKEN, "reused_from")
_TAKE_OVER = (
    sa.update(items)
    .where(items.c.run_id == sa.bindparam("run"), items.c.seq == sa.bindparam("item"), items.c.state == _READY)
    .values(
        state=sa.literal_column(f"'{State.SCORED.value}'", sa.String),
        **{name: sa.bindparam(f"to_{name}", type_=items.c[name].type) for name in _WRITTEN},
    )
)
