"""What `flows.label` shows: the sheet that was written, and what the labels say of the judge."""

from __future__ import annotations

import sys
from pathlib import Path

from fieval_tasks.core.command_lines import command
from fieval_tasks.core.errors import ExitCode, PlanError
from fieval_tasks.decisions.agreement import Confusion
from fieval_tasks.ledger.calibrations import Calibration, Calibrations, LabelDraw
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.listing import console_of, listing
from fieval_tasks.report.text import clean, count, moment
from fieval_tasks.runs.calibrating import checked_labels, record
from fieval_tasks.runs.conclusion import Ended, conclude
from fieval_tasks.runs.preparation import kept
from fieval_tasks.runs.sheets import draw, write_sheet
from fieval_tasks.terminal.door import say


def written(
    run: str,
    *,
    n: int | None,
    check: str | None,
    seed: int | None,
    policy: str | None,
    output: str | None,
    store: str | None,
) -> int:
    """Draw items of a check at random, record the draw, write the sheet, and say what to do with it."""
    if n is not None and n < 1:
        raise PlanError("--n: draw one item at least")
    with kept(run, store) as opened:
        name = _labelled_check(opened.run, check)
        drawn, of = draw(opened.book, name, n=100 if n is None else n, seed=seed or 0)
        if not drawn:
            raise PlanError(
                f"no item of {name} in run {opened.run_id} has been passed or failed, so none can be labelled"
            )
        ids = [one.item_id for one in drawn]
        made = LabelDraw(opened.run_id, name, opened.ledger.now(), policy or "", seed or 0, of, ids)
        plain = "".join(c if c.isalnum() else "-" for c in name)
        path = Path(output).expanduser() if output else opened.folder / f"labels-{plain}.csv"
        try:
            cut = write_sheet(path, drawn, made)
        except OSError as error:
            raise PlanError(f"{path} can't be written ({error}): name another file with --output") from error
        Calibrations(opened.ledger.database).record_draw(made)
    print(
        clean(
            f"{count(len(made.items), 'item')} of {made.of:,} that {made.check_name} passed or failed, drawn with seed {made.seed}: "
            f"{path}\nwrite pass or fail into the column label of each, then: "
            f"{command('label', made.run_id, '--labels', str(path), store=store)}"
        )
    )
    if cut:
        say(
            f"note: {count(cut, 'text was', 'texts were')} too long for a spreadsheet's cell and cut; --output NAME.jsonl has all"
        )
    return ExitCode.OK


def _labelled_check(run: Run, wanted: str | None) -> str:
    names = [check.name for check in run.checks if check.scale.has_passes]
    if not names:
        raise PlanError(
            f"no check of run {run.run_id} answers Pass/Fail, so there is no pass rate to correct (of one that answers with "
            f"choices, --good CHECK=CHOICE says which pass)"
        )
    if wanted is None and len(names) > 1:
        raise PlanError(f"run {run.run_id} has several checks: name one of {', '.join(names)} with --check")
    if wanted not in (None, *names):
        raise PlanError(f"--check {wanted}: it is no Pass/Fail check of run {run.run_id} (it has: {', '.join(names)})")
    return wanted or names[0]


def read(run: str, labels: str, policy: str | None, store: str | None) -> int:
    """Record a sheet's labels, write the run's report anew with them, and say what they come to."""
    with kept(run, store) as opened:
        if busy := opened.book.claims.holder():
            raise PlanError(f"run {opened.run_id} is at work ({busy}): read the labels back once it has ended")
        labelled = opened.plan.model_copy(update={"labels": labels, "labelling_policy": policy})
        given = checked_labels(opened.ledger, labelled, opened.run)
        assert given is not None, "the plan names labels"
        check = record(opened.ledger, opened.run_id, given).check_name
        outcome = conclude(opened, Ended(), seconds=0.0)
    report = outcome.report
    if (correction := report.corrections.get(check)) is not None:
        print(*listing(_rows(correction.figures.confusion), console_of(sys.stdout), names=[""]), sep="\n")
        print(clean(f"{correction.agreement}\n{check}: {correction.sentence}"))
    for line in (
        *report.remarks,
        *(gate.sentence for gate in report.gates),
        f"report: {outcome.folder / 'report.html'}",
    ):
        print(clean(line))
    if not outcome.is_good:
        say(outcome.sentence)
    return outcome.exit_code


def _rows(found: Confusion) -> list[dict[str, str]]:
    each = {
        "judge passes": (found.both_passed, found.judge_only),
        "judge fails": (found.person_only, found.both_failed),
    }
    return [{"": name, "people pass": f"{n:,}", "people fail": f"{m:,}"} for name, (n, m) in each.items()]


def listed(store: str | None) -> int:
    """A paragraph for all labels of each reading, the newest first."""
    with Ledger(store_url(store), must_exist=True) as ledger:
        found = Calibrations(ledger.database).all()
    for one in found:
        print(clean(_line(one)))
    if not found:
        print("there are no labels in this ledger: draw a sheet with " + command("label", "RUN", store=store))
    return ExitCode.OK


def _line(one: Calibration) -> str:
    judge = ", ".join(f"{part} {one.identity[part]}" for part in ("judge", "template", "model") if one.identity[part])
    under = f", policy {one.policy}" if one.policy else ""
    confusion = Confusion(*one.cells or ())
    said = f"{confusion.n - confusion.judge_only - confusion.person_only:,} of {confusion.n:,} agree with the judge"
    return (
        f"{moment(one.at)}  {one.run_id}  {one.check_name}: {count(len(one.labels), 'label')} of {one.drawn:,} drawn in run "
        f"{one.labelled_run} ({judge}{under}); {said if one.cells else 'not applied yet'}"
    )
