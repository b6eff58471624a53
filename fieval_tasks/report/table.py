"""What a run ends with in the terminal: a table of its checks, its gates, and what is left open, wrong or new."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

from rich.console import Console
from rich.text import Text

from fieval_tasks.report.caps import CAPS
from fieval_tasks.report.figures import STATUSES
from fieval_tasks.report.listing import COLUMNS, console_of, listing, spelt, wrapped
from fieval_tasks.report.summary import Report
from fieval_tasks.report.tally import Tally
from fieval_tasks.report.text import NONE, clean, count, one_line, outwards, share
from fieval_tasks.report.words import amendment, cost, doubled, failed, known, requests, standing

_FIGURE = "pass rate [95 %]"
_FAILURES_NAMED = 3
"""Groups of failures, the largest first: a screen is for what to do next, and the report has them all."""
# Colours say nothing that the words don't.
_STYLES = {"^gate PASS": "green", "^gate FAIL": "red", "^gate UNDECIDED": "yellow"}


def table(report: Report, console: Console | None = None) -> str:
    """A line for each check (in a narrow terminal a paragraph), then what is left open, what is wrong or new, and the
    account of requests. Commands stand on lines of their own, whole: a terminal's own wrap leaves them to be copied.

    `console`: where it will be printed; None: a file of 80 columns.
    """
    console = console or console_of(StringIO(), columns=COLUMNS)
    lines = listing([_row(check) for check in report.checks.values()], console, names=("check", "model"))
    lines += [line for note in _notes(report) for line in wrapped(_line(note, console), console)]
    if doubled(report) and report.facts.explain_command:
        lines.append(f"to see one of them: {' '.join(clean(report.facts.explain_command).splitlines())}")
    return "\n".join(lines) + "\n"


def _line(note: str, console: Console) -> Text:
    line = Text(spelt(one_line(note, CAPS.long_text), console))
    for beginning, style in _STYLES.items():
        line.highlight_regex(beginning, style)
    return line


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


def _row(check: Tally) -> dict[str, str]:
    counts = {name: str(getattr(check, name)) for name in STATUSES}
    counts["not_needed"] *= check.not_needed > 0
    return {"check": check.name, "model": check.model or "", "n": str(check.total), **counts, _FIGURE: _figure(check)}


def _figure(check: Tally) -> str:
    if check.pass_rate_interval is not None:
        return f"{share(check.pass_rate)} [{', '.join(outwards(check.pass_rate_interval, 2))}]"
    return NONE if check.mean is None else f"{share(check.mean)} mean"
