"""People's labels and a run: reading a sheet for it, and which labels of the ledger say something of its judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.gates import Gate
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.scales import folded
from fieval_tasks.decisions.agreement import Confusion
from fieval_tasks.ledger.calibrations import Calibration, Calibrations, LabelDraw
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.sheets import drawable, labels_of, matching, read_sheet

_OF_ROWS = (
    "id_column", "where", "limit", "sample", "stratify", "precision", "seed", "format", "delimiter", "rows"
)  # fmt: skip
"""Fields of a plan that decide, with the dataset's content, which rows a run has."""
_IN_WORDS = {
    "judge": "server",
    "template": "template",
    "model": "judge model",
    "params": "parameters",
    "good": "good choices",
}
"""Parts of a calibration's identity, as messages call them."""


def identity(run: Run, check: CheckRecord, policy: str) -> dict[str, Any]:
    """What labels of this check are worth anything for."""
    from_rows = {name: f"(column {column})" for name, column in check.param_sources.items()}
    return {
        "judge": run.address or run.connection,
        "template": check.template,
        "model": check.model,
        "params": {**check.params, **from_rows},
        "good": sorted(folded(check.good)),
        "policy": policy,
    }


# -- labels of a sheet that a plan names -------------------------------------------------------------------------------


@dataclass(frozen=True)
class CheckedLabels:
    """A sheet that was read for a run, before anything is recorded."""

    drawn: LabelDraw
    labels: Mapping[str, bool]
    is_of_these_items: bool
    identity: Mapping[str, Any]


def checked_labels(ledger: Ledger, plan: EvaluationPlan, run: Run) -> CheckedLabels | None:
    """The sheet that a plan names, for a run that need not be written yet but knows its server; None where it names none.

    Raises PlanError where the labels can't be read, are of chosen items, or are worth nothing for the run's judge.
    """
    if plan.labels is None:
        return None
    sheet = read_sheet(plan.labels)
    drawn = matching(sheet, Calibrations(ledger.database).draws())
    labels = labels_of(sheet, drawn)
    if plan.labelling_policy not in (None, drawn.policy):
        raise PlanError(
            f"{sheet.name} was drawn under {_policy(drawn.policy)}, and labelling_policy is {plan.labelling_policy!r}: labels of one "
            f"policy say nothing of another; leave it out, or draw a sheet for it"
        )
    check = next((one for one in run.checks if one.name == drawn.check_name), None)
    if check is None:
        names = ", ".join(one.name for one in run.checks)
        raise PlanError(
            f"{sheet.name} has labels of {drawn.check_name}, which is no check of this run (checks: {names})"
        )
    labelled = ledger.run(drawn.run_id)
    here = identity(run, check, drawn.policy)
    is_of_these_items = run.run_id == labelled.run_id or has_same_items(run, labelled, check)
    there = identity(labelled, labelled.check(check.name), drawn.policy)
    if here["template"] != there["template"] or (not is_of_these_items and here != there):
        raise PlanError(
            f"{sheet.name} was labelled in run {labelled.run_id} with {_difference(there, here)}, and on other rows: its labels say "
            f"nothing of this run; draw a sheet of a run like this one"
        )
    return CheckedLabels(drawn, labels, is_of_these_items, here)


def has_same_items(run: Run, labelled: Run, check: CheckRecord) -> bool:
    """Whether both runs put the very same rows to the check, by the same columns."""
    if (run.dataset_fingerprint, dict(check.sources)) != (
        labelled.dataset_fingerprint,
        dict(labelled.check(check.name).sources),
    ):
        return False
    return all(run.plan.get(name) == labelled.plan.get(name) for name in _OF_ROWS)


def record(ledger: Ledger, run_id: str, given: CheckedLabels) -> Calibration:
    """Write the labels into the ledger for the run, which is written by now."""
    drawn = given.drawn
    those = {*drawn.items}  # also where the clock of another machine is behind
    verdicts = {
        one.item_id: bool(one.passed)
        for one in drawable(ledger.book(drawn.run_id), drawn.check_name)
        if one.item_id in those or (one.finished_at is not None and one.finished_at <= drawn.at)
    }
    of_others = [(verdicts[item], label) for item, label in given.labels.items() if item in verdicts]
    mine = (one for one in ledger.book(run_id).results() if one.check == drawn.check_name and not one.repeat)
    made = Calibration(
        run_id=run_id,
        check_name=drawn.check_name,
        at=ledger.now(),
        identity=given.identity,
        labelled_run=drawn.run_id,
        is_of_these_items=given.is_of_these_items,
        labels=given.labels,
        drawn=len(drawn.items),
        outside=[one.item_id for one in mine if one.item_id not in verdicts] if given.is_of_these_items else (),
        cells=None if given.is_of_these_items else Confusion.of(of_others).cells,
    )
    Calibrations(ledger.database).record(made)
    return made


# -- which labels apply ---------------------------------------------------------------------------------------------


def applying(
    known: Sequence[Calibration], run: Run, check: CheckRecord, plan: EvaluationPlan
) -> Calibration | str | None:
    """The newest labels that say something of the check: this run's own, else those of the same judge.

    If there are only labels of another judge: a sentence that says what has changed since. None: there are none at all.
    """
    wanted = plan.labelling_policy
    own = [one for one in known if one.run_id == run.run_id and one.check_name == check.name]
    others = [
        one for one in known if one.run_id != run.run_id and one.cells and one.identity["template"] == check.template
    ]
    why = None
    for one in (*own, *others):
        here = identity(run, check, one.policy if wanted is None else wanted)
        if one.identity == here:
            return one
        why = why or (
            f"{check.name}: the {len(one.labels):,} labels of run {one.labelled_run} are not applied, since they were made "
            f"with {_difference(one.identity, here)}"
        )
    return why


def _difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """`judge model turing_flash and not turing_small`."""
    parts = [
        f"{words} {_said(there.get(part))} and not {_said(here.get(part))}"
        for part, words in _IN_WORDS.items()
        if there.get(part) != here.get(part)
    ]
    if there["policy"] != here["policy"]:
        parts.append(f"{_policy(there['policy'])} and not {_policy(here['policy'])}")
    return ", ".join(parts) or "the same judge"


def _said(part: object) -> str:
    """Choices and parameters as people write them: `neutral, joy`."""
    if isinstance(part, Mapping):
        part = [f"{name}={value}" for name, value in part.items()]
    return (", ".join(map(str, part)) if isinstance(part, list) else str(part or "")) or "none"


def _policy(name: str) -> str:
    return f"labelling policy {name!r}" if name else "no labelling policy named"


def require_labels(ledger: Ledger, plan: EvaluationPlan, run: Run, given: CheckedLabels | None) -> None:
    """Raises PlanError for a gate on a corrected pass rate that no labels could decide."""
    gates = [gate for text in plan.gates if (gate := Gate.parse(text)).metric == "corrected_pass_rate"]
    known = Calibrations(ledger.database).all() if gates else []
    problems = []
    for gate in gates:
        check = next((one for one in run.checks if one.name == gate.check), None)
        if check is None:
            continue  # `gate_problems` has said so
        if gate.segment is not None:
            problems.append(
                f"gate {str(gate)!r}: labels correct the rate of all rows, not of a segment; leave out {gate.segment}"
            )
        elif given is None or given.drawn.check_name != gate.check:
            found = applying(known, run, check, plan)
            if not isinstance(found, Calibration):
                problems.append(f"gate {str(gate)!r}: {_how_to_label(found, check.name)}")
    if problems:
        raise PlanError(*problems)


def _how_to_label(why: str | None, check: str) -> str:
    if why is not None:
        return (
            f"{why}; where the rows are the same, hand that sheet in with --labels FILE; else draw one of a run with this judge, "
            f"and have it labelled"
        )
    return (
        f"there are no labels of {check}: evaluate without this gate, draw a sheet with python -m flows.label RUN --n 100, fill "
        f"it in, and hand it in with --labels FILE"
    )
