"""Baselines: what a run is compared with, chosen on purpose."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from fieval_tasks.core.command_lines import command
from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.gates import Gate
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.scales import Scale
from fieval_tasks.ledger.blessings import Blessing, blessings
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.text import duration
from fieval_tasks.runs.sides import FileSide, RunSide, Side, problems

_PINNED = re.compile(r"(?P<path>.+)@sha256:(?P<digest>[0-9a-f]{64})")
BLESSED, LAST = "blessed", "last"
COMPARING = ("regressions", "max_drop")
"""Metrics of gates that compare with a baseline."""


def baseline_of(named: str, ledger: Ledger, run: Run) -> tuple[Side, str]:
    """The baseline that is meant for a run, and the text that names the very same one later.

    `named`: blessed, last (the last concluded run of the same dataset and checks before this one), a run's name, or a file,
    whose content is held to a digest where the text has one. Raises PlanError where there is none.
    """
    if named == BLESSED:
        found = ledger.run(_blessed(ledger, run).run_id)
    elif named == LAST:
        found = _last(ledger, run)
    elif (path := file_named(named)) is not None and named not in ledger.names(named):
        return _of_file(named, path)
    else:
        found = ledger.run(named)
    if found.run_id == run.run_id:
        raise PlanError(f"run {run.run_id} can't be its own baseline: name another run")
    return RunSide(ledger, found), found.run_id


def file_named(named: str) -> Path | None:
    """The file that a baseline's text names; None where it can only be a run's name."""
    match = _PINNED.fullmatch(named)
    path = Path(match["path"] if match else named).expanduser()
    return path if match or "/" in named or path.suffix == ".json" or path.is_file() else None


def _of_file(named: str, path: Path) -> tuple[Side, str]:
    side = FileSide(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    match = _PINNED.fullmatch(named)
    if match and match["digest"] != digest:
        raise PlanError(
            f"the baseline file {path} is not the one that the run began with: put that back, or name another"
        )
    return side, f"{path.absolute()}@sha256:{digest}"


def _blessed(ledger: Ledger, run: Run) -> Blessing:
    of_dataset = blessings(ledger.database, run.dataset)
    if of_dataset:
        return of_dataset[0]
    others = ", ".join(f"{one.run_id} ({one.dataset})" for one in blessings(ledger.database)[:5])
    there = f"blessed are {others}: name one of them" if others else f"choose one by {command('bless', 'RUN')}"
    raise PlanError(
        f"no run on {run.dataset} is blessed in {ledger.name}; {there}, or name a run or last as the baseline"
    )


def _last(ledger: Ledger, run: Run) -> Run:
    mine = RunSide(ledger, run)
    for found in ledger.concluded(run.dataset, before=run.created_at):
        if found.run_id != run.run_id and not [*problems(mine, RunSide(ledger, found))]:
            return found
    raise PlanError(
        f"there is no earlier concluded run on {run.dataset} with the same checks and judges in {ledger.name}"
    )


def require_comparable(run: Run, plan: EvaluationPlan, ledger: Ledger) -> tuple[EvaluationPlan, Side, tuple[str, ...]]:
    """The plan with its baseline named for good, the baseline, and notices on it.

    Raises PlanError where there is none, or it was judged otherwise: of another template, model or scale.
    """
    side, pinned = baseline_of(plan.baseline or "", ledger, run)
    scales = {check.name: check.scale for check in run.checks}
    if reasons := [*problems(RunSide(ledger, run), side), *gate_faults(plan.gates, scales, side.checks)]:
        raise PlanError(*(f"--baseline {plan.baseline}: {reason}" for reason in reasons))
    old = too_old(side, plan.baseline_max_age, ledger.now())
    return plan.model_copy(update={"baseline": pinned}), side, () if old is None else (old,)


def gate_faults(gates: Iterable[str], scales: Mapping[str, Scale], baseline: Iterable[str]) -> Iterator[str]:
    """A sentence for each gate that the baseline could never decide. `scales`: check -> its scale; `baseline`: its checks."""
    there = set(baseline)
    for gate in map(Gate.parse, gates):
        if gate.metric not in COMPARING:
            continue
        if gate.check is not None and gate.check not in there:
            yield f"gate {str(gate)!r}: the baseline has no check {gate.check!r} (it has: {', '.join(sorted(there))})"
        names = [gate.check] if gate.check else [name for name in scales if name in there]
        if any(is_about(gate, scales[name]) for name in names if name in scales):
            continue
        if gate.metric == "regressions":
            yield f"gate {str(gate)!r}: no verdict of {', '.join(names)} passes or fails; gate max_drop 2%, or say by --good which choices pass"
        else:
            yield (
                f"gate {str(gate)!r}: no verdict of {', '.join(names)} has what may drop, a score from 0 to 1 or a pass or fail (--good says "
                f"which choices pass); leave it out"
            )


def is_about(gate: Gate, scale: Scale) -> bool:
    """Whether a gate that compares has the figure of a check on that scale for its own."""
    if gate.metric == "regressions" or gate.dropping == "pass_rate":
        return scale.has_passes
    if gate.dropping == "mean":
        return scale.has_scores  # where verdicts pass or fail, the mean is the pass rate
    return scale.has_scores or scale.has_passes


def too_old(side: Side, most: float | None, now: datetime) -> str | None:
    """A notice where the baseline is older than `most` seconds."""
    age = (now - side.at).total_seconds()
    if most is None or age <= most:
        return None
    return f"the baseline {side.name} is {duration(age)} old, and {duration(most)} are allowed: bless a newer run"
