"""One law for every writer: a table of text comes back cell for cell, or what can't be read is named with its place.

A table is drawn, written as programs write it, and read as a dataset: pandas, csv, polars (its rules, written here) and
pyarrow, in every delimiter, quoting, line end, encoding, compression and format of the list.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieval_tasks.core.errors import PlanError
from fieval_tasks.data import cells, delimited, files
from fieval_tasks.data.dataset import Reading, read_dataset
from fieval_tasks.data.values import Flaw, text_of

DELIMITERS = [",", ";", "\t", "|"]
LINE_ENDS = ["\n", "\r\n", "\r"]
"""The last one stands by itself only where no cell begins with a line feed: both are a line end of Windows, for everybody."""
WHOLE = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
"""Encodings that hold any text."""
NARROW = ["cp1252", "latin-1", "cp1251", "cp437", "mac-roman", "shift_jis", "gbk", "big5", "euc_kr", "iso2022_jp"]
PLACE = re.compile(
    r"lines? \d|offset \d|row \d|element \d|column|rows where its quotes|alike; say by --delimiter|is not whole UTF-"
)
"""What a message names the place by."""


@dataclass(frozen=True)
class Table:
    names: list[str]
    rows: list[list[str]]

    @property
    def records(self) -> list[dict[str, str]]:
        return [dict(zip(self.names, row, strict=True)) for row in self.rows]


@dataclass(frozen=True)
class Written:
    """A table as a file."""

    name: str
    content: bytes
    table: Table
    reading: Reading = field(default_factory=Reading)


# -- the tables ----------------------------------------------------------------------------------------------------

ODD = ["", " ", '"', '""', "'", "\\", '\\"', "\\N", "\n", "\r", "\r\n", "\x00", "\ufeff", "\u2028", "\x85", "\x1b", "#", "=", "-",
       "NULL", "nan", "1e5", "007", "sep=;", '"a"', ' "a"', "a\\", "a,", "a;b", "a\tb", "a|b", '5" pipe', "\\n", "é", "日本", "😀",
       "{}", "[1,", '{"a": 1}', "--", "~", "null", "<b>"]  # fmt: skip
TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
CELL = st.one_of(
    st.sampled_from(ODD),
    st.lists(st.sampled_from([*ODD, "x", "yes no"]), max_size=4).map("".join),
    TEXT,
    st.text('ab"\\,;\t|\r\n ', max_size=8),
)
NAME = st.one_of(
    st.from_regex(r"[a-z]{1,3}( [a-z]{1,3})?", fullmatch=True),
    st.sampled_from(["a,b", "a;b", "a\tb", "a|b", 'say "x"', "two\nlines", "日本", "é", "#", "0", "a.b", "__x", "=1"]),
)


@st.composite
def tables(draw: st.DrawFn, cells: st.SearchStrategy[str] = CELL) -> Table:
    names = draw(st.lists(NAME, min_size=1, max_size=4, unique=True))
    if len(names) == 1:  # nothing tells what parts cells from what stands in the only name
        names = [re.sub(r"[,;\t|]", " ", names[0])]
    row = st.lists(cells, min_size=len(names), max_size=len(names))
    return Table(names, draw(st.lists(row, min_size=1, max_size=5)))


def line_ends(table: Table) -> st.SearchStrategy[str]:
    return st.sampled_from(LINE_ENDS[:2] if any(cell[:1] == "\n" for row in table.rows for cell in row) else LINE_ENDS)


# -- the writers ---------------------------------------------------------------------------------------------------

Writer = Callable[[Table, str, str], str]
"""Of a table, a delimiter and a line end: the text of the file."""


def by_csv(quoting: Any, **dialect: Any) -> Writer:
    def write(table: Table, delimiter: str, end: str) -> str:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting, **dialect).writerows(
            [table.names, *table.rows]
        )
        return text.getvalue()

    return write


def by_pandas(quoting: Any) -> Writer:
    def write(table: Table, delimiter: str, end: str) -> str:
        import pandas as pd

        frame = pd.DataFrame(table.records, columns=table.names, dtype=object)
        return str(frame.to_csv(None, sep=delimiter, lineterminator=end, quoting=quoting, index=False))

    return write


def by_pyarrow(table: Table, delimiter: str, end: str) -> str:
    import pyarrow as pa
    import pyarrow.csv as pacsv

    held = io.BytesIO()
    columns = [pa.array([row[place] for row in table.rows], pa.string()) for place in range(len(table.names))]
    arrow = pa.Table.from_arrays(columns, names=table.names)
    pacsv.write_csv(arrow, held, pacsv.WriteOptions(delimiter=delimiter))
    return held.getvalue().decode()


def by_polars(style: str) -> Writer:
    """As its serializer does: a text is quoted where it holds the delimiter, a quote or a line end, and where it is empty."""

    def write(table: Table, delimiter: str, end: str) -> str:
        def cell(text: str) -> str:
            is_quoted = (
                style == "always" or not text or any(special in text for special in (delimiter, '"', "\n", "\r"))
            )
            return '"' + text.replace('"', '""') + '"' if is_quoted else text

        return "".join(delimiter.join(map(cell, row)) + end for row in [table.names, *table.rows])

    return write


def bare(table: Table, delimiter: str, end: str) -> str:
    """Without any quote or escape, as `cut` and spreadsheets' clipboards write. TSV only."""
    return "".join(delimiter.join(row) + end for row in [table.names, *table.rows])


WRITERS: Mapping[str, Writer] = {
    "csv, minimal": by_csv(csv.QUOTE_MINIMAL),
    "csv, all": by_csv(csv.QUOTE_ALL),
    "csv, text": by_csv(csv.QUOTE_NONNUMERIC),
    "pandas, minimal": by_pandas(csv.QUOTE_MINIMAL),
    "pandas, all": by_pandas(csv.QUOTE_ALL),
    "polars, necessary": by_polars("necessary"),
    "polars, always": by_polars("always"),
    "pyarrow": by_pyarrow,
}


@st.composite
def delimited_files(draw: st.DrawFn, encodings: Sequence[str] = WHOLE) -> Written:
    table = draw(tables())
    delimiter = draw(st.sampled_from(DELIMITERS))
    is_tsv = delimiter == "\t" and draw(st.booleans())
    reading = Reading(delimiter=delimiter if not is_tsv and draw(st.booleans()) else None)
    write = WRITERS[draw(st.sampled_from(sorted(WRITERS)))]
    try:
        text = write(table, delimiter, draw(line_ends(table)))
    except csv.Error:  # it refuses to write an empty text alone, for one
        hypothesis.reject()
    if draw(st.booleans()) and not is_tsv and reading.delimiter is None:
        text = f"sep={delimiter}\r\n{text}"
    return encoded(draw, f"a.{'tsv' if is_tsv else 'csv'}", text, table, reading, encodings)


@st.composite
def escaped_files(draw: st.DrawFn) -> Written:
    """Quotes escaped by backslashes, as Spark and MySQL do. Backslashes of the text's own could be told from none of them."""
    plain = st.text('ab"\n,;| ', max_size=6)
    table = draw(tables(plain).filter(lambda table: all(re.fullmatch(r"[\w .#=]+", name) for name in table.names)))
    delimiter = draw(st.sampled_from([",", ";", "|"] if len(table.names) > 1 else [","]))
    dialect = draw(st.sampled_from([(csv.QUOTE_ALL, False), (csv.QUOTE_MINIMAL, False), (csv.QUOTE_NONE, True)]))
    try:
        write = by_csv(dialect[0], doublequote=dialect[1], escapechar="\\")
        text = write(table, delimiter, draw(line_ends(table)))
    except csv.Error:
        hypothesis.reject()
    return Written("a.csv", text.encode(), table, Reading(delimiter=draw(st.sampled_from([None, delimiter]))))


@st.composite
def bare_files(draw: st.DrawFn) -> Written:
    """But for the cells that are told by their doubled quotes to be quoted, as polars writes an empty one."""
    plain = st.text(st.characters(codec="utf-8", exclude_characters="\t\r\n"), max_size=5) | st.text('ab" ', max_size=5)
    plain = plain.filter(lambda cell: not re.fullmatch(r'"(.*"")?.*"', cell, re.DOTALL) or '""' not in cell)
    table = draw(tables(plain).filter(lambda table: not re.search(r'[\t\n"]', "".join(table.names))))
    return Written("a.tsv", bare(table, "\t", draw(line_ends(table))).encode(), table)


@st.composite
def json_files(draw: st.DrawFn) -> Written:
    table = draw(tables())
    is_ascii = draw(st.booleans())
    rows = [json.dumps(row, ensure_ascii=is_ascii) for row in table.records]
    written: dict[str, tuple[str, str]] = {
        "lines": ("a.jsonl", draw(line_ends(table)).join(rows)),
        "lines in json": ("a.json", "\n".join(rows)),
        "array": ("a.json", json.dumps(table.records, ensure_ascii=is_ascii, indent=draw(st.sampled_from([None, 2])))),
        "wrapped": ("a.json", json.dumps({"about": ["x"], "testCases": table.records}, ensure_ascii=is_ascii)),
        "one after the other": ("a.json", " ".join(json.dumps(row, indent=1) for row in table.records)),
    }
    kind = draw(st.sampled_from(sorted(written)))
    hypothesis.assume(len(rows) > 1 or "lines in json" != kind != "one after the other")  # one object alone is refused
    name, text = written[kind]
    return encoded(draw, name, text, table, Reading(), WHOLE)


@st.composite
def parquet_files(draw: st.DrawFn) -> Written:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = draw(tables())
    kinds = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
    columns = [
        pa.array([row[place] for row in table.rows], pa.string()).cast(draw(st.sampled_from(kinds)))
        for place in range(len(table.names))
    ]
    held = io.BytesIO()
    pq.write_table(
        pa.Table.from_arrays(columns, names=table.names),
        held,
        compression=draw(st.sampled_from(["none", "snappy", "gzip", "zstd"])),
        row_group_size=draw(st.integers(1, 3)),
        use_dictionary=draw(st.booleans()),
    )
    return Written("a.parquet", held.getvalue(), table)


def encoded(draw: st.DrawFn, name: str, text: str, table: Table, reading: Reading, encodings: Sequence[str]) -> Written:
    encoding = draw(st.sampled_from(encodings))
    try:
        content = text.encode(encoding)
    except UnicodeEncodeError:
        hypothesis.reject()
    if encoding not in WHOLE and content.isascii() is False:
        hypothesis.assume(
            not is_utf8(content)
        )  # of bytes that are good UTF-8 nobody can tell that they were not meant so
    if draw(st.booleans()):
        name, content = f"{name}.gz", gzip.compress(content)
    return Written(name, content, table, reading)


def is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


# -- the law -------------------------------------------------------------------------------------------------------


def broken_law(written: Written, folder: Path) -> str | None:
    """What came back that is neither the table nor a problem with its place; None where the law holds."""
    path = folder / written.name
    path.write_bytes(written.content)
    try:
        with read_dataset(str(path), written.reading) as dataset:
            notices, rows = dataset.notices, list(dataset.rows())
    except PlanError as error:
        return None if all(PLACE.search(problem) for problem in error.problems) else f"refused without a place: {error}"
    if pointless := [row.problem for row in rows if row.problem and not PLACE.search(row.problem)]:
        return f"a problem without a place: {pointless}"
    if any("control character U+001B" in told for told in notices):
        return None  # it is said to look like an encoding of seven bits
    good = [dict(row.values) for row in rows if row.problem is None]
    if len(good) == len(rows):
        return None if same(good, written.table.records) else f"read as {good}"
    return None if is_part(good, written.table.records) else f"read as {good}, beside problems"


def same(found: Sequence[Mapping[str, object]], records: Sequence[Mapping[str, str]]) -> bool:
    return len(found) == len(records) and all(map(alike, found, records))


def is_part(found: Sequence[Mapping[str, object]], records: Sequence[Mapping[str, str]]) -> bool:
    """The rows are some of the table's, in its order."""
    rest = iter(records)
    return all(any(alike(row, record) for record in rest) for row in found)


def alike(row: Mapping[str, object], record: Mapping[str, str]) -> bool:
    """Cell for cell; one that can't be sent is named where it is wanted."""
    names = [*row], [name.strip() for name in record]
    return names[0] == names[1] and all(
        value == cell or (isinstance(flaw := text_of(value), Flaw) and flaw.kind == "nul")
        for value, cell in zip(row.values(), record.values(), strict=True)
    )


QUICK = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
KINDS = {
    "delimited": delimited_files(),
    "in an encoding of one code page": delimited_files(NARROW),
    "escaped": escaped_files(),
    "bare": bare_files(),
    "json": json_files(),
    "parquet": parquet_files(),
}


def law(kind: str, folder: Path) -> Callable[[], None]:
    @QUICK
    @given(KINDS[kind])
    def holds(written: Written) -> None:
        assert broken_law(written, folder) is None

    return holds


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_comes_back_cell_for_cell_or_what_can_not_be_read_is_named(kind: str, tmp_path: Path) -> None:
    law(kind, tmp_path)()


ONE = Table(["a", "b"], [["x", "y\r"], ["é", '"\nz']])
BREAKS: Mapping[str, tuple[object, str, object, Written]] = {
    "line ends are all alike": (
        *(cells._Ends, "problem", lambda self, line, place: None),
        # as csv wrote it before Python 3.13, which quotes a carriage return
        Written("a.csv", b'a,b\nx,y\r\n\xc3\xa9,"""\nz"\n', ONE),
    ),
    "quotes are nobody's": (
        *(delimited, "_is_quoted", lambda file: False),
        Written("a.tsv", WRITERS["csv, all"](ONE, "\t", "\n").encode(), ONE),
    ),
    "a backslash escapes nothing": (
        *(cells._Quotes, "misplaced", lambda self, record: None),
        Written("a.csv", b'a\n"\\"\nz"\n', Table(["a"], [['"\nz']])),
    ),
    "everything is UTF-8": (
        *(files.File, "encoding", lambda self: "utf-8"),
        Written("a.csv", WRITERS["pandas, all"](ONE, ",", "\n").encode("utf-8-sig"), ONE),
    ),
}


@pytest.mark.parametrize("fault", BREAKS)
def test_a_reader_with_a_fault_breaks_the_law(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, instead, written = BREAKS[fault]
    assert broken_law(written, tmp_path) is None
    monkeypatch.setattr(where, name, instead)
    assert broken_law(written, tmp_path) is not None
