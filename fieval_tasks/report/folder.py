"""A run's folder: one process writes its files at a time, and only the user may read them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any
from uuid import uuid4

from fieval_tasks.core.private_files import make_folder

# Every file that each run writes to it.
FILES = (
    *("results.jsonl", "results.csv", "results.parquet"),
    *("summary.json", "report.md", "report.html", "junit.xml"),
)
COMMENT, COMPARISON = "comment.md", "comparison.md"
"""Written to it under GitHub Actions."""
# The largest report takes less.
LONGEST_WRITING = 600.0
"""Seconds that a writer waits for another writer of the same folder."""
# A report takes at least as long.
_NEXT_TRY = 0.05
"""Seconds between two tries to lock the folder."""
_PART = re.compile(rf"\.(?:{'|'.join(map(re.escape, (*FILES, COMMENT, COMPARISON)))})\.[0-9a-f]{{8}}\.part")


@contextmanager
def locked_folder(
    folder: Path, *, clock: Callable[[], float] = monotonic, pause: Callable[[float], None] = sleep
) -> Iterator[None]:
    """Lock the folder for the block, and delete what a killed writer left in it.

    So a report that was begun later, with more verdicts, is also written later. After LONGEST_WRITING seconds, or on a file
    system without locks, the block runs without the lock, and nothing is deleted.
    """
    make_folder(folder)
    with ExitStack() as stack:
        if sys.platform != "win32":  # where a folder can't be opened, so not locked either
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)  # which unlocks it, as the end of the process does
            if _locked(handle, clock, pause):
                _sweep(folder)
        yield


def _locked(handle: int, clock: Callable[[], float], pause: Callable[[float], None]) -> bool:
    import fcntl

    until = clock() + LONGEST_WRITING
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if clock() >= until:
                return False
            pause(_NEXT_TRY)
        except OSError:
            return False  # a file system that has no locks


def _sweep(folder: Path) -> None:
    for entry in list(os.scandir(folder)):
        if _PART.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            Path(entry.path).unlink(missing_ok=True)


@contextmanager
def new_file(path: Path, *, binary: bool = False) -> Iterator[IO[Any]]:
    """Yields a file that is renamed to `path` once it is complete, readable by its owner only: UTF-8 text, or bytes."""
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    how: dict[str, Any] = {"mode": "xb"} if binary else {"mode": "x", "encoding": "utf-8", "newline": ""}
    try:
        with open(part, opener=lambda name, flags: os.open(name, flags, 0o600), **how) as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
