"""The rows of a file, streamed, for every format that a dataset may have.

CSV, TSV, JSONL and Parquet hold a record (or a small batch) in memory at a time; a JSON array and YAML are loaded whole.
A row that can't be read is a `Row` with a problem; a file that can't be read is a `PlanError`.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping

from fieval_tasks.core.errors import PlanError
from fieval_tasks.data.delimited import delimited_rows
from fieval_tasks.data.documents import json_lines, json_rows, yaml_rows
from fieval_tasks.data.encodings import complaint
from fieval_tasks.data.files import File, Row
from fieval_tasks.data.foreign import LOOKED_AT, foreign_by_bytes
from fieval_tasks.data.parquet import parquet_rows

# Extension -> format. Any text format may be gzipped.
FORMATS = {
    **dict.fromkeys((".csv",), "csv"),
    **dict.fromkeys((".tsv", ".tab"), "tsv"),
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    **dict.fromkeys((".json",), "json"),
    **dict.fromkeys((".yaml", ".yml"), "yaml"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
}
_READERS: Mapping[str, Callable[[File], Iterator[Row]]] = {
    "csv": delimited_rows,
    "tsv": delimited_rows,
    "jsonl": json_lines,
    "json": json_rows,
    "yaml": yaml_rows,
    "parquet": parquet_rows,
}


def read_rows(file: File) -> Iterator[Row]:
    """Every row, in the file's order. Raises PlanError where the file itself can't be read."""
    try:
        _refuse_foreign(file)
        yield from _READERS[file.format](file)
    except UnicodeError as error:
        raise PlanError(complaint(file, error)) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise PlanError(f"{file.name} is a damaged gzip file ({error}); write or download it again") from error
    except OSError as error:
        raise PlanError(f"{file.name} can't be read: {error.strerror or error}") from error


def _refuse_foreign(file: File) -> None:
    """Raises PlanError for a file whose first bytes are those of another type than its name says."""
    is_parquet = file.format == "parquet"
    found = foreign_by_bytes(file.start(LOOKED_AT) if is_parquet else file.head(LOOKED_AT))
    if found is not None and not (is_parquet and found.start == b"PAR1"):
        raise PlanError(f"{file.name} is {found.kind}, not {file.format.upper()}: {found.step}")
