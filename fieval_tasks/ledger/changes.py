"""The changes of items, and their SQL statements: each statement only moves items that are in a state it may start from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fieval_tasks.core.cutting import cut
from fieval_tasks.core.items import Failed, State, Ticket, Verdict
from fieval_tasks.ledger.schema import events, items, runs


@dataclass(frozen=True)
class Sending:
    """A POST with these items is about to go out."""

    seqs: tuple[int, ...]
    at: datetime | None = None


@dataclass(frozen=True)
class NotTaken:
    """The server did not accept these items: they are ready again."""

    seqs: tuple[int, ...]
    counts_as_attempt: bool
    """Whether the POST counts in `Result.attempts`."""


@dataclass(frozen=True)
class ReplyLost:
    """The POST went out and no answer came: the items may have been accepted."""

    seqs: tuple[int, ...]


@dataclass(frozen=True)
class Submitted:
    """The server accepted items and named their eval_ids."""

    tickets: tuple[Ticket, ...]
    at: datetime


@dataclass(frozen=True)
class Decided:
    """An item has its verdict. Later verdicts of the same item change nothing."""

    seq: int
    verdict: Verdict
    at: datetime
    eval_id: str | None = None
    polls: int = 0
    """Questions that were not recorded as `Asked` yet."""


@dataclass(frozen=True)
class Requeued:
    """The server accepted the item and gave no verdict; it has to be sent again."""

    seq: int
    counts: bool = False
    """Counts in `Item.redone`, which is bounded; a hidden limit's refusal does not."""
    doubtful: bool = False
    """It may have been judged all the same, so that sending it again may pay for it twice."""


@dataclass(frozen=True)
class Asked:
    """Questions about an item since they were last recorded."""

    seq: int
    polls: int


@dataclass(frozen=True)
class Noted:
    """An event of these items; their states stay."""

    seqs: tuple[int, ...]
    event: str
    detail: str
    at: datetime


@dataclass(frozen=True)
class Counted:
    """The run's requests since they were last recorded."""

    submits: int = 0
    polls: int = 0
    retries: int = 0
    throttled: int = 0


@dataclass(frozen=True, eq=False)
class Spent:
    """Evaluations that are about to be sent, or, where negative, that the server did not take or did not charge."""

    check: str
    evaluations: int


Change: TypeAlias = "Sending | NotTaken | ReplyLost | Submitted | Decided | Requeued | Asked | Noted | Counted | Spent"
Statement: TypeAlias = "sa.Update | sa.Insert"

UNSENT = (State.READY.value, State.SENDING.value, State.AMBIGUOUS.value)
OPEN = (*UNSENT, State.SUBMITTED.value)
# One process finds that the rest is not needed while another one is sending some of it: what it gets is recorded all the same.
_LEFT_OUT = State.NOT_NEEDED.value
# A server may send a long error for every item.
LONGEST_DETAIL = 2_000
"""Characters of an event's detail that are kept."""


def make(connection: Connection, run_id: str, changes: Iterable[Change]) -> None:
    """Execute the statements of the changes, in their order."""
    for group in _in_groups(changes):
        for statement, rows in group.items():
            for row in rows:
                row["run"] = run_id
            connection.execute(statement, rows)


def _in_groups(changes: Iterable[Change]) -> Iterator[dict[Statement, list[dict[str, Any]]]]:
    """Groups of statement -> rows. A new group begins where an item would move a second time."""
    # The driver takes many rows of one statement at once: a hundred verdicts cost little more than one.
    group: dict[Statement, list[dict[str, Any]]] = {}
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


def _moves(change: Change) -> Iterator[tuple[Statement, dict[str, Any]]]:
    """The statement that makes a change, once for each item it moves."""
    if isinstance(change, Sending):
        yield from ((_SEND, {"item": seq, "to_sent_at": change.at}) for seq in change.seqs)
    elif isinstance(change, NotTaken):
        statement = _GIVE_BACK if change.counts_as_attempt else _UNSEND
        yield from ((statement, {"item": seq}) for seq in change.seqs)
    elif isinstance(change, ReplyLost):
        yield from ((_LOSE, {"item": seq}) for seq in change.seqs)
    elif isinstance(change, Submitted):
        for ticket in change.tickets:
            yield _TAKE, {"item": ticket.seq, "to_eval_id": ticket.eval_id, "to_submitted_at": change.at}
    elif isinstance(change, Requeued):
        yield _REQUEUE, {"item": change.seq, "more_redone": change.counts, "more_doubts": change.doubtful}
    elif isinstance(change, Decided):
        yield _verdict_move(change)
    elif isinstance(change, Asked):
        yield _ASK, {"item": change.seq, "more_polls": change.polls}
    elif isinstance(change, Noted):
        event = {"to_at": change.at, "to_event": change.event, "to_detail": cut(change.detail, LONGEST_DETAIL)}
        yield from ((_NOTE, {"to_seq": seq, **event}) for seq in change.seqs)
    elif isinstance(change, Spent):
        return  # by `spending`, all of a commit together
    elif any(vars(change).values()):
        yield _COUNT, {f"more_{name}": n for name, n in vars(change).items()}


def _verdict_move(change: Decided) -> tuple[sa.Update, dict[str, Any]]:
    verdict = change.verdict
    row = {"item": change.seq, "to_eval_id": change.eval_id, "to_finished_at": change.at, "more_polls": change.polls}
    if isinstance(verdict, Failed):
        failure = {"to_stage": verdict.stage, "to_error_kind": verdict.kind, "to_error_message": verdict.message}
        return _FAIL, row | failure
    said = vars(verdict) | {"value": json.dumps(verdict.value)}  # ASCII, as the inputs
    return _SCORE, row | {f"to_{name}": value for name, value in said.items()}


def _move(to: State, *states: str, said: Sequence[str] = (), **values: Any) -> sa.Update:
    """Items that are in one of `states` go to another, taking the columns in `said` from the row."""
    values |= {name: sa.bindparam(f"to_{name}", type_=items.c[name].type) for name in said}
    open_to_it = sa.or_(*(items.c.state == _fixed(state) for state in states))  # an IN can't go for many rows at once
    return sa.update(items).where(*_HERE, open_to_it).values(state=_fixed(to.value), **values)


def _fixed(state: str) -> sa.ColumnElement[str]:
    """A literal in the statement: each bound value would cost time for every item."""
    return sa.literal_column(f"'{state}'", sa.String)


_ONE = sa.literal_column("1", sa.Integer)
_HERE = (items.c.run_id == sa.bindparam("run"), items.c.seq == sa.bindparam("item"))
_KEPT_OR_SAID = sa.func.coalesce(sa.bindparam("to_eval_id", type_=items.c.eval_id.type), items.c.eval_id)
_MORE_POLLS = items.c.polls + sa.bindparam("more_polls", type_=sa.Integer)
_SEND = _move(State.SENDING, *UNSENT, _LEFT_OUT, said=("sent_at",), attempts=items.c.attempts + _ONE)
_UNSEND = _move(State.READY, State.SENDING.value, attempts=items.c.attempts - _ONE)
_GIVE_BACK = _move(State.READY, State.SENDING.value)
_LOSE = _move(State.AMBIGUOUS, State.SENDING.value, lost=items.c.lost + _ONE, doubts=items.c.doubts + _ONE)
_TAKE = _move(State.SUBMITTED, *UNSENT, _LEFT_OUT, said=("eval_id", "submitted_at"))
_REQUEUE = _move(
    State.READY,
    State.SUBMITTED.value,
    eval_id=None,
    submitted_at=None,
    resend_if_unknown=sa.false(),
    redone=items.c.redone + sa.bindparam("more_redone", type_=sa.Integer),
    doubts=items.c.doubts + sa.bindparam("more_doubts", type_=sa.Integer),
)
_DECIDED: dict[str, Any] = {"eval_id": _KEPT_OR_SAID, "polls": _MORE_POLLS}
_FAIL = _move(State.FAILED, *OPEN, _LEFT_OUT, said=("finished_at", "stage", "error_kind", "error_message"), **_DECIDED)
_SCORE = _move(
    State.SCORED, *OPEN, _LEFT_OUT, said=("finished_at", "value", "score", "passed", "reason", "runtime_ms"), **_DECIDED
)
_ASK = sa.update(items).where(*_HERE).values(polls=_MORE_POLLS)
_NOTE = sa.insert(events).values(
    run_id=sa.bindparam("run"), **{name: sa.bindparam(f"to_{name}") for name in ("seq", "at", "event", "detail")}
)
_COUNT = (
    sa.update(runs)
    .where(runs.c.run_id == sa.bindparam("run"))
    .values({name: runs.c[name] + sa.bindparam(f"more_{name}") for name in vars(Counted())})
)
