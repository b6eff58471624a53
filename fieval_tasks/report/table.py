"""The table that a run ends with in the terminal: no wider than the terminal, and than 80 columns."""

from __future__ import annotations

import io
from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fieval_tasks.report.caps import CAPS
from fieval_tasks.report.figures import STATUSES
from fieval_tasks.report.summary import Report
from fieval_tasks.report.tally import Tally
from fieval_tasks.report.text import NONE, clean, count, one_line, outwards, share
from fieval_tasks.report.words import amendment, cost, doubled, failed, known, requests, standing

COLUMNS = 80
# Columns below which nothing is made to fit: no terminal is as narrow.
NARROWEST = 20
_NAMES = ("check", "model")
_FIGURE = "pass rate [95 %]"
_GAP = 2
_FAILURES_NAMED = 3
"""Groups of failures, the largest first: a screen is for what to do next, and the report has them all."""
_SHORTEST_NAME = (
    8  # columns, as many as tell most names apart: before the table becomes paragraphs, names are cut to that
)


def table(report: Report, columns: int = COLUMNS) -> str:
    """A line for each check (in a narrow terminal a paragraph), then what is left open, what is wrong or new, and the
    account of requests. Commands stand on lines of their own, whole: a terminal's own wrap leaves them to be copied.
    """
    console = Console(file=io.StringIO(), width=max(NARROWEST, min(columns, COLUMNS)), color_system=None)
    lines = [*_checks(report, console), *(line for note in _notes(report) for line in _wrapped(note, console))]
    if doubled(report) and report.facts.explain_command:
        lines.append(f"to see one of them: {' '.join(clean(report.facts.explain_command).splitlines())}")
    return "\n".join(lines) + "\n"


def _notes(report: Report) -> Iterator[str]:
    for check in report.checks.values():
        if check.scored < check.total or check.evaluations < check.scored:
            yield f"{one_line(check.name, 24)}: {known(check)}"
    yield from map(failed, report.failures[:_FAILURES_NAMED])
    if others := report.failures[_FAILURES_NAMED:]:
        yield f"{count(sum(group.count for group in others), 'item')} more failed for other reasons, which the report names"
    for name, correction in report.corrections.items():
        yield f"{one_line(name, 24)}: {correction.sentence}"
    yield from (gate.sentence for gate in report.gates)
    yield from report.changes.values()
    yield from (f"note: {notice}" for notice in (report.comparison.notices if report.comparison else ()))
    yield from report.findings
    yield from (f"note: {notice}" for notice in report.facts.news)
    if report.is_amended:
        yield f"amended: {amendment(report.amendments[-1])}"
    yield standing(report)
    yield f"requests: {requests(report)}"
    if paid := cost(report):
        yield f"cost: {paid}"
    if double := doubled(report):
        yield double


def _checks(report: Report, console: Console) -> list[str]:
    """The rows under a heading, without the columns that nobody fills; or paragraphs, where that would be too wide."""
    rows = [_row(check) for check in report.checks.values()]
    drawn = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="")
    narrowest = -_GAP
    for name in [name for name in rows[0] if any(row[name] for row in rows)] if rows else ():
        width = max(cell_len(text) for text in (name, *(row[name] for row in rows)))
        least = min(width, _SHORTEST_NAME) if name in _NAMES else width  # a number that is cut would be another one
        narrowest += least + _GAP
        is_text = name in (*_NAMES, _FIGURE)
        drawn.add_column(
            name, justify="left" if is_text else "right", min_width=least, no_wrap=least == width, overflow="ellipsis"
        )
    if narrowest > console.width:
        return [line for row in rows for line in _paragraph(row, console)]
    for row in rows:
        drawn.add_row(*(Text(row[str(column.header)]) for column in drawn.columns))
    with console.capture() as captured:
        console.print(drawn)
    return [line.rstrip() for line in captured.get().splitlines()] if rows else []


def _row(check: Tally) -> dict[str, str]:
    names = {"check": one_line(check.name, 60), "model": one_line(check.model or "", 60)}
    counts = {name: str(getattr(check, name)) for name in STATUSES}
    counts["not_needed"] *= check.not_needed > 0
    return {**names, "n": str(check.total), **counts, _FIGURE: _figure(check)}


def _figure(check: Tally) -> str:
    if check.pass_rate_interval is not None:
        return f"{share(check.pass_rate)} [{', '.join(outwards(check.pass_rate_interval, 2))}]"
    return NONE if check.mean is None else f"{share(check.mean)} mean"


def _paragraph(row: dict[str, str], console: Console) -> Iterator[str]:
    counts = ", ".join(f"{row[name]} {name}" for name in STATUSES if row[name] not in ("0", ""))
    yield from _wrapped(" by ".join(row[name] for name in _NAMES if row[name]), console)
    for text in (f"{row['n']} items: {counts}", f"{_FIGURE}: {row[_FIGURE]}"):
        yield from _wrapped(text, console, first="  ")


def _wrapped(note: str, console: Console, *, first: str = "") -> Iterator[str]:
    """The note's lines, those after the first indented. They are parted at blanks: an option cut at its dashes is another."""
    indent, left = first, one_line(note, CAPS.long_text)
    while left:
        line = Text(left).wrap(console, console.width - len(indent))[0].plain
        yield indent + line.rstrip()
        indent, left = f"{first}  ", left[len(line) :].lstrip()
