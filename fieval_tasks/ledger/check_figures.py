"""What each check of a run came to, as rows of the ledger that outlive the run's items."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fieval_tasks.core.items import State
from fieval_tasks.ledger.run import checks_of
from fieval_tasks.ledger.schema import choices, figures, items, runs

WHOLE = "whole:"
"""Before a digest of a whole dataset, where rows have neither questions nor ids to be told by."""


@dataclass(frozen=True, kw_only=True)
class CheckFigures:
    """What one check of a run came to: a row of `fieval_figures`. Without `at` it has not been counted yet."""

    run_id: str
    check_name: str
    template: str
    model: str | None = None
    at: datetime | None = None
    """When it was counted."""
    server: str | None = None
    """The judge's server: its address, or `local`."""
    params: str | None = None
    """A digest of the template's parameters, which may hold what nobody should read."""
    good: str | None = None
    """The choices that pass; empty where nobody said which."""
    policy: str | None = None
    """The labelling policy of the labels that correct the rate; None where no labels do."""
    asked: str | None = None
    """A digest of the rows' questions and ids, or of the whole dataset (see WHOLE)."""
    total: int | None = None
    scored: int | None = None
    failed: int | None = None
    pending: int | None = None
    not_needed: int | None = None
    reused: int | None = None
    passed: int | None = None
    pass_rate: float | None = None
    pass_rate_low: float | None = None
    pass_rate_high: float | None = None
    """The ends of its 95 % interval."""
    mean: float | None = None
    bounds_low: float | None = None
    bounds_high: float | None = None
    """Between which the rate, else the mean, of all items lies, whatever those without a verdict would have got."""
    corrected_rate: float | None = None
    corrected_low: float | None = None
    corrected_high: float | None = None
    """The pass rate as people's labels correct it, with its interval."""
    cost: float | None = None
    """At the worst; None where its judge model has no price."""
    gates: Sequence[Mapping[str, str]] | None = None
    """Those about this check, or about all: each with `gate`, `verdict` and `sentence`."""

    @property
    def figure(self) -> float | None:
        """What its trend is of: the pass rate, else the mean; None where nothing was measured."""
        return self.mean if self.pass_rate is None else self.pass_rate

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of the pass rate, 95 %; None of a mean."""
        if self.pass_rate_low is None or self.pass_rate_high is None:
            return None
        return self.pass_rate_low, self.pass_rate_high

    def to_json(self) -> dict[str, Any]:
        """What it came to and by which judge, as the commands' --json says it."""
        return {
            **{name: getattr(self, name) for name in _TOLD},
            "pass_rate_interval": self.interval and [*self.interval],
            "bounds": None if self.bounds_low is None else [self.bounds_low, self.bounds_high],
        }


_TOLD = (
    *("template", "model", "total", "scored", "failed", "pending", "not_needed", "reused"),
    *("passed", "pass_rate", "mean", "corrected_rate", "cost"),
)
"""Fields that `to_json` tells under their own names."""


def open_figures(connection: Connection, run_id: str, checks: Iterable[Mapping[str, Any]]) -> None:
    """A row for each check of a new run, with what judges it."""
    rows = {
        check["name"]: {"run_id": run_id, "check_name": check["name"], "template": check["template"], "model": check["model"]}
        for check in checks
    }  # fmt: skip
    if rows:
        connection.execute(sa.insert(figures), [*rows.values()])


def write(connection: Connection, run_id: str, counted: Sequence[CheckFigures]) -> None:
    """Replace what is kept of the run, together with which of its choices passed."""
    connection.execute(sa.delete(figures).where(figures.c.run_id == run_id))
    if counted:
        connection.execute(sa.insert(figures), [{**vars(one), "gates": [*(one.gates or ())]} for one in counted])
    connection.execute(sa.delete(choices).where(choices.c.run_id == run_id))
    if rows := _choices(connection, run_id):
        connection.execute(sa.insert(choices), rows)


def _choices(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """Each answer of a check whose good choices the plan names, and whether it passes: no item's row tells."""
    found = []
    recorded = connection.scalar(sa.select(runs.c.checks).where(runs.c.run_id == run_id)) or []
    for check in (one for one in checks_of(recorded) if one.good):
        mine = (items.c.run_id == run_id, items.c.check_name == check.name, items.c.state == State.SCORED.value)
        for value in connection.scalars(sa.select(items.c.value).where(*mine).distinct()):
            passed = None if value is None else check.scale.passes(json.loads(value))
            if passed is not None:
                found.append({"run_id": run_id, "check_name": check.name, "value": value, "passed": passed})
    return found
