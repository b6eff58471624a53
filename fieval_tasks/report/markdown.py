"""The report as GitHub-flavoured Markdown: a job summary, a pull-request comment, a Prefect artifact."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from fieval_tasks.core.items import Result
from fieval_tasks.report.record import value_text
from fieval_tasks.report.summary import Report
from fieval_tasks.report.text import NONE, between, clean, count, duration, moment, one_line, share
from fieval_tasks.report.words import amendment, belief, doubled, headline, requests, standing

WORST_SHOWN = 5
_CELL = 200
_BREAK = "\u200b"
"""A space of no width, as the character: what is joined on both sides of it is no address, mention or issue to those who
look for these in the text. Prefect's older UI shows the numbers of entities as they are written."""
_WRITTEN = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    ":": f":{_BREAK}",
    ".": f"{_BREAK}.",
    "@": f"\\@{_BREAK}",
    "#": f"\\#{_BREAK}",
}
_SPECIAL = re.compile(r"[\\`*_\[\]~$^]|(?<=www)\.|[&<>|@#]|:(?=//)", re.IGNORECASE)
_BEGIN = re.compile(r"^(?:(?=[-+=])|(\d{1,9})(?=[.)](?:\s|$)))")
"""Where a line would begin a list or a rule."""


def markdown(report: Report, *, worst: int = WORST_SHOWN) -> str:
    """The whole report; `worst` rows of each check are shown."""
    parts = (
        [f"# {headline(report)}: {inert(report.summary.run_id)}", f"**{standing(report)}.**"],
        [f"> **Note:** {inert(notice, 600)}" for notice in report.notices],
        _gates(report),
        _amended(report),
        _checks(report),
        _failures(report),
        _worst(report, worst),
        _pending(report),
        _doubled(report),
        _what_was_run(report),
    )
    return "\n\n".join(block for part in parts for block in part) + "\n"


def inert(text: str, limit: int = _CELL) -> str:
    """The text on one line, saying nothing to a Markdown reader: no markup, no HTML, no cell border, no link.

    GitHub and both of Prefect's UIs show it as it was.
    """
    written = _SPECIAL.sub(lambda found: _WRITTEN.get(found[0], "\\" + found[0]), one_line(text, limit))
    return _BEGIN.sub(r"\1\\", written)


def _gates(report: Report) -> list[str]:
    rows = [(inert(gate.gate), inert(gate.verdict), inert(gate.sentence)) for gate in report.summary.gates]
    return _section("Gates", ("gate", "verdict", "what was found"), rows)


def _checks(report: Report) -> list[str]:
    rows = [
        (
            inert(name),
            inert(check.model or NONE),
            str(check.n),
            str(check.scored),
            str(report.counts[name].failed),
            str(report.counts[name].pending),
            _share(check.pass_rate),
            between(check.pass_rate_interval, "to") if check.pass_rate_interval else NONE,
            _share(check.mean),
        )
        for name, check in report.summary.checks.items()
    ]
    heads = ("check", "model", "items", "scored", "failed", "pending", "pass rate", "95 % interval", "mean")
    said = "\n".join(
        f"- **{inert(name)}**: {inert(belief(check), 400)}" for name, check in report.summary.checks.items()
    )
    return [*_section("Checks", heads, rows), *([said] if said else [])]


def _failures(report: Report) -> list[str]:
    rows = [
        (
            inert(group.check),
            inert(group.stage),
            inert(group.kind),
            str(group.count),
            inert(group.example),
            ", ".join(map(str, group.rows)),
        )
        for group in report.failures
    ]
    return _section("What failed", ("check", "stage", "kind", "items", "first message", "first rows"), rows)


def _worst(report: Report, shown: int) -> list[str]:
    rows = [_worst_row(result) for name in report.summary.checks for result in report.worst_of(name)[:shown]]
    return _section("Worst answers", ("check", "row", "item", "verdict", "reason", "inputs"), rows)


def _worst_row(result: Result) -> tuple[str, ...]:
    inputs = "<br>".join(f"**{inert(key, 40)}** {inert(text, 120)}" for key, text in (result.inputs or {}).items())
    verdict = "Failed" if result.passed is False else _share(result.score)
    reason = result.reason or value_text(result.value) or ""
    return inert(result.check), str(result.row), inert(result.item_id, 60), verdict, inert(reason), inputs


def _pending(report: Report) -> list[str]:
    if not report.summary.items.pending:
        return []
    waiting = count(report.summary.items.pending, "item still waits", "items still wait")
    resume = report.facts.resume_command
    return [
        "## Pending",
        f"{waiting} for a verdict." + (" To carry on:" if resume else ""),
        *([_fenced(resume)] if resume else []),
    ]


def _doubled(report: Report) -> list[str]:
    told = doubled(report)
    if not told:
        return []
    more = "" if report.names_all_lost else ", …"
    named = [f"{', '.join(inert(item, 60) for item in report.lost)}{more}"] if report.lost else []
    explain = report.facts.explain_command
    see = ["What is known of each item:", _fenced(explain)] if explain else []
    return ["## Possible duplicates", told, *named, *see]


def _amended(report: Report) -> list[str]:
    rows = [(moment(change.at), inert(amendment(change), 400)) for change in report.summary.amendments]
    return _section("Amendments", ("at", "what changed"), rows)


def _what_was_run(report: Report) -> list[str]:
    summary, facts = report.summary, report.facts
    rows = [
        ("dataset", inert(summary.dataset)),
        ("connection", inert(summary.connection)),
        ("mode", inert(summary.mode)),
        ("started", moment(summary.started_at)),
        ("took", duration(summary.wall_seconds)),
        ("requests", requests(report)),
        ("flow run", inert(summary.flow_run_id or NONE)),
        *((f"columns of {inert(check)}", _columns(mapping.items())) for check, mapping in facts.mapping.items()),
    ]
    return _section("What was run", ("", ""), rows)


def _share(value: float | None) -> str:
    return inert(share(value))


def _columns(mapping: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{inert(key)} ← {inert(column)}" for key, column in mapping)


def _section(title: str, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    lines = (heads, ("---",) * len(heads), *rows)
    return [f"## {title}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]


def _fenced(command: str) -> str:
    """The command as a code block that its own backticks can't close."""
    text = clean(command)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}sh\n{text}\n{fence}"
