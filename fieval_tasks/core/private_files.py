"""Files and folders that only their owner may read: they hold the user's rows and verdicts.

The permissions of what exists already are not changed: a user may share a folder with a group.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make the folder, and those above it that are missing, with mode 0700."""
    for place in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
        place.mkdir(mode=0o700, exist_ok=True)


def make_file(path: Path) -> None:
    """Make the file, empty, with mode 0600, unless it exists. Raises OSError where it can't be made."""
    with suppress(FileExistsError):
        os.close(os.open(os.path.realpath(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
