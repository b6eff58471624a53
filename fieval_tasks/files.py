"""A dataset's file on this machine's disk, and a row of it."""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TextIO

LARGEST_CELL = 256 * 2**20
"""Characters of one CSV cell; a larger one is taken for a quote that was never closed."""
_GZIP = b"\x1f\x8b"
_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}


@dataclass(frozen=True)
class Row:
    """One record of a dataset."""

    number: int
    """From 1; a header and blank lines are not counted."""
    values: Mapping[str, object] = field(default_factory=dict)
    """Column -> value; what could be read of it where there is a problem."""
    problem: str | None = None
    """Why the row can't be used, and where it stands."""
    file: str | None = None
    """The file that it stands in, where the dataset has several."""


@dataclass(frozen=True)
class File:
    """A dataset on this machine's disk."""

    name: str
    """As the user knows it."""
    path: Path
    format: str
    """One of the values of FORMATS."""
    delimiter: str | None = None
    """What parts the cells of CSV; None: what the file itself tells."""
    rows: str | None = None
    """Where the rows are in a JSON document; None: the one list of objects in it."""

    def head(self, size: int = 4) -> bytes:
        """The first bytes, unzipped."""
        with self.open() as stream:
            return stream.read(size)

    def open(self) -> BinaryIO:
        """The bytes, unzipped where the file is gzipped, whatever its extension."""
        stream = self.path.open("rb")
        if stream.peek(2)[:2] == _GZIP:
            stream.close()
            return gzip.open(self.path, "rb")  # type: ignore[return-value]
        return stream

    def text(self) -> TextIO:
        """The text with its own line ends, in the encoding that its first bytes tell."""
        return io.TextIOWrapper(self.open(), encoding=self.encoding(), newline="")

    def encoding(self) -> str:
        """By the byte order mark; without one UTF-8, or UTF-16 where every other byte of the start is zero."""
        head = self.head()
        for mark, encoding in _BOMS.items():
            if head.startswith(mark):
                return encoding
        if len(head) > 1 and 0 in head[:2] and head[:2] != b"\0\0":
            return "utf-16-be" if head[0] == 0 else "utf-16-le"
        return "utf-8"
