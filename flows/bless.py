"""Make a run the baseline that later ones are compared with: `python -m flows.bless RUN`."""

from __future__ import annotations

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "bless_command")

from pathlib import Path

from fieval_tasks.ledger.blessings import Blessing, blessings
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.blessing import blessed_run, written_baseline
from fieval_tasks.runs.preparation import kept


def bless(run: str, store: str | None = None, *, note: str = "", file: Path | None = None, anyway: bool = False) -> str:
    """Mark the run in the ledger, or write it to a file that can be committed; a sentence on what was done.

    Raises PlanError for a run that is not at its end, lacks verdicts or failed a gate; `anyway`: not even then.
    """
    with kept(run, store) as found:
        if file is None:
            of = blessed_run(found, note, anyway=anyway).dataset
            return f"run {found.run_id} is blessed: the baseline for {of}"
        n = written_baseline(found, file, anyway=anyway)
        return f"run {found.run_id} is written to {file}: {n:,} items; compare with --baseline {file}"


def blessed(store: str | None = None) -> list[Blessing]:
    """All blessed runs, the newest first."""
    with Ledger(store_url(store), must_exist=True) as ledger:
        return blessings(ledger.database)
