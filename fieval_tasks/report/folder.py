"""A run's own folder: whoever writes its files writes alone, and nobody but the user reads them."""

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

from fieval_tasks.core.private import make_folder

# All that is ever written.
FILES = (
    *("results.jsonl", "results.csv", "results.parquet"),
    *("summary.json", "report.md", "report.html", "junit.xml"),
)
# Seconds that a writer waits for another one of the same folder: the largest report takes less.
LONGEST_WRITING = 600.0
# Seconds: nobody notices them, and a writer takes at least as long.
_NEXT_TRY = 0.05
_PART = re.compile(rf"\.(?:{'|'.join(map(re.escape, FILES))})\.[0-9a-f]{{8}}\.part")


@contextmanager
def locked_folder(
    folder: Path, *, clock: Callable[[], float] = monotonic, pause: Callable[[float], None] = sleep
) -> Iterator[None]:
    """Nobody else who asks for the folder has it meanwhile, and what a killed writer left in it is gone.

    So a report that was begun later, and knows more, also ends later. One who has had it for LONGEST_WRITING seconds, or
    a file system without locks, holds nobody up; nothing is taken away then.
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
    """A file that becomes `path` once it is whole, and that only its owner may read: of bytes, or of UTF-8 text."""
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    how: dict[str, Any] = {"mode": "xb"} if binary else {"mode": "x", "encoding": "utf-8", "newline": ""}
    try:
        with open(part, opener=lambda name, flags: os.open(name, flags, 0o600), **how) as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
