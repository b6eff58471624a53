"""The rows of a file, streamed, in each format that a dataset may have.

CSV, TSV, JSONL and Parquet hold a record (or a small batch) in memory at a time; a JSON array and YAML are loaded whole.
A row that can't be read is a `Row` with a problem; a file that can't be read is a `PlanError`.
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from shlex import quote
from typing import Any

from fieval_tasks.core.errors import NoRows, PlanError, in_words
from fieval_tasks.core.foreign import LOOKED_AT, foreign_by_bytes
from fieval_tasks.data.columns import MISSING, place_of
from fieval_tasks.data.delimited import delimited_rows, refuse_twins
from fieval_tasks.data.files import File, Row
from fieval_tasks.data.values import Unreadable

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""Extension -> format. Any text format may be gzipped."""
PARQUET_BATCH = 256
"""Rows decoded at a time."""


def read_rows(file: File) -> Iterator[Row]:
    """Every row, in the file's order. Raises PlanError where the file itself can't be read."""
    try:
        _refuse_foreign(file)
        yield from _READERS[file.format](file)
    except UnicodeError as error:
        raise PlanError(_wrong_encoding(file, error)) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise PlanError(f"{file.name} is a damaged gzip file ({error}); write or download it again") from error
    except OSError as error:
        raise PlanError(f"{file.name} can't be read: {error.strerror or error}") from error


def _refuse_foreign(file: File) -> None:
    """Raises PlanError for a file that its first bytes tell to be of another kind than its name says."""
    is_parquet = file.format == "parquet"
    found = foreign_by_bytes(file.start(LOOKED_AT) if is_parquet else file.head(LOOKED_AT))
    if found is not None and not (is_parquet and found.starts == (b"PAR1",)):
        raise PlanError(f"{file.name} is {found.kind}, not {file.format.upper()}: {found.step}")


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
    decoder = codecs.getincrementaldecoder("utf-8")()
    before, line, returns = 0, 1, 0
    block = b"..."
    with file.open() as stream:
        while block:
            kept, block = decoder.getstate()[0], stream.read(2**20)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                block = kept + block
                line, returns = _counted(block[: error.start], line, returns)
                return before - len(kept) + error.start, line + returns, block[error.start]
            line, returns = _counted(block, line, returns)
            before += len(block)
    raise AssertionError("the file changed while it was read")


def _counted(block: bytes, line: int, returns: int) -> tuple[int, int]:
    """The line after this block, and the CRs since its last LF: only a CR-only file has them inside a "line"."""
    ends = block.count(b"\n")
    return line + ends, block.rpartition(b"\n")[2].count(b"\r") + (0 if ends else returns)


# JSONL and JSON


def _jsonl(file: File) -> Iterator[Row]:
    number = 0
    with file.text() as lines:
        for place, line in enumerate(lines, 1):
            if not line.isspace():
                if not number and line.strip() in ("[", "{"):
                    raise PlanError(
                        f"{file.name} is no JSONL: line {place} begins JSON of several lines, which --format json reads"
                    )
                number += 1
                yield _json_line(number, place, line)


def _json_line(number: int, place: int, line: str) -> Row:
    try:
        value = _decode(line)
    except (ValueError, RecursionError) as error:
        cut = "" if line.endswith(("\n", "\r")) else "; the file ends here: was it cut short?"
        return Row(number, problem=f"line {place} is not JSON ({_json_complaint(error)}){cut}")
    return _object(number, f"line {place}", value)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON. Raises ValueError where one of its names stands twice: each value may be the one that is meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twins = sorted({name for name, count in Counter(name for name, _ in pairs).items() if count > 1})
        raise ValueError(f"an object has {' and '.join(map(repr, twins))} more than once")
    return found


def _exact(text: str) -> float | Decimal:
    """A number as it is written, where a float would be another one. Raises ValueError beyond what Decimal holds."""
    number = float(text)
    if repr(number) == text:
        return number
    try:
        exact = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"the number {text[:40]} is beyond all bounds") from None
    return number if Decimal(repr(number)) == exact else exact


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_exact)
_decode = _DECODER.decode


def _object(number: int, place: str, value: object) -> Row:
    if isinstance(value, dict):
        return Row(number, value)
    return Row(number, problem=f"{place} is {_kind(value)}, not an object")


def _json(file: File) -> Iterator[Row]:
    text = _whole(file)
    if text is None:
        yield from _jsonl(file)
        return
    try:
        documents = list(_documents(text))
    except json.JSONDecodeError as error:
        if _is_by_lines(text):
            yield from _jsonl(file)  # JSONL by the name of JSON
            return
        raise PlanError(f"{file.name} is not JSON: line {error.lineno}, {_json_complaint(error)}") from error
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{file.name} is not JSON that can be read: {error}") from error
    del text
    yield from _elements(file, documents)


def _whole(file: File) -> str | None:
    """A text of one document; None where it is longer than the bound, and a line of it is one. Raises PlanError else."""
    with file.text() as stream:
        text = stream.read(file.longest + 1)
    if len(text) <= file.longest:
        return text
    if file.format == "json" and _is_by_lines(text):
        return None
    told = f"is one {file.format.upper()} document of more than {file.longest:,} characters"
    raise PlanError(f"{file.name} {told}: write it as JSONL")


def _yaml(file: File) -> Iterator[Row]:
    from fieval_tasks.data.yaml_text import yaml_documents

    text = _whole(file)
    try:
        documents = list(yaml_documents(text or "", file.longest))
    except ValueError as error:
        raise PlanError(f"{file.name} is not YAML that can be read: {error}") from error
    yield from _elements(file, documents)


def _elements(file: File, documents: list[object]) -> Iterator[Row]:
    """The rows of a document, or the documents themselves, where there are several."""
    place, rows = ("", documents) if len(documents) != 1 else _array(file, documents[0])
    for number, value in enumerate(rows, 1):
        yield replace(_object(number, f"element {number}", value), place=place or None)


def _documents(text: str) -> Iterator[object]:
    """The JSON values of a text one after the other, as jq writes them; mostly one. Raises JSONDecodeError."""
    at = 0
    while at == 0 or at < len(text):
        start = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches no character too
        value, end = _DECODER.raw_decode(text, start)
        if at and not isinstance(value, dict):  # text after JSON is no other document
            raise json.JSONDecodeError("Extra data", text, start)
        yield value
        at = _SPACE.match(text, end).end()  # type: ignore[union-attr]


_SPACE = re.compile(r"[ \t\r\n]*")


def _is_by_lines(text: str) -> bool:
    """Its first line is an object by itself."""
    try:
        return isinstance(json.loads(text.lstrip().partition("\n")[0]), dict)
    except (ValueError, RecursionError):
        return False


def _array(file: File, content: object) -> tuple[str, list[object]]:
    """The rows of a document, and where they are: itself, or the one list of objects in it, or what `rows` names."""
    if file.rows is not None:
        return "", _named_rows(file.name, content, file.rows)
    if isinstance(content, list):
        return "", content
    if isinstance(content, dict):
        lists = dict(_lists(content))
        usual = [name for name in ("data", "rows") if name in lists]
        if len(usual) == 1:
            return "", lists[usual[0]]
        if len(lists) == 1:
            return next(iter(lists.items()))
        if not lists and (found := [content[name] for name in ("data", "rows") if isinstance(content.get(name), list)]):
            return "", list(found[0])
        if lists:
            told = ", ".join(f"{place} ({len(rows):,})" for place, rows in lists.items())
            raise PlanError(f"{file.name} holds several lists of objects: {told}; say which by --rows PATH")
    raise PlanError(
        f"{file.name} holds {_kind(content)}, not an array of objects;"
        ' write [{...}, {...}], {"data": [...]} or {"rows": [...]}, or JSONL with one object a line'
    )


def _named_rows(name: str, content: object, path: str) -> list[object]:
    place = place_of(path, content) if isinstance(content, dict) else None
    rows = MISSING if place is None or not isinstance(content, dict) else place.of(content)
    if isinstance(rows, list):
        return rows
    there = ", ".join(f"{found} ({len(inside):,})" for found, inside in _lists(content)) or "none"
    raise PlanError(f"--rows {path}: there is no list in {name} (lists of objects in it: {there})")


LOOKED_INTO = 3
"""Objects inside of objects, to find the rows in: results.data.examples is as deep as exports go."""


def _lists(content: object, path: str = "", depth: int = LOOKED_INTO) -> Iterator[tuple[str, list[object]]]:
    """The lists of objects in an object, each by its path."""
    if isinstance(content, list) and content and all(isinstance(value, dict) for value in content):
        yield path, content
    elif isinstance(content, dict) and depth:
        for key, value in content.items():
            yield from _lists(value, f"{path}.{key}" if path else key, depth - 1)


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
            for batch in _batches(file, parquet, names):
                _refuse_longer(file, batch, number + 1)
                for cells in zip(*map(_cells, batch.columns, batch.schema), strict=True):
                    number += 1
                    yield Row(number, dict(zip(batch.schema.names, cells, strict=True)))
    except pa.ArrowException as error:
        raise PlanError(f"{file.name} is not a Parquet file that can be read: {error}") from error
    if not number:
        raise NoRows(f"{file.name} has columns ({', '.join(names)}) and no rows")


def _batches(file: File, parquet: Any, names: list[str]) -> Iterator[Any]:
    """The rows, as many at a time as stay within the bound if all are as long as the longest that the file repeats."""
    for group in range(parquet.num_row_groups):
        longest = max(1, _longest_repeated(file, parquet.metadata.row_group(group), group))
        size = max(1, min(PARQUET_BATCH, file.longest // longest))
        yield from parquet.iter_batches(batch_size=size, row_groups=[group], columns=names)


def _longest_repeated(file: File, group: Any, index: int) -> int:
    """Bytes of the longest text that a row group holds once, however many of its rows have it: for a few bytes each, all
    may have the same 200 MB."""
    import pyarrow.parquet as pq

    chunks = [group.column(number) for number in range(group.num_columns)]
    texts = [c.path_in_schema for c in chunks if c.physical_type == "BYTE_ARRAY" and c.has_dictionary_page]
    with closing(pq.ParquetFile(file.path, read_dictionary=texts)) as parquet:
        columns = [text.partition(".")[0] for text in texts]
        rows = next(parquet.iter_batches(batch_size=1, row_groups=[index], columns=columns), None) if texts else None
    return max((_longest(column) for column in rows.columns), default=0) if rows is not None else 0


def _refuse_longer(file: File, batch: Any, first: int) -> None:
    """Raises PlanError where one cell of text is longer than any may be."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if (longest := _longest(column)) > file.longest:
            raise PlanError(
                f"{file.name}: column {name!r} has a cell of {longest:,} bytes among the {batch.num_rows} rows from row"
                f" {first} on, and the most that is read is {file.longest:,}"
            )


def _longest(column: Any) -> int:
    """Bytes of the longest text in a column, or in what its rows share."""
    import pyarrow as pa
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    while pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = column.values
    values = column.dictionary if pa.types.is_dictionary(column.type) else column
    if values.type not in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary()):
        return 0
    return int(pc.max(pc.binary_length(values)).as_py() or 0)


def _cells(column: Any, field: Any) -> list[object]:
    """A column's values in Python's types; where one has none there, it alone is Unreadable."""
    import pyarrow as pa

    try:
        if column.type == pa.time64("ns"):  # of which Python's own times are without the nanoseconds
            return [text and text.removesuffix(".000000000") for text in column.cast(pa.string()).to_pylist()]
        if (why := _not_as_it_looks(field)) is not None:
            return [Unreadable(why) if scalar.is_valid else None for scalar in column]
        values: list[object] = column.to_pylist()
        return values
    except MemoryError:
        raise
    except Exception:  # each type raises its own: for a date after 9999, text that is not UTF-8, an unknown time zone
        return [_cell(scalar) for scalar in column]


def _not_as_it_looks(field: Any) -> str | None:
    """Why Python's values of a column are other than the file's, without any error."""
    if "time64[ns]" in str(field.type):
        return "times of nanoseconds inside of lists or objects have no type in Python"
    names = (str(field.type), (field.metadata or {}).get(b"ARROW:extension:name", b"").decode())
    if any("pandas.period" in name for name in names):
        return "the file holds a number for each pandas.Period: write it as text"
    return None


def _cell(scalar: Any) -> object:
    try:
        return scalar.as_py()
    except MemoryError:
        raise
    except Exception as error:
        return Unreadable(in_words(error))


_READERS: Mapping[str, Callable[[File], Iterator[Row]]] = {
    "csv": delimited_rows,
    "tsv": delimited_rows,
    "jsonl": _jsonl,
    "json": _json,
    "yaml": _yaml,
    "parquet": _parquet,
}
