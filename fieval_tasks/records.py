"""The rows of a file, streamed, in each format that a dataset may have.

CSV, TSV, JSONL and Parquet hold a record (or a small batch) in memory at a time; a JSON array is loaded whole.
A row that can't be read is a `Row` with a problem; a file that can't be read is a `PlanError`.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TextIO

from fieval_tasks.errors import PlanError

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""Extension -> format. Any text format may be gzipped."""
LARGEST_CELL = 256 * 2**20
"""Characters of one CSV cell; a larger one is taken for a quote that was never closed."""
PARQUET_BATCH = 256
"""Rows decoded at a time."""
_GZIP = b"\x1f\x8b"
_BINARY = {b"PAR1": "a Parquet file", b"PK\x03\x04": "a zip archive or an Excel workbook", b"%PDF": "a PDF"}
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


@dataclass(frozen=True)
class File:
    """A dataset on this machine's disk."""

    name: str
    """As the user knows it."""
    path: Path
    format: str
    """One of the values of FORMATS."""

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


def read_rows(file: File) -> Iterator[Row]:
    """Every row, in the file's order. Raises PlanError where the file itself can't be read."""
    try:
        if file.format != "parquet":
            _refuse_binary(file)
        yield from _READERS[file.format](file)
    except UnicodeError as error:
        raise PlanError(_wrong_encoding(file, error)) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise PlanError(f"{file.name} is a damaged gzip file ({error}); write or download it again") from error
    except OSError as error:
        raise PlanError(f"{file.name} can't be read: {error.strerror or error}") from error


def _refuse_binary(file: File) -> None:
    head = file.head()
    for magic, kind in _BINARY.items():
        if head.startswith(magic):
            raise PlanError(
                f"{file.name} is {kind}, not {file.format.upper()}; give it its own extension, or export it"
            )


def _wrong_encoding(file: File, error: UnicodeError) -> str:
    encoding = file.encoding()
    if encoding not in ("utf-8", "utf-8-sig"):
        return f"{file.name} is not whole {encoding.upper()} text ({error}); save it as UTF-8"
    offset, line, byte = _first_bad_byte(file)
    return (
        f"{file.name} is not UTF-8: byte 0x{byte:02X} at offset {offset} (line {line}); save it as UTF-8"
        f" (a Latin-1 file: iconv -f LATIN1 -t UTF-8 {file.name} > new-{file.name})"
    )


def _first_bad_byte(file: File) -> tuple[int, int, int]:
    """Its offset in the (unzipped) file, its line from 1, and the byte itself."""
    before = 0
    with file.open() as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                returns = line[: error.start].count(b"\r")  # only a CR-only file has them inside a "line"
                return before + error.start, number + returns, line[error.start]
            before += len(line)
    raise AssertionError("the file changed while it was read")


# CSV and TSV


def _csv(file: File) -> Iterator[Row]:
    with file.text() as text:
        first = text.readline()
        # Where a comma is the decimal sign, spreadsheets write semicolons.
        semicolons = file.format == "csv" and "," not in first and ";" in first
        delimiter = "\t" if file.format == "tsv" else ";" if semicolons else ","
        yield from _delimited(file.name, chain([first], text), delimiter)


def _delimited(name: str, lines: Iterator[str], delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(max(csv.field_size_limit(), LARGEST_CELL))
    record: list[str] = []
    latest: list[str] = []
    reader = csv.reader(_remembered(lines, record), delimiter=delimiter)
    header: list[str] = []
    number, line = 0, 1
    try:
        for cells in reader:
            latest, line, start = record.copy(), reader.line_num + 1, line
            record.clear()
            if not any(cells) and (not header or len(cells) < len(header)):
                continue
            if not header:
                header = _header(name, cells)
                continue
            number += 1
            if _STAND_IN_NEEDED:
                cells = [cell.replace(_STAND_IN, "\0") for cell in cells]
            problem = None if len(cells) == len(header) else _misfit(cells, header, start)
            yield Row(number, dict(zip(header, cells)), problem)  # noqa: B905  # a misfit has its problem
    except csv.Error as error:
        raise PlanError(f"{name} can't be read from line {line} on: {error}; look for a quote never closed") from error
    if _ends_in_quotes(latest, delimiter):
        start = line - len(latest)
        raise PlanError(
            f"{name} has a quote opened in the record at line {start} that is never closed: all that follows was"
            f" taken for one cell; close it, or write the file again if it was cut short"
        )
    if header and not number:
        raise PlanError(f"{name} has a header ({', '.join(header)}) and no rows")


def _remembered(lines: Iterator[str], record: list[str]) -> Iterator[str]:
    for line in lines:
        record.append(line)
        yield line.replace("\0", _STAND_IN) if _STAND_IN_NEEDED else line


_STAND_IN_NEEDED = sys.version_info < (3, 11)
"""Python 3.10's csv refuses NUL, and loses its place in the file."""
_STAND_IN = "\ufdd0"
"""A code point that no text has: Unicode keeps it for uses such as this."""


def _header(name: str, cells: list[str]) -> list[str]:
    names = [cell.strip() or f"column {position}" for position, cell in enumerate(cells, 1)]
    _refuse_twins(name, names)
    return names


def _refuse_twins(name: str, columns: list[str]) -> None:
    twins = [column for column, count in Counter(columns).items() if count > 1]
    if twins:
        places = (
            f"{twin!r} is the name of columns {_listed([i for i, c in enumerate(columns, 1) if c == twin])}"
            for twin in twins
        )
        raise PlanError(*(f"{name}: {place}; give each its own name" for place in places))


def _listed(numbers: list[int]) -> str:
    return " and ".join([", ".join(map(str, numbers[:-1])), str(numbers[-1])])


def _misfit(cells: list[str], header: list[str], line: int) -> str | None:
    if len(cells) > len(header) and not any(cells[len(header) :]):
        return None  # spreadsheets leave empty cells at the end
    return f"line {line} has {len(cells)} fields where the header has {len(header)}"


def _ends_in_quotes(record: list[str], delimiter: str) -> bool:
    try:
        list(csv.reader((line.replace("\0", "") for line in record), delimiter=delimiter, strict=True))
    except csv.Error as error:
        return "unexpected end of data" in str(error)
    return False


# JSONL and JSON


def _jsonl(file: File) -> Iterator[Row]:
    number = 0
    with file.text() as lines:
        for place, line in enumerate(lines, 1):
            if not line.isspace():
                number += 1
                yield _json_line(number, place, line)


def _json_line(number: int, place: int, line: str) -> Row:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        cut = "" if line.endswith(("\n", "\r")) else "; the file ends here: was it cut short?"
        return Row(number, problem=f"line {place} is not JSON ({_json_complaint(error)}){cut}")
    return _object(number, f"line {place}", value)


def _object(number: int, place: str, value: object) -> Row:
    if isinstance(value, dict):
        return Row(number, value)
    return Row(number, problem=f"{place} is {_kind(value)}, not an object")


def _json(file: File) -> Iterator[Row]:
    with file.text() as stream:
        text = stream.read()
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip().startswith("{"):
            yield from _jsonl(file)  # JSONL by the name of JSON
            return
        raise PlanError(f"{file.name} is not JSON: line {error.lineno}, {_json_complaint(error)}") from error
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{file.name} is not JSON that can be read: {error}") from error
    del text
    for number, value in enumerate(_array(file.name, content), 1):
        yield _object(number, f"element {number}", value)


def _array(name: str, content: object) -> list[object]:
    if isinstance(content, dict):
        found = [rows for rows in (content.get("data"), content.get("rows")) if isinstance(rows, list)]
        if found:
            return found[0]
    if isinstance(content, list):
        return content
    raise PlanError(
        f"{name} holds {_kind(content)}, not an array of objects;"
        ' write [{...}, {...}], {"data": [...]} or {"rows": [...]}, or JSONL with one object a line'
    )


def _json_complaint(error: Exception) -> str:
    return f"column {error.colno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)


def _kind(value: object) -> str:
    if isinstance(value, dict):
        keys = [*value]
        return (
            f"an object with the keys {', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''}" if keys else "an object"
        )
    if value is None:
        return "null"
    return {list: "an array", str: "a string", bool: "a boolean"}.get(type(value), "a number")


# Parquet


def _parquet(file: File) -> Iterator[Row]:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        with closing(pq.ParquetFile(file.path)) as parquet:
            names = [name for name in parquet.schema_arrow.names if not name.startswith("__index_level_")]
            _refuse_twins(file.name, names)
            number = 0
            for batch in parquet.iter_batches(batch_size=PARQUET_BATCH):
                for values in batch.select(names).to_pylist():
                    number += 1
                    yield Row(number, values)
    except pa.ArrowException as error:
        raise PlanError(f"{file.name} is not a Parquet file that can be read: {error}") from error
    if not number:
        raise PlanError(f"{file.name} has columns ({', '.join(names)}) and no rows")


_READERS: Mapping[str, Callable[[File], Iterator[Row]]] = {
    "csv": _csv,
    "tsv": _csv,
    "jsonl": _jsonl,
    "json": _json,
    "parquet": _parquet,
}
