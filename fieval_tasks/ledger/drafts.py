"""Runs that are being written, a few items in each transaction, and that nobody sees before they are whole.

Whoever writes one holds a claim on it meanwhile. A draft that nobody holds any more was left by a process that ended; whoever
writes the next run takes it out, also a few items at a time: no other writer waits long for its turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fieval_tasks.core.errors import StoreError
from fieval_tasks.ledger import claims
from fieval_tasks.ledger.claims import Stamp
from fieval_tasks.ledger.schema import events, items, runs

BATCH = 1_000
"""Items that a transaction writes: some 0.05 s, for which other writers of a SQLite file wait;"""
LARGEST_BATCH = 4_000_000
"""fewer, where their inputs have so many characters together."""
WRITTEN = -2
"""A chunk of no run's own: whoever writes a run claims it."""
LEASE = 600.0
"""Seconds without a batch, however slowly a dataset comes, after which another machine takes its writer for dead."""

is_whole = runs.c.is_whole
"""What every reader of `runs` asks for."""


def begin(connection: Connection, values: Mapping[str, Any], owner: str) -> None:
    """An empty draft. Raises IntegrityError where there is a run of that name, whole or not."""
    connection.execute(sa.insert(runs).values(**values, is_whole=False))
    claims.take(connection, values["run_id"], [WRITTEN], owner, LEASE)


def add(connection: Connection, run_id: str, batch: Sequence[Mapping[str, Any]], stamp: Stamp) -> None:
    """Items of a draft, once for each stamp."""
    if _signed(connection, run_id, stamp):
        connection.execute(sa.insert(items), batch)


def publish(connection: Connection, run_id: str, total: int, stamp: Stamp) -> None:
    """The draft is whole: a run like any other from now on."""
    if _signed(connection, run_id, stamp):
        connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(is_whole=True, total=total))


def withdraw(connection: Connection, run_id: str) -> None:
    """Nobody sees the run any more: it is a draft again, and nobody's."""
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(is_whole=False))


def take_over(connection: Connection, run_id: str, owner: str) -> bool:
    """Whether the draft is the owner's to take out: it has not become whole by now, and nobody else writes it."""
    is_draft = (runs.c.run_id == run_id, ~is_whole)
    held = connection.execute(
        sa.update(runs).where(*is_draft).values(is_whole=False)
    ).rowcount  # until this is committed
    return bool(held and claims.take(connection, run_id, [WRITTEN], owner, LEASE))


def left_behind(connection: Connection) -> list[str]:
    """Drafts whose writer seems to have ended: what is read here one after the other may have changed in between."""
    drafts = connection.scalars(sa.select(runs.c.run_id).where(~is_whole)).all()
    return [run_id for run_id in drafts if not any(claim.is_live for claim in claims.standing(connection, run_id))]


def take_some_out(connection: Connection, run_id: str) -> bool:
    """A batch of a draft's items, or the draft itself once it has none; whether anything is left."""
    mine = items.c.run_id == run_id
    last = connection.scalar(sa.select(sa.func.max(items.c.seq)).where(mine))
    if last is None:
        connection.execute(sa.delete(runs).where(runs.c.run_id == run_id))
        return False
    connection.execute(sa.delete(events).where(events.c.run_id == run_id, events.c.seq > last - BATCH))
    connection.execute(sa.delete(items).where(mine, items.c.seq > last - BATCH))
    return True


def in_batches(rows: Iterable[dict[str, Any]], *, most: int = BATCH) -> Iterator[list[dict[str, Any]]]:
    """Rows of items, so many in each transaction."""
    batch: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row["inputs"])
        if len(batch) >= most or size >= LARGEST_BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _signed(connection: Connection, run_id: str, stamp: Stamp) -> bool:
    if not claims.renew(connection, run_id, stamp.owner, LEASE):
        raise StoreError(
            f"run {run_id!r} was not heard of for {LEASE / 60:.0f} minutes while it was being written, and was taken out: "
            f"nothing was sent, so start it again"
        )
    return claims.sign(connection, run_id, stamp)
