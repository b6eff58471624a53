"""A table in a terminal: what every command that lists something prints."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TextIO, TypeAlias

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fieval_tasks.report.text import NONE, one_line

NARROWEST = 20
"""Columns below which nothing is made to fit: no terminal is as narrow."""
COLUMNS = 80
"""Of sentences in a log."""
WIDEST = 120
"""Columns of sentences at most: longer lines are hard to follow."""
# In a file or a pipe no name is cut, so that `| grep NAME` finds it.
_UNBOUNDED = 10_000
_GAP = 2
_SHORTEST_NAME = 8
"""Columns, as many as tell most names apart: before the table becomes paragraphs, names are cut to that."""
_LONGEST_NAME = 60

Row: TypeAlias = Mapping[str, "str | Text"]
"""Column -> its text, or one with a style, such as `Text("FAIL", style="red")`. All rows have the same columns."""


def console_of(stream: TextIO, *, columns: int | None = None) -> Console:
    """The terminal that the stream is, as rich sees it: with colours where it has some, NO_COLOR says nothing against them and
    it is not TERM=dumb; a file or a pipe has none, unless FORCE_COLOR asks for them. `columns`: another width than its own.
    """
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    if columns is None:
        columns = console.width if stream.isatty() else _UNBOUNDED
    console.width = max(NARROWEST, columns)
    return console


def listing(rows: Sequence[Row], console: Console, *, names: Collection[str] = ()) -> list[str]:
    """The rows under a heading, as lines no wider than the console; where no table is narrow enough, a paragraph for each row.

    `names`: the columns of texts, which are cut where there is little room. All others are figures, and never cut: a number
    without its end is another one; they stand on the right, those of several words on the left. Columns that nobody fills are
    left out. Texts are cleaned here. How a command prints it:

        console = console_of(sys.stdout)
        print(*listing([{"run": one.run_id, "scored": f"{one.scored:,}"} for one in found], console, names=["run"]), sep="\\n")
    """
    cells = _cells(rows, console)
    drawn = _drawn(cells, console, names)
    if drawn is None:
        return [line for row in cells for line in _paragraph(row, names, console)]
    return printed(drawn, console) if rows else []


def table_of(rows: Sequence[Row], console: Console, *, names: Collection[str] = ()) -> Table | None:
    """The same as something that rich draws; None where the console is too narrow for a table."""
    return _drawn(_cells(rows, console), console, names)


def _cells(rows: Sequence[Row], console: Console) -> list[dict[str, Text]]:
    """The texts to be shown, of the columns that somebody fills."""
    shown = [{name: _shown(text, console) for name, text in row.items()} for row in rows]
    filled = {name for row in shown for name, text in row.items() if text.plain}
    return [{name: text for name, text in row.items() if name in filled} for row in shown]


def _drawn(rows: Sequence[Mapping[str, Text]], console: Console, names: Collection[str]) -> Table | None:
    drawn = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="")
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    widths = {name: max(cell_len(name), *(cell.cell_len for cell in cells)) for name, cells in columns.items()}
    room = console.width - _GAP * (len(widths) - 1)
    while sum(widths.values()) > room:
        widest = max((name for name in widths if name in names), key=widths.__getitem__, default=None)
        if widest is None or widths[widest] <= max(_SHORTEST_NAME, cell_len(widest)):
            return None
        widths[widest] -= 1
    for name, cells in columns.items():
        is_left = name in names or any(" " in cell.plain for cell in cells)
        drawn.add_column(name, justify="left" if is_left else "right", no_wrap=True)
        for cell in cells:
            cut_to(widths[name], cell, console)
    for row in rows:
        drawn.add_row(*row.values())
    return drawn


def cut_to(columns: int, text: Text, console: Console) -> Text:
    """The text, cut to so many columns, with a sign of it where the console has one."""
    text.truncate(columns, overflow="crop" if console.options.ascii_only else "ellipsis")
    return text


def printed(what: Table | Text, console: Console) -> list[str]:
    """The lines that the console would show of it, with its colours."""
    with console.capture() as captured:
        console.print(what)
    return [line.rstrip() for line in captured.get().splitlines()]


def _shown(text: str | Text, console: Console) -> Text:
    words = sentence(str(text), console, _LONGEST_NAME).plain
    return Text.assemble((words, text.style if isinstance(text, Text) else ""))  # the blanks beside it have no style


def sentence(text: str, console: Console, limit: int) -> Text:
    """The text cleaned, on one line of at most so many characters, in letters that the console has."""
    return Text(spelt(one_line(text, limit), console))


def spelt(text: str, console: Console) -> str:
    """The text in letters that the console has, as wide as they will be: `\\xf6` for an o with dots where it has ASCII only."""
    if text.isascii() or not console.options.ascii_only:
        return text
    return text.translate(_IN_ASCII).encode(console.encoding, "backslashreplace").decode(console.encoding)


_IN_ASCII = {ord(NONE): "-", ord("\u2026"): "..."}


def _paragraph(row: Mapping[str, Text], names: Collection[str], console: Console) -> Iterator[str]:
    """`RUN, DATASET`, and below it `scored 60, failed 2`."""
    filled = {name: text for name, text in row.items() if text.plain}
    called = [text for name, text in filled.items() if name in names]
    said = [Text.assemble(f"{name} ", text) for name, text in filled.items() if name not in names]
    if called:
        yield from wrapped(Text(", ").join(called), console)
    yield from wrapped(Text(", ").join(said), console, first="  " if called else "")


def wrapped(text: Text, console: Console, *, first: str = "") -> Iterator[str]:
    """The text's lines, those after the first indented. They are parted at blanks: an option cut at its dashes is another."""
    indent = first
    while text.plain:
        line = text.wrap(console, console.width - len(indent))[0]
        text = text[len(line.plain) :]
        text = text[len(text.plain) - len(text.plain.lstrip()) :]
        line.rstrip()
        yield from printed(Text(indent) + line, console)
        indent = f"{first}  "
