"""The rows of a file, streamed, in each format that a dataset may have.

CSV, TSV, JSONL and Parquet hold a record (or a small batch) in memory at a time; a JSON array is loaded whole.
A row that can't be read is a `Row` with a problem; a file that can't be read is a `PlanError`.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from shlex import quote
from typing import Any

from fieval_tasks.delimited import delimited_rows, refuse_twins
from fieval_tasks.errors import PlanError
from fieval_tasks.files import File, Row

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
PARQUET_BATCH = 256
"""Rows decoded at a time."""
_BINARY = {b"PAR1": "a Parquet file", b"PK\x03\x04": "a zip archive or an Excel workbook", b"%PDF": "a PDF"}


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
    shown = quote(file.name)
    told = f"{file.name} is not UTF-8: byte 0x{byte:02X} at offset {offset} (line {line})"
    if _looks_like_cp1252(file):
        return f"{told}; its bytes look like CP1252, Windows's Western text: iconv -f CP1252 -t UTF-8 {shown} > {quote(f'new-{file.name}')}"
    return f"{told}; save it as UTF-8 where it was written, or, once you know its encoding: iconv -f ENCODING -t UTF-8 {shown}"


_PUNCTUATION = frozenset(b"\x80\x82\x84\x85\x91\x92\x93\x94\x95\x96\x97\x99")
"""The euro, quotes, dots, bullet, dashes and trade mark of CP1252, where Latin-1 has control characters."""


def _looks_like_cp1252(file: File) -> bool:
    """Of the bytes that tell it from Latin-1 there are some, all of them punctuation, and few letters are accented: text in
    Cyrillic or Greek code pages has the same punctuation, and hardly a letter of ASCII.
    """
    counts: Counter[int] = Counter()
    with file.open() as stream:
        while block := stream.read(2**20):
            counts.update(block)
    telling = {byte for byte in counts if 0x80 <= byte < 0xA0}
    accented = sum(n for byte, n in counts.items() if byte >= 0xC0)
    letters = sum(n for byte, n in counts.items() if chr(byte).isascii() and chr(byte).isalpha())
    return bool(telling) and telling <= _PUNCTUATION and accented * 3 < letters


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
            refuse_twins(file.name, names)
            number = 0
            for batch in parquet.iter_batches(batch_size=PARQUET_BATCH):
                for values in _in_python(file.name, batch.select(names), number):
                    number += 1
                    yield Row(number, values)
    except pa.ArrowException as error:
        raise PlanError(f"{file.name} is not a Parquet file that can be read: {error}") from error
    if not number:
        raise PlanError(f"{file.name} has columns ({', '.join(names)}) and no rows")


def _in_python(name: str, batch: Any, before: int) -> list[dict[str, object]]:
    """The batch's rows; `before` it were as many. Raises PlanError, naming the column that Python has no values for."""
    try:
        rows: list[dict[str, object]] = batch.to_pylist()
    except MemoryError:
        raise
    except Exception as error:  # each type of column raises its own: a date too far, a time zone that nobody knows
        raise PlanError(_odd_cell(name, batch, before)) from error
    return rows


def _odd_cell(name: str, batch: Any, before: int) -> str:
    for column in batch.schema.names:
        for number, cell in enumerate(batch.column(column), before + 1):
            try:
                cell.as_py()
            except Exception as error:
                told = f"{type(error).__name__}: {error}"
                kind = batch.schema.field(column).type
                return (
                    f"column {column!r} of {name}, of the type {kind}, can't be read in row {number} ({told}); "
                    f"write it as text, or leave it out"
                )
    raise AssertionError(f"{name} could not be read a moment ago, and now it can")


_READERS: Mapping[str, Callable[[File], Iterator[Row]]] = {
    "csv": delimited_rows,
    "tsv": delimited_rows,
    "jsonl": _jsonl,
    "json": _json,
    "parquet": _parquet,
}
