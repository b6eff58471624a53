"""Delete the rows and verdicts of old runs: `python -m flows.prune --older-than 90d`. What they came to is kept."""

from __future__ import annotations

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "prune_command")

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from fieval_tasks.core.errors import PlanError
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.history import History
from fieval_tasks.ledger.pruning import Prunable, give_back, prunable
from fieval_tasks.ledger.pruning import prune as deleted
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.overview import meant_moment
from fieval_tasks.runs.trends import count_old

LEAST_AGE = timedelta(hours=1)
"""`3m` is three minutes, and `90` is 90 seconds: who writes that means months, or days."""


@dataclass(frozen=True)
class Pruned:
    """What was pruned."""

    found: Prunable
    runs: tuple[str, ...]
    """Whose items were deleted."""
    freed: int | str | None
    """Bytes by which the ledger's file is smaller, or why it is not; None where nothing was deleted."""


def prune(
    older_than: str,
    agreed: Callable[[Prunable], bool],
    store: str | None = None,
    *,
    tell: Callable[[str], None],
) -> Pruned:
    """Delete the items of the runs that were begun before then, if `agreed` says so of what was found.

    Files are never deleted: a run's folder is its user's. Raises PlanError for a time that can't be read,
    or is less than an hour ago.
    """
    with Ledger(store_url(store), must_exist=True) as ledger:
        before = meant_moment(older_than, ledger.now(), "--older-than")
        if ledger.now() - before < LEAST_AGE:
            raise PlanError(
                f"--older-than {older_than}: that is no hour ago (m is minutes, a bare number seconds), and nothing was "
                "deleted: write days, such as 90d, or a date"
            )
        found = prunable(ledger.database, before)
        if not found.runs or not agreed(found):
            return Pruned(found, (), None)
        names = [run.run_id for run in found.runs]
        count_old(ledger, names, tell)  # what they came to would be lost with their items
        uncounted = History(ledger.database).uncounted(names)
        done = tuple(name for name in names if name not in uncounted and deleted(ledger.database, name))
        return Pruned(found, done, give_back(ledger.database))
