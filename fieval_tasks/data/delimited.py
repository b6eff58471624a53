"""CSV and TSV: what parts the cells of a line, what a quote means, and the rows.

A file is read in the one way in which its lines fit its header. A line that can't be read exactly is a row with a problem,
and the next line is read on its own: no quote swallows rows without a word.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from fieval_tasks.core.errors import NoRows, PlanError
from fieval_tasks.data.files import LARGEST_CELL, File, Row

QUOTE = '"'
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""What may part cells, the likeliest first: spreadsheets write semicolons where a comma is the decimal sign, and tabs in
their "Unicode text"; databases write bars."""
ESCAPES = "escapes a quote by a backslash"
LOOKED_AT = 2**20
"""Characters at the start of a file by which its delimiter is chosen: some hundred rows, read in milliseconds."""
_SEP = re.compile(r'("?)sep=([^\w\s"]|\t)\1\s*', re.IGNORECASE)
"""Excel's own first line, which names the delimiter; programs that quote every cell quote it too."""


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


@dataclass(frozen=True)
class Record:
    """The cells of one record, or why they can't be told."""

    cells: list[str]
    line: int
    """Where it begins, from 1."""
    problem: str | None = None
    is_broken: bool = False
    """By its quotes: its cells can't be told at all."""
    is_open: bool = False
    """It ends in a backslash without quotes, by which MySQL escapes a line end."""


def style_of(file: File) -> Style:
    """The style that the file's own first line names, or else the one that fits."""
    with file.text() as text:
        first = text.readline(LOOKED_AT)
        named = _SEP.fullmatch(first)
        if named or file.delimiter is not None:
            return Style(file.delimiter or (named[2] if named else ","), above=1 if named else 0)
        if file.format == "tsv":
            return Style("\t", quotes=_is_quoted(file))
        return Style(_delimiter(file.name, [first, *_beginning(text)]))


def _beginning(lines: Iterable[str]) -> Iterator[str]:
    size = 0
    for line in lines:
        size += len(line)
        if size > LOOKED_AT:
            return
        yield line


def _delimiter(name: str, lines: list[str]) -> str:
    """Of those that part the header, the one by which most records have as many cells as it. Raises PlanError where two
    fit alike: by either the file reads well, and as another table."""
    likely = [delimiter for delimiter in DELIMITERS if _parts_header(lines, delimiter)]
    if len(likely) < 2:
        return likely[0] if likely else ","
    shares = {delimiter: _share_that_fits(lines, delimiter) for delimiter in likely}
    best = [delimiter for delimiter, share in shares.items() if share == max(shares.values())]
    if len(best) > 1:
        told = " and ".join(DELIMITERS[delimiter] for delimiter in best)
        raise PlanError(f"{name}: {told} part its header and its rows alike; say by --delimiter which part its cells")
    return best[0]


def _records(lines: list[str], delimiter: str) -> Iterator[Record]:
    """Those at the beginning of a file that are not blank; a broken one is one, too."""
    records = _quoted("", iter(lines), delimiter, 1, is_whole=False)
    return (record for record in records if record.problem is not None or any(record.cells))


def _parts_header(lines: list[str], delimiter: str) -> bool:
    header = next(_records(lines, delimiter), None)
    return header is not None and header.problem is None and len(header.cells) > 1


def _share_that_fits(lines: list[str], delimiter: str) -> float:
    """Of the records, those with as many cells as the header."""
    header, *records = _records(lines, delimiter)
    fits = [record.problem is None and _fits(record.cells, len(header.cells)) for record in records]
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
        for record in _plain(text, 1):
            if any(record.cells):
                size += 1
                header = header or record.cells
                quoted = [cell for cell in record.cells if '"' in cell]
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
            for record in _quoted(file.name, text, "\t", 1):
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
        records = _quoted(file.name, lines, style.delimiter, first) if style.quotes else _plain(lines, first)
        yield from _rows(file.name, records, style)


def _rows(name: str, records: Iterator[Record], style: Style) -> Iterator[Row]:
    header: list[str] = []
    number = 0
    held: Row | None = None
    """A row whose line ends in a backslash, until it is known whether the next line is a row of its own."""
    for record in records:
        cells = record.cells
        if record.problem is None and not any(cells) and (not header or len(cells) < len(header)):
            if held is not None:
                yield _doubtful(held, record)
                held = None
            continue
        if not header:
            header = _header(name, record)
            continue
        number += 1
        row = Row(number, dict(zip(header, cells)), record.problem or _misfit(record, header, style))  # noqa: B905
        if held is not None:
            if len(header) == 1 or _may_be_one(held, row):
                held, row = _doubtful(held, record), _doubtful(row, record)
            yield held
        held = row if record.is_open else None
        if held is None:
            yield row
    if held is not None:
        yield held
    if header and not number:
        raise NoRows(f"{name} has a header ({', '.join(header)}) and no rows")


def _may_be_one(held: Row, row: Row) -> bool:
    """Where a line end is escaped, its parts mostly don't fit the header; where they do, a delimiter is escaped in one, too."""
    cells = [cell for one in (held, row) for cell in [*one.values.values()][:-1]]
    return bool(held.problem or row.problem) or any(str(cell).endswith("\\") for cell in cells)


def _doubtful(row: Row, after: Record) -> Row:
    """A row of which it can't be told whether it ends with its line."""
    told = f"line {after.line - 1} ends in a backslash, and the next may belong to it: MySQL escapes a line end so; put the cell in quotes"
    return replace(row, problem=row.problem or told)


def _ends_in_backslash(line: str) -> bool:
    return "\\" in line and line.rstrip("\r\n").endswith("\\")


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
    told = f"line {record.line} has {len(record.cells)} fields where the header has {len(header)}"
    if not style.quotes and any('"' in cell for cell in record.cells):
        told += "; quotes are text in this TSV file, so that a cell holds no tab or line end: write CSV for such cells"
    return told


# -- the records ---------------------------------------------------------------------------------------------------


def _plain(lines: Iterable[str], first: int) -> Iterator[Record]:
    """A record a line, parted by tabs."""
    ends = _Ends()
    for place, line in enumerate(lines, first):
        yield Record(
            line.rstrip("\r\n").split("\t"), place, ends.problem(line, place), is_open=_ends_in_backslash(line)
        )


def _quoted(name: str, lines: Iterator[str], delimiter: str, first: int, *, is_whole: bool = True) -> Iterator[Record]:
    """Records as RFC 4180 has them. After one that breaks its rules, reading goes on at its second line.

    `is_whole`: a quote that is open at the end is a PlanError; else the lines are the beginning of more.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LARGEST_CELL))
    taken: list[str] = []
    again: deque[str] = deque()
    reader = csv.reader(_fed(lines, taken, again), delimiter=delimiter, strict=True)
    line, ends, quotes = first, _Ends(), _Quotes(name)
    while True:
        taken.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error):
                if is_whole:
                    raise PlanError(_never_closed(name, line)) from error
                return
            if "field limit" in str(error):
                told = f"{name} can't be read from line {line} on: {error}; look for a quote never closed"
                raise PlanError(told) from error
            yield Record([], line, quotes.broken(taken, line), is_broken=True)
            again.extendleft(reversed(taken[1:]))
            line += 1
        else:
            shown = [cell.replace(_STAND_IN, "\0") for cell in cells] if _STAND_IN_NEEDED else cells
            problem = ends.problem(taken[-1], line + len(taken) - 1) or quotes.misplaced(cells, taken, line)
            yield Record(shown, line, problem, is_open=_ends_in_backslash(taken[-1]))
            line += len(taken)


class _Ends:
    """How a file's lines end, by the first. Where that is a line feed, many writers leave a carriage return in a cell without
    quotes, and the other way round: whether it is the cell's, or ends the line too, can't be told."""

    def __init__(self) -> None:
        self._usual: str | None = None
        self._is_broken = False

    def problem(self, line: str, place: int) -> str | None:
        """Of the last line of a record; what follows a line that is broken in the middle is as doubtful."""
        end = next((end for end in ("\r\n", "\n", "\r") if line.endswith(end)), "")
        self._usual = self._usual or end
        was_broken, self._is_broken = self._is_broken, bool(end) and end != self._usual and "\r" in (end, self._usual)
        if was_broken or self._is_broken or (end == "\r\n" and self._usual == "\n" and line[-3:-2] != QUOTE):
            broken = place if self._is_broken or not was_broken else place - 1
            told = "a line feed" if self._usual == "\r" else "a carriage return"
            return f"line {broken} ends in {told}, and the first does not: is it the cell's? {_END_ALIKE}"
        return None


class _Quotes:
    """The quotes that break the rules. Where some follow a backslash, they may be escaped by it, as Spark and MySQL write
    them; where others don't, too, a cell may begin in one line and end in a later one, and nothing tells which."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lines: dict[str, int] = {}
        """The first line of each kind."""

    def misplaced(self, cells: list[str], lines: list[str], first: int) -> str | None:
        """The problem of the record that these lines are: quotes that don't begin their cell are text by the rules, and
        some were meant otherwise. Raises PlanError where cells can't be told from each other."""
        told = None
        raw = "".join(lines)
        if QUOTE not in raw:
            return None
        for cell in cells:
            if QUOTE not in cell and not cell.endswith("\\"):
                continue
            if f'"{cell.replace(QUOTE, QUOTE * 2)}"' in raw:
                if '\\"' in f"{cell}{QUOTE}":
                    self._note("a quote follows a backslash", first)
            elif QUOTE in cell:
                self._note(_LEFT_OVER if _UNESCAPED.search(cell) else _ESCAPED, first)
                told = told or _misplaced(cell, lines, first)
        return told

    def broken(self, lines: list[str], first: int) -> str:
        """The problem of lines that are no record. Raises PlanError as `misplaced` does."""
        self._note(_ESCAPED if any('\\"' in line for line in lines) else _LEFT_OVER, first)
        return _breach(lines, first)

    def _note(self, kind: str, line: int) -> None:
        self._lines.setdefault(kind, line)
        if len(self._lines) > 1:
            told = ", and ".join(f"in line {line} {kind}" for kind, line in self._lines.items())
            raise PlanError(
                f"{self._name}: {told}, so that its cells can't be told: write each quote doubled, as {QUOTE * 2}"
            )


_UNESCAPED = re.compile(r'(?<!\\)"')
_ESCAPED = "a backslash escapes a quote"
_LEFT_OVER = "a quote is left over"


def _misplaced(cell: str, lines: list[str], first: int) -> str | None:
    if cell.lstrip(" ")[:1] == QUOTE:
        return f"line {first} has a blank before the quote that a cell begins with: take the blank out"
    return _breach(lines, first) if '\\"' in cell else None


_END_ALIKE = "end every line alike, or put the cell in quotes"


def _fed(lines: Iterator[str], taken: list[str], again: deque[str]) -> Iterator[str]:
    """The lines, each noted in `taken`; those that are to be read again come first. Raises csv.Error for a record without
    end: where each of its cells is closed, csv goes on and on."""
    size = 0
    while (line := again.popleft() if again else next(lines, None)) is not None:
        size = len(line) + (size if taken else 0)
        if size > LARGEST_CELL:
            raise csv.Error(f"record larger than field limit ({LARGEST_CELL})")
        taken.append(line)
        yield line.replace("\0", _STAND_IN) if _STAND_IN_NEEDED else line


_STAND_IN_NEEDED = sys.version_info < (3, 11)
"""Python 3.10's csv refuses NUL, and loses its place in the file."""
_STAND_IN = "\ufdd0"
"""A code point that no text has: Unicode keeps it for uses such as this."""


def _breach(lines: list[str], first: int) -> str:
    if any('\\"' in line for line in lines):
        return f"line {first} {ESCAPES}, as Spark and MySQL do: write it doubled, as {QUOTE * 2}"
    if len(lines) > 1:
        return f'line {first} opens a quote that is not closed rightly by line {first + len(lines) - 1}: close it, or write it doubled, as ""'
    return f'line {first} has text after a closing quote: a quote inside of a cell is written doubled, as ""'


def _never_closed(name: str, line: int) -> str:
    return (
        f"{name} has a quote opened in the record at line {line} that is never closed: all that follows was"
        f" taken for one cell; close it, or write the file again if it was cut short"
    )
