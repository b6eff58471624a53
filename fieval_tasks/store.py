"""The ledger: every run, every item, and what became of it, each state committed as it happens.

SQLite by default, PostgreSQL by URL. The tables are made on first use and carry a schema version.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from fieval_tasks.errors import PlanError, StoreError
from fieval_tasks.items import Failed, Item, Result, State, Ticket, Verdict

SCHEMA_VERSION = 1
SCHEMA_LOCK = 0x66696576616C
DEFAULT_STORE = "fieval-runs/ledger.db"
BATCH = 1_000
"""Rows a statement carries, or a read holds."""
PATIENCE = 30.0
"""Seconds to wait for another writer of a SQLite file."""


class Text(sa.TypeDecorator[str]):
    """Text that every database takes: what UTF-8 or PostgreSQL can't hold is written out, as in Python."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _: sa.Dialect) -> str | None:
        if value is None or (value.isascii() and "\0" not in value):
            return value
        return value.replace("\0", r"\x00").encode("utf-8", "backslashreplace").decode()


class Moment(sa.TypeDecorator[datetime]):
    """A time in UTC, also where the database forgets the zone or prefers its own."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: sa.Dialect) -> datetime | None:
        return value and value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, _: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(timezone.utc) if value.tzinfo else value.replace(tzinfo=timezone.utc)


metadata = sa.MetaData()

schema = sa.Table("fieval_schema", metadata, sa.Column("version", sa.Integer, nullable=False))

runs = sa.Table(
    "fieval_runs",
    metadata,
    sa.Column("run_id", sa.String(80), primary_key=True),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("dataset", Text, nullable=False),
    sa.Column("dataset_fingerprint", sa.String(64), nullable=False),
    sa.Column("mode", sa.String(10), nullable=False),
    sa.Column("connection", Text, nullable=False),
    sa.Column("checks", sa.JSON, nullable=False),
    sa.Column("plan", sa.JSON, nullable=False),
    sa.Column("notices", sa.JSON, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("flow_run_id", sa.String(40)),
    sa.Column("started_at", Moment),
    sa.Column("finished_at", Moment),
    sa.Column("wall_seconds", sa.Float, nullable=False, default=0.0),
    sa.Column("exit_code", sa.Integer),
    sa.Column("submits", sa.Integer, nullable=False, default=0),
    sa.Column("polls", sa.Integer, nullable=False, default=0),
    sa.Column("retries", sa.Integer, nullable=False, default=0),
    sa.Column("throttled", sa.Integer, nullable=False, default=0),
    sa.Column("possible_duplicates", sa.Integer, nullable=False, default=0),
)

items = sa.Table(
    "fieval_items",
    metadata,
    sa.Column("run_id", sa.String(80), sa.ForeignKey("fieval_runs.run_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("chunk", sa.Integer, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("item_id", Text, nullable=False),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("check_name", Text, nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("same_as", sa.Integer),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("eval_id", Text),
    sa.Column("submitted_at", Moment),
    sa.Column("finished_at", Moment),
    sa.Column("value", sa.Text),
    sa.Column("score", sa.Float),
    sa.Column("passed", sa.Boolean),
    sa.Column("reason", Text),
    sa.Column("runtime_ms", sa.Float),
    sa.Column("stage", sa.String(10)),
    sa.Column("error_kind", sa.String(40)),
    sa.Column("error_message", Text),
    sa.Index("fieval_items_by_state", "run_id", "state"),
    sa.Index("fieval_items_by_chunk", "run_id", "chunk"),
)


@dataclass(frozen=True)
class CheckRecord:
    """What a run asks of each row under one name."""

    name: str
    template: str
    model: str | None
    params: Mapping[str, Any]
    output: str
    sources: Mapping[str, str]
    """Template key -> dataset column."""


@dataclass(frozen=True)
class Run:
    """One run as the ledger knows it."""

    run_id: str
    created_at: datetime
    dataset: str
    dataset_fingerprint: str
    mode: str
    connection: str
    checks: tuple[CheckRecord, ...]
    plan: Mapping[str, Any]
    notices: tuple[str, ...]
    total: int = 0
    flow_run_id: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    wall_seconds: float = 0.0
    exit_code: int | None = None
    submits: int = 0
    polls: int = 0
    retries: int = 0
    throttled: int = 0
    possible_duplicates: int = 0

    def check(self, name: str) -> CheckRecord:
        return next(c for c in self.checks if c.name == name)


@dataclass(frozen=True)
class OpenTicket:
    """A ticket whose verdict is still to come."""

    seq: int
    eval_id: str
    check: str
    submitted_at: datetime


@dataclass(frozen=True)
class Sending:
    """These items go out now, together."""

    seqs: tuple[int, ...]


@dataclass(frozen=True)
class NotTaken:
    """The server did not take these: they are ready again."""

    seqs: tuple[int, ...]
    counts_as_attempt: bool


@dataclass(frozen=True)
class ReplyLost:
    """The request went out and no answer came: perhaps accepted."""

    seqs: tuple[int, ...]


@dataclass(frozen=True)
class Submitted:
    """The server took these and named their eval_ids."""

    tickets: tuple[Ticket, ...]
    at: datetime


@dataclass(frozen=True)
class Decided:
    """An item has its verdict. A first verdict stands: a second one changes nothing."""

    seq: int
    verdict: Verdict
    at: datetime
    eval_id: str | None = None


@dataclass(frozen=True)
class Requeued:
    """The server took the item and did not judge it; it is to be sent again."""

    seq: int


@dataclass(frozen=True)
class Counted:
    """Requests made since the last count."""

    submits: int = 0
    polls: int = 0
    retries: int = 0
    throttled: int = 0
    possible_duplicates: int = 0


Change: TypeAlias = "Sending | NotTaken | ReplyLost | Submitted | Decided | Requeued | Counted"


def store_url(named: str | None = None) -> str:
    """The ledger's URL: as named, else FIEVAL_STORE_URL, else a file in the working folder. A path is fine too."""
    chosen = named or os.environ.get("FIEVAL_STORE_URL") or DEFAULT_STORE
    if "://" not in chosen:
        return f"sqlite:///{Path(chosen).absolute()}"
    return chosen.replace("postgres://", "postgresql://", 1).replace("postgresql://", "postgresql+psycopg://", 1)


class Ledger:
    """An open ledger. Thread-safe; close it when done."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = _engine(url)
        self._writer = self._engine.execution_options(writes=True)
        self.name = _shown(self._engine.url)
        try:
            with _explained(self.name):
                _prepare(self._writer, self.name)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- runs ----------------------------------------------------------------------------------------------------

    def create(self, run: Run, rows: Iterable[tuple[Item, Failed | None]], *, chunk_size: int) -> Run:
        """Write a run and all its items, or nothing at all. Items that failed validation are final from the start."""
        with self._begin() as connection:
            try:
                connection.execute(sa.insert(runs).values(**_run_values(run)))
            except IntegrityError as error:
                raise PlanError(
                    f"there is a run {run.run_id!r} already: choose another --run, or --resume it"
                ) from error
            total = 0
            rows = iter(rows)
            now = utc_now()
            while batch := [_item_values(run, i, f, chunk_size, now) for i, f in islice(rows, BATCH)]:
                connection.execute(sa.insert(items), batch)
                total += len(batch)
            connection.execute(sa.update(runs).where(runs.c.run_id == run.run_id).values(total=total))
        return self.run(run.run_id)

    def run(self, run_id: str) -> Run:
        """The run of that name, or the newest for `last`. Raises PlanError, with the names nearest to it."""
        with self._connect() as connection:
            query = sa.select(runs).order_by(runs.c.created_at.desc()).limit(1)
            if run_id != "last":
                query = sa.select(runs).where(runs.c.run_id == run_id)
            row = connection.execute(query).mappings().first()
            if row is not None:
                return _run(row)
            recent = connection.scalars(sa.select(runs.c.run_id).order_by(runs.c.created_at.desc()).limit(5)).all()
        known = f"the latest are {', '.join(recent)}" if recent else "it has no runs yet"
        raise PlanError(f"no run {run_id!r} in {self.name} ({known})")

    def names(self, prefix: str) -> set[str]:
        """The runs whose name starts so."""
        with self._connect() as connection:
            query = sa.select(runs.c.run_id).where(sa.func.substr(runs.c.run_id, 1, len(prefix)) == prefix)
            return set(connection.scalars(query))

    def unfinished(self) -> list[Run]:
        """Runs with items that have no verdict, oldest first."""
        still = (
            sa.select(items.c.run_id).where(items.c.state.not_in([State.SCORED.value, State.FAILED.value])).distinct()
        )
        with self._connect() as connection:
            found = connection.execute(sa.select(runs).where(runs.c.run_id.in_(still)).order_by(runs.c.created_at))
            return [_run(row) for row in found.mappings()]

    def forget(self, run_id: str) -> None:
        """Take a run and its items out of the ledger."""
        with self._begin() as connection:
            connection.execute(sa.delete(items).where(items.c.run_id == run_id))
            connection.execute(sa.delete(runs).where(runs.c.run_id == run_id))

    def started(self, run_id: str, *, flow_run_id: str | None, mode: str | None = None) -> None:
        """The run is worked on from now. Its first start is kept."""
        values: dict[str, Any] = {
            "started_at": sa.func.coalesce(runs.c.started_at, sa.literal(utc_now(), Moment())),
            "flow_run_id": flow_run_id,
            "exit_code": None,
            "finished_at": None,
        }
        if mode is not None:
            values["mode"] = mode
        self._update_run(run_id, values)

    def finished(self, run_id: str, *, exit_code: int | None, seconds: float, complete: bool) -> None:
        """This process stops working on the run after `seconds`."""
        self._update_run(
            run_id,
            {
                "exit_code": exit_code,
                "finished_at": utc_now() if complete else None,
                "wall_seconds": runs.c.wall_seconds + seconds,
            },
        )

    def _update_run(self, run_id: str, values: Mapping[str, Any]) -> None:
        with self._begin() as connection:
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))

    # -- items ---------------------------------------------------------------------------------------------------

    def counts(self, run_id: str) -> dict[State, int]:
        """How many items are in each state."""
        query = sa.select(items.c.state, sa.func.count()).where(items.c.run_id == run_id).group_by(items.c.state)
        with self._connect() as connection:
            found = {State(state): n for state, n in connection.execute(query)}
        return {state: found.get(state, 0) for state in State}

    def unsent_chunks(self, run_id: str) -> list[int]:
        """Chunks with items that have no ticket and no verdict, in order."""
        query = sa.select(items.c.chunk).where(items.c.run_id == run_id, _TO_SEND).distinct().order_by(items.c.chunk)
        with self._connect() as connection:
            return list(connection.scalars(query))

    def unsent(self, run: Run, chunk: int) -> list[Item]:
        """The items of a chunk that have no ticket and no verdict."""
        query = sa.select(items).where(items.c.run_id == run.run_id, items.c.chunk == chunk, _TO_SEND)
        with self._connect() as connection:
            return [_item(row, run) for row in connection.execute(query.order_by(items.c.seq)).mappings()]

    def count_unsent(self, run_id: str) -> int:
        """How many items are still to be sent."""
        query = sa.select(sa.func.count()).select_from(items).where(items.c.run_id == run_id, _TO_SEND)
        with self._connect() as connection:
            return connection.scalar(query) or 0

    def count_repeats(self, run_id: str) -> int:
        """How many items repeat another of the run."""
        query = sa.select(sa.func.count()).select_from(items)
        with self._connect() as connection:
            return connection.scalar(query.where(items.c.run_id == run_id, items.c.same_as.is_not(None))) or 0

    def repeats(self, run_id: str) -> dict[int, list[int]]:
        """Item -> the items without a verdict that repeat it and will share its."""
        query = sa.select(items.c.same_as, items.c.seq).where(
            items.c.run_id == run_id, items.c.same_as.is_not(None), items.c.state.in_(_OPEN)
        )
        found: dict[int, list[int]] = {}
        with self._connect() as connection:
            for first, seq in connection.execute(query.order_by(items.c.seq)):
                found.setdefault(first, []).append(seq)
        return found

    def item(self, run: Run, seq: int) -> Item:
        query = sa.select(items).where(items.c.run_id == run.run_id, items.c.seq == seq)
        with self._connect() as connection:
            return _item(connection.execute(query).mappings().one(), run)

    def open_tickets(self, run_id: str) -> list[OpenTicket]:
        """Everything that was submitted and has no verdict."""
        columns = (items.c.seq, items.c.eval_id, items.c.check_name, items.c.submitted_at)
        query = sa.select(*columns).where(items.c.run_id == run_id, items.c.state == State.SUBMITTED.value)
        with self._connect() as connection:
            return [OpenTicket(*row) for row in connection.execute(query)]

    def left_in_flight(self, run_id: str) -> int:
        """After a crash: items whose POST had begun. They become ambiguous, and count as possible duplicates."""
        query = sa.update(items).where(items.c.run_id == run_id, items.c.state == State.SENDING.value)
        with self._begin() as connection:
            return connection.execute(query.values(state=State.AMBIGUOUS.value)).rowcount

    def reopen_failed(self, run_id: str) -> int:
        """Make every failed item that could be sent ready again; the number of them."""
        query = sa.update(items).where(
            items.c.run_id == run_id, items.c.state == State.FAILED.value, items.c.stage != "validate"
        )
        cleared = dict.fromkeys(("stage", "error_kind", "error_message", "finished_at", "eval_id", "submitted_at"))
        with self._begin() as connection:
            return connection.execute(query.values(state=State.READY.value, **cleared)).rowcount

    def results(self, run: Run, *, with_inputs: bool = False) -> Iterator[Result]:
        """Every item with what became of it, in the run's order. Streams."""
        last = -1
        while True:
            query = sa.select(items).where(items.c.run_id == run.run_id, items.c.seq > last)
            with self._connect() as connection:
                page = connection.execute(query.order_by(items.c.seq).limit(BATCH)).mappings().all()
            if not page:
                return
            yield from (_result(row, run, with_inputs) for row in page)
            last = page[-1]["seq"]

    def apply(self, run_id: str, changes: Sequence[Change]) -> None:
        """Commit these changes together, in their order."""
        with self._begin() as connection:
            for moves in _in_groups(changes):
                _make(connection, run_id, moves)

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        with _explained(self.name), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        with _explained(self.name), self._engine.connect() as connection:
            yield connection


_UNSENT = [State.READY.value, State.SENDING.value, State.AMBIGUOUS.value]
_OPEN = [*_UNSENT, State.SUBMITTED.value]
_TO_SEND = sa.and_(items.c.state.in_(_UNSENT), items.c.same_as.is_(None))


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


# -- changes -------------------------------------------------------------------------------------------------------


def _in_groups(changes: Iterable[Change]) -> Iterator[dict[sa.Update, list[dict[str, Any]]]]:
    """Statement -> its rows. One group where each item moves once; another begins where an item would move again."""
    group: dict[sa.Update, list[dict[str, Any]]] = {}
    moved: set[int] = set()
    for change in changes:
        for statement, row in _moves(change):
            if row.get("item") in moved:
                yield group
                group, moved = {}, set()
            group.setdefault(statement, []).append(row)
            if "item" in row:
                moved.add(row["item"])
    yield group


def _make(connection: Connection, run_id: str, moves: Mapping[sa.Update, list[dict[str, Any]]]) -> None:
    for statement, rows in moves.items():
        connection.execute(statement, [{"run": run_id, **row} for row in rows])


def _moves(change: Change) -> Iterator[tuple[sa.Update, dict[str, Any]]]:
    """The statement that makes a change, once for each item it moves."""
    if isinstance(change, Sending):
        yield from ((_SEND, {"item": seq}) for seq in change.seqs)
    elif isinstance(change, NotTaken):
        statement = _GIVE_BACK if change.counts_as_attempt else _UNSEND
        yield from ((statement, {"item": seq}) for seq in change.seqs)
    elif isinstance(change, ReplyLost):
        yield from ((_LOSE, {"item": seq}) for seq in change.seqs)
    elif isinstance(change, Submitted):
        for ticket in change.tickets:
            yield _TAKE, {"item": ticket.seq, "to_eval_id": ticket.eval_id, "to_submitted_at": change.at}
    elif isinstance(change, Requeued):
        yield _REQUEUE, {"item": change.seq}
    elif isinstance(change, Decided):
        yield _verdict_move(change)
    elif any(vars(change).values()):
        yield _COUNT, {f"more_{name}": n for name, n in vars(change).items()}


def _verdict_move(change: Decided) -> tuple[sa.Update, dict[str, Any]]:
    verdict = change.verdict
    row = {"item": change.seq, "to_eval_id": change.eval_id, "to_finished_at": change.at}
    if isinstance(verdict, Failed):
        told = {"to_stage": verdict.stage, "to_error_kind": verdict.kind, "to_error_message": verdict.message}
        return _FAIL, row | told
    return _SCORE, row | {
        "to_value": json.dumps(verdict.value),  # ASCII, as the inputs
        "to_score": verdict.score,
        "to_passed": verdict.passed,
        "to_reason": verdict.reason,
        "to_runtime_ms": verdict.runtime_ms,
    }


def _move(to: State, *states: str, said: Sequence[str] = (), **values: Any) -> sa.Update:
    """Items that are in one of `states` go to another, taking the columns in `said` from the row."""
    values |= {name: sa.bindparam(f"to_{name}", type_=items.c[name].type) for name in said}
    here = (items.c.run_id == sa.bindparam("run"), items.c.seq == sa.bindparam("item"))
    open_to_it = sa.or_(*(items.c.state == state for state in states))  # an IN can't be sent for many rows at once
    return sa.update(items).where(*here, open_to_it).values(state=to.value, **values)


_KEPT_OR_SAID = sa.func.coalesce(sa.bindparam("to_eval_id", type_=items.c.eval_id.type), items.c.eval_id)
_SEND = _move(State.SENDING, *_UNSENT, attempts=items.c.attempts + 1)
_UNSEND = _move(State.READY, State.SENDING.value, attempts=items.c.attempts - 1)
_GIVE_BACK = _move(State.READY, State.SENDING.value)
_LOSE = _move(State.AMBIGUOUS, State.SENDING.value)
_TAKE = _move(State.SUBMITTED, *_UNSENT, said=("eval_id", "submitted_at"))
_REQUEUE = _move(State.READY, State.SUBMITTED.value, eval_id=None, submitted_at=None)
_FAIL = _move(State.FAILED, *_OPEN, said=("finished_at", "stage", "error_kind", "error_message"), eval_id=_KEPT_OR_SAID)
_SCORE = _move(
    State.SCORED,
    *_OPEN,
    said=("finished_at", "value", "score", "passed", "reason", "runtime_ms"),
    eval_id=_KEPT_OR_SAID,
)
_COUNT = (
    sa.update(runs)
    .where(runs.c.run_id == sa.bindparam("run"))
    .values({name: runs.c[name] + sa.bindparam(f"more_{name}") for name in vars(Counted())})
)


# -- rows <-> types ------------------------------------------------------------------------------------------------


def _run_values(run: Run) -> dict[str, Any]:
    return vars(run) | {"checks": [vars(c) for c in run.checks], "notices": list(run.notices), "plan": dict(run.plan)}


def _run(row: sa.RowMapping) -> Run:
    values = dict(row)
    values["checks"] = tuple(CheckRecord(**c) for c in values["checks"])
    values["notices"] = tuple(values["notices"])
    return Run(**values)


def _item_values(run: Run, item: Item, failed: Failed | None, chunk_size: int, now: datetime) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "seq": item.seq,
        "chunk": item.seq // chunk_size,
        "state": State.FAILED.value if failed else State.READY.value,
        "item_id": item.item_id,
        "row": item.row,
        "check_name": item.check,
        "fingerprint": item.fingerprint,
        "same_as": item.same_as,
        "inputs": json.dumps(dict(item.inputs)),  # ASCII: half a surrogate pair can be stored and shown
        "stage": failed.stage if failed else None,
        "error_kind": failed.kind if failed else None,
        "error_message": failed.message if failed else None,
        "finished_at": now if failed else None,
    }


def _item(row: sa.RowMapping, run: Run) -> Item:
    check = run.check(row["check_name"])
    return Item(
        seq=row["seq"],
        item_id=row["item_id"],
        row=row["row"],
        check=check.name,
        template=check.template,
        model=check.model,
        inputs=json.loads(row["inputs"]),
        fingerprint=row["fingerprint"],
        same_as=row["same_as"],
    )


def _result(row: sa.RowMapping, run: Run, with_inputs: bool) -> Result:
    check = run.check(row["check_name"])
    failed = row["error_kind"] is not None
    return Result(
        item_id=row["item_id"],
        row=row["row"],
        check=check.name,
        template=check.template,
        model=check.model,
        status=State(row["state"]).status,
        value=None if row["value"] is None else json.loads(row["value"]),
        score=row["score"],
        passed=row["passed"],
        reason=row["reason"],
        runtime_ms=row["runtime_ms"],
        eval_id=row["eval_id"],
        stage=row["stage"],
        error={"kind": row["error_kind"], "message": row["error_message"]} if failed else None,
        attempts=row["attempts"],
        submitted_at=row["submitted_at"],
        finished_at=row["finished_at"],
        inputs=json.loads(row["inputs"]) if with_inputs else None,
    )


# -- the database --------------------------------------------------------------------------------------------------


def _engine(url: str) -> Engine:
    try:
        parsed = sa.make_url(url)
    except (SQLAlchemyError, ValueError) as error:
        raise PlanError(
            "the store's URL can't be read: write a path, sqlite:///FILE or postgresql://HOST/DB"
        ) from error
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if is_sqlite and parsed.database in (None, "", ":memory:"):
        raise PlanError("a store in memory ends with the program: name a file, or leave --store out")
    try:
        if not is_sqlite:
            return sa.create_engine(parsed, pool_pre_ping=True)
        Path(parsed.database or "").parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(parsed, connect_args={"timeout": PATIENCE})
    except (SQLAlchemyError, ImportError, OSError) as error:
        raise StoreError(f"the store {_shown(parsed)} can't be opened: {error}") from error
    sa.event.listen(engine, "connect", _sqlite_settings)
    sa.event.listen(engine, "begin", _begin_immediate)
    return engine


def _shown(url: sa.URL) -> str:
    """The URL without its password, which libpq also takes as a parameter."""
    hidden = {name: "***" if "password" in name else value for name, value in url.query.items()}
    return url.set(query=hidden).render_as_string(hide_password=True)


def _sqlite_settings(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin event decides, not the driver
    cursor = connection.cursor()
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous=FULL")  # a ticket that a power cut takes back would be paid for twice
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Switch to a write-ahead log. SQLite gives up at once where another process is switching too, so we wait."""
    deadline = monotonic() + PATIENCE
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() > deadline:
                raise
        sleep(0.005)


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def _prepare(engine: Engine, name: str) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # SQLite's write lock does this already: one process makes the tables
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SCHEMA_LOCK)))
        metadata.create_all(connection)
        version = connection.scalar(sa.select(schema.c.version))
        if version is None:
            connection.execute(sa.insert(schema).values(version=SCHEMA_VERSION))
        elif version != SCHEMA_VERSION:
            raise StoreError(
                f"the store {name} has schema version {version}, and this program writes {SCHEMA_VERSION}: "
                f"use the program that made it, or another --store"
            )


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """A database error as a sentence that names the store and never its password."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        first_line = str(cause).strip().partition("\n")[0]
        raise StoreError(f"the store {name} can't be used: {first_line}") from error
