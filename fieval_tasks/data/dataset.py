"""A dataset: found by its location, scanned once, and then read as often as needed."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from functools import partial
from itertools import takewhile
from pathlib import Path

from fieval_tasks.core.errors import NoRows, PlanError
from fieval_tasks.core.locations import locations_in
from fieval_tasks.data.files import File, Row
from fieval_tasks.data.finding import AS_FOUND, STDIN, Reading, files_of, left_out, printable
from fieval_tasks.data.records import read_rows
from fieval_tasks.data.scan import Scan
from fieval_tasks.data.values import text_of

__all__ = ["STDIN", "Dataset", "Reading", "Row", "read_dataset"]


class Dataset(AbstractContextManager["Dataset"]):
    """Rows that can be read more than once. Closing the dataset removes the temporary copies made of its sources."""

    def __init__(
        self,
        name: str,
        columns: Sequence[str],
        size: int,
        fingerprint: str,
        rows: Callable[[], Iterator[Row]],
        *,
        notices: Sequence[str] = (),
    ) -> None:
        self.name = name
        """The file's base name, or <stdin>; for several files the location that named them."""
        self.columns = tuple(columns)
        """Column names, in the order in which they were first seen."""
        self.size = size
        """Rows, including those that can't be used."""
        self.fingerprint = fingerprint
        """SHA-256 of the file's bytes as they are on disk; for several files of their names and their SHA-256."""
        self.rows = rows
        """Streams every row. Raises PlanError when a file is no longer the one that was scanned."""
        self.notices = tuple(notices)
        """How the files were read, where their names do not say it, and what looks odd in them."""
        self.close: Callable[[], object] = lambda: None

    def __exit__(self, *_: object) -> None:
        self.close()


def read_dataset(location: str, reading: Reading = AS_FOUND) -> Dataset:
    """The dataset at a path, at a URL (`locations.SCHEMES`), or on standard input (`-`, as JSONL).

    A folder, a pattern such as `part-*.csv`, or several locations, one a line, are one dataset. One scan counts the
    rows and learns the columns. Sources that can't be read twice (standard input, pipes, URLs) are first copied to a file
    in the system's folder for temporary files. Raises PlanError when there is nothing to evaluate.
    """
    named = locations_in(location)
    with ExitStack() as copies:
        files = files_of(named, reading, copies)
        read = partial(_unchanged_rows, files, [_stamp(file.path) for file in files])
        unread = filter(None, (left_out(one, files) for one in named))
        together = Path(named[0]).name if len(named) == 1 else f"{files[0].name} and {len(files) - 1} more"
        name = files[0].name if len(files) == 1 else together
        scan = Scan(name, files, _rows(files))
        notices = (*scan.notices, *unread)
        dataset = Dataset(printable(name), scan.columns, scan.size, _fingerprint(files), read, notices=notices)
        dataset.close = weakref.finalize(dataset, copies.pop_all().close)
        return dataset


def lines_of(location: str, reading: Reading, fingerprint: str, numbers: Collection[int]) -> dict[int, int]:
    """Row's number -> its line, of these rows, as far as they have one: none unless the dataset is one file on this machine
    that still has the fingerprint. A file that was packed has no lines that an editor shows."""
    path = Path(location).expanduser()
    if not numbers or not path.is_file() or path.suffix == ".gz" or _sha256(path) != fingerprint:
        return {}
    (file,) = files_of([location], reading, ExitStack())
    rows = takewhile(lambda row: row.number <= max(numbers), _file_rows(file))
    return {row.number: row.line for row in rows if row.number in numbers and row.line is not None}


def _unchanged_rows(files: Sequence[File], stamps: Sequence[tuple[int, int]]) -> Iterator[Row]:
    for file, stamp in zip(files, stamps, strict=True):
        if not file.path.exists() or _stamp(file.path) != stamp:
            raise PlanError(f"{file.name} changed or went away while it was in use; start again with the file at rest")
    return _rows(files)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _rows(files: Sequence[File]) -> Iterator[Row]:
    """Every row of every file, numbered through. With several files each row names its own, and some files may be empty."""
    if len(files) == 1:
        yield from _file_rows(files[0])
        return
    before = 0
    for file in files:
        number = before
        with suppress(NoRows):
            for row in _file_rows(file):
                number = before + row.number
                problem = None if row.problem is None else f"{file.name}: {row.problem}"
                yield replace(row, number=number, problem=problem, file=file.name)
        before = number


def _file_rows(file: File) -> Iterator[Row]:
    for row in read_rows(file):
        yield _with_partition(row, file.partition) if file.partition else row


def _with_partition(row: Row, partition: Mapping[str, str]) -> Row:
    """The row with the columns that its folders' names give; a problem where its own cell says otherwise."""
    for name, given in partition.items():
        if row.problem is None and name in row.values and not _is_same(row.values[name], given):
            own = f"{row.values[name]!r:.60}"
            problem = f"its {name!r} is {own}, and its folder is {name}={given}: which one is meant can't be told"
            return replace(row, problem=problem)
    return replace(row, values={**partition, **row.values})


def _is_same(value: object, given: str) -> bool:
    """Whether a cell equals a folder's value, which is always text: month=01 equals the number 1, and no value equals Hive's
    default partition."""
    text = text_of(value)
    if not isinstance(text, str):
        return not given and text.kind == "blank"
    return text == given or (text.isdigit() and text.lstrip("0") == given.lstrip("0"))


def _fingerprint(files: Sequence[File]) -> str:
    if len(files) == 1:
        return _sha256(files[0].path)
    return hashlib.sha256("".join(f"{file.name}\n{_sha256(file.path)}\n" for file in files).encode()).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()
