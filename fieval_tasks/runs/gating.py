"""Judging a run's gates. Each metric has its judge in `JUDGES`; the grammar of gates stands in `core/gates`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

from fieval_tasks.core.gates import KINDS, UNIT, Gate, GateVerdict, Number
from fieval_tasks.decisions.statistics import Interval
from fieval_tasks.report.deciding import measured
from fieval_tasks.report.figures import Counts, Figure, Measured
from fieval_tasks.report.summary import GateOutcome, Report
from fieval_tasks.report.text import beside, outwards
from fieval_tasks.report.words import Found, confidence_found, failures_found, figure_found, no_such_rows, settled_found
from fieval_tasks.runs.preparation import Kept
from fieval_tasks.runs.regressions import by_drop, by_regressions

if TYPE_CHECKING:
    from fieval_tasks.decisions.stopping import Settled


Judge: TypeAlias = Callable[[Gate, Report, Kept], GateOutcome]
"""Judges one gate on one check, or on all of them where the gate names none; its segment, if any, has a value. By the run's
counted results; makes its outcome by `GateOutcome.of`."""


def outcomes(report: Report, kept: Kept) -> Iterator[GateOutcome]:
    """The outcome of each of the plan's gates; of one on each value of a column, an outcome for every value."""
    settled = _settled_early(kept)
    for text in kept.plan.gates:
        asked = Gate.parse(text)
        for gate in asked.for_each(_values(asked, report)):
            outcome = JUDGES[gate.metric](gate, report, kept)
            yield _by_the_drawn(gate, outcome, settled.get(str(gate)), kept)


def _values(gate: Gate, report: Report) -> Iterator[str]:
    """Those that its segment's column has in the rows of the gate's check, or of all."""
    checks = [report.checks[gate.check]] if gate.check else report.checks.values()
    column = gate.segment.column if gate.segment else ""
    return (value for check in checks for value in check.segments[column])


def _settled_early(kept: Kept) -> Mapping[str, Settled]:
    """Gate, as text -> its verdict, where the rows drawn first settle it; by the same reading as the run was ended by."""
    if (drawn := kept.drawn) is None:
        return {}
    drawn.look()
    return drawn.settled()


def _by_the_drawn(gate: Gate, outcome: GateOutcome, found: Settled | None, kept: Kept) -> GateOutcome:
    """The outcome of a gate that is settled early. One that is certain by all verdicts stays as it is."""
    if found is None or outcome.verdict != GateVerdict.UNDECIDED.value:
        return outcome
    verdict = GateVerdict.PASS if found.is_met else GateVerdict.FAIL
    confidence, not_spent = kept.plan.settling_confidence, kept.book.draws.not_spent()
    said = settled_found(gate, outcome, after=found.after, of=found.of, confidence=confidence, not_spent=not_spent)
    sentence = GateOutcome.of(gate, verdict, said).sentence
    return replace(outcome, verdict=verdict.value, sentence=sentence, settled_after=found.after)


def by_figure(gate: Gate, report: Report, kept: Kept) -> GateOutcome:
    """By a figure of the verdicts, over the best and the worst that the items without one could still get."""
    if not (about := measured(gate, report)):
        return GateOutcome.of(gate, GateVerdict.UNDECIDED, no_such_rows(gate))
    [rows] = about
    figure = rows.rate if gate.metric == "pass_rate" else rows.average
    scale = UNIT if gate.metric == "pass_rate" else rows.scale
    value: Number | None = figure.value
    bounds = figure.bounds(rows.total, scale)
    if share := gate.kind.quantile:
        value, bounds = figure.quantile(share), figure.quantile_bounds(share, rows.total, scale)
    found = Found(value, bounds, figure.measured, rows.total, rows.scored - figure.measured)
    if bounds is None or found.uncounted:
        return GateOutcome.of(
            gate, GateVerdict.UNDECIDED, figure_found(gate, found), value=value, bounds=bounds, n=found.n
        )
    interval, said = _sampled(gate, rows, figure, kept), figure_found(gate, found)
    if interval is not None and kept.plan.confidence is not None:
        of = _drawn_from(gate, kept.run.population)
        said += f"; {confidence_found(gate, interval, kept.plan.confidence, of)}"
    verdict = gate.verdict(*(interval or bounds))
    return GateOutcome.of(gate, verdict, said, value=value, bounds=bounds, n=found.n, interval=interval)


def by_failures(gate: Gate, report: Report, kept: Kept) -> GateOutcome:
    """By the number or the share of the items that failed, or could still."""
    if not (about := measured(gate, report)) and gate.segment is not None:
        return GateOutcome.of(gate, GateVerdict.UNDECIDED, no_such_rows(gate))
    counts = Counts.sum_of(about)
    most = counts.failed + counts.pending + counts.not_needed
    bounds = gate.counted(counts.failed, counts.total), gate.counted(most, counts.total)
    return GateOutcome.of(
        gate, gate.verdict(*bounds), failures_found(counts), value=bounds[0], bounds=bounds, n=counts.total
    )


def by_labels(gate: Gate, report: Report, kept: Kept) -> GateOutcome:
    """By the interval of the pass rate that people's labels correct, with each item without a verdict failed, or passed."""
    correction = report.corrections.get(gate.check or "")
    if correction is None:
        return GateOutcome.of(gate, GateVerdict.UNDECIDED, "no labels correct it")
    verdict, said = gate.verdict(*correction.bounds), correction.sentence
    if verdict is not gate.verdict(*map(Fraction, outwards(correction.bounds))):
        low, high = (beside(end, gate.threshold) for end in correction.bounds)
        said += f"; more exactly between {low} and {high}"
    return GateOutcome.of(
        gate,
        verdict,
        said,
        value=correction.figures.value,
        bounds=correction.bounds,
        n=correction.measured,
        interval=correction.figures.interval,
    )


JUDGES: Mapping[str, Judge] = {
    **dict.fromkeys(("pass_rate", "mean", *(name for name, kind in KINDS.items() if kind.quantile)), by_figure),
    "failures": by_failures,
    "corrected_pass_rate": by_labels,
    "regressions": by_regressions,
    "max_drop": by_drop,
}
"""Metric -> its judge. A gate whose metric needs a field of the plan (`core/gates.KINDS`) is refused where that is empty."""


def _sampled(gate: Gate, rows: Measured, figure: Figure, kept: Kept) -> Interval | None:
    """Where the figure lies for all that the rows are a sample of, at the plan's confidence: for the rows that they were drawn
    from, else for any more like these. None: no confidence is asked for."""
    confidence, population = kept.plan.confidence, None
    if confidence is None or kept.plan.stop_when_decided:  # then it is said of these rows alone
        return None
    from fieval_tasks.decisions import intervals  # scipy takes a second, and most gates ask for no confidence

    # An item without a verdict is taken to be worth as much as one that has a verdict; all evaluations of a row are worth one.
    scored = rows.sharing.scored
    n = max(Fraction(1), rows.total * scored.worth / rows.scored if rows.scored else Fraction(rows.total))
    drawn_from, sample = kept.run.population, kept.plan.sample
    if drawn_from and sample:  # a segment's share of them is not known: it is taken to be its share of the sample
        population = Fraction(rows.total * scored.items * drawn_from, max(rows.scored, 1) * sample)
    scale = UNIT if gate.metric == "pass_rate" else rows.scale
    if gate.metric == "pass_rate" or (gate.metric == "mean" and scale.output == "Pass/Fail"):  # which is the same
        least, most = figure.bounds(rows.total, scale) or (Fraction(0), Fraction(1))
        return intervals.rate_interval(Fraction(least), Fraction(most), n, confidence, population)
    scores = figure.completed(rows.total, scale.low), figure.completed(rows.total, scale.high)
    if share := gate.kind.quantile:
        return intervals.quantile_interval(scores, share, n, confidence, (scale.low, scale.high))
    return intervals.mean_interval(scores, n, confidence, population)


def _drawn_from(gate: Gate, rows: int | None) -> str:
    if not rows:
        return "more rows like these"
    return f"all {rows:,} rows" if gate.segment is None else f"all rows of {gate.segment} among the {rows:,}"
