"""`fieval COMMAND …`: the commands of flows/, also in a folder that has a package `flows` of its own."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from fieval_tasks.core.errors import ExitCode
from fieval_tasks.terminal.door import run_command, say


def main() -> NoReturn:
    """Run the command that the first argument names. Exit code 2 where there is none, or none of ours can be found."""
    home = Path(__file__).parents[2]
    sys.path.insert(0, str(home))  # before a project's own flows/
    found = find_spec("flows")
    if found is None or found.origin is None or Path(found.origin).parents[1] != home:
        say(f"error: the package flows that belongs to {home} can't be found: install prefect-futureagi again")
        sys.exit(ExitCode.BAD_INPUT)
    run_command("flows.cli.command", "fieval_command")
