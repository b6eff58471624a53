"""`python -m flows.label RUN`: a sheet of randomly drawn items for people to label, and reading their labels back."""

from __future__ import annotations

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "label_command")

from dataclasses import dataclass
from pathlib import Path

from fieval_tasks.core.errors import PlanError
from fieval_tasks.ledger.calibrations import Calibration, Calibrations, LabelDraw
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.calibrating import handed, record
from fieval_tasks.runs.conclusion import Ended, Outcome, conclude
from fieval_tasks.runs.preparation import kept
from fieval_tasks.runs.sheets import draw, write_sheet


@dataclass(frozen=True)
class DrawnSheet:
    """A sheet that was written."""

    path: Path
    made: LabelDraw
    cut: int
    """Texts that were too long for a cell, and were cut."""


def drawn_sheet(
    run: str,
    *,
    n: int,
    check: str | None = None,
    seed: int = 0,
    policy: str | None = None,
    output: str | None = None,
    store: str | None = None,
) -> DrawnSheet:
    """Draw items of a check at random, record the draw and write the sheet. Raises PlanError where there is nothing to draw."""
    with kept(run, store) as opened:
        name = _labelled_check(opened.run, check)
        drawn, of = draw(opened.book, name, n=n, seed=seed)
        if not drawn:
            raise PlanError(
                f"no item of {name} in run {opened.run_id} has been passed or failed, so none can be labelled"
            )
        ids = [one.item_id for one in drawn]
        made = LabelDraw(opened.run_id, name, opened.ledger.now(), policy or "", seed, of, ids)
        plain = "".join(c if c.isalnum() else "-" for c in name)
        path = Path(output).expanduser() if output else opened.folder / f"labels-{plain}.csv"
        try:
            cut = write_sheet(path, drawn, made)
        except OSError as error:
            raise PlanError(f"{path} can't be written ({error}): name another file with --output") from error
        Calibrations(opened.ledger.database).record_draw(made)
        return DrawnSheet(path, made, cut)


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


def read_back(run: str, labels: str, policy: str | None = None, store: str | None = None) -> tuple[str, Outcome]:
    """Record a sheet's labels, and write the run's report anew; the check's name, and the run's outcome with them."""
    with kept(run, store) as opened:
        if busy := opened.worked_on_by_others():
            raise PlanError(f"run {opened.run_id} is at work ({busy}): read the labels back once it has ended")
        given = handed(
            opened.ledger, opened.plan.model_copy(update={"labels": labels, "labelling_policy": policy}), opened.run
        )
        assert given is not None
        made = record(opened.ledger, opened.run_id, given)
        return made.check_name, conclude(opened, Ended(), seconds=0.0)


def known_labels(store: str | None = None) -> list[Calibration]:
    """All labels in the ledger, the newest first."""
    with Ledger(store_url(store), must_exist=True) as ledger:
        return Calibrations(ledger.database).all()
