"""Reopening failed items for `--retry-failed`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fieval_tasks.core.items import State
from fieval_tasks.ledger.changes import LONGEST_DETAIL
from fieval_tasks.ledger.schema import events, items

NOT_JUDGED = ("evaluation_error", "rate_limited", "insufficient_credits")
"""Kinds of failure in which the server said itself that there is no verdict, so that another evaluation is no duplicate."""

_AS_IF_NEVER_FAILED = {**dict.fromkeys(("stage", "error_kind", "error_message", "finished_at")), "redone": 0}
_WAS_JUDGED = sa.and_(items.c.stage == "evaluate", items.c.error_kind.not_in(NOT_JUDGED), items.c.same_as.is_(None))
"""Items that were perhaps judged: sending them again may pay twice."""


def reopen(connection: Connection, run_id: str, at: datetime) -> int:
    """Reopen every failed item that had passed validation; how many those are.

    A ticket without the server's verdict is asked about again, and its item is only sent again if the server does not know
    the ticket; that goes for the run's open tickets, too. All other items become ready, and their old tickets are noted.
    """
    mine = items.c.run_id == run_id
    failed = sa.and_(mine, items.c.state == State.FAILED.value, items.c.stage != "validate")
    is_ticket = (items.c.eval_id.is_not(None), items.c.stage != "evaluate", items.c.same_as.is_(None))
    unheard = sa.and_(failed, *is_ticket)
    since = sa.func.coalesce(items.c.submitted_at, items.c.sent_at, items.c.finished_at)
    more_doubts = items.c.doubts + sa.case((_WAS_JUDGED, 1), else_=0)

    _note(connection, unheard, "asked_again", at)
    asked = _update(connection, unheard, state=State.SUBMITTED.value, submitted_at=since, **_AS_IF_NEVER_FAILED)
    _note(connection, failed, "reopened", at)
    fresh: dict[str, Any] = {"eval_id": None, "submitted_at": None, **_AS_IF_NEVER_FAILED}
    ready = _update(connection, failed, state=State.READY.value, doubts=more_doubts, **fresh)
    _update(connection, sa.and_(mine, items.c.state == State.SUBMITTED.value), resend_if_unknown=True)
    return asked + ready


def _update(connection: Connection, those: sa.ColumnElement[bool], **values: Any) -> int:
    return connection.execute(sa.update(items).where(those).values(**values)).rowcount


def _note(connection: Connection, those: sa.ColumnElement[bool], event: str, at: datetime) -> None:
    """Record these items' tickets and failures as events, before the columns are cleared."""
    ticket = sa.func.coalesce("eval_id " + items.c.eval_id + ": ", "")
    detail = sa.func.substr(ticket + items.c.error_kind + ": " + items.c.error_message, 1, LONGEST_DETAIL)
    when = sa.literal(at, events.c.at.type)
    found = sa.select(items.c.run_id, items.c.seq, when, sa.literal(event), detail).where(those)
    connection.execute(sa.insert(events).from_select(["run_id", "seq", "at", "event", "detail"], found))
