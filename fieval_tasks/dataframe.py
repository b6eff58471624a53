"""Evaluations of a DataFrame, without Prefect: for a notebook, a script, or a task of a flow of your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fieval_tasks.engine import SUBMITTERS, Engine
from fieval_tasks.items import Result
from fieval_tasks.plan import Check, EvaluationPlan, Mode
from fieval_tasks.preparation import Prepared, prepared
from fieval_tasks.progress import Progress

if TYPE_CHECKING:
    import pandas as pd


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
    further fields of EvaluationPlan, such as `concurrency`. Rows keep their order and index. `.error` is None, or
    says why an item has no verdict: an error is never a score. Without `store` the ledger is a file that is gone
    afterwards. Raises PlanError, with every problem, before anything is sent, and RunStopped or KeysRefused's
    sentence where the run can't go on.
    """
    with TemporaryDirectory(prefix="fieval-") as folder:
        plan = EvaluationPlan(
            dataset=str(_written(frame, Path(folder))),
            checks=_checks(templates, model),
            mapping=dict(mapping or {}),
            mode=Mode(mode),
            connection=connection,
            store=store or str(Path(folder) / "ledger.db"),
            **options,
        )
        with prepared(plan) as run:
            _work_on(run)
            return _with_verdicts(frame, run)


def _written(frame: pd.DataFrame, folder: Path) -> Path:
    path = folder / "dataframe.jsonl"
    frame.to_json(path, orient="records", lines=True, date_format="iso", force_ascii=True)
    return path


def _checks(templates: str | Check | Sequence[str | Check], model: str | None) -> tuple[Check, ...]:
    listed = [templates] if isinstance(templates, (str, Check)) else templates
    checks = [Check.parse(t) if isinstance(t, str) else t for t in listed]
    return tuple(c if c.model else c.model_copy(update={"model": model}) for c in checks)


def _work_on(run: Prepared) -> None:
    with run.engine() as engine:
        _work_once(engine, run.plan.mode)
        while engine.wait_for_others(_unseen):
            _work_once(engine, run.plan.mode)


def _work_once(engine: Engine, mode: Mode) -> None:
    chunks = engine.to_submit()
    with ThreadPoolExecutor(SUBMITTERS) as threads:
        engine.expect(len(chunks))
        submissions = [threads.submit(_submit, engine, chunk) for chunk in chunks]
        if mode is Mode.ASYNC:
            engine.settle(_unseen)
        for submission in submissions:
            submission.result()
    if mode is Mode.SYNC and engine.awaits_verdicts:
        engine.settle(_unseen)


def _submit(engine: Engine, chunk: int) -> None:
    try:
        engine.submit_chunk(chunk)
    finally:
        engine.chunk_done()


def _unseen(_: Progress) -> None:
    return


def _with_verdicts(frame: pd.DataFrame, run: Prepared) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {}
    for result in run.ledger.results(run.run):
        for name, value in _cells(result).items():
            columns.setdefault(f"{result.check}.{name}", [None] * len(frame))[result.row - 1] = value
    import pandas as pd

    verdicts = pd.DataFrame(columns, index=frame.index, dtype=object)
    return pd.concat([frame, verdicts], axis="columns")


def _cells(result: Result) -> dict[str, Any]:
    error = f"{result.error['kind']}: {result.error['message']}" if result.error else None
    if result.status == "pending":
        error = "pending: no verdict yet"
    return {
        "value": result.value,
        "score": result.score,
        "passed": result.passed,
        "reason": result.reason,
        "error": error,
    }
