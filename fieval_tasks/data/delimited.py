"""CSV and TSV: what parts the cells of a line, what a quote means, and the rows.

A file is read in the one way in which its lines fit its header. A line that can't be read exactly is a row with a problem,
and the next line is read on its own: no quote swallows rows without a word.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from fieval_tasks.core.errors import NoRows, PlanError
from fieval_tasks.data.cells import QUOTE, Record, plain_records, quoted_records
from fieval_tasks.data.files import File, Row

# What may part cells, the likeliest first: spreadsheets write semicolons where a comma is the decimal sign, and tabs in
# their "Unicode text"; databases write bars.
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# Characters at the start of a file by which its delimiter is chosen: some hundred rows, read in milliseconds.
LOOKED_AT = 2**20
# Excel's own first line, which names the delimiter; programs that quote every cell quote it too.
_SEP = re.compile(r'("?)sep=([^\w\s"]|\t)\1\s*', re.IGNORECASE)


@dataclass(frozen=True)
class Style:
    """How a file writes its cells."""

    delimiter: str
    quotes: bool = True
    """A cell between quotes may hold delimiters, line ends and doubled quotes. Else a quote is a character like others."""
    above: int = 0
    """Lines above the header."""

    def __str__(self) -> str:
        return f"cells are parted by {DELIMITERS.get(self.delimiter, repr(self.delimiter))}"

    def is_usual(self, file_format: str) -> bool:
        """What the file's extension promises."""
        return self.delimiter == {"csv": ",", "tsv": "\t"}[file_format]


def style_of(file: File) -> Style:
    """The style that the file's own first line names, or else the one that fits."""
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
    """Of those that part the header, the one by which most records have as many cells as it. Raises PlanError where two
    fit alike: by either the file reads well, and as another table."""
    likely = {delimiter: _beginning(file, lines, delimiter) for delimiter in DELIMITERS}
    parting = {delimiter: records for delimiter, records in likely.items() if _cells_of_header(records) > 1}
    if len(parting) < 2:
        return next(iter(parting), ",")
    shares = {delimiter: _share_that_fits(_beginning(file, lines, delimiter)) for delimiter in parting}
    best = [delimiter for delimiter, share in shares.items() if share == max(shares.values())]
    if len(best) > 1:
        names = " and ".join(DELIMITERS[delimiter] for delimiter in best)
        raise PlanError(
            f"{file.name}: {names} part its header and its rows alike; say by --delimiter which part its cells"
        )
    return best[0]


def _beginning(file: File, lines: list[str], delimiter: str) -> Iterator[Record]:
    """The records at the beginning of a file that are not blank; a broken one is one, too."""
    records = quoted_records(file, iter(lines), delimiter, 1, is_whole=False)
    return (record for record in records if record.problem is not None or any(record.cells))


def _cells_of_header(records: Iterator[Record]) -> int:
    header = next(records, None)
    return 0 if header is None or header.problem is not None else len(header.cells)


def _share_that_fits(records: Iterator[Record]) -> float:
    """Of the records, those with as many cells as the header."""
    wanted = _cells_of_header(records)
    fits = [record.problem is None and _fits(record.cells, wanted) for record in records]
    return sum(fits) / len(fits) if fits else 1.0


def _is_quoted(file: File) -> bool:
    """A TSV file has no quotes by its standard, and many programs quote all the same. It counts as quoted where it fits
    its header so and not otherwise; or where both fit and its header is in quotes, or a quote in a cell is doubled.
    Raises PlanError where the quotes leave open how many rows there are.
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
    """The records of a TSV file read with quotes, None where that does not fit its header."""
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
    """Or is an empty text in quotes, by which Spark and polars tell it from none."""
    inner = cell[1:-1]
    return cell == '""' or (_is_in_quotes(cell) and '""' in inner and '"' not in inner.replace('""', ""))


# -- the rows ------------------------------------------------------------------------------------------------------


def delimited_rows(file: File) -> Iterator[Row]:
    """Every row. Raises PlanError where the header, or what follows a quote never closed, can't be read."""
    style = style_of(file)
    with file.text() as text:
        lines = islice(text, style.above, None)
        first = style.above + 1
        records = quoted_records(file, lines, style.delimiter, first) if style.quotes else plain_records(lines, first)
        yield from _rows(file.name, records, style)


def _rows(name: str, records: Iterator[Record], style: Style) -> Iterator[Row]:
    """Every row. One whose line ends in a backslash waits until it is known whether the next line is a row of its own."""
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
            yield record, Row(number, dict(zip(header, cells)), problem)  # noqa: B905  # where they don't fit
    if header and not number:
        raise NoRows(f"{name} has a header ({', '.join(header)}) and no rows")


def _may_be_one(held: Row, row: Row) -> bool:
    """Where a line end is escaped, its parts mostly don't fit the header; where they do, there is one column, or a delimiter
    is escaped in one, too."""
    cells = [str(cell) for one in (held, row) for cell in [*one.values.values()][:-1]]
    return bool(held.problem or row.problem) or not cells or any(cell.endswith("\\") for cell in cells)


def _doubtful(row: Row, after: Record) -> Row:
    """A row of which it can't be told whether it ends with its line."""
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
    """Spreadsheets leave empty cells at the end; of a file with one column they are the text's own commas."""
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
