"""Evaluations of a DataFrame, without Prefect: for a notebook, a script, or a task of a flow of your own."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.items import Result, State
from fieval_tasks.core.plan import Check, EvaluationPlan, Mode
from fieval_tasks.data.dataset import Dataset, Row
from fieval_tasks.data.delimited import refuse_twins
from fieval_tasks.data.intake import canonical
from fieval_tasks.on_prefect.openers import prepared
from fieval_tasks.runs.conclusion import handed_on, report_of
from fieval_tasks.runs.preparation import Prepared
from fieval_tasks.runs.workers import work_on

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

OF_NO_USE = {
    **dict.fromkeys(("dataset", "format", "delimiter", "rows"), "the frame is the dataset"),
    **dict.fromkeys(
        ("gates", "allow_failures", "confidence", "stop_when_decided"),
        "no exit code comes of it: take its pass rate from the verdict columns",
    ),
    "audit": "no report comes of it: take repeats, and compare the verdicts of each row",
    **dict.fromkeys(("labels", "labelling_policy"), "no report is written that a corrected rate could stand in"),
    **dict.fromkeys(
        ("baseline", "baseline_max_age", "margin"), "name a store, and compare its run by python -m flows.compare"
    ),
    **dict.fromkeys(("keep", "output"), "no files are written: the frame that comes back has all its columns"),
    **dict.fromkeys(
        ("resume", "retry_failed", "same_account"), "carry on by the command that the message of a run names"
    ),
}
"""Plan fields that are refused for a DataFrame -> why."""
LEFT_OUT = "left_out: where, limit or sample took other rows"
VERDICT_COLUMNS = ("value", "score", "passed", "reason", "error")
REPEATS = "repeats"
"""With `repeats`, the column after these: the values of all evaluations of a row, in a list, None for those without one."""


def evaluate_dataframe(
    frame: pd.DataFrame,
    templates: str | Check | Sequence[str | Check],
    *,
    mapping: Mapping[str, str] | None = None,
    model: str | None = None,
    mode: Mode | str = Mode.ASYNC,
    connection: str | None = None,
    store: str | None = None,
    **options: Any,
) -> pd.DataFrame:
    """The frame with five more columns for each check: CHECK.value, .score, .passed, .reason and .error.

    `templates` are names, NAME:MODEL, or Checks; `mapping` is template key -> column, as for `--map`; `options` are
    further fields of EvaluationPlan, such as `concurrency`, but for OF_NO_USE. Rows keep their order and index, and columns
    of an earlier call's verdicts are replaced. Only what fills a key is made text, by the rules of files. `.error` is None,
    or says why an item has no verdict: an error is never a score. With `repeats` these are the first evaluation's, and
    CHECK.repeats lists the values of all.

    Without `store` the ledger is a file that is gone afterwards, unless an item has no verdict yet (`mode="submit"`, one past
    its time, a run that was cut short): then it is kept, and `.error`, a warning and the frame's `attrs["fieval"]` (run,
    store, command) name it and the command that fetches the verdicts.

    Raises PlanError, with every problem, before anything is sent, and RunStopped, with the command that carries on, where
    the run can't go on.
    """
    _require_use(options, store)
    rows = _rows_of(frame)
    with _scratch() as scratch:
        plan = EvaluationPlan(
            dataset=rows.name,
            checks=_checks(templates, model),
            mapping=dict(mapping or {}),
            mode=mode,  # type: ignore[arg-type]  # of a text the plan makes it, or says which there are
            connection=connection,
            store=store or str(scratch.folder / "ledger.db"),
            **options,
        )
        with prepared(plan, dataset=rows) as run:
            unscored = frame.drop(columns=_replaced(frame, run))
            return _scored(unscored, run) if store else _scored_in(scratch, unscored, run)


def _require_use(options: Mapping[str, Any], store: str | None) -> None:
    """Raises PlanError for fields that mean nothing of a DataFrame."""
    if refused := [name for name in OF_NO_USE if name in options]:
        raise PlanError(*(f"{name}: of a DataFrame it is of no use, {OF_NO_USE[name]}" for name in refused))
    if options.get("reuse") and not store:
        raise PlanError("reuse: of a DataFrame it needs store, the ledger that has the earlier runs")


@dataclass
class _Scratch:
    """A temporary folder for a ledger without a `store`."""

    folder: Path
    is_needed: bool = False
    """The folder is not deleted at the end: it holds what was paid for."""


@contextmanager
def _scratch() -> Iterator[_Scratch]:
    scratch = _Scratch(Path(mkdtemp(prefix="fieval-")))
    try:
        yield scratch
    finally:
        if not scratch.is_needed:
            rmtree(scratch.folder)


def _scored_in(scratch: _Scratch, frame: pd.DataFrame, run: Prepared) -> pd.DataFrame:
    """As `_scored`; the ledger in the folder is kept where items that may be paid for have no verdict."""
    scratch.is_needed = True  # for all that is known of what is paid for from now on
    try:
        scored = _scored(frame, run)
    except BaseException:  # Ctrl-C too
        scratch.is_needed = _is_begun(run)
        if scratch.is_needed:
            _log.warning("what run %s has is kept; to carry on: %s", run.run_id, run.resume_command)
        raise
    scratch.is_needed = "fieval" in scored.attrs
    return scored


def _scored(frame: pd.DataFrame, run: Prepared) -> pd.DataFrame:
    work_on(run)
    for finding in report_of(run).findings:
        _log.warning("run %s: %s", run.run_id, finding)
    behind = handed_on(run)
    for lacks in behind:
        _log.warning("run %s: %s", run.run_id, lacks)
    scored = _with_verdicts(frame, run)
    if then := run.next_command:
        _log.warning("not every item of run %s has its verdict; to fetch the rest: %s", run.run_id, then)
    if then := then or (run.collect_command if behind else None):
        scored.attrs["fieval"] = {"run": run.run_id, "store": run.ledger.name, "command": then}
    return scored


def _is_begun(run: Prepared) -> bool:
    """Whether an item was sent, so that something may have been paid for."""
    return any(n for state, n in run.book.counts().items() if state is not State.READY)


def _rows_of(frame: pd.DataFrame) -> Dataset:
    """The frame as a dataset, with its values unchanged. Raises PlanError where its columns have no unique names."""
    import pandas as pd  # half a second, which whoever has a frame has already spent

    if not isinstance(frame, pd.DataFrame):
        raise _no_frame(frame)
    if frame.columns.nlevels > 1:
        raise PlanError(
            "the frame's columns have several levels: name each by one text, as frame.columns.map('.'.join)"
        )
    columns = tuple(map(str, frame.columns))
    refuse_twins("the frame", list(columns))
    if frame.empty:
        raise PlanError("the frame is empty: it holds no rows")

    def read() -> Iterator[Row]:
        for number, cells in enumerate(frame.itertuples(index=False, name=None), 1):
            yield Row(number, dict(zip(columns, cells, strict=True)))

    digest = hashlib.sha256()
    for row in read():
        digest.update(canonical(row.values).encode())
    return Dataset("DataFrame", columns, len(frame), digest.hexdigest(), read)


def _no_frame(given: object) -> PlanError:
    made_by = "its to_pandas()" if hasattr(given, "to_pandas") else "pandas.DataFrame(rows)"
    kind = f"{type(given).__module__.partition('.')[0]}.{type(given).__qualname__}".removeprefix("builtins.")
    return PlanError(f"a pandas.DataFrame is needed, and this is a {kind}: make one by {made_by}")


def _replaced(frame: pd.DataFrame, run: Prepared) -> list[str]:
    """The columns of an earlier call's verdicts. Raises PlanError where only some of them are there: they are the user's."""
    columns, replaced = set(frame.columns), []
    for check in run.run.checks:
        mine = [f"{check.name}.{name}" for name in VERDICT_COLUMNS]
        there = [name for name in mine if name in columns]
        if there and there != mine:
            raise PlanError(f"the frame has a column {there[0]!r}, where a verdict would go: rename it")
        replaced += there
        if there and (repeats := f"{check.name}.{REPEATS}") in columns:
            replaced.append(repeats)
    return replaced


def _checks(templates: str | Check | Sequence[str | Check], model: str | None) -> tuple[Check, ...]:
    listed = [templates] if isinstance(templates, (str, Check)) else templates
    checks = [Check.parse(t) if isinstance(t, str) else t for t in listed]
    return tuple(c if c.model else c.model_copy(update={"model": model}) for c in checks)


def _with_verdicts(frame: pd.DataFrame, run: Prepared) -> pd.DataFrame:
    then = run.next_command
    columns: dict[str, list[Any]] = {}
    for result in run.book.results():
        if run.plan.repeats > 1:
            values = columns.setdefault(f"{result.check}.{REPEATS}", [None] * len(frame))
            values[result.row - 1] = [*(values[result.row - 1] or []), result.value]
        if result.repeat:
            continue
        for name, value in _cells(result, then).items():
            elsewhere = LEFT_OUT if name == "error" else None
            columns.setdefault(f"{result.check}.{name}", [elsewhere] * len(frame))[result.row - 1] = value
    import pandas as pd

    verdicts = pd.DataFrame(columns, index=frame.index, dtype=object)
    return pd.concat([frame, verdicts], axis="columns")


def _cells(result: Result, then: str | None) -> dict[str, Any]:
    error = f"{result.error['kind']}: {result.error['message']}" if result.error else None
    if result.status == "pending":
        error = f"pending: no verdict yet; to fetch it: {then}"
    return {
        "value": result.value,
        "score": result.score,
        "passed": result.passed,
        "reason": result.reason,
        "error": error,
    }
