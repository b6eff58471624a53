"""The runs of a ledger, and how each ended: `python -m flows.runs`. Read from the ledger; nothing is sent."""

from __future__ import annotations

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "runs_command")

from collections.abc import Callable

from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.overview import RunOverview, meant_end, meant_moment, overviews


def runs(
    store: str | None = None,
    *,
    dataset: str | None = None,
    check: str | None = None,
    since: str | None = None,
    status: str | None = None,
    limit: int | None = None,
    tell: Callable[[str], None],
) -> list[RunOverview]:
    """The runs, the newest first. Raises PlanError for a filter that can't be read, or a dataset that no run is on."""
    with Ledger(store_url(store), must_exist=True) as ledger:
        return overviews(
            ledger,
            dataset=dataset,
            check=check,
            since=None if since is None else meant_moment(since, ledger.now(), "--since"),
            ended=None if status is None else meant_end(status),
            limit=limit,
            tell=tell,
        )
