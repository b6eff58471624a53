"""The report's sentences about a run, its gates, its costs and its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from typing import Any

from fieval_tasks.core.budget import written
from fieval_tasks.core.gates import Gate, Number
from fieval_tasks.core.quantities import percent
from fieval_tasks.decisions.statistics import Interval
from fieval_tasks.report.amendments import Amendment
from fieval_tasks.report.figures import Counts
from fieval_tasks.report.page_rows import PageRows, Telling
from fieval_tasks.report.summary import Cost, GateOutcome, Report, Requests
from fieval_tasks.report.tally import Tally
from fieval_tasks.report.text import beside, between, count, share


@dataclass(frozen=True)
class Found:
    """What a gate's figure came to."""

    value: Number | None
    """Over the items that were measured."""
    bounds: tuple[Number, Number] | None
    """Over all items, whatever the others would have got."""
    n: int
    """Items that were measured."""
    total: int
    """All items."""
    uncounted: int
    """Items with a verdict that has no such figure."""


def figure_found(gate: Gate, found: Found) -> str:
    """`it is 0.57 over 98 items (…)`: a gate's figure, in digits that tell on which side of the threshold it lies."""
    if not found.total:
        return "there are no items"
    said = "nothing was measured"
    if found.value is not None:
        said = f"it is {beside(found.value, gate.threshold)} over {count(found.n, 'item')}"
    if found.uncounted:
        return f"{said}, and {count(found.uncounted, 'verdict')} can't be counted in it"
    missing = found.total - found.n
    if not missing or found.bounds is None:
        return said
    low, high = (beside(bound, gate.threshold) for bound in found.bounds)
    where = f"between {low} and {high}" if isfinite(found.bounds[1]) else f"{low} or more"
    return f"{said} ({where} over all {found.total:,}, whatever the {missing:,} without a verdict would get)"


def confidence_found(gate: Gate, interval: Interval, confidence: float, of: str) -> str:
    """`with 95 % confidence it lies between 0.88 and 0.94 for all 10,000 rows`."""
    low, high = (beside(Fraction(end), gate.threshold) for end in interval)
    where = f"is {low}" if low == high else f"lies between {low} and {high}"
    return f"with {percent(confidence)} confidence it {where} for {of}"


def no_such_rows(gate: Gate) -> str:
    """`no row has 'fr' in lang`: of a gate on a segment without rows."""
    if gate.segment is None or gate.segment.value is None:
        return "there are no items"
    column, value = gate.segment.column, gate.segment.value
    return f"no row has {value!r} in {column}" if value else f"no row is without a value in {column}"


def settled_found(gate: Gate, outcome: GateOutcome, *, after: int, of: int, confidence: float, not_spent: int) -> str:
    """`it is 0.987 over 408 items; settled after 312 of 5,000 …: 4,592 evaluations not spent`: of a gate that was settled early."""
    settled = f"settled after {after:,} of {of:,} in the order of drawing, at {percent(confidence)} confidence"
    settled += f": {count(not_spent, 'evaluation')} not spent" if not_spent else ""
    if outcome.value is None:
        return settled
    figure = beside(Fraction(outcome.value), gate.threshold)
    return f"it is {figure} over {count(outcome.n or 0, 'item')}; {settled}"


def failures_found(counts: Counts) -> str:
    """`5 of 1,000 items ended without a verdict, 2 still wait for one`: of a gate on failures, which are no judge's verdicts."""
    open_ = counts.pending
    more = f", {count(open_, 'still waits', 'still wait')} for one" if open_ else ""
    return f"{counts.failed:,} of {count(counts.total, 'item')} ended without a verdict{more}"


def standing(report: Report) -> str:
    """How many items stand where: `60 items: 57 scored, 2 failed, 1 pending`."""
    items = report.items
    audited = sum(tally.audited.total for tally in report.checks.values())
    further = f" ({count(audited, 'is an evaluation', 'are evaluations')} of the audit)" if audited else ""
    parts = [f"{items.scored:,} scored" + (f" ({items.reused:,} of them reused)" if items.reused else "")]
    others = ("failed", "pending", "not_needed")
    parts += [f"{getattr(items, name):,} {name.replace('_', ' ')}" for name in others if getattr(items, name)]
    return f"{count(items.total, 'item')}{further}: {', '.join(parts)}"


def requests(asked: Requests) -> str:
    """The account of what was asked of the API."""
    begun = (
        f"{count(asked.submits, 'submit')}, {count(asked.polls, 'poll')}, {count(asked.retries, 'retry', 'retries')}"
    )
    return f"{begun}, {asked.throttled:,} throttled, {count(asked.possible_duplicates, 'possible duplicate')}"


def cost(paid: Cost) -> str:
    """`1.23 for 615 evaluations by turing_flash`."""
    parts = [f"{written(part)} by {model}" for model, part in paid.by_model.items()]
    models = f" ({', '.join(parts)})" if len(parts) > 1 else f" by {', '.join(paid.by_model)}" if parts else ""
    without = f", without those by {', '.join(paid.unpriced)}, which has no price" if paid.unpriced else ""
    return f"{written(paid.total)} for {count(paid.evaluations, 'evaluation')}{models}{without}"


def doubled(report: Report) -> str:
    """A sentence on evaluations that may have been paid twice or for nothing; empty where there are none."""
    twice = report.facts.requests.possible_duplicates
    if twice:
        sent = "its item was" if twice == 1 else "their items were"
        return (
            f"{count(twice, 'evaluation')} may have been made, and paid, twice: {sent} sent again, because no reply to "
            f"the first submission had come, or no verdict of it could be had."
        )
    if report.lost_count:
        return (
            f"{count(report.lost_count, 'item')} may have been evaluated, and paid, for nothing: no reply to a "
            f"submission came, and nothing was sent again."
        )
    return ""


def held(rows: PageRows) -> str:
    """A sentence where report.html holds a sample of the rows, or some of them with shortened texts; empty where it has all."""
    said = []
    if rows.shown < rows.of:
        kinds = [(kind, _TELLING[which]) for which in reversed(Telling) if (kind := rows.of_kind(which)).came]
        parts = [
            f"{f'all {kind.came:,}' if len(kind) == kind.came else f'a random {len(kind):,} of {kind.came:,}'} that {did}"
            for kind, did in kinds
        ]
        said.append(f"This page holds {rows.shown:,} of {rows.of:,} rows: {', '.join(parts)}.")
    if rows.shortened:
        said.append(f"The texts of {count(rows.shortened, 'row')} are shortened on this page.")
    return " ".join((*said, "All rows are whole in results.jsonl.")) if said else ""


_TELLING = {
    Telling.REGRESSED: "passed in the baseline and fail now",
    Telling.FAILED: "did not pass or have no verdict",
    Telling.REST: "passed, have a score or were not needed",
}


def amendment(change: Amendment) -> str:
    """`groundedness: pass rate 0.912 -> 0.920, 12 more verdicts; pending 12 -> 0`."""
    before, after = change.before, change.after
    parts = [
        f"{name}: {_moved(before['checks'].get(name, {}), figures)}"
        for name, figures in after["checks"].items()
        if before["checks"].get(name) != figures
    ]
    for name in ("total", "failed", "pending", "not_needed"):
        old, new = before["items"].get(name, 0), after["items"].get(name, 0)
        parts += [f"{name.replace('_', ' ')} {old:,} -> {new:,}"] if old != new else []
    return "; ".join(parts)


def _moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    what = "mean" if before.get("pass_rate") is after["pass_rate"] is None else "pass_rate"
    old, new = ("none" if rate is None else share(rate) for rate in (before.get(what), after[what]))
    more = after["scored"] - before.get("scored", 0)
    parts = [f"{what.replace('_', ' ')} {old} -> {new}"] if old != new else []
    parts += [count(abs(more), "more verdict" if more > 0 else "fewer verdict")] if more else []
    was, now = (one.get("corrected_pass_rate") for one in (before, after))
    if was != now:
        parts.append(
            f"corrected pass rate {' -> '.join('none' if rate is None else share(rate) for rate in (was, now))}"
        )
    return ", ".join(parts) or f"{after['n']:,} items"


def belief(check: Tally) -> str:
    """Sentences on a check's figures, on what missing verdicts leave open, and on what to expect of similar answers."""
    if check.pass_rate_interval is None or check.not_needed:  # its interval takes no account of when the run stopped
        return known(check)
    by = f" of {count(check.evaluations, 'evaluation')}" if check.evaluations < check.scored else ""
    expected = f"expect a rate between {between(check.pass_rate_interval)} (95 % interval{by})"
    return f"{known(check)} For more answers like these, {expected}."


def known(check: Tally) -> str:
    """What one check's figures say about its own items, and what they leave open."""
    if check.total == 0:
        return "No items were put to this check."
    if check.scored == 0:
        return f"None of the {count(check.total, 'item')} has a verdict, so nothing can be said about them."
    return " ".join(part for part in (_found(check), _open(check)) if part)


def _found(check: Tally) -> str:
    if check.scored < check.total:
        got = f"{check.scored:,} of {check.total:,} items have a verdict"
    else:
        got = "The one item has a verdict" if check.total == 1 else f"All {check.total:,} items have a verdict"
    if check.evaluations < check.scored:
        got += f" from {count(check.evaluations, 'evaluation')}"
    apart = f" ({count(check.no_score, 'is', 'are')} not counted in it)" if check.no_score else ""
    if check.pass_rate is not None:
        passing = "it passes" if check.passed else "does not pass"
        if check.total > 1 or check.evaluations > 1:
            passing = f"{check.passed:,} of them {'passes' if check.passed == 1 else 'pass'}"
        return f"{got} and {passing}, a rate of {share(check.pass_rate)}{apart}."
    if check.mean is not None:
        return f"{got}; the mean score is {share(check.mean)}{apart}."
    return f"{got}; {'none can be counted' if check.no_score else 'this template gives no score'}."


def _open(check: Tally) -> str:
    missing = check.total - check.scored - check.not_needed
    parts = [f"{count(missing, 'has', 'have')} no verdict"] if missing else []
    parts += [f"{count(check.not_needed, 'was', 'were')} not needed"] if check.not_needed else []
    parts += [f"{check.no_score:,} can't be counted"] if check.no_score else []
    unknown = " and ".join(parts)
    if check.bounds is None:
        return f"{unknown}." if unknown else ""
    if check.bounds[0] == check.bounds[1]:
        return ""  # nothing is open
    what = "mean" if check.passed is None else "pass rate"
    so = f"so with a figure from 0 to 1 for each, the {what}" if check.no_score else f"so the true {what}"
    sure = "is only known for certain to lie" if check.not_needed else "lies"
    return f"{unknown}, {so} of all {check.total:,} {sure} between {between(check.bounds)}."
