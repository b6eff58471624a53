"""What decides a gate: how many verdicts it hangs on, and where they are in the page's list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor

from fieval_tasks.core.gates import FLOORS, Gate, GateVerdict
from fieval_tasks.report.figures import Measured
from fieval_tasks.report.page_data import Named
from fieval_tasks.report.page_rows import NOT_PASSED, WITHOUT_VERDICT
from fieval_tasks.report.summary import GateOutcome, Report
from fieval_tasks.report.text import count


@dataclass(frozen=True)
class Deciding:
    """What decides one gate."""

    sentence: str = ""
    """Empty where there is nothing to say."""
    views: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Text of a link -> the view of the list that it leads to."""
    items: Sequence[Named] = ()
    """All the deciding items, where they are few enough to be named."""


def measured(gate: Gate, report: Report) -> list[Measured]:
    """The counts and figures that a gate is about: of its check or of all, in its segment or of all rows."""
    checks = [report.checks[gate.check]] if gate.check else [*report.checks.values()]
    if gate.segment is None:
        return [*checks]
    found = (check.segments[gate.segment.column].get(gate.segment.value or "") for check in checks)
    return [one for one in found if one is not None]


def deciding(outcome: GateOutcome, report: Report) -> Deciding:
    """What decides the gate: of one that failed the items behind it, of one that is undecided those without a verdict."""
    if Gate.fault_of(outcome.gate) is not None:
        return Deciding()
    gate = Gate.parse(outcome.gate)
    about = measured(gate, report) if gate.check is None or gate.check in report.checks else []
    if not about:
        return Deciding()
    place = {} if gate.check is None else {"check": gate.check}
    if gate.segment is not None:
        place["segment"] = f"{gate.segment.column}:{gate.segment.value}"
    verdict, rows = GateVerdict(outcome.verdict), about[0]
    is_of_these_rows = outcome.interval is None and outcome.settled_after is None and rows.scored == rows.rate.measured
    needed = None
    if gate.metric == "pass_rate" and gate.operator in FLOORS and is_of_these_rows:
        wanted = gate.threshold * rows.total
        needed = (floor(wanted) + 1 if gate.operator == ">" else ceil(wanted)) - int(rows.rate.total)
    if verdict is GateVerdict.UNDECIDED:
        return _by_missing(about, place, needed, report)
    if verdict is GateVerdict.PASS:
        return Deciding(_to_spare(-needed)) if needed is not None else Deciding()
    if gate.metric == "regressions":
        return _by_regressions(gate, outcome, place, report)
    return _behind(gate, about, place, needed, report)


def _to_spare(passes: int) -> str:
    if not passes:
        return "one more item that does not pass, and it would fail"
    return f"{count(passes, 'more item')} could fail, and it would still pass"


def _by_missing(about: list[Measured], place: Mapping[str, str], needed: int | None, report: Report) -> Deciding:
    """`needed`: so many of the items without a verdict must pass; None where that is not known."""
    missing = {word: n for name, word in WITHOUT_VERDICT.items() if (n := sum(getattr(one, name) for one in about))}
    total = sum(missing.values())
    if not total:
        return Deciding()
    said = f"{_these(total)} without a verdict {_decide(total)}"
    if needed is not None:
        those = f"{needed:,} or more of them pass"
        those = "it passes" if total == 1 else "all of them pass" if needed == total else those
        said += f": the gate passes if {those}"
    views = {word: {**place, "verdict": word} for word in missing}
    return Deciding(said, views, report.page.items([*missing], total, place))


def _by_regressions(gate: Gate, outcome: GateOutcome, place: Mapping[str, str], report: Report) -> Deciding:
    changes = {} if report.comparison is None else report.comparison.checks
    flips = [
        Named(flip.item_id, flip.row, name)
        for name, change in changes.items()
        for flip in change.flips
        if flip.is_regression and gate.check in (None, name)
    ]
    views = {"regressions": {**place, "change": "regression"}}
    n = round((outcome.value or 0) * (outcome.n or 0)) if gate.is_share else int(outcome.value or 0)
    said = f"{_these(n)} that passed in the baseline and {'fails' if n == 1 else 'fail'} now {_decide(n)}"
    named = flips if len(flips) == n <= report.page.caps.items_named else []
    return Deciding(said + _fewer(gate, n, outcome.n or 0), views, named)


def _behind(
    gate: Gate, about: list[Measured], place: Mapping[str, str], needed: int | None, report: Report
) -> Deciding:
    """Of a gate that failed: the items that made it fail. `needed`: so many more would have to pass."""
    if gate.metric == "max_drop":
        return Deciding(
            "the items that passed in the baseline and fail now decide it",
            {"regressions": {**place, "change": "regression"}},
        )
    if gate.kind.of == "scores":
        return Deciding("the lowest scores decide it", {"lowest scores first": {**place, "sort": "score"}})
    is_of_errors = gate.metric == "failures"
    n = sum(one.failed if is_of_errors else one.rate.measured - int(one.rate.total) for one in about)
    verdict, what = ("unmeasured", "without a verdict") if is_of_errors else (NOT_PASSED, "that did not pass")
    said = f"{_these(n)} {what} {_decide(n)}"
    if is_of_errors:
        said += _fewer(gate, n, sum(one.total for one in about))
    elif needed is not None:
        missing = sum(one.total - one.rate.measured for one in about)
        those = "the one" if missing == 1 else f"all {missing:,}"
        though = f", and {those} without a verdict," if missing else ""
        said += (
            f": had {needed - missing:,} of them{though} passed, the gate would pass" if needed - missing <= n else ""
        )
    return Deciding(said, {verdict: {**place, "verdict": verdict}}, report.page.items([verdict], n, place))


def _fewer(gate: Gate, n: int, total: int) -> str:
    """How many fewer a ceiling on a number of items, or on their share, would let pass."""
    most = gate.threshold * (total if gate.is_share else 1)
    allowed = ceil(most) - 1 if gate.operator == "<" else floor(most)
    return f": with {n - allowed:,} fewer the gate would pass" if n > allowed else ""


def _these(n: int) -> str:
    return "this item" if n == 1 else f"these {n:,} items"


def _decide(n: int) -> str:
    return "decides it" if n == 1 else "decide it"
