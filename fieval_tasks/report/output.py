"""A run's files on disk. Each appears whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fieval_tasks.core.batches import batches
from fieval_tasks.core.items import Result
from fieval_tasks.core.private_files import make_folder
from fieval_tasks.report.caps import CAPS, Caps
from fieval_tasks.report.columns import TIME, Columns, inert_cell, sound
from fieval_tasks.report.differences import Comparison
from fieval_tasks.report.folder import new_file
from fieval_tasks.report.junit import Suites
from fieval_tasks.report.page_data import PageData
from fieval_tasks.report.pages import html, markdown
from fieval_tasks.report.record import record
from fieval_tasks.report.summary import Report, RunFacts, summarise
from fieval_tasks.report.text import plain_json

PARQUET = "results.parquet"


def write_results(
    facts: RunFacts,
    results: Iterable[Result],
    folder: Path,
    *,
    decide: Callable[[Report], Report] = lambda report: report,
    comparison: Comparison | None = None,
    caps: Caps = CAPS,
) -> Report:
    """Write results.jsonl, results.csv, results.parquet and junit.xml, gather the rows of report.html, and count: in one
    pass, so that all agree.

    The CSV file is for spreadsheets: see `inert_cell` for what it changes. The others hold every text as it was.
    `decide` judges the gates, of which junit.xml tells too. `comparison`: says which rows changed.
    """
    make_folder(folder)
    columns = Columns.from_facts(facts)
    with ExitStack() as files:
        lines = files.enter_context(new_file(folder / "results.jsonl"))
        table = files.enter_context(new_file(folder / "results.csv"))
        table.write("\ufeff")  # or Excel reads it as the machine's own 8-bit text
        cells = csv.writer(table)
        cells.writerow(map(inert_cell, columns.kinds))
        write_parquet = files.enter_context(_parquet(folder / PARQUET, columns))
        suites = Suites(facts, files, caps)

        def written() -> Iterator[Result]:
            for batch in batches(results, most=caps.batch, largest=caps.batch_text, size=Result.input_length):
                records = [record(result, facts.further) for result in batch]
                rows = list(map(columns.row, records))
                lines.writelines(plain_json(line) + "\n" for line in records)
                cells.writerows(map(_csv_cell, row) for row in rows)
                write_parquet(rows)
                for result in batch:
                    suites.add(result)
                yield from batch  # what is counted is what was written, also where a verdict comes meanwhile

        report = decide(summarise(facts, written(), caps=caps, page=PageData(comparison, caps)))
        suites.write(files.enter_context(new_file(folder / "junit.xml")), report.gates, report.changes)
    return report


def write_report(report: Report, folder: Path) -> None:
    """Write summary.json, report.md and report.html."""
    make_folder(folder)
    texts = {
        "summary.json": plain_json(report.to_json(), indent=2) + "\n",
        "report.md": markdown(report),
        "report.html": html(report),
    }
    for name, text in texts.items():
        with new_file(folder / name) as file:
            file.write(text)


def parquet_missing() -> str:
    """Why no results.parquet is written; empty where it is."""
    if find_spec("pyarrow") is not None:
        return ""
    return f"{PARQUET} is not written without pyarrow: pip install pyarrow"


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return inert_cell(value) if isinstance(value, str) else value


def parquet_schema(columns: Columns) -> Any:
    pa = import_module("pyarrow")
    times = {TIME: pa.timestamp("us", tz="UTC")}
    return pa.schema([(name, times.get(kind) or pa.type_for_alias(kind)) for name, kind in columns.kinds.items()])


@contextmanager
def _parquet(path: Path, columns: Columns) -> Iterator[Callable[[Sequence[Sequence[Any]]], None]]:
    """What writes rows. Without pyarrow it writes none, and an earlier file, which would tell something else, goes."""
    if parquet_missing():
        path.unlink(missing_ok=True)
        yield lambda rows: None
        return
    pa, pq, schema = import_module("pyarrow"), import_module("pyarrow.parquet"), parquet_schema(columns)

    def write(rows: Sequence[Sequence[Any]]) -> None:
        arrays = []
        for field, column in zip(schema, zip(*rows, strict=True), strict=True):
            written = pa.string() if pa.types.is_timestamp(field.type) else field.type  # times are text in the rows
            arrays.append(pa.array(list(map(sound, column)), written).cast(field.type))
        writer.write_batch(pa.record_batch(arrays, schema=schema))

    with new_file(path, binary=True) as file, pq.ParquetWriter(file, schema) as writer:
        yield write
