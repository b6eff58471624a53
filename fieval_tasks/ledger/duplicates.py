"""Possible duplicates: evaluations that may have been paid twice, counted from the items in the ledger.

An item's *doubts* are its submissions that may have been judged without a verdict here: their reply was lost, or their
ticket was given up. Each is a possible duplicate once the item has been accepted again; until then one of them may be
its only evaluation.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from fieval_tasks.core.items import State
from fieval_tasks.ledger.schema import items, runs

_IS_IN_DOUBT = items.c.doubts > sa.literal_column("0")  # written out, or no index of SQLite's is used for it
_IS_TAKEN = sa.or_(
    items.c.state.in_([State.SENDING.value, State.SUBMITTED.value, State.SCORED.value]),
    items.c.stage.in_(["wait", "evaluate"]),
)
"""The item's latest submission was judged or may be: it is being sent, pending, or answered."""

of_item: sa.ColumnElement[int] = sa.case((~_IS_IN_DOUBT, 0), (_IS_TAKEN, items.c.doubts), else_=items.c.doubts - 1)
"""Evaluations that may have been made, and paid, beyond the item's own."""


def of_run() -> sa.ScalarSelect[Any]:
    """The sum over the items of a row of `runs`."""
    here = (items.c.run_id == runs.c.run_id, _IS_IN_DOUBT)
    return sa.select(sa.func.coalesce(sa.func.sum(of_item), 0)).where(*here).correlate(runs).scalar_subquery()
