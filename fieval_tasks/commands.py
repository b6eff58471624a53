"""Commands that are shown, to be pasted into a shell as they stand."""

from __future__ import annotations

import shlex


def command(name: str, *words: str, store: str | None = None) -> str:
    """`python -m flows.NAME WORDS`, each word quoted where a shell would read it as something else."""
    return shlex.join(["python", "-m", f"flows.{name}", *words, *(["--store", store] if store else [])])
