"""The rows of a Parquet file, in Python's types. pyarrow is the extra `parquet`, and imported only here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

from fieval_tasks.core.errors import NoRows, PlanError, in_words
from fieval_tasks.data.delimited import refuse_twins
from fieval_tasks.data.files import File, Row
from fieval_tasks.data.values import Unreadable

# Some hundred KB of text; from here the fixed cost of a batch no longer shows.
BATCH = 256
"""Rows that are decoded at a time."""


def parquet_rows(file: File) -> Iterator[Row]:
    """Every row. Raises PlanError where the file, or a cell beyond the bound, can't be read."""
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ImportError as error:
        raise PlanError(f"{file.name} is Parquet, which needs pyarrow: pip install pyarrow") from error
    number, names = 0, []
    try:
        with closing(pq.ParquetFile(file.path)) as plain:
            fields = [field for field in plain.schema_arrow if not field.name.startswith("__index_level_")]
            names = [field.name for field in fields]
            refuse_twins(file.name, names)
            texts = [column.path for column in map(plain.schema.column, range(len(plain.schema))) if _is_text(column)]
        # Texts are read as Arrow dictionaries, so that a text of 200 MB that many rows share is held once.
        with closing(pq.ParquetFile(file.path, read_dictionary=texts)) as parquet:
            for batch in parquet.iter_batches(batch_size=BATCH, columns=names):
                for part in _parts(file, batch, number + 1):
                    for cells in zip(*map(_cells, part.columns, fields), strict=True):
                        number += 1
                        yield Row(number, dict(zip(names, cells, strict=True)))
    except pa.ArrowException as error:
        raise PlanError(f"{file.name} is not a Parquet file that can be read: {error}") from error
    if not number:
        raise NoRows(f"{file.name} has columns ({', '.join(names)}) and no rows")


def _is_text(column: Any) -> bool:
    return column.physical_type == "BYTE_ARRAY" and column.logical_type.type in ("STRING", "NONE", "JSON")


def _parts(file: File, batch: Any, first: int) -> Iterator[Any]:
    """The batch in slices that stay within the bound even if every row is as long as the longest. Raises PlanError where a
    single cell is longer than the bound."""
    longest = {name: _longest(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    for name, length in longest.items():
        if length > file.longest:
            raise PlanError(
                f"{file.name}: column {name!r} has a cell of {length:,} bytes in row {first} or after it, and the most "
                f"that is read is {file.longest:,}"
            )
    size = max(1, file.longest // max(1, *longest.values(), 1))
    yield from (batch.slice(start, size) for start in range(0, batch.num_rows, size))


def _longest(column: Any) -> int:
    """Bytes of the longest text in a column or in its dictionary."""
    import pyarrow as pa
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    while pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = column.values
    values = column.dictionary if pa.types.is_dictionary(column.type) else column
    if values.type not in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary()):
        return 0
    return int(pc.max(pc.binary_length(values)).as_py() or 0)


def _cells(column: Any, field: Any) -> list[object]:
    """A column's values in Python's types; a value without a Python type is Unreadable, the others are not affected."""
    import pyarrow as pa

    with suppress(pa.ArrowNotImplementedError):  # then it stays a dictionary, and only takes three times as long
        column = column.cast(field.type)
    if column.type == pa.time64("ns"):  # of which Python's own times are without the nanoseconds
        return [text and text.removesuffix(".000000000") for text in column.cast(pa.string()).to_pylist()]
    if (why := _not_as_it_looks(field)) is not None:
        return [Unreadable(why) if scalar.is_valid else None for scalar in column]
    try:
        values: list[object] = column.to_pylist()
        return values
    except MemoryError:
        raise
    except Exception:  # each type raises its own: for a date after 9999, text that is not UTF-8, an unknown time zone
        return [_cell(scalar) for scalar in column]


def _not_as_it_looks(field: Any) -> str | None:
    """Why Python's values of a column would silently differ from the file's; None where they do not."""
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
