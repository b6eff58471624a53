"""`fieval COMMAND …`: the commands of flows/, also in a folder that has a package `flows` of its own."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from fieval_tasks.core.commands import SCRIPT
from fieval_tasks.core.errors import ExitCode
from fieval_tasks.terminal.door import run_command, say

COMMANDS = {
    "evaluate": ("flows.cli.command", "evaluate_command"),
    "collect": ("flows.cli.command", "collect_command"),
    "explain": ("flows.explain", "explain_command"),
    "control": ("flows.cli.command", "control_command"),
    "fan-out": ("flows.cli.command", "fan_out_command"),
}
"""Each is also `python -m flows.NAME`, which runs the folder's own file where it has one of that name."""


def main() -> NoReturn:
    """Run the command that the first argument names. Exit code 2 where there is none, or none of ours can be found."""
    name, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, n=1)
        say(f"usage: fieval {{{','.join(COMMANDS)}}} ..." + (f"  (did you mean {near[0]}?)" if near else ""))
        sys.exit(ExitCode.OK if name in ("-h", "--help") else ExitCode.BAD_INPUT)
    home = Path(__file__).parents[2]
    sys.path.insert(0, str(home))  # before a project's own flows/
    found = find_spec("flows")
    if found is None or found.origin is None or Path(found.origin).parents[1] != home:
        say(f"error: the package flows that belongs to {home} can't be found: install prefect-futureagi again")
        sys.exit(ExitCode.BAD_INPUT)
    sys.argv = [f"{SCRIPT} {name}", *arguments]
    run_command(*COMMANDS[name])
