"""A run's account of the evaluations that it has sent, kept in the commits that record the intent to send them.

So a budget holds over all processes of a run, whatever becomes of them: an evaluation is counted before its request goes
out, and only taken back once the server has said that it did not take or charge it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fieval_tasks.core.budget import Budget
from fieval_tasks.core.errors import RunStopped
from fieval_tasks.ledger.changes import Change, Spent
from fieval_tasks.ledger.schema import spending


class OverBudget(RunStopped):
    """Raised where a run's budget has no room for evaluations that were about to be sent. Nothing of them was recorded."""

    def __init__(self, fitting: dict[Spent, int]) -> None:
        super().__init__("the run's budget has no room for further evaluations")
        self._fitting = fitting

    def of(self, changes: Iterable[Change]) -> OverBudget | None:
        """The error of a caller with these changes; None where the budget has room for them."""
        mine = {one: self._fitting[one] for one in changes if isinstance(one, Spent) and one in self._fitting}
        return OverBudget(mine) if mine else None

    @property
    def fitting(self) -> int:
        """How many of the refused evaluations the budget still had room for."""
        return sum(self._fitting.values())


def open_accounts(connection: Connection, run_id: str, checks: Iterable[str]) -> None:
    """An account for each check of a new run."""
    if rows := [{"run_id": run_id, "check_name": check, "evaluations": 0} for check in dict.fromkeys(checks)]:
        connection.execute(sa.insert(spending), rows)


def spend(connection: Connection, run_id: str, changes: Sequence[Change], budget: Budget) -> None:
    """Add what the changes spend to the run's accounts. Raises OverBudget, before it adds anything."""
    wanted = [change for change in changes if isinstance(change, Spent)]
    if wanted and budget.is_bounded:
        _require_room(_locked(connection, run_id), wanted, budget)
    totals: Counter[str] = Counter()
    for one in wanted:
        totals[one.check] += one.evaluations
    # In one order, so that two processes never wait for each other's rows in a circle.
    for check in sorted(totals):
        if totals[check]:
            connection.execute(_ADD, {"run": run_id, "check": check, "more": totals[check]})


def _require_room(sent: dict[str, int], wanted: Sequence[Spent], budget: Budget) -> None:
    fitting: dict[Spent, int] = {}
    left = Counter(sent)
    for one in sorted(wanted, key=lambda one: one.evaluations > 0):  # what is given back makes room for the others
        room = budget.room(left, one.check, one.evaluations) if one.evaluations > 0 else one.evaluations
        if room == one.evaluations:
            left[one.check] += room
        else:
            fitting[one] = room
    if fitting:
        raise OverBudget(fitting)


def _locked(connection: Connection, run_id: str) -> dict[str, int]:
    """What was sent so far, which no other transaction changes before this one ends. SQLite has one writer at a time anyway."""
    query = sa.select(spending.c.check_name, spending.c.evaluations).where(spending.c.run_id == run_id)
    found = connection.execute(query.order_by(spending.c.check_name).with_for_update())
    return {row.check_name: row.evaluations for row in found}


_ADD = (
    sa.update(spending)
    .where(spending.c.run_id == sa.bindparam("run"), spending.c.check_name == sa.bindparam("check"))
    .values(evaluations=spending.c.evaluations + sa.bindparam("more"))
)
