"""What `flows.label` shows: the sheet that was written, and what the labels say of the judge."""

from __future__ import annotations

import sys

from fieval_tasks.core.commands import command
from fieval_tasks.core.errors import ExitCode, PlanError
from fieval_tasks.decisions.agreement import Confusion
from fieval_tasks.ledger.calibrations import Calibration
from fieval_tasks.report.listing import console_of, listing
from fieval_tasks.report.text import clean, count, moment
from fieval_tasks.terminal.door import say
from flows.label import drawn_sheet, known_labels, read_back


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
    """Draw and write a sheet, and say what to do with it."""
    if n is not None and n < 1:
        raise PlanError("--n: draw one item at least")
    sheet = drawn_sheet(
        run, n=100 if n is None else n, check=check, seed=seed or 0, policy=policy, output=output, store=store
    )
    made = sheet.made
    print(
        clean(
            f"{count(len(made.items), 'item')} of {made.of:,} that {made.check_name} passed or failed, drawn with seed {made.seed}: "
            f"{sheet.path}\nwrite pass or fail into the column label of each, then: "
            f"{command('label', made.run_id, '--labels', str(sheet.path), store=store)}"
        )
    )
    if sheet.cut:
        say(
            f"note: {count(sheet.cut, 'text was', 'texts were')} too long for a spreadsheet's cell and cut; --output NAME.jsonl has all"
        )
    return ExitCode.OK


def read(run: str, labels: str, policy: str | None, store: str | None) -> int:
    """Read a sheet back, and say what it comes to."""
    check, outcome = read_back(run, labels, policy, store)
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
    found = known_labels(store)
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
