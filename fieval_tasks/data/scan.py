"""Reading every row of a dataset once before anything is sent: its columns, its size, and what looks odd in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.spelling import listed
from fieval_tasks.data.cells import ESCAPES
from fieval_tasks.data.delimited import style_of
from fieval_tasks.data.files import File, Row
from fieval_tasks.data.finding import SHOWN, STDIN

# Control characters that show a wrong encoding: ESC and C1 (without U+0085, a line end on some machines).
_CONTROL = re.compile("[\x1b\x80-\x84\x86-\x9f]")


class Scan:
    """The columns, the size and the oddities of a dataset."""

    def __init__(self, name: str, files: Sequence[File], rows: Iterable[Row]) -> None:
        """Reads all rows. Raises PlanError where no row can be used."""
        self.size = 0
        """Rows, including those that can't be used."""
        self._name = name
        self._files = files
        self._columns: dict[str, None] = {}
        self._first_problem: str | None = None
        self._sizes = Counter({file.name: 0 for file in files})
        self._places: dict[str, str] = {}
        """File -> path of its rows in its document."""
        self._odd: dict[str, str] = {}
        """Kind of oddity -> a sentence about the first one."""
        for row in rows:
            self._take(row)
        if not self.size:
            raise PlanError(f"{name} is empty: it holds no rows")
        if not self._columns:
            raise PlanError(self._no_good_row())

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names, in the order in which they were first seen."""
        return tuple(self._columns)

    @property
    def notices(self) -> tuple[str, ...]:
        """How the files were read, where their names do not say it, and what looks odd in them."""
        styles = dict.fromkeys(style for file in self._files if (style := _style(file)))
        places = (
            f"{file}: its rows are the list {place!r} (another would be --rows PATH)"
            for file, place in self._places.items()
        )
        return (*self._of_files(), *styles, *places, *self._odd.values())

    def _take(self, row: Row) -> None:
        file = row.file or self._name
        self.size += 1
        self._sizes[file] += 1
        if row.problem is not None:
            self._first_problem = self._first_problem or row.problem
            if ESCAPES in row.problem:
                sentence = f"{row.problem}; other backslashes may be escapes, too: they are sent as they are"
                self._odd.setdefault(ESCAPES, sentence)
            return
        for column, value in row.values.items():
            if column not in self._columns:
                self._columns[column] = None
                self._look_at(column, f"the column {column!r}")
            if isinstance(value, str) and _may_be_odd(value):
                self._look_at(value, f"row {row.number}: {column!r}")
        if row.place is not None:
            self._places[file] = row.place

    def _look_at(self, text: str, place: str) -> None:
        """Note signs of a wrong encoding or of escaped text: other cells may be affected too."""
        if found := _CONTROL.search(text):
            is_terminal = found[0] == "\x1b"
            kind = (
                "text in ISO-2022, or of a terminal," if is_terminal else "text in CP1252 that was converted as Latin-1"
            )
            sentence = f"{place} holds the control character U+{ord(found[0]):04X}, and others may: {kind} looks so"
            self._odd.setdefault(kind, f"{sentence}; it is sent as it is")
        elif text == r"\N":
            sentence = f"{place} is {text}, as MySQL and PostgreSQL write a null, and others may be"
            self._odd.setdefault(text, f"{sentence}: it is sent as it is")

    def _of_files(self) -> Iterator[str]:
        """A notice on which rows come from which file, where there are several files."""
        if len(self._sizes) > 1:
            sizes = listed((f"{name} ({size:,})" for name, size in self._sizes.items()), SHOWN)
            yield f"{len(self._sizes)} files are read as one, in this order, with so many rows each: {sizes}"

    def _no_good_row(self) -> str:
        why = self._first_problem or "they are empty objects"
        problem = f"none of the {self.size} rows of {self._name} can be used ({why}, for one)"
        file_format = self._files[0].format
        if file_format != "jsonl":
            return f"{problem}; is it {file_format.upper()}?"
        if self._name == STDIN:
            return f"{problem}; standard input is read as JSONL, one object a line, unless --format says otherwise"
        return f"{problem}; is it JSONL, one object a line? an array, or objects of several lines, are read by --format json"


def _may_be_odd(text: str) -> bool:
    """A quick test that excludes most texts (ASCII without backslashes): searching each would cost as much as reading it."""
    return not text.isascii() or "\x1b" in text or text == r"\N"


def _style(file: File) -> str | None:
    if file.format not in ("csv", "tsv"):
        return None
    style = style_of(file)
    return None if style.is_usual(file.format) else f"{file.name}: its {style}"
