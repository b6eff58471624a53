"""A dataset's file on this machine's disk, and one of its rows."""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from fieval_tasks.core.errors import PlanError

# A larger one is a quote that was never closed, or an attack: a gzip file of 3 MB may hold a line of 3 GB.
LARGEST_CELL = 256 * 2**20
"""Characters of one cell, line or JSON document."""
_GZIP = b"\x1f\x8b"  # by the bytes, not the name: browsers unzip some downloads and keep their names
_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
# UTF-16 and UTF-32 without a byte order mark: which of the first four bytes are zero, where the text begins in ASCII.
_BY_ZEROS = {
    b"\0\0\0\1": "utf-32-be",
    b"\1\0\0\0": "utf-32-le",
    b"\0\1\0\1": "utf-16-be",
    b"\1\0\1\0": "utf-16-le",
}


@dataclass(frozen=True)
class Row:
    """One row of a dataset."""

    number: int
    """The row's number in the dataset, from 1; a header and blank lines are not counted."""
    values: Mapping[str, object] = field(default_factory=dict)
    """Column -> value; with a problem, as much as could be read."""
    problem: str | None = None
    """Why the row can't be used, with its line; None for a good row."""
    file: str | None = None
    """The row's file, where the dataset has several."""
    place: str | None = None
    """The path of the list of rows in its document, where it had to be searched for."""
    line: int | None = None
    """The file's line where the row begins, from 1; None where rows are no lines."""


class Lines(io.TextIOWrapper):
    """A text stream whose lines are read up to a bound, so that a longer line is never held in memory."""

    def __init__(self, stream: BinaryIO, encoding: str, name: str, longest: int) -> None:
        super().__init__(stream, encoding=encoding, newline="")
        self._name = name
        self._longest = longest
        self._line = 0
        self._is_at_start = True

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]  # TextIOWrapper names it otherwise
        """The next line, or `size` characters of it. Raises PlanError for a line that is longer than the bound."""
        line = super().readline(size if 0 <= size <= self._longest else self._longest + 1)
        self._line += self._is_at_start
        self._is_at_start = line.endswith(("\n", "\r"))
        if len(line) > self._longest:
            raise PlanError(f"{self._name}: line {self._line} has more than {self._longest:,} characters, {_TOO_MANY}")
        return line

    def __next__(self) -> str:  # type: ignore[override]  # as TextIOWrapper's own
        if line := self.readline():
            return line
        raise StopIteration


_TOO_MANY = "which are more than one row can have: give each row a line of its own, or see what made it so long"


@dataclass(frozen=True, eq=False)
class File:
    """A dataset on this machine's disk. Each is only equal to itself, so that what was found out about it can be kept."""

    name: str
    """The file's name for messages."""
    path: Path
    format: str
    """One of the values of FORMATS."""
    delimiter: str | None = None
    """The delimiter of CSV; None: recognised from the file."""
    rows: str | None = None
    """The path of the rows in a JSON or YAML document; None: the document's one list of objects."""
    partition: Mapping[str, str] = field(default_factory=dict)
    """Columns that the names of the file's folders give, as lang=fr/."""
    longest: int = LARGEST_CELL
    """Characters of a line, a cell or a JSON document."""

    def head(self, size: int = 4) -> bytes:
        """The first bytes, unzipped."""
        with self.open() as stream:
            return stream.read(size)

    def start(self, size: int) -> bytes:
        """The first bytes, as they are on disk."""
        with self.path.open("rb") as stream:
            return stream.read(size)

    def open(self) -> BinaryIO:
        """The bytes, unzipped where the file is gzipped, whatever its extension."""
        stream = self.path.open("rb")
        if stream.peek(2)[:2] == _GZIP:
            stream.close()
            return gzip.open(self.path, "rb")  # type: ignore[return-value]
        return stream

    def text(self) -> Lines:
        """The text, decoded by `encoding`, with its line ends unchanged."""
        return Lines(self.open(), self.encoding(), self.name, self.longest)

    def encoding(self) -> str:
        """The encoding by the byte order mark; without one by which of the first four bytes are zero (RFC 4627); else UTF-8."""
        head = self.head()
        for mark, encoding in _BOMS.items():
            if head.startswith(mark):
                return encoding
        return _BY_ZEROS.get(bytes(byte != 0 for byte in head), "utf-8")
