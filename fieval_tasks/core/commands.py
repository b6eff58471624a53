"""Commands that are shown, to be pasted into a shell as they stand."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

SCRIPT = "fieval"
"""The console script, which has each command as a word of its own."""


def program(name: str) -> str:
    """How the command is called: `fieval fan-out` where the script was typed, else `python -m flows.fan_out`."""
    is_script = Path(sys.argv[0]).stem == SCRIPT
    return f"{SCRIPT} {name.replace('_', '-')}" if is_script else f"python -m flows.{name}"


def command(name: str, *words: str, store: str | None = None, last: int = 0) -> str:
    """The program and its words, each quoted where a shell would read it as something else.

    So many of the words come `last`, where one that begins with a dash is no option.
    """
    first, others = words[: len(words) - last], words[len(words) - last :]
    ending = ["--", *others] if others else []
    return shlex.join([*program(name).split(), *first, *(["--store", store] if store else []), *ending])
