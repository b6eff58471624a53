"""The ledger: every run, every item, and what became of it, each state committed as it happens.

SQLite by default, PostgreSQL by URL. The tables are made on first use and carry a schema version.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from fieval_tasks.core.errors import NameTaken, PlanError, StoreAway, StoreError
from fieval_tasks.core.items import Failed, Item, Result, State
from fieval_tasks.ledger import claims, drafts, duplicates
from fieval_tasks.ledger.changes import (
    OPEN,
    UNSENT,
    Asked,
    Change,
    Counted,
    Decided,
    Noted,
    NotTaken,
    ReplyLost,
    Requeued,
    Sending,
    Submitted,
    make,
    reopen,
)
from fieval_tasks.ledger.claims import Claim, Stamp, owner_name
from fieval_tasks.ledger.database import explained, file_of, opened, pauses, prepare, shown, store_url, tried_again
from fieval_tasks.ledger.schema import Moment, conclusions, events, items, runs, utc_now

__all__ = [
    "Asked",
    "Change",
    "CheckRecord",
    "Claim",
    "Conclusion",
    "Counted",
    "Decided",
    "Event",
    "Ledger",
    "NotTaken",
    "Noted",
    "OpenTicket",
    "Past",
    "ReplyLost",
    "Requeued",
    "Run",
    "Sending",
    "Stamp",
    "StoreAway",
    "Submitted",
    "file_of",
    "owner_name",
    "pauses",
    "store_url",
    "utc_now",
]

T = TypeVar("T")

BATCH = 1_000
"""Rows a statement carries, or a read holds."""


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
    models: tuple[str, ...] = ()
    """The only models that the template takes; empty: any, or that was not recorded."""
    param_sources: Mapping[str, str] = field(default_factory=dict)
    """Parameter of the template -> dataset column, where each row has a value of its own."""


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
    """Follows from the items, on reading: see `duplicates`."""
    begun_by: str | None = None
    """The Prefect flow run that worked on it first; `flow_run_id` is the latest."""
    address: str | None = None
    """Where its requests go: written when the first is sent, and kept to."""
    account: str | None = None
    """Whose keys they are sent with, sealed: see `account`. None: not known, or the embedded evaluator's."""

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
class Conclusion:
    """What a process came to when it stopped working on a run."""

    at: datetime
    exit_code: int | None
    standing: Mapping[str, Any]
    """The report's figures at that time."""


@dataclass(frozen=True)
class Event:
    """Something out of the ordinary that happened to an item."""

    at: datetime
    event: str
    detail: str


@dataclass(frozen=True)
class Past:
    """All that the ledger holds of one item."""

    item: Item
    state: State
    result: Result
    """With its inputs."""
    sent_at: datetime | None
    """When the last POST that carried it went out."""
    polls: int
    possible_duplicates: int
    """Evaluations that may have been made, and paid, beyond the one that counts: see `duplicates`."""
    events: tuple[Event, ...]
    """In the order in which they were recorded."""


class Ledger:
    """An open ledger. Thread-safe; close it when done."""

    def __init__(self, url: str, *, must_exist: bool = False) -> None:
        self.url = url
        self._engine = opened(url, must_exist=must_exist)
        self._writer = self._engine.execution_options(writes=True)
        self.name = shown(self._engine.url)
        try:
            with explained(self.name):
                prepare(self._engine, self.name, must_exist=must_exist)
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
        """Write a run and all its items, or nothing at all: nobody sees it before it is whole.

        Items that failed validation are final from the start. Raises NameTaken.
        """
        self._take_out_drafts()
        now, owner = utc_now(), owner_name()
        with self._begin() as connection:
            try:
                drafts.begin(connection, _run_values(run), owner)
            except IntegrityError as error:
                raise NameTaken(
                    f"there is a run {run.run_id!r} already: choose another --run, or --resume it"
                ) from error
        try:
            self._write_out(run.run_id, (_item_values(run, i, f, chunk_size, now) for i, f in rows), owner)
        except BaseException:
            with suppress(StoreError):  # else whoever writes the next run takes it out
                self._take_out(run.run_id, owner)
            raise
        return self.run(run.run_id)

    def _write_out(self, run_id: str, rows: Iterable[dict[str, Any]], owner: str) -> None:
        total = commits = 0
        for commits, batch in enumerate(drafts.in_batches(rows, most=BATCH), 1):
            self._in_draft(drafts.add, run_id, batch, Stamp(owner, commits))
            total += len(batch)
        self._in_draft(drafts.publish, run_id, total, Stamp(owner, commits + 1))
        self.release(run_id, owner)

    @tried_again
    def _in_draft(self, write: Callable[[Connection, str, T, Stamp], None], run_id: str, what: T, stamp: Stamp) -> None:
        with self._begin() as connection:
            write(connection, run_id, what, stamp)

    def _take_out_drafts(self) -> None:
        """Those that a process which ended has left."""
        with self._connect() as connection:
            left = drafts.left_behind(connection)
        for run_id in left:
            self._take_out(run_id, owner_name())

    def _take_out(self, run_id: str, owner: str) -> None:
        """A draft, unless somebody else writes it."""
        with self._begin() as connection:
            is_left = drafts.take_over(connection, run_id, owner)
        while is_left:
            with self._begin() as connection:
                is_left = drafts.take_some_out(connection, run_id)

    @tried_again
    def run(self, run_id: str) -> Run:
        """The run of that name, or the newest for `last`. Raises PlanError, with the names nearest to it."""
        with self._connect() as connection:
            query = _RUNS.order_by(runs.c.created_at.desc()).limit(1)
            if run_id != "last":
                query = _RUNS.where(runs.c.run_id == run_id)
            row = connection.execute(query).mappings().first()
            if row is not None:
                return _run(row)
            known = connection.scalars(_NAMES.order_by(runs.c.created_at.desc())).all()
        raise PlanError(f"no run {run_id!r} in {self.name} ({_named(run_id, known)})")

    @tried_again
    def begun_by(self, flow_run_id: str) -> str | None:
        """The run that a Prefect flow run began, whoever worked on it since."""
        query = _NAMES.where(runs.c.begun_by == flow_run_id).order_by(runs.c.created_at.desc())
        with self._connect() as connection:
            return connection.scalar(query.limit(1))

    @tried_again
    def names(self, prefix: str) -> set[str]:
        """The runs whose name starts so."""
        with self._connect() as connection:
            query = _NAMES.where(sa.func.substr(runs.c.run_id, 1, len(prefix)) == prefix)
            return set(connection.scalars(query))

    @tried_again
    def unfinished(self) -> list[Run]:
        """Runs with items that have no verdict, oldest first."""
        still = (
            sa.select(items.c.run_id).where(items.c.state.not_in([State.SCORED.value, State.FAILED.value])).distinct()
        )
        with self._connect() as connection:
            found = connection.execute(_RUNS.where(runs.c.run_id.in_(still)).order_by(runs.c.created_at))
            return [_run(row) for row in found.mappings()]

    @tried_again
    def unconcluded(self) -> list[Run]:
        """Runs that were started, whose items all have verdicts, and of which nobody has said how they ended, oldest first."""
        still = sa.exists().where(items.c.run_id == runs.c.run_id, items.c.state.in_(OPEN))
        query = _RUNS.where(runs.c.started_at.is_not(None), runs.c.exit_code.is_(None), ~still)
        with self._connect() as connection:
            return [_run(row) for row in connection.execute(query.order_by(runs.c.created_at)).mappings()]

    @tried_again
    def bind(
        self, run_id: str, address: str, account: str | None, *, notice: str | None = None, anew: bool = False
    ) -> bool:
        """Keep where the run's requests go, and as whom, with a notice; whether that was done.

        `anew`: though they went elsewhere before. Else what is kept already stays.
        """
        here = (runs.c.run_id == run_id, sa.true() if anew else runs.c.address.is_(None))
        with self._begin() as connection:
            bound = connection.execute(sa.update(runs).where(*here).values(address=address, account=account)).rowcount
            told = connection.scalar(sa.select(runs.c.notices).where(runs.c.run_id == run_id)) or []
            if bound and notice is not None and notice not in told:
                said = sa.update(runs).where(runs.c.run_id == run_id).values(notices=[*told, notice])
                connection.execute(said)
        return bool(bound)

    def forget(self, run_id: str) -> None:
        """Take a run and its items out of the ledger."""
        with self._begin() as connection:
            drafts.withdraw(connection, run_id)
        self._take_out(run_id, owner_name())

    @tried_again
    def started(self, run_id: str, *, flow_run_id: str | None, mode: str | None = None) -> None:
        """The run is worked on from now. Its first start is kept, and by whom."""
        values: dict[str, Any] = {
            "started_at": sa.func.coalesce(runs.c.started_at, sa.literal(utc_now(), Moment())),
            "flow_run_id": flow_run_id,
            "begun_by": sa.func.coalesce(runs.c.begun_by, sa.literal(flow_run_id, sa.String)),
            "exit_code": None,
            "finished_at": None,
        }
        if mode is not None:
            values["mode"] = mode
        self._update_run(run_id, values)

    @tried_again
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

    @tried_again
    def add_conclusion(self, run_id: str, at: datetime, exit_code: int | None, standing: Mapping[str, Any]) -> None:
        """Keep what a process came to; `standing` is whatever JSON can hold."""
        told = {"run_id": run_id, "at": at, "exit_code": exit_code, "standing": dict(standing)}
        this = (conclusions.c.run_id == run_id, conclusions.c.at == at)
        with self._begin() as connection:
            if connection.execute(sa.select(conclusions.c.n).where(*this)).first() is None:  # it may be tried again
                connection.execute(sa.insert(conclusions).values(**told))

    @tried_again
    def conclusions(self, run_id: str) -> list[Conclusion]:
        """What each process that worked on the run came to, the earliest first."""
        columns = (conclusions.c.at, conclusions.c.exit_code, conclusions.c.standing)
        query = sa.select(*columns).where(conclusions.c.run_id == run_id).order_by(conclusions.c.n)
        with self._connect() as connection:
            return [Conclusion(*row) for row in connection.execute(query)]

    def _update_run(self, run_id: str, values: Mapping[str, Any]) -> None:
        with self._begin() as connection:
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))

    # -- items ---------------------------------------------------------------------------------------------------

    @tried_again
    def counts(self, run_id: str) -> dict[State, int]:
        """How many items are in each state."""
        query = sa.select(items.c.state, sa.func.count()).where(items.c.run_id == run_id).group_by(items.c.state)
        with self._connect() as connection:
            found = {State(state): n for state, n in connection.execute(query)}
        return {state: found.get(state, 0) for state in State}

    @tried_again
    def unsent_chunks(self, run_id: str) -> list[int]:
        """Chunks with items that have no ticket and no verdict, in order."""
        query = sa.select(items.c.chunk).where(items.c.run_id == run_id, _TO_SEND).distinct().order_by(items.c.chunk)
        with self._connect() as connection:
            return list(connection.scalars(query))

    @tried_again
    def unfinished_chunks(self, run_id: str) -> list[int]:
        """Chunks with items that have no verdict, in order."""
        query = sa.select(items.c.chunk).where(items.c.run_id == run_id, items.c.state.in_(OPEN)).distinct()
        with self._connect() as connection:
            return list(connection.scalars(query.order_by(items.c.chunk)))

    @tried_again
    def open_chunks(self, run_id: str) -> list[int]:
        """Chunks with items that were submitted and have no verdict, in order."""
        query = sa.select(items.c.chunk).where(items.c.run_id == run_id, items.c.state == State.SUBMITTED.value)
        with self._connect() as connection:
            return list(connection.scalars(query.distinct().order_by(items.c.chunk)))

    @tried_again
    def unsent(self, run: Run, chunk: int) -> list[Item]:
        """The items of a chunk that have no ticket and no verdict."""
        query = sa.select(items).where(items.c.run_id == run.run_id, items.c.chunk == chunk, _TO_SEND)
        with self._connect() as connection:
            return [_item(row, run) for row in connection.execute(query.order_by(items.c.seq)).mappings()]

    @tried_again
    def count_unsent(self, run_id: str, *, check: str | None = None) -> int:
        """How many items, of the one check or of all, are still to be sent: for the first time, or once more."""
        query = sa.select(sa.func.count()).select_from(items).where(items.c.run_id == run_id, _TO_SEND)
        if check is not None:
            query = query.where(items.c.check_name == check)
        with self._connect() as connection:
            return connection.scalar(query) or 0

    @tried_again
    def count_repeats(self, run_id: str) -> int:
        """How many items repeat another of the run."""
        query = sa.select(sa.func.count()).select_from(items)
        with self._connect() as connection:
            return connection.scalar(query.where(items.c.run_id == run_id, items.c.same_as.is_not(None))) or 0

    @tried_again
    def repeats(self, run_id: str) -> dict[int, list[int]]:
        """Item -> the items without a verdict that repeat it and will share its."""
        query = sa.select(items.c.same_as, items.c.seq).where(
            items.c.run_id == run_id, items.c.same_as.is_not(None), items.c.state.in_(OPEN)
        )
        found: dict[int, list[int]] = {}
        with self._connect() as connection:
            for first, seq in connection.execute(query.order_by(items.c.seq)):
                found.setdefault(first, []).append(seq)
        return found

    @tried_again
    def item(self, run: Run, seq: int) -> Item:
        query = sa.select(items).where(items.c.run_id == run.run_id, items.c.seq == seq)
        with self._connect() as connection:
            return _item(connection.execute(query).mappings().one(), run)

    @tried_again
    def is_shared(self, run_id: str, seq: int, eval_id: str) -> bool:
        """Whether an item other than this one, and no repeat of another, has that eval_id, or had it and was judged."""
        others = (items.c.run_id == run_id, items.c.eval_id == eval_id, items.c.seq != seq, items.c.same_as.is_(None))
        with self._connect() as connection:
            return connection.execute(sa.select(items.c.seq).where(*others).limit(1)).first() is not None

    @tried_again
    def redone(self, run_id: str) -> dict[int, int]:
        """The items that were sent again after the server had taken them and not judged them: how often."""
        query = sa.select(items.c.seq, items.c.redone).where(items.c.run_id == run_id, items.c.redone > 0)
        with self._connect() as connection:
            return dict(connection.execute(query).tuples().all())

    @tried_again
    def resendable(self, run_id: str) -> set[int]:
        """The items with a ticket that are to be sent again, should the server not know it: once, by `reopen_failed`."""
        query = sa.select(items.c.seq).where(items.c.run_id == run_id, items.c.state == State.SUBMITTED.value)
        with self._connect() as connection:
            return set(connection.scalars(query.where(items.c.resend_if_unknown)))

    @tried_again
    def open_tickets(self, run_id: str, chunks: Iterable[int] | None = None) -> list[OpenTicket]:
        """What was submitted and has no verdict: everything, or that of these chunks."""
        columns = (items.c.seq, items.c.eval_id, items.c.check_name, items.c.submitted_at)
        query = sa.select(*columns).where(items.c.run_id == run_id, items.c.state == State.SUBMITTED.value)
        wanted = None if chunks is None else sorted(set(chunks))
        with self._connect() as connection:
            if wanted is None:
                return [OpenTicket(*row) for row in connection.execute(query)]
            parts = (wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH))
            found = (connection.execute(query.where(items.c.chunk.in_(part))) for part in parts)
            return [OpenTicket(*row) for rows in found for row in rows]

    @tried_again
    def reopen_failed(self, run_id: str) -> int:
        """Give every failed item that could be sent another chance; how many those are.

        Where a ticket's verdict was never heard, the server is asked first: see `resendable`.
        """
        with self._begin() as connection:
            return reopen(connection, run_id, utc_now())

    def kept(self, run_id: str) -> Iterator[dict[str, Any]]:
        """What is kept of each item's row."""
        last = -1
        query = sa.select(items.c.seq, items.c.kept).where(items.c.run_id == run_id, items.c.kept.is_not(None))
        while page := self._page(query.where(items.c.seq > last).order_by(items.c.seq).limit(BATCH)):
            yield from (json.loads(row["kept"]) for row in page)
            last = page[-1]["seq"]

    def results(self, run: Run, *, with_inputs: bool = False) -> Iterator[Result]:
        """Every item with what became of it, in the run's order. Streams."""
        last = -1
        while True:
            query = sa.select(items, _LENDER.label("lender")).where(items.c.run_id == run.run_id, items.c.seq > last)
            page = self._page(query.order_by(items.c.seq).limit(BATCH))
            if not page:
                return
            yield from (_result(row, run, with_inputs) for row in page)
            last = page[-1]["seq"]

    @tried_again
    def pasts(self, run: Run, *, item_id: str | None = None, row: int | None = None) -> list[Past]:
        """All that is known of the items of that id, or of that row of the dataset: one for each check."""
        query = sa.select(items, duplicates.of_item.label("doubled"), _LENDER.label("lender"))
        query = query.where(items.c.run_id == run.run_id).order_by(items.c.seq)
        if item_id is not None:
            query = query.where(items.c.item_id == item_id)
        if row is not None:
            query = query.where(items.c.row == row)
        with self._connect() as connection:
            return [_past(connection, found, run) for found in connection.execute(query).mappings().all()]

    @tried_again
    def item_ids(self, run_id: str) -> list[str]:
        """The ids of the run's items, each once."""
        query = sa.select(items.c.item_id).where(items.c.run_id == run_id).distinct()
        with self._connect() as connection:
            return list(connection.scalars(query))

    @tried_again
    def _page(self, query: sa.Select[Any]) -> Sequence[sa.RowMapping]:
        with self._connect() as connection:
            return connection.execute(query).mappings().all()

    def apply(self, run_id: str, changes: Sequence[Change], stamp: Stamp | None = None) -> None:
        """Commit these changes together, in their order; once for each stamp, however often it is tried."""
        with self._begin() as connection:
            if stamp is None or claims.sign(connection, run_id, stamp):
                make(connection, run_id, changes)

    # -- claims --------------------------------------------------------------------------------------------------

    @tried_again
    def claim(self, run_id: str, chunks: Iterable[int], owner: str, *, lease: float) -> list[int]:
        """Those of the chunks that are the owner's for `lease` seconds: free ones, its own, and those left by the dead.

        Items that a former owner was sending become ambiguous. None is given to an owner that was itself taken over.
        """
        with self._begin() as connection:
            return claims.take(connection, run_id, chunks, owner, lease)

    @tried_again
    def renew(self, run_id: str, owner: str, *, lease: float) -> int:
        """Let the owner's claims last `lease` seconds from now; how many are still its own."""
        with self._begin() as connection:
            return claims.renew(connection, run_id, owner, lease)

    @tried_again
    def release(self, run_id: str, owner: str) -> None:
        """Leave the owner's chunks to whoever wants them."""
        with self._begin() as connection:
            claims.release(connection, run_id, owner)

    @tried_again
    def claimed_by_others(self, run_id: str, owner: str) -> list[Claim]:
        """The claims of all but this owner, in the order of the chunks."""
        with self._connect() as connection:
            return [claim for claim in claims.standing(connection, run_id) if claim.owner != owner]

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        with explained(self.name), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        with explained(self.name), self._engine.connect() as connection:
            yield connection


_RUNS = sa.select(runs, duplicates.of_run().label("doubled")).where(drafts.is_whole)
_NAMES = sa.select(runs.c.run_id).where(drafts.is_whole)
_twins = items.alias("twins")
_LENDER = (
    sa.select(_twins.c.check_name)
    .where(_twins.c.run_id == items.c.run_id, _twins.c.seq == items.c.same_as)
    .correlate(items)
    .scalar_subquery()
)
"""The check of the item whose verdict an item shares."""
_TO_SEND = sa.and_(items.c.state.in_(UNSENT), items.c.same_as.is_(None))


def _named(wanted: str, known: Sequence[str]) -> str:
    """The runs that may have been meant."""
    if not known:
        return "it has no runs yet"
    near = get_close_matches(wanted, known, n=3)
    nearest = f"nearest is {', '.join(near)}; " if near else ""
    return f"{nearest}the latest are {', '.join(known[:5])}"


# -- rows <-> types ------------------------------------------------------------------------------------------------


def _run_values(run: Run) -> dict[str, Any]:
    return vars(run) | {"checks": [vars(c) for c in run.checks], "notices": list(run.notices), "plan": dict(run.plan)}


def _run(row: sa.RowMapping) -> Run:
    values = {name: value for name, value in row.items() if name not in ("is_whole", "doubled")}
    values["possible_duplicates"] += row["doubled"]
    values["checks"] = tuple(CheckRecord(**c | {"models": tuple(c.get("models", ()))}) for c in values["checks"])
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
        "kept": None if item.kept is None else json.dumps(dict(item.kept)),
        "params": json.dumps(dict(item.params)) if item.params else None,
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
        lost=row["lost"],
        doubts=row["doubts"],
        ambiguous=row["state"] == State.AMBIGUOUS.value,
        redone=row["redone"],
        params=json.loads(row["params"] or "{}"),
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
        kept=json.loads(row["kept"]) if with_inputs and row["kept"] is not None else None,
        lost=row["lost"],
        same_as=row["same_as"],
        lent_by=row["lender"] if row["lender"] != check.name else None,
        doubts=row["doubts"],
    )


def _past(connection: Connection, row: sa.RowMapping, run: Run) -> Past:
    query = sa.select(events.c.at, events.c.event, events.c.detail)
    query = query.where(events.c.run_id == run.run_id, events.c.seq == row["seq"]).order_by(events.c.n)
    return Past(
        item=_item(row, run),
        state=State(row["state"]),
        result=_result(row, run, True),
        sent_at=row["sent_at"],
        polls=row["polls"],
        possible_duplicates=row["doubled"],
        events=tuple(Event(*found) for found in connection.execute(query)),
    )
