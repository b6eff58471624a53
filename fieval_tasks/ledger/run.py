"""A run and its checks as rows of the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from fieval_tasks.core.scales import Scale, scale_of


@dataclass(frozen=True)
class CheckRecord:
    """A run's check, as recorded when the run began."""

    name: str
    """The check's name in results and gates."""
    template: str
    model: str | None
    params: Mapping[str, Any]
    """Parameters that are the same for every row."""
    output: str
    """The template's output type."""
    sources: Mapping[str, str]
    """Template key -> dataset column."""
    models: tuple[str, ...] = ()
    """The judge models that the template takes; empty: any, or not recorded."""
    param_sources: Mapping[str, str] = field(default_factory=dict)
    """Template parameter -> dataset column, for parameters that each row gives."""
    good: tuple[str, ...] = ()
    """Choices that pass, as the plan says; empty: nobody said."""

    @property
    def scale(self) -> Scale:
        return scale_of(self.template, self.output, self.good)


@dataclass(frozen=True)
class Run:
    """A row of the table of runs."""

    run_id: str
    """The run's name."""
    created_at: datetime
    dataset: str
    """The dataset's name, for display."""
    dataset_fingerprint: str
    """See `Dataset.fingerprint`."""
    mode: str
    connection: str
    """The connection's label, for display."""
    checks: tuple[CheckRecord, ...]
    plan: Mapping[str, Any]
    """The fields of the plan, without those of a single call."""
    notices: tuple[str, ...]
    """Notices from its preparation."""
    total: int = 0
    """Items."""
    flow_run_id: str | None = None
    """The Prefect flow run that worked on it last, or has published it since; None: Prefect knows nothing of its end."""
    started_at: datetime | None = None
    """When a process first worked on it."""
    finished_at: datetime | None = None
    """When its last item was settled; None before."""
    wall_seconds: float = 0.0
    """Seconds that processes have worked on it, summed up."""
    exit_code: int | None = None
    """Of its latest conclusion; None while it is being concluded, or before."""
    submits: int = 0
    polls: int = 0
    retries: int = 0
    throttled: int = 0
    possible_duplicates: int = 0
    """Computed from the items when the run is read: see `duplicates`."""
    begun_by: str | None = None
    """The Prefect flow run that worked on it first."""
    address: str | None = None
    """The server that its requests go to; set before the first request."""
    account: str | None = None
    """A hash of the account's keys: see `api.account`. None: not known, or the embedded evaluator's."""
    population: int | None = None
    """Rows of which the run's are a random sample; None: the run has all of them, or an older version began it."""
    tier: str | None = None
    """The account's tier as the run has recognised it by refusals; None: it was named, or not recognised."""
    pruned_at: datetime | None = None
    """When its items were deleted (`flows.prune`); only what it came to is kept then."""

    is_behind: bool = False
    """Something that its plan's `to` names lacks verdicts, as far as its last conclusion knows."""

    def check(self, name: str) -> CheckRecord:
        return next(check for check in self.checks if check.name == name)

    def to_row(self) -> dict[str, Any]:
        checks, plan = [vars(check) for check in self.checks], dict(self.plan)
        return vars(self) | {"checks": checks, "notices": list(self.notices), "plan": plan}

    @classmethod
    def of_row(cls, row: sa.RowMapping) -> Run:
        """A run from a row with all columns and `doubled`, the possible duplicates of its items."""
        values = {name: value for name, value in row.items() if name not in ("is_whole", "doubled")}
        values["possible_duplicates"] += row["doubled"]
        return cls(**values | {"checks": checks_of(row["checks"]), "notices": tuple(row["notices"])})


def checks_of(recorded: Sequence[Mapping[str, Any]]) -> tuple[CheckRecord, ...]:
    """The checks in a run's row; rows of older versions lack the newest fields."""
    lists = ("models", "good")
    return tuple(CheckRecord(**{**check, **{name: tuple(check.get(name, ())) for name in lists}}) for check in recorded)
