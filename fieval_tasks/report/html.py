"""The report as one HTML file that needs nothing else and runs nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from html import escape

from fieval_tasks.core.errors import ExitCode
from fieval_tasks.core.items import Result
from fieval_tasks.report.css import CSS
from fieval_tasks.report.drawing import histogram, interval_bar, share_bar
from fieval_tasks.report.record import value_text
from fieval_tasks.report.summary import CheckCounts, CheckSummary, FailureGroup, Report
from fieval_tasks.report.text import NONE, clean, clip, count, duration, moment, one_line, share
from fieval_tasks.report.words import amendment, belief, doubled, headline, requests, standing

_SHORT = 180
"""Longer texts are folded away."""
_LONG = 600
"""Longer texts are cut: they stand whole in results.jsonl."""
_ROWS_OPEN = 3
_CHOICES_SHOWN = 10

# The style's own hash stands in for 'unsafe-inline': injected markup could bring neither script nor style.
_STYLE_HASH = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"


def html(report: Report) -> str:
    """The whole report. Every text that comes from outside is escaped and cleaned of control characters."""
    sections = (
        _head(report),
        _gates(report),
        _amended(report),
        _checks(report),
        _failures(report),
        _pending(report),
        _doubled(report),
        _worst(report),
        _what_was_run(report),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(one_line(report.summary.run_id, 200))}: evaluation report</title>\n<style>{CSS}</style>\n</head>\n"
        "<body>\n<main>\n"
        + "\n".join(section for section in sections if section)
        + f"\n{_footer()}\n</main>\n</body>\n</html>\n"
    )


def _head(report: Report) -> str:
    notices = "".join(f'<p class="note" role="note">{_line(notice, _LONG)}</p>' for notice in report.notices)
    summary = report.summary
    where = f"{_line(summary.dataset)} · {_line(summary.connection)} · {moment(summary.started_at)}"
    return (
        f'<header><p class="soft small">Evaluation run <b>{_line(summary.run_id)}</b></p>'
        f'<h1 class="{_mood(report)}">{headline(report)}</h1><p>{standing(report)}.</p>'
        f'<p class="soft small">{where} · took {duration(summary.wall_seconds)}</p>{notices}</header>'
    )


def _mood(report: Report) -> str:
    code = report.summary.exit_code
    if code in (ExitCode.GATE_FAILED, ExitCode.BAD_INPUT, ExitCode.STOPPED, ExitCode.UNEXPECTED):
        return "bad"
    return "wait" if code or report.summary.items.pending else ""


def _gates(report: Report) -> str:
    moods = {"passed": "good", "pass": "good", "failed": "bad", "fail": "bad"}
    rows = [
        (
            f'<code dir="ltr">{escape(one_line(gate.gate, 200, apart=True))}</code>',  # whatever script its check's name has
            f'<b class="{moods.get(gate.verdict.lower(), "wait")}">{_line(gate.verdict)}</b>',
            _line(gate.sentence),
        )
        for gate in report.summary.gates
    ]
    return _section("Gates", _table(("Gate", "Verdict", "What was found"), rows)) if rows else ""


def _checks(report: Report) -> str:
    cards = [_card(name, check, report) for name, check in report.summary.checks.items()]
    return _section("Checks", f'<div class="cards">{"".join(cards)}</div>') if cards else ""


def _card(name: str, check: CheckSummary, report: Report) -> str:
    judge = f"{_line(check.template)}, {_line(check.model)}" if check.model else _line(check.template)
    counts = _counts(report.counts[name])
    return (
        f'<section class="card"><h3>{_line(name)}</h3><p class="soft small">{judge}</p>'
        f'{_figure(name, check, report)}{counts}<p class="small">{escape(belief(check))}</p></section>'
    )


def _figure(name: str, check: CheckSummary, report: Report) -> str:
    if check.pass_rate is not None:
        bar = f'<div class="drawing bar-of">{interval_bar(check)}</div>{_scale()}'
        return f'<p class="figure">{_share(check.pass_rate)}<small>pass rate</small></p>{bar}'
    if name in report.choices:
        return _choices(report.choices[name])
    if name in report.histograms:
        drawing = f'<div class="drawing histogram">{histogram(report.histograms[name], check.mean)}</div>{_scale()}'
        return f'<p class="figure">{_share(check.mean)}<small>mean score</small></p>{drawing}'
    return f'<p class="figure soft">{NONE}<small>{"no score" if check.scored else "no verdict"}</small></p>'


def _scale() -> str:
    return '<div class="scale"><span>0</span><span>0.5</span><span>1</span></div>'


def _choices(choices: tuple[tuple[str, int], ...]) -> str:
    whole = sum(number for _, number in choices)
    shown = choices[:_CHOICES_SHOWN]
    rest = whole - sum(number for _, number in shown)
    lines = [f"<span>{_line(choice, 80)}</span>{share_bar(number, whole)}<b>{number:,}</b>" for choice, number in shown]
    lines += [f"<span>others</span>{share_bar(rest, whole)}<b>{rest:,}</b>"] if rest else []
    return f'<div class="choices">{"".join(lines)}</div>'


def _counts(counts: CheckCounts) -> str:
    moods = {"scored": "", "failed": "bad", "pending": "wait", "skipped": "soft"}
    entries = [f"<li><b>{counts.total:,}</b> {'item' if counts.total == 1 else 'items'}</li>"]
    for name, mood in moods.items():
        number = getattr(counts, name)
        if number or name == "scored":
            entries.append(f'<li class="{mood}"><b>{number:,}</b> {name}</li>')
    return f'<ul class="counts">{"".join(entries)}</ul>'


def _failures(report: Report) -> str:
    heads = ("Check", "Stage", "Kind", "#Items", "First message", "First rows")
    rows = [_failure(group) for group in report.failures]
    failed = count(report.summary.items.failed, "item")
    said = f'<p class="soft">{failed} got no verdict, and will get none unless tried again.</p>'
    return _section("What failed", said + _table(heads, rows)) if rows else ""


def _failure(group: FailureGroup) -> tuple[str, ...]:
    return (
        _line(group.check, 60),
        _line(group.stage),
        f"<code>{_line(group.kind, 60)}</code>",
        f"{group.count:,}",
        _text(group.example),
        _first_rows(group.rows, group.count),
    )


def _first_rows(rows: tuple[int, ...], of: int) -> str:
    return ", ".join(map(str, rows)) + (", …" if of > len(rows) else "")


def _pending(report: Report) -> str:
    waiting = report.summary.items.pending
    if not waiting:
        return ""
    places = [
        (_line(name, 60), f"{report.counts[name].pending:,}", _first_rows(rows, report.counts[name].pending))
        for name, rows in report.pending_rows.items()
    ]
    resume = report.facts.resume_command
    carry_on = f"<p>To carry on where this run stopped:</p>{_command(resume)}" if resume else ""
    said = f"<p>{count(waiting, 'item still waits', 'items still wait')} for a verdict.</p>{carry_on}"
    return _section("Pending", said + _table(("Check", "#Items", "First rows"), places))


def _doubled(report: Report) -> str:
    told = doubled(report)
    if not told:
        return ""
    items = ", ".join(f"<code>{_line(item, 80)}</code>" for item in report.lost)
    more = "" if report.names_all_lost else ", …"
    named = f'<p class="small">{items}{more}</p>' if items else ""
    explain = report.facts.explain_command
    see = f"<p>What is known of each item:</p>{_command(explain)}" if explain else ""
    return _section("Possible duplicates", f"<p>{told}</p>{named}{see}")


def _amended(report: Report) -> str:
    rows = [(moment(change.at), _line(amendment(change), _LONG)) for change in report.summary.amendments]
    return _section("Amendments", _table(("At", "What changed"), rows)) if rows else ""


def _worst(report: Report) -> str:
    groups = []
    for name in report.summary.checks:
        rows = [_row(result) for result in report.worst_of(name)]
        if rows:
            groups.append(f'<h3 class="check">{_line(name)}</h3>{"".join(rows[:_ROWS_OPEN])}{_rest(rows[_ROWS_OPEN:])}')
    return _section("Worst answers", "".join(groups)) if groups else ""


def _rest(rows: list[str]) -> str:
    return (
        f'<details class="rest"><summary>{count(len(rows), "more row")}</summary>{"".join(rows)}</details>'
        if rows
        else ""
    )


def _row(result: Result) -> str:
    verdict = "Failed" if result.passed is False else f"score {_share(result.score)}"
    chosen = None if result.passed is not None or isinstance(result.value, float) else value_text(result.value)
    texts = [("value", chosen)] if chosen else []
    texts += [("reason", result.reason)] if result.reason else []
    texts += list((result.inputs or {}).items())
    terms = "".join(f'<dt>{_line(key, 60)}</dt><dd dir="auto">{_text(text)}</dd>' for key, text in texts if text)
    return (
        f'<article class="row"><header><b class="bad">{verdict}</b><span>row {result.row}</span>'
        f'<code class="soft">{_line(result.item_id, 80)}</code></header>'
        f"{f'<dl>{terms}</dl>' if terms else ''}</article>"
    )


def _what_was_run(report: Report) -> str:
    summary, facts = report.summary, report.facts
    lines = [
        ("Dataset", _line(summary.dataset, _LONG)),
        ("Connection", _line(summary.connection)),
        ("Mode", _line(summary.mode)),
        ("Started", moment(summary.started_at)),
        ("Finished", moment(summary.finished_at)),
        ("Took", duration(summary.wall_seconds)),
        ("Requests", requests(report)),
        ("Flow run", _line(summary.flow_run_id or NONE)),
        *([("Columns", _columns(facts.mapping))] if facts.mapping else []),
    ]
    rows = "".join(f'<tr><th scope="row">{head}</th><td>{body}</td></tr>' for head, body in lines)
    return _section("What was run", f'<div class="sheet"><table class="facts">{rows}</table></div>')


def _columns(mapping: Mapping[str, Mapping[str, str]]) -> str:
    return "".join(f"<p>{_line(check)}: {_pairs(pairs)}</p>" for check, pairs in mapping.items())


def _pairs(pairs: Mapping[str, str]) -> str:
    return ", ".join(f"{_line(key)} ← <code>{_line(column)}</code>" for key, column in pairs.items()) or NONE


def _footer() -> str:
    return (
        "<footer><p>A pass rate counts the items that have a verdict. Its 95 % interval (Wilson) says what more rows "
        "of the same kind could show; the dashed outline says what the items without a verdict could change. "
        "Neither knows how often the judge itself is wrong.</p></footer>"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Cells of ready HTML under headings; a heading that starts with # stands over numbers."""
    names = [head.removeprefix("#") for head in heads]
    kinds = [' class="number"' if head.startswith("#") else "" for head in heads]
    top = "".join(f'<th scope="col"{kind}>{name}</th>' for name, kind in zip(names, kinds, strict=True))
    body = "".join(f"<tr>{_cells(names, kinds, row)}</tr>" for row in rows)
    return f'<div class="sheet"><table class="list"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(names: list[str], kinds: list[str], row: tuple[str, ...]) -> str:
    cells = zip(names, kinds, row, strict=True)
    return "".join(f'<td data-head="{name}"{kind}><div dir="auto">{cell}</div></td>' for name, kind, cell in cells)


def _share(value: float | None) -> str:
    return escape(share(value))


def _command(command: str) -> str:
    return f"<pre>{escape(clean(command))}</pre>"


def _line(text: str, limit: int = 200) -> str:
    """One line of text from outside: whichever way it reads, what stands around it reads its own."""
    shown = escape(one_line(text, limit, apart=True))
    return shown if shown.isascii() else f"<bdi>{shown}</bdi>"


def _text(text: str) -> str:
    """A text in its own lines, for an element that keeps its direction to itself; a long one folded behind its beginning."""
    whole = clean(text[: _LONG + 1], apart=True).strip()
    if len(whole) <= _SHORT:
        return escape(whole)
    return f"<details><summary>{escape(one_line(whole, _SHORT, apart=True))}</summary>{escape(clip(whole, _LONG))}</details>"
