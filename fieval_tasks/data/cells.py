"""The records of delimited text. A record whose cells are ambiguous carries a problem with its line and the reason."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fieval_tasks.core.errors import PlanError
from fieval_tasks.data.files import File

QUOTE = '"'
ESCAPES = "escapes a quote by a backslash"
# The part of a line that belongs to a quoted cell, up to the closing quote.
_INSIDE = re.compile(r'[^"]*(?:""[^"]*)*')
_UNESCAPED = re.compile(r'(?<!\\)"')
_ESCAPED = "a backslash escapes a quote"
_LEFT_OVER = "a quote is left over"
_END_ALIKE = "end every line alike, or put the cell in quotes"


@dataclass
class Record:
    """One record: its lines and cells, or the problem that makes the cells ambiguous."""

    line: int
    """The file's line where the record begins, from 1."""
    cells: list[str] = field(default_factory=list)
    """The cells' texts, without their quotes."""
    lines: list[str] = field(default_factory=list)
    """The lines as they are in the file."""
    quoted: set[int] = field(default_factory=set)
    """Indexes of the cells that are in quotes."""
    problem: str | None = None
    """Why the cells are ambiguous, with the line."""
    inside: list[str] | None = None
    """The parts of a quoted cell that is not closed yet; None outside of quotes."""
    is_broken: bool = False
    """Text follows the quote that closes a cell, against RFC 4180."""

    @property
    def ends_in_backslash(self) -> bool:
        """Whether the last, unquoted cell ends in a backslash: MySQL escapes a line end so."""
        last = self.lines[-1]
        return "\\" in last and last.rstrip("\r\n").endswith("\\")

    def take(self, line: str, delimiter: str) -> None:
        """Add the cells of the record's next line."""
        self.lines.append(line)
        at, end = 0, len(line.rstrip("\r\n"))
        while True:
            if self.inside is None and line.startswith(QUOTE, at):
                self.inside, at = [], at + 1
            if self.inside is None:
                stop = line.find(delimiter, at, end)
                stop = end if stop < 0 else stop
                self.cells.append(line[at:stop])
            else:
                found = _INSIDE.match(line, at)
                assert found is not None, "it matches no character, too"
                self.inside.append(found[0])
                if found.end() == len(line):
                    return  # the cell goes on in the next line
                self.quoted.add(len(self.cells))
                self.cells.append("".join(self.inside).replace(QUOTE * 2, QUOTE))
                self.inside, stop = None, found.end() + 1
            self.is_broken = stop < end and not line.startswith(delimiter, stop)
            if stop >= end or self.is_broken:
                return
            at = stop + 1


def plain_records(lines: Iterable[str], first: int) -> Iterator[Record]:
    """A record a line, its cells separated by tabs; a quote is a character like others."""
    ends = _Ends()
    for place, line in enumerate(lines, first):
        yield Record(place, line.rstrip("\r\n").split("\t"), [line], problem=ends.problem(line, place))


def quoted_records(
    file: File, lines: Iterator[str], delimiter: str, first: int, *, is_whole: bool = True
) -> Iterator[Record]:
    """Records by RFC 4180. After a record that breaks its rules, reading goes on at that record's second line.

    `is_whole`: the lines are the whole file, so a quote that is still open at the end raises PlanError.
    """
    again: deque[str] = deque()
    coming = iter(lambda: again.popleft() if again else next(lines, None), None)
    ends, quotes = _Ends(), _Quotes(file.name)
    place = first
    for line in coming:
        record = Record(place)
        if QUOTE in line:
            record.take(line, delimiter)
            _take_until_closed(record, coming, delimiter, file, is_whole=is_whole)
        else:  # faster, and most lines
            text = line.rstrip("\r\n")
            record.lines, record.cells = [line], text.split(delimiter) if text else []
        if record.inside is not None:
            return
        if record.is_broken:
            record.problem = quotes.broken(record)
            again.extendleft(reversed(record.lines[1:]))
            place += 1
        else:
            place += len(record.lines)
            record.problem = ends.problem(record.lines[-1], place - 1) or quotes.misplaced(record)
        yield record


def _take_until_closed(record: Record, coming: Iterator[str], delimiter: str, file: File, *, is_whole: bool) -> None:
    """Add lines until the quoted cell is closed. Raises PlanError where it is longer than the bound, or never closed in a
    whole file."""
    size = len(record.lines[0])
    while record.inside is not None and (line := next(coming, None)) is not None:
        size += len(line)
        if size > file.longest:
            raise PlanError(
                f"{file.name} can't be read from line {record.line} on: record larger than field limit ({file.longest}); "
                "look for a quote never closed"
            )
        record.take(line, delimiter)
    if record.inside is not None and is_whole:
        raise PlanError(
            f"{file.name} has a quote opened in the record at line {record.line} that is never closed: all that follows was"
            f" taken for one cell; close it, or write the file again if it was cut short"
        )


class _Ends:
    """The line end of a file, by its first line. Another line end later on is ambiguous: many writers leave a carriage
    return in an unquoted cell of a file with line feeds, and the other way round."""

    def __init__(self) -> None:
        self._usual: str | None = None
        self._is_broken = False

    def problem(self, line: str, place: int) -> str | None:
        """The problem of a record whose last line ends otherwise; the line after it is as doubtful."""
        end = next((end for end in ("\r\n", "\n", "\r") if line.endswith(end)), "")
        self._usual = self._usual or end
        was_broken, self._is_broken = self._is_broken, bool(end) and end != self._usual and "\r" in (end, self._usual)
        if was_broken or self._is_broken or (end == "\r\n" and self._usual == "\n" and line[-3:-2] != QUOTE):
            broken = place if self._is_broken or not was_broken else place - 1
            end_found = "a line feed" if self._usual == "\r" else "a carriage return"
            return f"line {broken} ends in {end_found}, and the first does not: is it the cell's? {_END_ALIKE}"
        return None


class _Quotes:
    """Quotes that break RFC 4180. Spark and MySQL escape a quote by a backslash: where a file has such quotes and others
    that break the rules, the ends of its cells are ambiguous and the file is refused."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lines: dict[str, int] = {}
        """Kind of breach -> the first line that has it."""

    def misplaced(self, record: Record) -> str | None:
        """The problem of a record with quotes inside of unquoted cells: they are text by the rules, and may be meant
        otherwise. Raises PlanError where the file's cells are ambiguous."""
        problem = None
        for place, cell in enumerate(record.cells):
            if place in record.quoted:
                if '\\"' in cell + QUOTE:
                    self._note("a quote follows a backslash", record.line)
            elif QUOTE in cell:
                self._note(_LEFT_OVER if _UNESCAPED.search(cell) else _ESCAPED, record.line)
                problem = problem or _misplaced(cell, record)
        return problem

    def broken(self, record: Record) -> str:
        """The problem of lines that break the rules for quotes. Raises PlanError as `misplaced` does."""
        self._note(_ESCAPED if any('\\"' in line for line in record.lines) else _LEFT_OVER, record.line)
        return _breach(record)

    def _note(self, kind: str, line: int) -> None:
        self._lines.setdefault(kind, line)
        if len(self._lines) > 1:
            places = ", and ".join(f"in line {line} {kind}" for kind, line in self._lines.items())
            raise PlanError(
                f"{self._name}: {places}, so that its cells can't be told: write each quote doubled, as {QUOTE * 2}"
            )


def _misplaced(cell: str, record: Record) -> str | None:
    if cell.lstrip(" ")[:1] == QUOTE:
        return f"line {record.line} has a blank before the quote that a cell begins with: take the blank out"
    return _breach(record) if '\\"' in cell else None


def _breach(record: Record) -> str:
    first, last = record.line, record.line + len(record.lines) - 1
    if any('\\"' in line for line in record.lines):
        return f"line {first} {ESCAPES}, as Spark and MySQL do: write it doubled, as {QUOTE * 2}"
    if last > first:
        return f'line {first} opens a quote that is not closed rightly by line {last}: close it, or write it doubled, as ""'
    return f'line {first} has text after a closing quote: a quote inside of a cell is written doubled, as ""'
