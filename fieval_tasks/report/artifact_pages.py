"""The report as the texts of Prefect's artifacts: a page of the run, and one of each check with its history."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from markupsafe import Markup

from fieval_tasks.core.gates import Gate, GateVerdict
from fieval_tasks.core.items import Result
from fieval_tasks.report.caps import CAPS, Caps
from fieval_tasks.report.pages import BREAK, environment, fenced, inert
from fieval_tasks.report.past_runs import PastRuns
from fieval_tasks.report.record import value_text
from fieval_tasks.report.summary import GateOutcome, Report
from fieval_tasks.report.text import count, one_line, share
from fieval_tasks.report.words import known


def run_page(report: Report, past: Mapping[str, PastRuns], *, caps: Caps = CAPS) -> str:
    """The page of the whole run: report.md with each check's trend, and its failures folded."""
    trends = [(name, runs) for name, runs in past.items() if runs.chart]
    worst = {name: _lowest(report, name)[: caps.worst_in_markdown] for name in report.checks}
    shown = {"worst": caps.worst_in_markdown, "lowest": worst, "trends": trends, "groups": report.page.reasons.found}
    return _drawn("artifact.md.j2", report=report, caps=caps, **shown)


def check_page(report: Report, name: str, past: PastRuns, *, caps: Caps = CAPS) -> str:
    """The page of one check: how it stands, its trend and why its items failed."""
    gates = gates_of(report, name)
    groups = [group for group in report.page.reasons.found if group.check == name]
    return _drawn(
        "artifact_of_check.md.j2",
        report=report,
        caps=caps,
        check=report.checks[name],
        known=known,
        verdict=_verdict(report, name),
        gates=gates,
        change=report.changes.get(name),
        past=past,
        groups=groups,
        lowest=_lowest(report, name),
    )


def check_standing(report: Report, name: str) -> str:
    """`0.912 of 1,000, FAIL`: what the list of an artifact's versions shows of each."""
    tally = report.checks[name]
    figure = tally.mean if tally.pass_rate is None else tally.pass_rate
    gate = verdict_of_gates(gates_of(report, name))
    return f"{share(figure)} over {count(tally.scored, 'verdict')} of {tally.total:,}" + (f", {gate}" if gate else "")


def _verdict(report: Report, name: str) -> str:
    """That of the check's gates, or else its figure."""
    tally = report.checks[name]
    figure = f"mean {share(tally.mean)}" if tally.pass_rate is None else f"pass rate {share(tally.pass_rate)}"
    return verdict_of_gates(gates_of(report, name)) or figure


def gates_of(report: Report, check: str) -> list[GateOutcome]:
    return [outcome for outcome in report.gates if Gate.parse(outcome.gate).check == check]


def verdict_of_gates(gates: list[GateOutcome]) -> str:
    """The worst verdict of a check's gates, in capitals; empty where it has none."""
    found = {outcome.verdict for outcome in gates}
    worst_first = (GateVerdict.FAIL, GateVerdict.UNDECIDED, GateVerdict.PASS)
    return next((verdict.value for verdict in worst_first if verdict.value in found), "")


def _lowest(report: Report, check: str) -> list[Result]:
    """The lowest scores; failed verdicts stand under their reasons."""
    return [result for result in report.checks[check].examples.worst if result.passed is not False]


def why(result: Result) -> str:
    """The judge's reason, the error's message, or at least the verdict."""
    return result.reason or (result.error or {}).get("message") or value_text(result.value) or ""


def tagless(text: str, limit: int) -> Markup:
    """The text in a line of HTML. Prefect's older UI shows the numbers of entities as they are written: a quote stays."""
    written = escape(one_line(text, limit), quote=False)
    return Markup(written.replace("://", f":{BREAK}//").replace("@", f"@{BREAK}").replace("www.", f"www{BREAK}."))


def _drawn(template: str, **named: Any) -> str:
    """Every text of the report passes through `inert`, as in report.md, or through `tagless`."""
    page = environment(inert, fenced).get_template(template)
    return page.render(**named, drawn=_mermaid, tagless=tagless, why=why)


def _mermaid(chart: str) -> Markup:
    return Markup(f"```mermaid\n{chart}\n```")
