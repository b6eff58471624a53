"""Command lines for messages, quoted so that a user can paste them into a shell."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

SCRIPT = "fieval"
"""The console script's name; each command is a subcommand of it."""

NAMES = {
    "checks": "--template",
    "dataset": "DATASET",
    "gates": "--gate",
    "id_column": "--id",
    "mapping": "--map",
    "prices": "--price",
}
"""Fields of the plan that are not typed as an option of their own name."""


def program(name: str) -> str:
    """How the command is called: `fieval fan-out` where the script was typed, else `python -m flows.fan_out`."""
    is_script = Path(sys.argv[0]).stem == SCRIPT
    return f"{SCRIPT} {name.replace('_', '-')}" if is_script else f"python -m flows.{name}"


def command(name: str, *words: str, store: str | None = None, last: int = 0) -> str:
    """A command line of the program and its arguments, quoted for a shell.

    `last`: how many of the arguments go behind `--`, so that one that begins with a dash is not read as an option.
    """
    first, others = words[: len(words) - last], words[len(words) - last :]
    ending = ["--", *others] if others else []
    return shlex.join([*program(name).split(), *first, *(["--store", store] if store else []), *ending])


def option_name(place: str) -> str:
    """`id_column` -> `--id`, `checks.0.model` -> `--template`."""
    field = place.split(".")[0]
    return NAMES.get(field, f"--{field.replace('_', '-')}")
