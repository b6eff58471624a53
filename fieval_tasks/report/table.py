"""What a run ends with in the terminal: a table of its checks, its gates, and what is left open, wrong or new."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

from rich.console import Console
from rich.text import Text

from fieval_tasks.report.caps import CAPS
from fieval_tasks.report.figures import STATUSES
from fieval_tasks.report.listing import COLUMNS, console_of, listing, sentence, wrapped
from fieval_tasks.report.reasons import ReasonGroup
from fieval_tasks.report.summary import Report
from fieval_tasks.report.tally import Tally
from fieval_tasks.report.text import FIGURE, clean, count, figure, one_line
from fieval_tasks.report.words import amendment, cost, doubled, known, requests, standing

_NAMED = 3
"""Groups of reasons, the largest first: a screen is for what to do next, and the report has them all."""
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
    lines += _next(report)
    return "\n".join(lines) + "\n"


def _next(report: Report) -> Iterator[str]:
    """The command that explains an item, where there is one to be explained."""
    explain = " ".join(clean(report.facts.explain_command or "").splitlines())
    if explain and doubled(report):
        yield f"to see one of them: {explain}"
    elif explain and report.page.failures:
        yield f"to see the first that did not pass: {explain.removesuffix('ITEM')}row:{report.page.failures[0].row}"


def _line(note: str, console: Console) -> Text:
    line = sentence(note, console, CAPS.long_text)
    for beginning, style in _STYLES.items():
        line.highlight_regex(beginning, style)
    return line


def _notes(report: Report) -> Iterator[str]:
    for check in report.checks.values():
        if check.scored < check.total or check.evaluations < check.scored:
            yield f"{one_line(check.name, 24)}: {known(check)}"
    yield from _reasons(report.failures, "ended without a verdict")
    yield from _reasons([group for group in report.page.reasons.found if not group.kind], "did not pass")
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
    yield f"requests: {requests(report.facts.requests)}"
    if report.facts.cost:
        yield f"cost: {cost(report.facts.cost)}"
    if double := doubled(report):
        yield double


def _reasons(groups: list[ReasonGroup], did: str) -> Iterator[str]:
    """Why items `did` so, with the first one's words: `tone: 2 items ended without a verdict (blank): row 18: 'output' is blank`."""
    named = [group for group in groups if group.text or (group.kind and not group.is_rest)][:_NAMED]
    for group in named:
        kind = f" ({group.kind})" if group.kind else ""
        yield f"{one_line(group.check, 24)}: {count(group.count, 'item')} {did}{kind}: {one_line(group.text, CAPS.short_text)}"
    if others := sum(group.count for group in groups if group not in named):
        yield f"{count(others, 'item')} more {did} for other reasons, which the report names"


def _row(check: Tally) -> dict[str, str]:
    counts = {name: str(getattr(check, name)) for name in STATUSES}
    counts["not_needed"] *= check.not_needed > 0
    found = figure(check.pass_rate, check.pass_rate_interval, check.mean)
    return {"check": check.name, "model": check.model or "", "n": str(check.total), **counts, FIGURE: found}
