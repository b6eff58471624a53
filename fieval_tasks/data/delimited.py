"""CSV and TSV: the delimiter, the meaning of quotes, and the rows.

A file is read with the delimiter and quoting with which its lines fit its header. A line that can't be read exactly is a
row with a problem, and reading goes on at the next line, so that a stray quote never swallows rows silently.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

from fieval_tasks.core.errors import NoRows, PlanError
from fieval_tasks.data.cells import QUOTE, Record, plain_records, quoted_records
from fieval_tasks.data.files import File, Row

# Delimiters that are tried, the likeliest first: spreadsheets write semicolons where a comma is the decimal sign, and tabs
# in their "Unicode text"; databases write bars.
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# Some hundred rows, read in milliseconds.
LOOKED_AT = 2**20
"""Characters at the start of a file by which its delimiter is chosen."""
# Excel's own first line, which names the delimiter; programs that quote every cell quote it too.
_SEP = re.compile(r'("?)sep=([^\w\s"]|\t)\1\s*', re.IGNORECASE)


@dataclass(frozen=True)
class Style:
    """The delimiter and quoting of a file."""

    delimiter: str
    quotes: bool = True
    """A cell in quotes may hold delimiters, line ends and doubled quotes. If False, a quote is a character like others."""
    above: int = 0
    """Lines above the header, such as Excel's `sep=;`."""

    def __str__(self) -> str:
        return f"cells are parted by {DELIMITERS.get(self.delimiter, repr(self.delimiter))}"

    def is_usual(self, file_format: str) -> bool:
        """Whether this is the style that the file's extension implies."""
        return self.delimiter == {"csv": ",", "tsv": "\t"}[file_format]


@lru_cache(maxsize=128)  # a dataset is read several times, and of TSV this takes as long as reading it
def style_of(file: File) -> Style:
    """The file's style: by its `sep=` line, else the one that its header and rows fit. Raises PlanError where two fit."""
    with file.text() as text:
        start = text.read(min(LOOKED_AT, file.longest))
    if len(start) >= min(LOOKED_AT, file.longest):  # its last line is cut
        start = start[: start.rfind("\n") + 1] or start
    lines = io.StringIO(start, newline="").readlines()
    named = _SEP.fullmatch(lines[0]) if lines else None
    if named or file.delimiter is not None:
        return Style(file.delimiter or (named[2] if named else ","), above=1 if named else 0)
    if file.format == "tsv":
        return Style("\t", quotes=_is_quoted(file))
    return Style(_delimiter(file, lines))


def _delimiter(file: File, lines: list[str]) -> str:
    """The delimiter with which most records have as many cells as the header. Raises PlanError where two fit alike: with
    each the file would be another table."""
    likely = {delimiter: _beginning(file, lines, delimiter) for delimiter in DELIMITERS}
    parting = {delimiter: records for delimiter, records in likely.items() if _cells_of_header(records) > 1}
    if len(parting) < 2:
        return next(iter(parting), ",")
    shares = {delimiter: _share_that_fits(_beginning(file, lines, delimiter)) for delimiter in parting}
    best = [delimiter for delimiter, share in shares.items() if share == max(shares.values())]
    if len(best) > 1:
        names = " and ".join(DELIMITERS[delimiter] for delimiter in best)
        raise PlanError(
            f"{file.name}: {names} fit its header and its rows alike; say by --delimiter which one separates its cells"
        )
    return best[0]


def _beginning(file: File, lines: list[str], delimiter: str) -> Iterator[Record]:
    """The records at the beginning of a file, without blank ones; a record that breaks the rules counts."""
    records = quoted_records(file, iter(lines), delimiter, 1, is_whole=False)
    return (record for record in records if record.problem is not None or any(record.cells))


def _cells_of_header(records: Iterator[Record]) -> int:
    header = next(records, None)
    return 0 if header is None or header.problem is not None else len(header.cells)


def _share_that_fits(records: Iterator[Record]) -> float:
    """The share of the records that have as many cells as the header, from 0 to 1."""
    wanted = _cells_of_header(records)
    fits = [record.problem is None and _fits(record.cells, wanted) for record in records]
    return sum(fits) / len(fits) if fits else 1.0


def _is_quoted(file: File) -> bool:
    """Whether quotes in a TSV file are syntax. The format has none (IANA text/tab-separated-values), but many programs write
    them. True where the file fits its header only so; or where it fits both ways, and its header is in quotes or a quote in a
    cell is doubled. Raises PlanError where the two ways give different numbers of rows.
    """
    header: list[str] = []
    size = 0
    has_quotes = is_doubled = False
    fits_plain = True
    with file.text() as text:
        for record in filter(lambda record: any(record.cells), plain_records(text, 1)):
            size += 1
            header = header or record.cells
            quoted = [cell for cell in record.cells if QUOTE in cell]
            has_quotes = has_quotes or bool(quoted)
            is_doubled = is_doubled or any(map(_has_doubled_quotes, quoted))
            fits_plain = fits_plain and len(record.cells) == len(header)
    size_quoted = _size_quoted(file) if has_quotes else None
    if size_quoted is None:  # where neither fits, some lines are broken in any case, and doubled quotes still tell
        return is_doubled and not fits_plain
    if not fits_plain or is_doubled or all(map(_is_in_quotes, header)):
        return True
    if size_quoted != size:
        raise PlanError(
            f"{file.name} has {size_quoted - 1} rows where its quotes hold lines together, and {size - 1} where they are text:"
            " write it as CSV or JSONL"
        )
    return False


def _size_quoted(file: File) -> int | None:
    """How many records a TSV file has when read with quotes; None where they do not fit its header."""
    wanted = size = 0
    with file.text() as text:
        try:
            for record in quoted_records(file, text, "\t", 1):
                wanted = wanted or len(record.cells)
                if record.is_broken or (any(record.cells) and not _fits(record.cells, wanted)):
                    return None
                size += any(record.cells)
        except PlanError:  # a quote that is never closed
            return None
    return size


def _is_in_quotes(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"'


def _has_doubled_quotes(cell: str) -> bool:
    """Whether a cell holds a doubled quote, or is `""`: Spark and polars write an empty text so, and a missing one without."""
    inner = cell[1:-1]
    return cell == '""' or (_is_in_quotes(cell) and '""' in inner and '"' not in inner.replace('""', ""))


# -- the rows ------------------------------------------------------------------------------------------------------


def delimited_rows(file: File) -> Iterator[Row]:
    """Every row. Raises PlanError where the header can't be read, or a quote is never closed."""
    style = style_of(file)
    with file.text() as text:
        lines = islice(text, style.above, None)
        first = style.above + 1
        records = quoted_records(file, lines, style.delimiter, first) if style.quotes else plain_records(lines, first)
        yield from _rows(file.name, records, style)


def _rows(name: str, records: Iterator[Record], style: Style) -> Iterator[Row]:
    """Every row. A row whose line ends in a backslash is held until the next line shows whether it belongs to it."""
    held: Row | None = None
    for record, row in _numbered(name, records, style):
        if held is not None:
            if row is None or _may_be_one(held, row):
                held, row = _doubtful(held, record), row and _doubtful(row, record)
            yield held
        held = row if record.ends_in_backslash else None
        if held is None and row is not None:
            yield row
    if held is not None:
        yield held


def _numbered(name: str, records: Iterator[Record], style: Style) -> Iterator[tuple[Record, Row | None]]:
    """Each record below the header, with its row; a blank line has none."""
    header: list[str] = []
    number = 0
    for record in records:
        cells = record.cells
        if record.problem is None and not any(cells) and (not header or len(cells) < len(header)):
            yield record, None
        elif not header:
            header = _header(name, record)
        else:
            number += 1
            problem = record.problem or _misfit(record, header, style)
            values = dict(zip(header, cells))  # noqa: B905  # where they don't fit
            yield record, Row(number, values, problem, line=record.line)
    if header and not number:
        raise NoRows(f"{name} has a header ({', '.join(header)}) and no rows")


def _may_be_one(held: Row, row: Row) -> bool:
    """Whether two rows may be one whose line end is escaped: each part mostly does not fit the header, except in a file of
    one column or where a delimiter is escaped too."""
    cells = [str(cell) for one in (held, row) for cell in [*one.values.values()][:-1]]
    return bool(held.problem or row.problem) or not cells or any(cell.endswith("\\") for cell in cells)


def _doubtful(row: Row, after: Record) -> Row:
    """The row with a problem: its line ends in a backslash, so the next line may belong to it."""
    doubt = f"line {after.line - 1} ends in a backslash, and the next may belong to it: MySQL escapes a line end so; put the cell in quotes"
    return replace(row, problem=row.problem or doubt)


def _header(name: str, record: Record) -> list[str]:
    if record.problem is not None:
        raise PlanError(f"{name} has a header that can't be read: {record.problem}")
    if any("\0" in cell for cell in record.cells):
        raise PlanError(
            f"{name} has NUL characters in its header (line {record.line}), which no text has: if it is UTF-16 without a byte order "
            "mark, save it as UTF-8; else see what made it"
        )
    names = [cell.strip() or f"column {position}" for position, cell in enumerate(record.cells, 1)]
    refuse_twins(name, names)
    return names


def refuse_twins(name: str, columns: list[str]) -> None:
    """Raises PlanError where two columns have one name."""
    twins = [column for column, count in Counter(columns).items() if count > 1]
    if twins:
        places = (
            f"{twin!r} is the name of columns {_listed([i for i, c in enumerate(columns, 1) if c == twin])}"
            for twin in twins
        )
        raise PlanError(*(f"{name}: {place}; give each its own name" for place in places))


def _listed(numbers: list[int]) -> str:
    return " and ".join([", ".join(map(str, numbers[:-1])), str(numbers[-1])])


def _fits(cells: list[str], wanted: int) -> bool:
    """Whether the record has as many cells as the header. Empty cells more are allowed, as spreadsheets write them; with one
    column they would be commas of the text itself."""
    return len(cells) == wanted or (len(cells) > wanted > 1 and not any(cells[wanted:]))


def _misfit(record: Record, header: list[str], style: Style) -> str | None:
    is_escaped = len(record.cells) > len(header) and any(cell.endswith("\\") for cell in record.cells)
    if _fits(record.cells, len(header)) and not is_escaped:
        return None
    misfit = f"line {record.line} has {len(record.cells)} fields where the header has {len(header)}"
    if not style.quotes and any('"' in cell for cell in record.cells):
        misfit += (
            "; quotes are text in this TSV file, so that a cell holds no tab or line end: write CSV for such cells"
        )
    return misfit
