"""The table that a run ends with in the terminal: plain text, at most 80 columns."""

from __future__ import annotations

from textwrap import wrap

from fieval_tasks.report.summary import CheckCounts, CheckSummary, Report
from fieval_tasks.report.text import NONE, fit, one_line, outwards, share, width
from fieval_tasks.report.words import amendment, doubled, gate_said, known, requests, standing

COLUMNS = 80
_GAP = "  "
_NARROWEST = 8
_NAME_LIMIT = 60


def table(report: Report) -> str:
    """A line for each check, then what is left open, what is wrong or new, and the account of requests."""
    rows = [_row(name, check, report.counts[name]) for name, check in report.summary.checks.items()]
    gates = map(gate_said, report.summary.gates)
    notes = [*_left_open(report), *gates, *report.findings, *_new(report)]
    notes += [standing(report), f"requests: {requests(report)}"]
    return "\n".join((*_grid(rows), *_wrapped([*notes, *_doubled(report)]))) + "\n"


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


def _doubled(report: Report) -> list[str]:
    told, explain = doubled(report), report.facts.explain_command
    return [f"{told} To see one of them: {explain}" if explain else told] if told else []


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


def _grid(rows: list[dict[str, str]]) -> list[str]:
    """The rows under a heading, without the columns that nobody fills, the names cut to what room there is."""
    if not rows:
        return []
    shown = [name for name in rows[0] if any(row[name] for row in rows)]
    widths = {name: max(width(name), *(width(row[name]) for row in rows)) for name in shown}
    for name in ("model", "check"):
        if name in widths:
            spare = COLUMNS - sum(widths.values()) - len(_GAP) * (len(widths) - 1)
            widths[name] = max(min(widths[name], _NARROWEST), widths[name] + min(spare, 0))
    return [_line(row, widths) for row in ({name: name for name in shown}, *rows)]


def _line(row: dict[str, str], widths: dict[str, int]) -> str:
    numbers = ("n", "scored", "failed", "pending", "skipped")
    cells = [row[name].rjust(size) if name in numbers else fit(row[name], size) for name, size in widths.items()]
    return _GAP.join(cells).rstrip()


def _wrapped(notes: list[str]) -> list[str]:
    return [line for note in notes for line in wrap(one_line(note, 400), COLUMNS, subsequent_indent="  ")]
