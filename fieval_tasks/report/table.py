"""The table that a run ends with in the terminal: plain text, no wider than the terminal, and than 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import TextWrapper

from fieval_tasks.report.summary import CheckCounts, CheckSummary, Report
from fieval_tasks.report.text import NONE, clean, fit, one_line, outwards, share, width
from fieval_tasks.report.words import amendment, doubled, gate_said, known, requests, standing

COLUMNS = 80
NARROWEST = 20
"""Columns below which nothing is made to fit: no terminal is as narrow."""
_GAP = "  "
_NUMBERS = ("n", "scored", "failed", "pending", "skipped")
_SHORTEST_NAME = 8
_NAME_LIMIT = 60


def table(report: Report, columns: int = COLUMNS) -> str:
    """A line for each check (in a narrow terminal a paragraph), then what is left open, what is wrong or new, and the
    account of requests. Commands stand on lines of their own, whole: a terminal's own wrap leaves them to be copied.
    """
    columns = max(NARROWEST, min(columns, COLUMNS))
    rows = [_row(name, check, report.counts[name]) for name, check in report.summary.checks.items()]
    gates = map(gate_said, report.summary.gates)
    notes = [*_left_open(report), *gates, *report.findings, *_new(report)]
    notes += [standing(report), f"requests: {requests(report)}", *([told] if (told := doubled(report)) else [])]
    explain = report.facts.explain_command
    see = [f"to see one of them: {' '.join(clean(explain).splitlines())}"] if told and explain else []
    return "\n".join((*_checks(rows, columns), *_wrapped(notes, columns), *see)) + "\n"


def _left_open(report: Report) -> list[str]:
    checks = report.summary.checks.items()
    return [
        f"{one_line(name, 24)}: {known(check)}"
        for name, check in checks
        if check.scored < check.n or check.evaluations < check.scored
    ]


def _new(report: Report) -> list[str]:
    amended = [f"amended: {amendment(report.summary.amendments[-1])}"] if report.is_amended else []
    return [*(f"note: {notice}" for notice in report.facts.news), *amended]


def _row(name: str, check: CheckSummary, counts: CheckCounts) -> dict[str, str]:
    return {
        "check": one_line(name, _NAME_LIMIT),
        "model": one_line(check.model or "", _NAME_LIMIT),
        "n": str(counts.total),
        "scored": str(counts.scored),
        "failed": str(counts.failed),
        "pending": str(counts.pending),
        "skipped": str(counts.skipped or ""),
        "pass rate [95 %]": _figure(check),
    }


def _figure(check: CheckSummary) -> str:
    if check.pass_rate_interval is not None:
        return f"{share(check.pass_rate)} [{', '.join(outwards(check.pass_rate_interval, 2))}]"
    return NONE if check.mean is None else f"{share(check.mean)} mean"


def _checks(rows: list[dict[str, str]], columns: int) -> list[str]:
    """The rows under a heading, without the columns that nobody fills, the names cut to what room there is."""
    if not rows:
        return []
    shown = [name for name in rows[0] if any(row[name] for row in rows)]
    widths = {name: max(width(name), *(width(row[name]) for row in rows)) for name in shown}
    for name in ("model", "check"):
        if name in widths:
            spare = columns - sum(widths.values()) - len(_GAP) * (len(widths) - 1)
            widths[name] = max(min(widths[name], _SHORTEST_NAME), widths[name] + min(spare, 0))
    if sum(widths.values()) + len(_GAP) * (len(widths) - 1) > columns:
        return [line for row in rows for line in _paragraph(row, columns)]
    return [_line(row, widths) for row in ({name: name for name in shown}, *rows)]


def _paragraph(row: dict[str, str], columns: int) -> Iterator[str]:
    """A check where its line would be too long."""
    yield fit(" by ".join(filter(None, (row["check"], row["model"]))), columns).rstrip()
    counts = (f"{row[name]} {name}" for name in _NUMBERS[1:] if row[name] not in ("", "0"))
    told = (f"{row['n']} items: {', '.join(counts)}", f"pass rate [95 %]: {row['pass rate [95 %]']}")
    yield from (line for text in told for line in _wrapped([text], columns, indent="  "))


def _line(row: dict[str, str], widths: dict[str, int]) -> str:
    cells = [row[name].rjust(size) if name in _NUMBERS else fit(row[name], size) for name, size in widths.items()]
    return _GAP.join(cells).rstrip()


def _wrapped(notes: list[str], columns: int, *, indent: str = "") -> list[str]:
    """Each from a new line on, parted at blanks: an option that is cut at its dashes is another one."""
    wrapper = TextWrapper(columns, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False)
    return [line for note in notes for line in wrapper.wrap(one_line(note, 400))]
