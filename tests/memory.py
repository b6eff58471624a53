"""Memory in place of the disk for what tests write: no commit of theirs waits for a disk, and nothing of it is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryDirectory

MEMORY = Path("/dev/shm")
NEEDED = 4 * 2**30
"""Bytes that are free there: several times what all tests write, for memory is used besides."""


@contextmanager
def in_memory() -> Iterator[dict[str, str]]:
    """The environment for a process that tests; the usual one where there is no such folder, or too little room in it."""
    if not MEMORY.is_dir() or disk_usage(MEMORY).free < NEEDED:
        yield {**os.environ}
        return
    with TemporaryDirectory(dir=MEMORY, prefix="fieval-tests-") as folder:
        os.chmod(folder, 0o711)  # PostgreSQL's own account goes through it
        yield os.environ | {"TMPDIR": folder}
