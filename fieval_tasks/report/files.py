"""A run's files on disk. Each appears whole or not at all."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from fieval_tasks.core.items import Result
from fieval_tasks.core.private import make_folder
from fieval_tasks.report.folder import fresh
from fieval_tasks.report.html import html
from fieval_tasks.report.junit import Suites
from fieval_tasks.report.markdown import markdown
from fieval_tasks.report.record import FIELDS, record, utc, value_text
from fieval_tasks.report.summary import Counting, Report, RunFacts
from fieval_tasks.report.text import INVISIBLE, clean, clip

BATCH = 5_000
"""Results held at once while writing,"""
BATCH_TEXT = 16 * 2**20
"""or fewer, once their inputs come to so many characters."""


def write_results(
    facts: RunFacts,
    results: Iterable[Result],
    folder: Path,
    *,
    decide: Callable[[Report], Report] = lambda report: report,
) -> Report:
    """Write results.jsonl, results.csv, results.parquet and junit.xml, and count: in one pass, so that all agree.

    In the CSV and Parquet files `error` is JSON text, and `value` is text as the judge gave it, or JSON text where it
    is a number, a list or a choice with its score; each key of the inputs has a column, `inputs.output` for one, and so has
    each column of the dataset that is kept, under its own name, or as `columns.NAME` where that is taken. The CSV
    file is for spreadsheets: it begins with the mark by which Excel knows UTF-8, and see `inert` for what it changes.
    The other two hold every text as it was. `decide` judges the gates, of which junit.xml tells too.
    """
    make_folder(folder)
    counting = Counting(facts)
    keys = list(dict.fromkeys(key for sources in facts.mapping.values() for key in sources))
    kept = _kept_columns(keys, facts.kept)
    with ExitStack() as files:
        writers = (
            _Jsonl(files.enter_context(fresh(folder / "results.jsonl"))),
            _Csv(files.enter_context(fresh(folder / "results.csv")), columns(keys, kept.values())),
            files.enter_context(_parquet(folder / "results.parquet", parquet_schema(keys, facts.kept))),
        )
        suites = Suites(facts, files)
        for batch in _batches(_counted(results, counting, suites)):
            lines = [record(result) for result in batch]
            flat = [_flat(result, line, keys, kept) for result, line in zip(batch, lines, strict=True)]
            writers[0].write(lines)
            writers[1].write(flat)
            writers[2].write(batch, flat)
        report = decide(counting.report())
        suites.write(files.enter_context(fresh(folder / "junit.xml")), report.summary.gates)
    return report


def _counted(results: Iterable[Result], counting: Counting, suites: Suites) -> Iterator[Result]:
    for result in results:
        counting.add(result)
        suites.add(result)
        yield result


def write_report(report: Report, folder: Path) -> dict[str, Path]:
    """Write summary.json, report.md and report.html; returns name -> path."""
    make_folder(folder)
    texts = {
        "summary.json": _json(report.summary.to_json(), pretty=True) + "\n",
        "report.md": markdown(report),
        "report.html": html(report),
    }
    for name, text in texts.items():
        with fresh(folder / name) as file:
            file.write(text)
    return {name: folder / name for name in texts}


def _batches(results: Iterable[Result]) -> Iterator[list[Result]]:
    batch: list[Result] = []
    size = 0
    for result in results:
        batch.append(result)
        size += sum(map(len, (result.inputs or {}).values()))
        if len(batch) >= BATCH or size >= BATCH_TEXT:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Jsonl:
    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, lines: list[dict[str, Any]]) -> None:
        self._file.writelines(_json(line) + "\n" for line in lines)


_COMPACT = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_PRETTY = json.JSONEncoder(ensure_ascii=False, allow_nan=False, indent=2)


def _json(value: Any, *, pretty: bool = False) -> str:
    """Strict JSON that can be shown in a terminal: what would steer it, or end a line, or can't be UTF-8, is escaped."""
    text = (_PRETTY if pretty else _COMPACT).encode(value)
    if text.isascii() and text.isprintable():
        return text
    return INVISIBLE.sub(lambda found: json.dumps(found[0])[1:-1], text)


CELL_LIMIT = 32_000
"""Characters of a CSV cell. Excel takes 32,767, and what is beyond them goes on in a cell of its own."""
_PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_BLANKS, _SIGN = r"[^\S\t\n]*", r"[=+\-@\uff1d\uff0b\uff0d\uff20]"  # the last four are their full-width forms
_STARTS_FORMULA = re.compile(rf"'*{_BLANKS}(?:[\t\n]|{_SIGN})")
_CELL_BORDER = re.compile(r"[;\t\n]")
_GOES_ON_AS_FORMULA = re.compile(rf"""(?<=[;\t\n])(?='*(?:"|[^\S\t\n])*{_SIGN}[^;\t\n]*[(|!])""")


def inert(text: str) -> str:
    """The text as a CSV cell that no spreadsheet runs and no terminal obeys; a plain number stays one.

    An apostrophe goes before what would start a formula: at the start, and after a semicolon, tab or new line, where a
    spreadsheet that splits lines there begins a cell. (There only before what calls something: a list's dashes stay.)
    Texts with such an apostrophe of their own get one more, so that taking one away gives the text back. Control
    characters become U+FFFD, and a text is cut to CELL_LIMIT.
    """
    shown = clip(clean(text[: CELL_LIMIT + 1], apart=True), CELL_LIMIT)
    if _STARTS_FORMULA.match(shown) and not _PLAIN_NUMBER.fullmatch(shown):
        shown = "'" + shown
    return _GOES_ON_AS_FORMULA.sub("'", shown) if _CELL_BORDER.search(shown) else shown


class _Csv:
    def __init__(self, file: IO[str], columns: Sequence[str]) -> None:
        file.write("\ufeff")  # or Excel reads it as the machine's own 8-bit text
        self._rows = csv.writer(file)
        self._columns = columns
        self._rows.writerow(map(inert, columns))

    def write(self, flat: list[dict[str, Any]]) -> None:
        self._rows.writerows([_cell(line[name]) for name in self._columns] for line in flat)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return inert(value) if isinstance(value, str) else value


def columns(keys: Iterable[str], kept: Iterable[str] = ()) -> list[str]:
    """Of the CSV and Parquet files of a run whose templates have these keys, and of which these columns are kept."""
    return [*(name for name in FIELDS if name != "inputs"), *dict.fromkeys(map(_input_column, keys)), *kept]


def _kept_columns(keys: Iterable[str], kept: Iterable[str]) -> dict[str, str]:
    """Column of the dataset -> its column in the files, each of a name of its own."""
    taken = {*columns(keys), "columns", "inputs"}
    found: dict[str, str] = {}
    for name in kept:
        column = str(_sound(name))
        while column in taken:
            column = f"columns.{column}"
        taken.add(column)
        found[name] = column
    return found


def kinds(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Of each column that is kept, what all its values are: int64, double, bool, or else string."""
    seen: dict[str, set[type]] = {}
    for row in rows:
        for name, value in row.items():
            seen.setdefault(name, set()).update([type(value)] if value is not None else [])
            if type(value) is int and not -(2**63) <= value < 2**63:
                seen[name].add(str)
    return {name: _kind(types) for name, types in seen.items()}


def _kind(types: set[type]) -> str:
    if types in ({int}, {bool}):
        return "int64" if types == {int} else "bool"
    return "double" if types and types <= {int, float} else "string"


def _input_column(key: str) -> str:
    return str(_sound(f"inputs.{key}"))


def _flat(result: Result, line: dict[str, Any], keys: Iterable[str], kept: Mapping[str, str]) -> dict[str, Any]:
    """The record without nested values."""
    error, inputs = line["error"], line["inputs"] or {}
    return line | {
        "value": value_text(result.value),
        "error": None if error is None else _json(error),
        **{_input_column(key): inputs.get(key) for key in keys},
        **{column: _plain((line.get("columns") or {}).get(name)) for name, column in kept.items()},
    }


def _plain(value: Any) -> Any:
    return _json(value) if isinstance(value, (list, dict)) else value


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else _json(value)


def parquet_schema(keys: Sequence[str] = (), kept: Mapping[str, str] | None = None) -> Any:
    """The columns of results.parquet: the same for every run, one for each key of its templates, and those that are kept."""
    pa = import_module("pyarrow")
    kinds = {
        "row": pa.int64(),
        "score": pa.float64(),
        "passed": pa.bool_(),
        "runtime_ms": pa.float64(),
        "attempts": pa.int64(),
        "submitted_at": pa.timestamp("us", tz="UTC"),
        "finished_at": pa.timestamp("us", tz="UTC"),
    }
    types = kept or {}
    named = _kept_columns(keys, types)
    kinds |= {column: pa.type_for_alias(types[name]) for name, column in named.items()}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in columns(keys, named.values())])


class _Parquet:
    def __init__(self, writer: Any, schema: Any) -> None:
        self._writer = writer
        self._schema = schema

    def write(self, batch: list[Result], flat: list[dict[str, Any]]) -> None:
        pa = import_module("pyarrow")
        texts = {field.name for field in self._schema if pa.types.is_string(field.type)}
        cells = {
            name: [_sound(_text(line[name]) if name in texts else line[name]) for line in flat]
            for name in self._schema.names
        }
        cells["submitted_at"] = [result.submitted_at and utc(result.submitted_at) for result in batch]
        cells["finished_at"] = [result.finished_at and utc(result.finished_at) for result in batch]
        self._writer.write_batch(pa.record_batch(cells, schema=self._schema))


@contextmanager
def _parquet(path: Path, schema: Any) -> Iterator[_Parquet]:
    pq = import_module("pyarrow.parquet")
    with fresh(path, binary=True) as file, pq.ParquetWriter(file, schema) as writer:
        yield _Parquet(writer, schema)


def _sound(value: Any) -> Any:
    """Text that can be UTF-8: a lone surrogate becomes a question mark."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) and not value.isascii() else value
