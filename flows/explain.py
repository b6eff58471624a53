"""`python -m flows.explain RUN ITEM`: an item's whole biography, read from the ledger."""

from __future__ import annotations

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "explain_command")

from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.biography import as_json, as_text, biographies


def explain(run: str, item: str, store: str | None = None, *, as_data: bool = False) -> str:
    """What became of the item, as lines for a terminal or as JSON. Raises PlanError where there is none of that name."""
    with Ledger(store_url(store), must_exist=True) as ledger:
        found = biographies(ledger, ledger.run(run), item)
    return as_json(found) + "\n" if as_data else "\n".join(as_text(one) for one in found)
