"""Judging a run's gates. Each metric has its judge in `JUDGES`; the grammar of gates stands in `core/gates`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from fieval_tasks.core.gates import Gate, GateVerdict
from fieval_tasks.report.summary import GateOutcome, Report
from fieval_tasks.report.words import failures_found, figure_found
from fieval_tasks.runs.preparation import Kept


@dataclass(frozen=True)
class Evidence:
    """All that a judge may look at."""

    report: Report
    """The run's counted results."""
    kept: Kept
    """The run, its plan and its ledger."""


Judge: TypeAlias = Callable[[Gate, Evidence], GateOutcome]
"""Judges one gate on one check, or on all of them where the gate names none. Makes its outcome by `GateOutcome.of`."""


def outcomes(evidence: Evidence) -> Iterator[GateOutcome]:
    """The outcome of each of the plan's gates."""
    for text in evidence.kept.plan.gates:
        gate = Gate.parse(text)
        yield JUDGES[gate.metric](gate, evidence)


def by_figure(gate: Gate, evidence: Evidence) -> GateOutcome:
    """By a figure of the verdicts, over the best and the worst that the items without one could still get."""
    check = evidence.report.checks[gate.check or ""]
    figure = check.rate if gate.metric == "pass_rate" else check.average
    value, bounds = figure.value, figure.bounds(check.total)
    verdict = GateVerdict.UNDECIDED if bounds is None or check.no_score else gate.verdict(*bounds)
    found = figure_found(bounds, gate.threshold, check.no_score)
    return GateOutcome.of(gate, verdict, found, value=value, bounds=bounds, n=figure.measured)


def by_failures(gate: Gate, evidence: Evidence) -> GateOutcome:
    """By the number or the share of the items that failed, or could still."""
    report = evidence.report
    counts = report.items if gate.check is None else report.checks[gate.check]
    of = max(counts.total, 1) if gate.is_share else 1
    bounds = Fraction(counts.failed, of), Fraction(counts.failed + counts.pending, of)
    return GateOutcome.of(
        gate, gate.verdict(*bounds), failures_found(counts), value=bounds[0], bounds=bounds, n=counts.total
    )


def by_labels(gate: Gate, evidence: Evidence) -> GateOutcome:
    """By the interval of the pass rate that people's labels correct, with each item without a verdict failed, or passed."""
    correction = evidence.report.corrections.get(gate.check or "")
    if correction is None:
        return GateOutcome.of(gate, GateVerdict.UNDECIDED, "no labels correct it")
    return GateOutcome.of(
        gate,
        gate.verdict(*correction.bounds),
        correction.sentence,
        value=correction.figures.value,
        bounds=correction.bounds,
        n=correction.measured,
        interval=correction.figures.interval,
    )


JUDGES: Mapping[str, Judge] = {
    "pass_rate": by_figure,
    "mean": by_figure,
    "failures": by_failures,
    "corrected_pass_rate": by_labels,
}
"""Metric -> its judge. A gate whose metric needs a field of the plan (`core/gates.KINDS`) is refused where that is empty."""
