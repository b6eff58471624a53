"""Beginning a run: its outline is written to the ledger, all items with it; nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from fieval_tasks.core.errors import NameTaken
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.data.dataset import Dataset
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.calibrating import record
from fieval_tasks.runs.choosing import Rows
from fieval_tasks.runs.connections import Connection, Openers
from fieval_tasks.runs.outline import earlier_verdicts, outlined
from fieval_tasks.runs.pairing import recognised
from fieval_tasks.runs.sides import RunSide


def begin(
    plan: EvaluationPlan,
    ledger: Ledger,
    openers: Openers,
    *,
    processes: int = 1,
    dataset: Dataset | None = None,
) -> tuple[Run, EvaluationPlan, Connection]:
    """Write the plan's run to the ledger; the run, the plan with its mode decided, and its connection.

    `processes`: how many will share its chunks. `dataset`: the rows, where the plan only names them. Raises PlanError with
    every problem.
    """
    with outlined(plan, ledger, openers, processes=processes, dataset=dataset) as outline:
        create = partial(ledger.create, chunk_size=outline.chunk_size, earlier=earlier_verdicts(outline, ledger))
        run = _written(ledger, outline.run, outline.read, create)
    if outline.baseline is not None:
        try:
            recognised(RunSide(ledger, run), outline.baseline)
        except BaseException:  # it has no row in common with its baseline, and nothing of it is sent
            ledger.forget(run.run_id)
            raise
    if outline.given is not None:
        record(ledger, run.run_id, outline.given)
    return run, outline.plan, outline.connection


def _written(ledger: Ledger, run: Run, read: Callable[[], Rows], create: Callable[[Run, Rows], Run]) -> Run:
    """The run in the ledger, under the name that was chosen, or a fresh one."""
    for name in [run.run_id] if run.run_id else _fresh_names(ledger, run.plan["dataset"]):
        try:
            return create(replace(run, run_id=name), read())
        except NameTaken:  # by another process, a moment ago
            if run.run_id:
                raise
    raise NameTaken("there are thousands of runs of this second: name this one with --run")


def name_stem(dataset: str | None) -> str:
    """The first part of the name that is made for a run on this dataset; its time follows."""
    if dataset is None:
        return "sample"
    stem = "stdin" if dataset == "-" else Path(dataset.splitlines()[0]).name.split(".")[0]
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in stem).strip("-")[:40] or "run"


def _fresh_names(ledger: Ledger, dataset: str | None) -> Iterator[str]:
    """Readable names that no run has yet; the next one is tried where another process has taken the first."""
    name = f"{name_stem(dataset)}-{datetime.now():%Y%m%d-%H%M%S}"
    taken = ledger.names(name)
    return (n for n in (name, *(f"{name}-{i}" for i in range(2, 10_000))) if n not in taken)
