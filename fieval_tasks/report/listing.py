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
    shown = [{name: _shown(text, console) for name, text in row.items()} for row in rows]
    columns = [name for name in shown[0] if any(row[name].plain for row in shown)] if shown else []
    drawn = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="")
    narrowest = -_GAP
    for name in columns:
        cells = [row[name] for row in shown]
        width = max(cell_len(name), *(cell.cell_len for cell in cells))
        least = min(width, _SHORTEST_NAME) if name in names else width
        narrowest += least + _GAP
        drawn.add_column(
            name,
            justify="left" if name in names or any(" " in cell.plain for cell in cells) else "right",
            min_width=least,
            no_wrap=least == width,  # rich only narrows columns that it may wrap
            overflow="crop" if console.options.ascii_only else "ellipsis",
        )
    if narrowest > console.width:
        return [line for row in shown for line in _paragraph({name: row[name] for name in columns}, names, console)]
    for row in shown:
        drawn.add_row(*(row[name] for name in columns))
    return printed(drawn, console) if shown else []


def printed(what: Table | Text, console: Console) -> list[str]:
    """The lines that the console would show of it, with its colours."""
    with console.capture() as captured:
        console.print(what)
    return [line.rstrip() for line in captured.get().splitlines()]


def _shown(text: str | Text, console: Console) -> Text:
    words = one_line(str(text), _LONGEST_NAME)
    if words == NONE and console.options.ascii_only:
        words = "-"
    return Text.assemble((words, text.style if isinstance(text, Text) else ""))  # the blanks beside it have no style


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
