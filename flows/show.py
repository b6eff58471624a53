"""One run on a page: `python -m flows.show RUN`. Read from the ledger; nothing is sent."""

from __future__ import annotations

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "show_command")

from collections.abc import Callable

from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.overview import RunPage, page_of


def show(run: str, store: str | None = None, *, tell: Callable[[str], None]) -> RunPage:
    """All that the ledger says of a run as a whole, also of one whose items were pruned. Raises PlanError where there is none."""
    with Ledger(store_url(store), must_exist=True) as ledger:
        return page_of(ledger, run, store, tell)
