"""File types that can't be read as a dataset, recognised by first bytes or extension, and how to convert each."""

from __future__ import annotations

import re
from dataclasses import dataclass

# tar has its mark at byte 257; all others have theirs at the start.
LOOKED_AT = 512
"""Bytes at the start of a file that are compared."""


@dataclass(frozen=True)
class Foreign:
    """A type of file that is no dataset."""

    kind: str
    """As messages call it, such as `a PDF`."""
    step: str
    """What the user can do to get a dataset from it."""
    start: bytes = b"(?!)"
    """A regular expression for the first LOOKED_AT bytes, compared without case; what it is by default matches no file."""
    extensions: tuple[str, ...] = ()
    """Lower-case, with the dot."""


_AS_CSV = "save it from there as CSV UTF-8"
_AS_PARQUET = "write it as Parquet, as pandas.{} does"
_KINDS = (
    Foreign("a Parquet file", "name it .parquet, or add --format parquet", b"PAR1"),
    Foreign("a zip archive or an Excel workbook", f"unzip it, or {_AS_CSV}", rb"PK\x03\x04", (".zip",)),
    Foreign("a workbook", _AS_CSV, rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods")),
    Foreign("a PDF", "find the table that it was made of", b"%PDF", (".pdf",)),
    # One layer of gzip is read as it is, so bytes that still begin so were compressed twice.
    Foreign("compressed by gzip once too often", "unpack it: gunzip", rb"\x1f\x8b"),
    Foreign("compressed by bzip2", "unpack it first: bunzip2", b"BZh", (".bz2",)),
    Foreign("compressed by xz", "unpack it first: unxz", rb"\xfd7zXZ\0", (".xz",)),
    Foreign("compressed by Zstandard", "unpack it first: unzstd", rb"\x28\xb5\x2f\xfd", (".zst",)),
    Foreign("a tar archive", "unpack it first: tar -xf", b".{257}ustar", (".tar", ".tgz")),
    Foreign(
        "an Arrow file",
        _AS_PARQUET.format("read_feather(...).to_parquet(...)"),
        rb"ARROW1|\xff{4}",
        (".arrow", ".feather", ".ipc"),
    ),
    Foreign("an ORC file", _AS_PARQUET.format("read_orc(...).to_parquet(...)"), b"ORC", (".orc",)),
    Foreign("pickled", _AS_PARQUET.format("read_pickle(...).to_parquet(...)"), extensions=(".pkl", ".pickle")),
    Foreign("an SQLite database", "export its table as CSV", rb"SQLite format 3\0", (".db", ".sqlite", ".sqlite3")),
    Foreign("git-lfs's pointer to the file", "fetch the file itself: git lfs pull", b"version https://git-lfs"),
    Foreign("a page of HTML", "is it a login's? fetch the file again", b"<!doctype html|<html", (".html",)),
)


def foreign_by_bytes(head: bytes) -> Foreign | None:
    """The type that the file's first LOOKED_AT bytes mark; None where they mark none."""
    return next((kind for kind in _KINDS if re.match(kind.start, head, re.IGNORECASE | re.DOTALL)), None)


def foreign_by_extension(extension: str) -> Foreign | None:
    """The type that has this extension, given in lower case; None where none has."""
    return next((kind for kind in _KINDS if extension in kind.extensions), None)
