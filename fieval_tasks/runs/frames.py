"""Runs and their results as pandas DataFrames, read from the ledger."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fieval_tasks.ledger.check_figures import CheckFigures
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.columns import TIME, Columns, sound
from fieval_tasks.report.record import record
from fieval_tasks.runs.conclusion import Ended, facts_of
from fieval_tasks.runs.overview import RunOverview, overviews
from fieval_tasks.runs.preparation import kept

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

_DTYPES = {"int64": "Int64", "double": "float64", "bool": "boolean", "string": "string"}
"""Kind of a column -> pandas' type for it, in which whole numbers and booleans may be missing."""
_OF_RUN = {
    **dict.fromkeys(("run_id", "dataset", "connection", "mode"), "string"),
    **dict.fromkeys(("created_at", "started_at", "finished_at", "pruned_at"), TIME),
    **{"wall_seconds": "double", "exit_code": "int64"},
}
_OF_CHECK = {
    **dict.fromkeys(("template", "model", "server", "good", "policy"), "string"),
    **dict.fromkeys(("total", "scored", "failed", "pending", "not_needed", "reused", "passed"), "int64"),
    **dict.fromkeys(("pass_rate", "pass_rate_low", "pass_rate_high", "mean", "bounds_low", "bounds_high"), "double"),
    **dict.fromkeys(("corrected_rate", "corrected_low", "corrected_high", "cost"), "double"),
}
"""Columns that are fields of a `Run` and of `CheckFigures` -> what their values are."""


def results(run: str, store: str | None = None) -> pd.DataFrame:
    """A run's results, a row for each item and check, with the columns of results.parquet.

    `run` is a run's name, or `last`. `store` names the ledger; without one it is FIEVAL_STORE_URL's, else that of the working
    folder. An item that has no verdict yet has the status pending. Times are UTC. Raises PlanError where there is no such run.
    """
    with kept(run, store) as found:
        facts = facts_of(found, Ended())
        columns = Columns.from_facts(facts)
        every = found.book.results(with_inputs=True)
        rows = [columns.row(record(result, facts.further)) for result in every]
    return _frame(columns.kinds, rows)


def runs(store: str | None = None) -> pd.DataFrame:
    """All runs of a ledger, the newest first, a row for each run and check, with what the check came to in it.

    `ended` says how the run ended, as `python -m flows.runs` does; figures are missing while it has not. Rates have their 95 %
    interval in `pass_rate_low` and `pass_rate_high`. Runs whose rows were pruned are there, too. Times are UTC. Raises PlanError
    where there is no ledger.
    """
    with Ledger(store_url(store), must_exist=True) as ledger:
        found = overviews(ledger, tell=_log.warning)
    rows = [_row(one, figures) for one in found for figures in one.figures.values()]
    return _frame({**_OF_RUN, "ended": "string", "check": "string", **_OF_CHECK}, rows)


def _row(one: RunOverview, figures: CheckFigures) -> list[Any]:
    of_run = [getattr(one.run, name) for name in _OF_RUN]
    return [*of_run, one.ended, figures.check_name, *(getattr(figures, name) for name in _OF_CHECK)]


def _frame(kinds: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
    import pandas as pd  # half a second

    columns = [*zip(*rows, strict=True)] or [()] * len(kinds)
    typed = {name: _typed(cells, kind) for (name, kind), cells in zip(kinds.items(), columns, strict=True)}
    return pd.DataFrame(typed)


def _typed(cells: Sequence[Any], kind: str) -> pd.Series[Any]:
    import pandas as pd

    if kind == TIME:
        return pd.Series(pd.to_datetime(pd.Series(cells, dtype=object), utc=True, format="ISO8601")).dt.as_unit("us")
    return pd.Series([*map(sound, cells)], dtype=_DTYPES[kind])
