"""One run's items in the ledger: their states, tickets, verdicts and events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import cached_property
from sys import intern
from typing import Any

import sqlalchemy as sa

from fieval_tasks.core.budget import UNBOUNDED, Budget
from fieval_tasks.core.items import Failed, Item, Result, State
from fieval_tasks.core.progress import CheckProgress, Progress
from fieval_tasks.ledger import claims, duplicates
from fieval_tasks.ledger.changes import OPEN, UNSENT, Change, make
from fieval_tasks.ledger.claims import Claims, Stamp
from fieval_tasks.ledger.database import Database
from fieval_tasks.ledger.draws import IN_ORDER, Draws
from fieval_tasks.ledger.reopening import reopen
from fieval_tasks.ledger.run import CheckRecord, checks_of
from fieval_tasks.ledger.schema import events, items, runs
from fieval_tasks.ledger.spending import spend


@dataclass(frozen=True)
class OpenTicket:
    """A ticket without a verdict."""

    seq: int
    eval_id: str
    check: str
    submitted_at: datetime


@dataclass(frozen=True)
class Event:
    """Something unusual that happened to an item, for its biography."""

    at: datetime
    event: str
    detail: str


@dataclass(frozen=True)
class Past:
    """All that the ledger holds of one item."""

    item: Item
    state: State
    result: Result
    """The item's line of results.jsonl, with its inputs."""
    sent_at: datetime | None
    """When the last POST that carried the item went out."""
    polls: int
    """Questions about its tickets."""
    possible_duplicates: int
    """Evaluations that may have been made, and paid, beyond the one that counts: see `duplicates`."""
    events: tuple[Event, ...]
    """In the order in which they were recorded."""


class StateCounts(dict[State, int]):
    """State -> how many items of a run are in it, of every state."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(State, 0))
        self.by_check: dict[str, dict[State, int]] = {}
        """Check -> the same of its items, where it has any."""

    def add(self, check: str, state: State, n: int) -> None:
        self[state] += n
        self.by_check.setdefault(check, dict.fromkeys(State, 0))[state] += n

    def progress(self, prices: Mapping[str, Fraction], sent: Mapping[str, int], **more: Any) -> Progress:
        """`sent`: each of the run's checks -> evaluations that were sent; `more`: further fields."""
        return Progress(
            total=sum(self.values()),
            scored=self[State.SCORED],
            failed=self[State.FAILED],
            waiting=self[State.SUBMITTED],
            not_needed=self[State.NOT_NEEDED],
            checks=tuple(self._progress_of(check, prices.get(check), n) for check, n in sent.items()),
            **more,
        )

    def _progress_of(self, check: str, price: Fraction | None, sent: int) -> CheckProgress:
        counts = self.by_check.get(check, dict.fromkeys(State, 0))
        return CheckProgress(
            name=check,
            total=sum(counts.values()),
            scored=counts[State.SCORED],
            failed=counts[State.FAILED],
            not_needed=counts[State.NOT_NEEDED],
            cost=None if price is None else price * sent,
        )

    def move(self, check: str, n: int, leaving: State, to: State) -> None:
        self.add(check, leaving, -n)
        self.add(check, to, n)


class Book:
    """Reads and writes one run's items, tickets and verdicts. Thread-safe.

    Every method is tried again while the database is away, except `apply`, which the recorder repeats under a stamp.
    """

    def __init__(self, database: Database, run_id: str) -> None:
        self._database = database
        self.run_id = run_id
        self.claims = Claims(database, run_id)
        self.draws = Draws(database, run_id)

    # -- how far it is -------------------------------------------------------------------------------------------

    def counts(self) -> StateCounts:
        """How many items are in each state."""
        each = (items.c.check_name, items.c.state)
        counts = StateCounts()
        for row in self._database.read(self._select(*each, sa.func.count().label("n")).group_by(*each)):
            counts.add(row["check_name"], State(row["state"]), row["n"])
        return counts

    def unsent_chunks(self) -> list[int]:
        """Chunks with items that have no ticket and no verdict, in order."""
        return self._chunks(_TO_SEND)

    def unfinished_chunks(self) -> list[int]:
        """Chunks with items that have no verdict, in order."""
        return self._chunks(items.c.state.in_(OPEN))

    def open_chunks(self) -> list[int]:
        """Chunks with items that were submitted and have no verdict, in order."""
        return self._chunks(_HAS_OPEN_TICKET)

    def _chunks(self, those: sa.ColumnElement[bool]) -> list[int]:
        return self._database.column(self._select(items.c.chunk).where(those).distinct().order_by(items.c.chunk))

    def count_unsent(self, *, check: str | None = None) -> int:
        """How many items, of one check or of all, still have to be sent, for the first time or once more."""
        query = self._select(sa.func.count()).where(_TO_SEND)
        return self._database.number(query if check is None else query.where(items.c.check_name == check))

    def count_copies(self) -> int:
        """How many items are copies of another of the run."""
        return self._database.number(self._select(sa.func.count()).where(items.c.same_as.is_not(None)))

    # -- what is left to do --------------------------------------------------------------------------------------

    def unsent(self, chunk: int) -> list[Item]:
        """The items of a chunk that have no ticket and no verdict."""
        query = self._select(items).where(items.c.chunk == chunk, _TO_SEND).order_by(IN_ORDER)
        return [_item(row, self._checks) for row in self._database.read(query)]

    def open_tickets(self, chunks: Iterable[int] | None = None) -> list[OpenTicket]:
        """The tickets without a verdict: all, or those of these chunks."""
        columns = (items.c.seq, items.c.eval_id, items.c.check_name.label("check"), items.c.submitted_at)
        query = self._select(*columns).where(_HAS_OPEN_TICKET)
        found = self._database.read(query) if chunks is None else self._database.among(query, items.c.chunk, chunks)
        return [OpenTicket(**row) for row in found]

    def submitted_since(self, moment: datetime, check: str, most: int) -> list[datetime]:
        """The submission times since `moment` of a check's items that no hidden limit refused: the latest `most` of them."""
        query = self._select(items.c.submitted_at).where(
            items.c.check_name == check, items.c.submitted_at > moment, items.c.same_as.is_(None)
        )
        return self._database.column(query.order_by(items.c.submitted_at.desc()).limit(most))

    def item(self, seq: int) -> Item:
        [row] = self._database.read(self._select(items).where(items.c.seq == seq))
        return _item(row, self._checks)

    def copies(self) -> dict[int, list[tuple[int, str]]]:
        """Seq of an item -> seq and check of the items without a verdict that are copies of it and will share its verdict."""
        open_ = items.c.state.in_([*OPEN, State.NOT_NEEDED.value])
        query = self._select(items.c.same_as, items.c.seq, items.c.check_name).where(
            items.c.same_as.is_not(None), open_
        )
        found: dict[int, list[tuple[int, str]]] = {}
        for row in self._database.read(query.order_by(items.c.seq)):
            found.setdefault(row["same_as"], []).append((row["seq"], intern(row["check_name"])))
        return found

    def redone(self) -> dict[int, int]:
        """Seq of an item -> how often it was sent again after the server had accepted it and given no verdict."""
        query = self._select(items.c.seq, items.c.redone).where(items.c.redone > 0)
        return {row["seq"]: row["redone"] for row in self._database.read(query)}

    def resendable(self) -> set[int]:
        """Items that are to be sent again, once, if the server does not know their ticket (set by `reopen_failed`)."""
        query = self._select(items.c.seq).where(_HAS_OPEN_TICKET, items.c.resend_if_unknown)
        return set(self._database.column(query))

    def is_shared(self, seq: int, eval_id: str) -> bool:
        """Whether another item has that eval_id, or had it and was judged; copies of an item don't count."""
        others = (items.c.eval_id == eval_id, items.c.seq != seq, items.c.same_as.is_(None))
        return bool(self._database.column(self._select(items.c.seq).where(*others).limit(1)))

    # -- what happens --------------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change], stamp: Stamp | None = None, budget: Budget = UNBOUNDED) -> None:
        """Commit these changes together, in their order; once for each stamp, however often it is tried.

        Raises OverBudget, and commits nothing, where they would spend more than the budget has left.
        """
        with self._database.transaction() as connection:
            if stamp is None or claims.sign(connection, self.run_id, stamp):
                spend(connection, self.run_id, changes, budget)
                make(connection, self.run_id, changes)

    def reopen_failed(self) -> int:
        """Reopen every failed item that could be sent (`--retry-failed`); how many those are.

        If a ticket ended without the server's verdict, the server is asked about it again first: see `resendable`.
        """
        return self._database.write(lambda connection: reopen(connection, self.run_id, self._database.clock.now()))

    # -- what became of it ---------------------------------------------------------------------------------------

    def results(
        self, *, with_inputs: bool = False, of: Iterable[int] | None = None, settled: bool = False
    ) -> Iterator[Result]:
        """A result for every item, or for those `of` these seqs, or that are `settled`, in the run's order. Streams."""
        query = self._select(items, _LENDER.label("lender"))
        query = query.where(items.c.finished_at.is_not(None)) if settled else query
        found = self._pages(query) if of is None else self._database.among(query.order_by(items.c.seq), items.c.seq, of)
        yield from (_result(row, self._checks, with_inputs) for row in found)

    def kept(self) -> Iterator[dict[str, Any]]:
        """The kept columns of each item's row. Streams."""
        query = self._select(items.c.seq, items.c.kept).where(items.c.kept.is_not(None))
        yield from (json.loads(row["kept"]) for row in self._pages(query))

    def pasts(self, *, item_id: str | None = None, row: int | None = None) -> list[Past]:
        """All that the ledger holds of the items with that id, or of that row of the dataset: one for each check."""
        query = self._select(items, duplicates.of_item.label("doubled"), _LENDER.label("lender"))
        if item_id is not None:
            query = query.where(items.c.item_id == item_id)
        if row is not None:
            query = query.where(items.c.row == row)
        return [self._past(found) for found in self._database.read(query.order_by(items.c.seq))]

    def _past(self, row: sa.RowMapping) -> Past:
        query = sa.select(events.c.at, events.c.event, events.c.detail).order_by(events.c.n)
        mine = (events.c.run_id == self.run_id, events.c.seq == row["seq"])
        return Past(
            item=_item(row, self._checks),
            state=State(row["state"]),
            result=_result(row, self._checks, True),
            sent_at=row["sent_at"],
            polls=row["polls"],
            possible_duplicates=row["doubled"],
            events=tuple(Event(**found) for found in self._database.read(query.where(*mine))),
        )

    # -- parts of these ------------------------------------------------------------------------------------------

    def _select(self, *columns: Any) -> sa.Select[Any]:
        return sa.select(*columns).select_from(items).where(items.c.run_id == self.run_id)

    def _pages(self, query: sa.Select[Any]) -> Iterator[sa.RowMapping]:
        return self._database.pages(query, items.c.seq)

    @cached_property
    def _checks(self) -> dict[str, CheckRecord]:
        [recorded] = self._database.column(sa.select(runs.c.checks).where(runs.c.run_id == self.run_id))
        return {check.name: check for check in checks_of(recorded)}


def _item(row: sa.RowMapping, checks: Mapping[str, CheckRecord]) -> Item:
    check = checks[row["check_name"]]
    return Item(
        **{name: row[name] for name in (*_SAME_IN_ITEM, "lost", "doubts", "redone")},
        check=check.name,
        template=check.template,
        model=check.model,
        inputs=json.loads(row["inputs"]),
        ambiguous=row["state"] == State.AMBIGUOUS.value,
        params=json.loads(row["params"] or "{}"),
        traits=None if row["traits"] is None else json.loads(row["traits"]),
    )


def _result(row: sa.RowMapping, checks: Mapping[str, CheckRecord], with_inputs: bool) -> Result:
    check = checks[row["check_name"]]
    failed = row["error_kind"] is not None
    value = None if row["value"] is None else json.loads(row["value"])
    said = {name: row[name] for name in _SAME_IN_RESULT}
    if check.good and row["state"] == State.SCORED.value:
        said["passed"] = check.scale.passes(value)
    return Result(
        **said,
        check=check.name,
        template=check.template,
        model=check.model,
        status=State(row["state"]).status,
        value=value,
        error={"kind": row["error_kind"], "message": row["error_message"]} if failed else None,
        inputs=json.loads(row["inputs"]) if with_inputs else None,
        kept=json.loads(row["kept"]) if with_inputs and row["kept"] is not None else None,
        traits=None if row["traits"] is None else json.loads(row["traits"]),
        lent_by=row["lender"] if row["lender"] != check.name else None,
    )


def row_of(item: Item, failed: Failed | None, *, run_id: str, chunk_size: int, now: datetime) -> dict[str, Any]:
    """A new item as a row of the table. One that failed validation is final from the start."""
    return {
        **{name: getattr(item, name) for name in _SAME_IN_ITEM},
        "run_id": run_id,
        "chunk": (item.seq if item.drawn is None else item.drawn) // chunk_size,
        "state": State.FAILED.value if failed else State.READY.value,
        "check_name": item.check,
        "inputs": json.dumps(dict(item.inputs)),  # ASCII, because databases refuse a lone surrogate
        "kept": None if item.kept is None else json.dumps(dict(item.kept)),
        "params": json.dumps(dict(item.params)) if item.params else None,
        "traits": None if item.traits is None else json.dumps(dict(item.traits)),
        "stage": failed.stage if failed else None,
        "error_kind": failed.kind if failed else None,
        "error_message": failed.message if failed else None,
        "finished_at": now if failed else None,
    }


_SAME_IN_ITEM = ("seq", "item_id", "row", "fingerprint", "same_as", "repeat", "drawn")
"""Columns of a new item that are fields of an Item."""
_SAME_IN_RESULT = (
    "item_id", "row", "score", "passed", "reason", "runtime_ms", "eval_id", "stage", "attempts", "submitted_at",
    "finished_at", "lost", "same_as", "doubts", "repeat", "reused_from", "seq",
)  # fmt: skip
"""Columns that are fields of a Result."""
_TO_SEND = sa.and_(items.c.state.in_(UNSENT), items.c.same_as.is_(None))
_HAS_OPEN_TICKET = items.c.state == State.SUBMITTED.value
_twins = items.alias("twins")
_LENDER = (
    sa.select(_twins.c.check_name)
    .where(_twins.c.run_id == items.c.run_id, _twins.c.seq == items.c.same_as)
    .correlate(items)
    .scalar_subquery()
)
"""The check of the item whose verdict an item shares."""
