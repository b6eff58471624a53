"""A dataset: found by its location, scanned once, then read as often as it is asked for."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO
from urllib.parse import SplitResult

from fieval_tasks.delimited import style_of
from fieval_tasks.errors import PlanError, in_words
from fieval_tasks.files import File, Row
from fieval_tasks.locations import dataset_url, is_url, path_of
from fieval_tasks.records import FORMATS, read_rows
from fieval_tasks.templates import nearest

__all__ = ["STDIN", "Dataset", "Row", "read_dataset"]

STDIN = "<stdin>"
"""The name of a dataset that came by standard input."""
_BLOCK = 2**20
_C1 = re.compile("[\x80-\x84\x86-\x9f]")
"""Control characters that no text has (U+0085 apart, a line end on some machines)."""


@dataclass(frozen=True)
class Scan:
    """What one look at every row tells."""

    columns: tuple[str, ...]
    """In the order they were first seen."""
    size: int
    """Rows, with those that can't be used."""
    notices: tuple[str, ...] = ()
    """How the file was read, where that is not plain from its name, and what looks odd in it."""


class Dataset:
    """Rows that can be read more than once. Closing it removes what was spooled for it."""

    def __init__(self, file: File, scan: Scan, fingerprint: str, release: Callable[[], None]):
        self._file = file
        self._stamp = _stamp(file.path)
        self.columns = scan.columns
        self.size = scan.size
        self.notices = scan.notices
        self.fingerprint = fingerprint
        """SHA-256 of the file's bytes, as they are on disk."""
        self.close = weakref.finalize(self, release)

    @property
    def name(self) -> str:
        """The file's base name, or <stdin>."""
        return self._file.name

    def rows(self) -> Iterator[Row]:
        """Streams every row. Raises PlanError when the file is no longer the one that was scanned."""
        if not self._file.path.exists() or _stamp(self._file.path) != self._stamp:
            raise PlanError(f"{self.name} changed or went away while it was in use; start again with the file at rest")
        return read_rows(self._file)

    def __enter__(self) -> Dataset:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_dataset(location: str, *, stdin: BinaryIO | None = None, spool: Path | None = None) -> Dataset:
    """The dataset at a path, a URL (`locations.SCHEMES`), or `-`: standard input, as JSONL.

    One scan counts the rows and learns the columns. What can't be read twice (standard input, pipes, URLs) is first
    copied to a file in the folder `spool` (None: the system's). Raises PlanError when there is nothing to evaluate.
    """
    with ExitStack() as copies:
        file = _file(location, stdin, spool, copies)
        return Dataset(file, _scan(file), _sha256(file.path), copies.pop_all().close)


def _file(location: str, stdin: BinaryIO | None, spool: Path | None, copies: ExitStack) -> File:
    if location == "-":
        return File(STDIN, _copy(stdin or sys.stdin.buffer, spool, copies), "jsonl")
    url = dataset_url(location) if is_url(location) else None
    if url is not None and url.scheme != "file":
        return _remote_file(url, location, spool, copies)
    path = Path(location).expanduser() if url is None else path_of(url)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise PlanError(_not_there(location, path, error)) from error
    if stat.S_ISDIR(mode):
        raise PlanError(_is_folder(location, path))
    if stat.S_ISREG(mode):
        return File(path.name, path, _format(path.name))
    with path.open("rb") as pipe:  # <(a command), /dev/stdin
        return File(location, _copy(pipe, spool, copies), _format(path.name, default="jsonl"))


def _remote_file(url: SplitResult, location: str, spool: Path | None, copies: ExitStack) -> File:
    name = PurePosixPath(url.path).name
    file_format = _format(name)
    import fsspec  # type: ignore[import-untyped]

    try:
        with fsspec.open(location, "rb") as stream:
            return File(name, _copy(stream, spool, copies), file_format)
    except Exception as error:  # each file system behind fsspec raises its own
        told = f"{name} can't be fetched from {url.scheme}"
        may_tell = isinstance(error, ImportError) or not {"?", "@", "#"} & {*location}
        if not may_tell:  # the error may repeat a signature or a password
            raise PlanError(f"{told}: {type(error).__name__}") from None
        raise PlanError(f"{told}: {in_words(error)}") from error


def _copy(stream: BinaryIO, folder: Path | None, copies: ExitStack) -> Path:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="fieval-", suffix=".spool", dir=folder)
    path = Path(name)
    copies.callback(path.unlink, missing_ok=True)
    with os.fdopen(handle, "wb") as copy:
        shutil.copyfileobj(stream, copy, _BLOCK)
    return path


def _format(name: str, default: str | None = None) -> str:
    path = PurePosixPath(name.lower())
    suffix = PurePosixPath(path.stem).suffix if path.suffix == ".gz" else path.suffix
    file_format = FORMATS.get(suffix, default)
    if file_format is None:
        extension = f"the extension {path.suffix!r}" if path.suffix else "no extension"
        raise PlanError(f"{name} has {extension}; write it as one of {', '.join(FORMATS)} (text also with .gz)")
    if file_format == "parquet" and path.suffix == ".gz":
        raise PlanError(f"{name} is Parquet inside gzip; Parquet is compressed already: unzip it first")
    return file_format


def _not_there(location: str, path: Path, error: Exception) -> str:
    if not isinstance(error, FileNotFoundError):
        return f"{location!r} can't be opened: {error}"
    folder = path.parent
    if not folder.is_dir():
        return f"{location} does not exist, nor does its folder {folder}; check the path"
    siblings = [p.name for p in folder.iterdir() if p.is_file()]
    near = nearest(path.name, siblings)
    if near:
        return f"{location} does not exist; did you mean {' or '.join(str(folder / name) for name in near)}?"
    return f"{location} does not exist{_datasets_in(folder)}; check the path"


def _is_folder(location: str, path: Path) -> str:
    return f"{location} is a folder{_datasets_in(path)}; name one file"


def _datasets_in(folder: Path, most: int = 5) -> str:
    names = sorted(p.name for p in folder.iterdir() if p.suffix in FORMATS or p.suffix == ".gz")
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f" ({folder} has: {', '.join(names[:most])}{more})" if names else ""


def _scan(file: File) -> Scan:
    columns: dict[str, None] = {}
    size = 0
    first_problem = first_odd = None
    for row in read_rows(file):
        size += 1
        if row.problem is not None:
            first_problem = first_problem or row.problem
            continue
        if not row.values.keys() <= columns.keys():
            columns |= dict.fromkeys(row.values)
        first_odd = first_odd or _odd(row)
    if not size:
        raise PlanError(f"{file.name} is empty: it holds no rows")
    if not columns:
        raise PlanError(_no_good_row(file, size, first_problem))
    return Scan(tuple(columns), size, tuple(filter(None, (_style(file), first_odd))))


def _style(file: File) -> str | None:
    if file.format not in ("csv", "tsv"):
        return None
    style = style_of(file)
    return None if style.is_usual(file.format) else f"{file.name}: its {style}"


def _odd(row: Row) -> str | None:
    for column, value in row.values.items():
        if isinstance(value, str) and not value.isascii() and (found := _C1.search(value)):
            return (
                f"row {row.number}: {column!r} holds the control character U+{ord(found[0]):04X}, and others may: text in CP1252 "
                "that was converted as Latin-1 looks so; it is sent as it is"
            )
    return None


def _no_good_row(file: File, size: int, problem: str | None) -> str:
    told = f"none of the {size} rows of {file.name} can be used ({problem or 'they are empty objects'}, for one)"
    if file.name == STDIN:
        return f"{told}; standard input is read as JSONL, one object a line"
    return f"{told}; is it {file.format.upper()}?"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
