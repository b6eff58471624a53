"""Drafts: runs that are being written, in batches of items, and that are invisible until they are complete.

The writing process holds a claim on its draft. A draft without a live claim was left by a process that ended; the next run
that is written deletes it, also in batches, so that no other writer waits long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from fieval_tasks.core.batches import batches
from fieval_tasks.core.errors import NameTaken, StoreError
from fieval_tasks.ledger import claims
from fieval_tasks.ledger.check_figures import open_figures
from fieval_tasks.ledger.claims import Stamp
from fieval_tasks.ledger.database import Database
from fieval_tasks.ledger.processes import owner_name
from fieval_tasks.ledger.reuse import Earlier, take_over
from fieval_tasks.ledger.schema import events, items, runs
from fieval_tasks.ledger.spending import open_accounts

WRITTEN = -2
"""The pseudo-chunk that the process claims which writes a run."""

is_whole = runs.c.is_whole
"""The condition that every reader of `runs` uses: no drafts."""


def write(
    database: Database, run: Mapping[str, Any], rows: Iterable[dict[str, Any]], earlier: Earlier | None = None
) -> None:
    """A run and its items, or nothing at all; items with a verdict in `earlier` runs have it from the start. Raises NameTaken where there is a run of that name, whole or not."""
    _take_out_what_was_left(database)
    owner, run_id = owner_name(), run["run_id"]
    with database.transaction() as connection:
        try:
            connection.execute(sa.insert(runs).values(**run, is_whole=False))
        except IntegrityError as error:
            raise NameTaken(f"there is a run {run_id!r} already: choose another --run, or --resume it") from error
        open_accounts(connection, run_id, [check["name"] for check in run["checks"]])
        open_figures(connection, run_id, run["checks"])
        claims.take(connection, run_id, [WRITTEN], owner, database.tuning.draft_lease)
    try:
        _write_out(database, run_id, rows, earlier, owner)
    except BaseException:
        with suppress(StoreError):  # if this fails, the next run that is written deletes the draft
            take_out(database, run_id, owner)
        raise


def withdraw(connection: Connection, run_id: str) -> None:
    """Make a run a draft again, without a claim, so that it is invisible at once."""
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(is_whole=False))


def take_out(database: Database, run_id: str, owner: str) -> None:
    """Delete a draft with its items, unless another process writes it."""
    with database.transaction() as connection:
        is_left = _taken_over(connection, run_id, owner, database.tuning.draft_lease)
    while is_left:
        with database.transaction() as connection:
            is_left = _take_some_out(connection, run_id, database.tuning.batch)


def left_behind(connection: Connection) -> list[str]:
    """Drafts without a live claim. They may have changed by the time they are deleted, so `take_out` checks again."""
    drafts = connection.scalars(sa.select(runs.c.run_id).where(~is_whole)).all()
    return [run_id for run_id in drafts if claims.holder(connection, run_id) is None]


def _take_out_what_was_left(database: Database) -> None:
    for run_id in database.look(left_behind):
        take_out(database, run_id, owner_name())


def _write_out(
    database: Database, run_id: str, rows: Iterable[dict[str, Any]], earlier: Earlier | None, owner: str
) -> None:
    most, largest = database.tuning.batch, database.tuning.largest_batch
    parts = batches(rows, most=most, largest=largest, size=lambda row: len(row["inputs"]))
    total = commits = 0
    for commits, batch in enumerate(parts, 1):
        _write_part(database, run_id, partial(_insert, batch), Stamp(owner, commits))
        total += len(batch)
    if earlier is not None:
        for first in range(0, total, most):
            commits += 1
            seqs = range(first, first + most)
            part = partial(take_over, run_id=run_id, earlier=earlier, seqs=seqs)
            _write_part(database, run_id, part, Stamp(owner, commits))
    whole = sa.update(runs).where(runs.c.run_id == run_id).values(is_whole=True, total=total)
    _write_part(database, run_id, lambda connection: connection.execute(whole), Stamp(owner, commits + 1))
    database.write(lambda connection: claims.release(connection, run_id, owner))


def _insert(batch: list[dict[str, Any]], connection: Connection) -> None:
    connection.execute(sa.insert(items).values(), batch)


def _write_part(database: Database, run_id: str, write: Callable[[Connection], object], stamp: Stamp) -> None:
    """Write a batch, once for each stamp, while the draft is its owner's."""
    lease = database.tuning.draft_lease

    def make(connection: Connection) -> None:
        if not claims.renew(connection, run_id, stamp.owner, lease):
            raise StoreError(
                f"run {run_id!r} was not heard of for {lease / 60:.0f} minutes while it was being written, and was taken "
                f"out: nothing was sent, so start it again"
            )
        if claims.sign(connection, run_id, stamp):
            write(connection)

    database.write(make)


def _taken_over(connection: Connection, run_id: str, owner: str, lease: float) -> bool:
    """Claim a draft for deletion; False where it has become a complete run, or another process writes it."""
    is_draft = (runs.c.run_id == run_id, ~is_whole)
    locked = sa.update(runs).where(*is_draft).values(is_whole=False)  # until this is committed
    return bool(connection.execute(locked).rowcount and claims.take(connection, run_id, [WRITTEN], owner, lease))


def _take_some_out(connection: Connection, run_id: str, most: int) -> bool:
    """Delete a batch of a draft's items, or the draft itself once it has none; whether anything is left."""
    mine = items.c.run_id == run_id
    last = connection.scalar(sa.select(sa.func.max(items.c.seq)).where(mine))
    if last is None:
        connection.execute(sa.delete(runs).where(runs.c.run_id == run_id))
        return False
    connection.execute(sa.delete(events).where(events.c.run_id == run_id, events.c.seq > last - most))
    connection.execute(sa.delete(items).where(mine, items.c.seq > last - most))
    return True
