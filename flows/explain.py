"""`python -m flows.explain RUN ITEM`: an item's whole biography, read from the ledger."""

from __future__ import annotations

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.explain", "explain_command")

import argparse
from collections.abc import Sequence

from fieval_tasks.core.commands import program
from fieval_tasks.core.errors import ExitCode
from fieval_tasks.ledger.store import Ledger, store_url
from fieval_tasks.runs.biography import as_json, as_text, biographies
from fieval_tasks.terminal.door import answered


def explain(run: str, item: str, store: str | None = None, *, as_data: bool = False) -> str:
    """What became of the item, told for a terminal or as JSON. Raises PlanError where there is none of that name."""
    with Ledger(store_url(store), must_exist=True) as ledger:
        told = biographies(ledger, ledger.run(run), item)
    return as_json(told) + "\n" if as_data else "\n".join(as_text(one) for one in told)


def explain_command(arguments: Sequence[str] | None = None) -> int:
    """`python -m flows.explain`; its exit code."""
    options = explain_parser().parse_args(arguments)
    return answered(lambda: _explain(options))


def _explain(options: argparse.Namespace) -> int:
    print(explain(options.run, options.item, options.store, as_data=options.json), end="")
    return ExitCode.OK


def explain_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("explain"),
        usage="%(prog)s [-h] [--store URL] [--json] RUN [--] ITEM",
        description="What became of an item: when it was sent, what came back, why it waited, what it cost.",
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="a run's name, or last")
    add("item", metavar="ITEM", help="an item_id of results.jsonl (after -- where it begins with a dash), or row:17")
    add("--store", metavar="URL", help="the ledger (default FIEVAL_STORE_URL, else fieval-runs/ledger.db)")
    add("--json", action="store_true", help="as a JSON array, nothing shortened")
    return parser
