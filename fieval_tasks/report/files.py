"""A run's files on disk. Each appears whole or not at all."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from fieval_tasks.items import Result
from fieval_tasks.private import make_folder
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
    is a number, a list or a choice with its score; each key of the inputs has a column, `inputs.output` for one. The CSV
    file is for spreadsheets: it begins with the mark by which Excel knows UTF-8, and see `inert` for what it changes.
    The other two hold every text as it was. `decide` judges the gates, of which junit.xml tells too.
    """
    make_folder(folder)
    counting = Counting(facts)
    keys = list(dict.fromkeys(key for sources in facts.mapping.values() for key in sources))
    with ExitStack() as files:
        writers = (
            _Jsonl(files.enter_context(fresh(folder / "results.jsonl"))),
            _Csv(files.enter_context(fresh(folder / "results.csv")), columns(keys)),
            files.enter_context(_parquet(folder / "results.parquet", keys)),
        )
        suites = Suites(facts, files)
        for batch in _batches(_counted(results, counting, suites)):
            lines = [record(result) for result in batch]
            flat = [_flat(result, line, keys) for result, line in zip(batch, lines, strict=True)]
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
    shown = clip(clean(text[: CELL_LIMIT + 1], marks=True), CELL_LIMIT)
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


def columns(keys: Iterable[str]) -> list[str]:
    """Of the CSV and Parquet files of a run whose templates have these keys."""
    return [*(name for name in FIELDS if name != "inputs"), *dict.fromkeys(map(_input_column, keys))]


def _input_column(key: str) -> str:
    return str(_sound(f"inputs.{key}"))


def _flat(result: Result, line: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """The record without nested values."""
    error, inputs = line["error"], line["inputs"] or {}
    return line | {
        "value": value_text(result.value),
        "error": None if error is None else _json(error),
        **{_input_column(key): inputs.get(key) for key in keys},
    }


def parquet_schema(keys: Iterable[str] = ()) -> Any:
    """The columns of results.parquet: the same for every run, and one for each key of its templates."""
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
    return pa.schema([(name, kinds.get(name, pa.string())) for name in columns(keys)])


class _Parquet:
    def __init__(self, writer: Any, schema: Any) -> None:
        self._writer = writer
        self._schema = schema

    def write(self, batch: list[Result], flat: list[dict[str, Any]]) -> None:
        pa = import_module("pyarrow")
        cells = {name: [_sound(line[name]) for line in flat] for name in self._schema.names}
        cells["submitted_at"] = [result.submitted_at and utc(result.submitted_at) for result in batch]
        cells["finished_at"] = [result.finished_at and utc(result.finished_at) for result in batch]
        self._writer.write_batch(pa.record_batch(cells, schema=self._schema))


@contextmanager
def _parquet(path: Path, keys: Iterable[str]) -> Iterator[_Parquet]:
    pq = import_module("pyarrow.parquet")
    schema = parquet_schema(keys)
    with fresh(path, binary=True) as file, pq.ParquetWriter(file, schema) as writer:
        yield _Parquet(writer, schema)


def _sound(value: Any) -> Any:
    """Text that can be UTF-8: a lone surrogate becomes a question mark."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) and not value.isascii() else value
