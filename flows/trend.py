"""How a check went from run to run: `python -m flows.trend DATASET CHECK`. Read from the ledger; nothing is sent."""

from __future__ import annotations

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "trend_command")

from collections.abc import Callable

from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.trends import Trend
from fieval_tasks.runs.trends import trend as found_in


def trend(
    dataset: str,
    check: str,
    store: str | None = None,
    *,
    last: int | None = 20,
    tell: Callable[[str], None],
) -> Trend:
    """How the check went in the `last` runs on the dataset that ended; None: in all. Raises PlanError where there is none."""
    with Ledger(store_url(store), must_exist=True) as ledger:
        return found_in(ledger, dataset, check, last=last, tell=tell)
