"""What this package makes on disk is its owner's alone: rows, tickets and verdicts are nobody else's to read.

What is there already stays as it is: who made it wider, or shares it with a group, meant to.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def make_folder(folder: Path) -> None:
    """The folder, and those above it that are missing."""
    for place in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
        place.mkdir(mode=0o700, exist_ok=True)


def make_file(path: Path) -> None:
    """The file, empty, where there is none yet. Raises OSError where it can't be made."""
    with suppress(FileExistsError):
        os.close(os.open(os.path.realpath(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
