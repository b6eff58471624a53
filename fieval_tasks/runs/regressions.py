"""Gates that compare with a baseline: `regressions == 0` and `max_drop 2%`. And the comparison of a run at its end."""

from __future__ import annotations

from fractions import Fraction

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.gates import Gate, GateVerdict
from fieval_tasks.core.quantities import parse_share
from fieval_tasks.report.differences import CheckChange, Comparison, points
from fieval_tasks.report.summary import GateOutcome, Report
from fieval_tasks.report.text import count
from fieval_tasks.runs.baselines import COMPARING, baseline_of, is_about
from fieval_tasks.runs.preparation import Kept
from fieval_tasks.runs.segments import wanted
from fieval_tasks.runs.sides import RunSide


def beside_baseline(kept: Kept) -> tuple[Comparison | None, str]:
    """The comparison that the run's plan asks for, or why there is none although it asks for one."""
    if kept.plan.baseline is None:
        return None, ""
    from fieval_tasks.decisions.comparison import Terms
    from fieval_tasks.runs.comparing import compared  # both import scipy

    by = wanted(text for text in kept.plan.gates if Gate.parse(text).metric in COMPARING)
    try:
        side, _ = baseline_of(kept.plan.baseline, kept.ledger, kept.run)
        terms, run = Terms(margin=float(parse_share(kept.plan.margin))), RunSide(kept.ledger, kept.run)
        return compared(run, side, terms=terms, cluster=kept.plan.cluster, by=by), ""
    except (
        PlanError
    ) as error:  # its file is gone or another, or its run was deleted: what was paid for is reported all the same
        return None, f"the run can't be compared with {kept.plan.baseline}: {error}"


def by_regressions(gate: Gate, report: Report, _: Kept) -> GateOutcome:
    """By the items that passed in the baseline and fail now; one without a verdict could be another."""
    changes = _meant(gate, report)
    if not changes:
        return GateOutcome.of(gate, GateVerdict.UNDECIDED, _not_compared(gate, report))
    found = [change.compared for change in changes.values()]
    n = sum(one.n_pairs + one.missing for one in found)
    low, high = sum(one.regressions for one in found), sum(one.most_regressions for one in found)
    bounds = gate.counted(low, n), gate.counted(high, n)
    said = f"{low:,} of {count(n, 'item')} passed in the baseline and {'fails' if low == 1 else 'fail'} now"
    ids = [flip.item_id for change in changes.values() for flip in change.flips if flip.is_regression]
    said += f" ({', '.join(ids[:3])}{', …' if low > 3 else ''})" if ids else ""
    if high > low:
        said += f", and {high - low:,} without a verdict could have failed, too"
    if gone := sum(change.unpaired[1] for change in changes.values()):
        said += f"; {count(gone, 'item of the baseline is', 'items of the baseline are')} not in the run"
    return GateOutcome.of(gate, gate.verdict(*bounds), said, value=bounds[0], bounds=bounds, n=n)


def by_drop(gate: Gate, report: Report, _: Kept) -> GateOutcome:
    """By how much the pass rate, or the mean score, is lower than in the baseline; of several checks by the one that lost most."""
    changes = _meant(gate, report)
    ends = {name: one.compared.bounds for name, one in changes.items() if one.compared.bounds is not None}
    if not ends:
        return GateOutcome.of(gate, GateVerdict.UNDECIDED, _not_compared(gate, report))
    low, high = (max(_exact(-end[side]) for end in ends.values()) for side in (1, 0))
    lost = {
        name: _exact(-one.compared.difference) for name, one in changes.items() if one.compared.difference is not None
    }
    most = max(lost, key=lambda name: lost[name], default=None)
    value = None if most is None else lost[most]
    said = "no item has a verdict in both runs"
    if most is not None and value is not None:
        went = (
            f"dropped by {points(float(value))}"
            if value > 0
            else f"rose by {points(float(value))}"
            if value
            else "is the same"
        )
        said = f"{most} {went} over {count(changes[most].compared.n_pairs, 'pair')}"
    if high > low:
        said += f"; with the missing verdicts the drop lies between {100 * float(low):.4g} and {100 * float(high):.4g} points"
    n = sum(one.compared.n_pairs for one in changes.values())
    return GateOutcome.of(gate, gate.verdict(low, high), said, value=value, bounds=(low, high), n=n)


def _meant(gate: Gate, report: Report) -> dict[str, CheckChange]:
    """The changes that the gate is about."""
    changes = {} if report.comparison is None else report.comparison.checks
    names = [
        name for name, check in report.checks.items() if gate.check in (None, name) and is_about(gate, check.scale)
    ]
    if gate.segment is None:
        return {name: changes[name] for name in names if name in changes}
    if gate.segment.value is not None:
        names = [f"{name}{gate.segment}" for name in names]
        return {name: changes[name] for name in names if name in changes}
    starts = tuple(f"{name}[{gate.segment.column}=" for name in names)
    return {name: change for name, change in changes.items() if name.startswith(starts)}


def _not_compared(gate: Gate, report: Report) -> str:
    if report.no_comparison or gate.segment is None:
        return report.no_comparison or "nothing was compared"
    return f"no row of {gate.segment} is in the baseline"


def _exact(difference: float) -> Fraction:
    """20 of 1,000 are 2 % exactly, which no float is."""
    return Fraction(repr(round(difference, 12)))
