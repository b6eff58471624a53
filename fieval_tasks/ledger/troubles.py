"""Database errors as sentences with the next step."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from fieval_tasks.core.errors import StoreAway, StoreError
from fieval_tasks.core.scrubbing import scrubbed

FULL = "make room on its disk; all that was recorded is kept, and the run can be resumed"
HELD = "another program holds it: let that end, then resume the run"
DAMAGED = (
    "the file is damaged or no ledger: put a copy of it in its place (sqlite3 FILE .recover saves what can still be read), "
    "or name another --store"
)
FAILED = "its disk failed, or a quota or file size limit was met; see to that, then resume the run"
UNWRITABLE = "make the file and its folder writable"
AWAY = "see to the server, then resume the run"
CUT_OFF = "see to the server or the network, then resume the run"
UNKNOWN = "see to that, or name another --store"

PASSES = (HELD, AWAY, CUT_OFF)
"""Causes that tend to be over soon; operations are tried again."""
SAID_BY_SQLITE = {
    "disk is full": FULL,
    "is locked": HELD,
    "not a database": DAMAGED,
    "malformed": DAMAGED,
    "unsupported file format": DAMAGED,
    "disk I/O error": FAILED,
    "readonly": UNWRITABLE,
    "unable to open": UNWRITABLE,
}
"""Words of SQLite's messages, which are always English -> next step."""
STATES = {"53100": FULL, "58": FAILED, "08": AWAY, "40": AWAY, "53": AWAY, "55P03": AWAY, "57P": AWAY}
"""Prefix of PostgreSQL's SQLSTATE -> next step; its messages may be in any language."""


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Raise database errors of the block as StoreError, or as StoreAway if they tend to pass; without the password."""
    try:
        yield
    except SQLAlchemyError as error:
        step = _next_step(error)
        kind = StoreAway if step in PASSES else StoreError
        raise kind(f"the store {name} can't be used: {first_line(error)}; {step}") from error


def first_line(error: Exception) -> str:
    """What the database said, without its details, which may repeat a row, and without secrets."""
    return scrubbed(str(getattr(error, "orig", None) or error)).strip().partition("\n")[0]


def _next_step(error: SQLAlchemyError) -> str:
    cause = getattr(error, "orig", None)
    if isinstance(cause, sqlite3.Error):
        return next((step for words, step in SAID_BY_SQLITE.items() if words in str(cause)), UNKNOWN)
    state = getattr(cause, "sqlstate", None)
    known = (step for beginning, step in STATES.items() if state is not None and state.startswith(beginning))
    return next(known, CUT_OFF if _is_cut_off(error, state) else UNKNOWN)


def _is_cut_off(error: SQLAlchemyError, state: str | None) -> bool:
    """Whether the connection failed or was cut; drivers report that in many ways."""
    is_silent = state is None and isinstance(error, OperationalError)
    return isinstance(error, DBAPIError) and (error.connection_invalidated or is_silent)
