"""Claims: which process works on which chunk, so that two processes on one run never send the same item.

A claim ends when it is released, when its lease runs out, or, on the same machine, when its process is gone. The process
that then takes it over deposes the former owner, whose later commits are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fieval_tasks.core.errors import StoreError
from fieval_tasks.core.items import State
from fieval_tasks.ledger.changes import Noted, ReplyLost, make
from fieval_tasks.ledger.database import Database
from fieval_tasks.ledger.processes import described, has_gone
from fieval_tasks.ledger.schema import Moment, claims, items, utc_now, writers


@dataclass(frozen=True)
class Claim:
    """A chunk of a run and the process that works on it."""

    chunk: int
    owner: str
    """The process's name: see `processes.owner_name`."""
    until: datetime
    """When its lease runs out."""
    is_live: bool
    """The lease has not run out, and the process is not known to be gone."""

    @property
    def holder(self) -> str:
        """The owner in words."""
        return described(self.owner)


@dataclass(frozen=True)
class Stamp:
    """The identity of a commit, so that it is made once however often it is tried."""

    owner: str
    """The writing process."""
    number: int
    """Counted up by the owner, from 1."""


class Claims:
    """The claims of one run. Each call is tried again while the database is away; doing it twice is harmless."""

    def __init__(self, database: Database, run_id: str) -> None:
        self._database = database
        self._run_id = run_id

    def take(self, chunks: Iterable[int], owner: str, *, lease: float) -> list[int]:
        """Claim chunks for `lease` seconds; those that were free, its own already, or left by a process that is gone.

        Items that a former owner was sending become ambiguous. An owner that was itself deposed gets none.
        """
        wanted = list(chunks)
        return self._database.write(lambda connection: take(connection, self._run_id, wanted, owner, lease))

    def renew(self, owner: str, *, lease: float) -> int:
        """Let the owner's claims last `lease` seconds from now; how many are still its own."""
        return self._database.write(lambda connection: renew(connection, self._run_id, owner, lease))

    def release(self, owner: str) -> None:
        """Release the owner's claims."""
        self._database.write(lambda connection: release(connection, self._run_id, owner))

    def holder(self) -> str | None:
        """A process that works on the run now, in words; None where there is none."""
        return self._database.look(lambda connection: holder(connection, self._run_id))

    def of_others(self, owner: str) -> list[Claim]:
        """The claims of all but this owner, in the order of the chunks."""
        found = self._database.look(lambda connection: standing(connection, self._run_id))
        return [claim for claim in found if claim.owner != owner]


# -- within a transaction ------------------------------------------------------------------------------------------


def take(connection: Connection, run_id: str, chunks: Iterable[int], owner: str, lease: float) -> list[int]:
    """`Claims.take` in a transaction."""
    _one_at_a_time(connection, run_id)
    if not _enrolled(connection, run_id, owner):
        return []
    held = {claim.chunk: claim for claim in standing(connection, run_id)}
    ours = [n for n in dict.fromkeys(chunks) if n not in held or held[n].owner == owner or not held[n].is_live]
    taken = {n: held[n].owner if n in held else None for n in ours if n not in held or held[n].owner != owner}
    # An owner that lost one chunk does not know it yet, so it may write nothing more, for its other chunks neither.
    for former in {name for name in taken.values() if name is not None}:
        _depose(connection, run_id, former, owner)
    _write(connection, run_id, ours, owner, _now(connection) + timedelta(seconds=lease))
    _lose_what_is_in_flight(connection, run_id, taken)
    return ours


def renew(connection: Connection, run_id: str, owner: str, lease: float) -> int:
    """Let the owner's claims last from now; how many it has."""
    _one_at_a_time(connection, run_id)
    until = _now(connection) + timedelta(seconds=lease)
    return connection.execute(sa.update(claims).where(*_of(run_id, owner)).values(until=until)).rowcount


def release(connection: Connection, run_id: str, owner: str) -> None:
    """Release the owner's claims."""
    _one_at_a_time(connection, run_id)
    connection.execute(sa.delete(claims).where(*_of(run_id, owner)))


def standing(connection: Connection, run_id: str) -> list[Claim]:
    """Every claim on the run, live or not, in the order of the chunks."""
    query = sa.select(claims.c.chunk, claims.c.owner, claims.c.until).where(claims.c.run_id == run_id)
    found = connection.execute(query.order_by(claims.c.chunk)).all()
    now = _now(connection)
    gone = {owner for owner in {row.owner for row in found} if has_gone(owner)}
    return [Claim(row.chunk, row.owner, row.until, row.until > now and row.owner not in gone) for row in found]


def holder(connection: Connection, run_id: str) -> str | None:
    """`Claims.holder` in a transaction."""
    return next((claim.holder for claim in standing(connection, run_id) if claim.is_live), None)


def sign(connection: Connection, run_id: str, stamp: Stamp) -> bool:
    """Whether this commit was not made yet. Raises StoreError where the owner was deposed."""
    if connection.execute(_SIGN, {"run": run_id, "writer": stamp.owner, "number": stamp.number}).rowcount:
        return True
    writer = connection.execute(sa.select(writers).where(*_writer(run_id, stamp.owner))).first()
    if writer is None:
        connection.execute(sa.insert(writers).values(run_id=run_id, owner=stamp.owner, commits=stamp.number))
        return True
    if writer.deposed_by is not None:
        raise StoreError(
            f"run {run_id!r} was taken over by {described(writer.deposed_by)}: nothing was heard of this process for "
            f"longer than its lease, so it writes nothing more; look there, or resume the run"
        )
    return False


# -- the parts of a takeover ---------------------------------------------------------------------------------------


def _one_at_a_time(connection: Connection, run_id: str) -> None:
    """One transaction at a time changes the claims of a run; SQLite's write lock does this already."""
    if _is_postgresql(connection):
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(run_id, 0))))


def _enrolled(connection: Connection, run_id: str, owner: str) -> bool:
    """Whether the owner may write. A new owner is inserted, so that it can be deposed before its first commit."""
    writer = connection.execute(sa.select(writers).where(*_writer(run_id, owner))).first()
    if writer is None:
        connection.execute(sa.insert(writers).values(run_id=run_id, owner=owner, commits=0))
    return writer is None or writer.deposed_by is None


def _depose(connection: Connection, run_id: str, former: str, owner: str) -> None:
    connection.execute(sa.update(writers).where(*_writer(run_id, former)).values(deposed_by=owner))
    connection.execute(sa.delete(claims).where(*_of(run_id, former)))


def _write(connection: Connection, run_id: str, chunks: Sequence[int], owner: str, until: datetime) -> None:
    if not chunks:
        return
    # SQLite and PostgreSQL spell an upsert differently; under the lock, a delete and an insert are as good.
    here = (claims.c.run_id == sa.bindparam("run"), claims.c.chunk == sa.bindparam("this"))
    connection.execute(sa.delete(claims).where(*here), [{"run": run_id, "this": chunk} for chunk in chunks])
    rows = [{"run_id": run_id, "chunk": chunk, "owner": owner, "until": until} for chunk in chunks]
    connection.execute(sa.insert(claims), rows)


def _lose_what_is_in_flight(connection: Connection, run_id: str, taken: dict[int, str | None]) -> None:
    query = sa.select(items.c.seq, items.c.chunk).where(items.c.run_id == run_id, items.c.state == State.SENDING.value)
    now = _now(connection)
    for seq, chunk in connection.execute(query.order_by(items.c.seq)).all():
        if chunk in taken:
            former = taken[chunk]
            detail = f"left by {described(former)}" if former else ""
            make(connection, run_id, [ReplyLost((seq,)), Noted((seq,), "found_in_flight", detail, now)])


def _now(connection: Connection) -> datetime:
    """The database's time, which all processes share."""
    if _is_postgresql(connection):
        now: datetime = connection.execute(sa.select(sa.func.clock_timestamp(type_=Moment()))).scalar_one()
        return now
    return utc_now()


def _is_postgresql(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _of(run_id: str, owner: str) -> tuple[sa.ColumnElement[bool], ...]:
    return claims.c.run_id == run_id, claims.c.owner == owner


def _writer(run_id: str, owner: str) -> tuple[sa.ColumnElement[bool], ...]:
    return writers.c.run_id == run_id, writers.c.owner == owner


_SIGN = (
    sa.update(writers)
    .where(writers.c.run_id == sa.bindparam("run"), writers.c.owner == sa.bindparam("writer"))
    .where(writers.c.commits < sa.bindparam("number"), writers.c.deposed_by.is_(None))
    .values(commits=sa.bindparam("number"))
)
