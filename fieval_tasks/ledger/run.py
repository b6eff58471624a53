"""A run and its checks, as the ledger knows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa


@dataclass(frozen=True)
class CheckRecord:
    """What a run asks of each row under one name."""

    name: str
    template: str
    model: str | None
    params: Mapping[str, Any]
    output: str
    sources: Mapping[str, str]
    """Template key -> dataset column."""
    models: tuple[str, ...] = ()
    """The only models that the template takes; empty: any, or that was not recorded."""
    param_sources: Mapping[str, str] = field(default_factory=dict)
    """Parameter of the template -> dataset column, where each row has a value of its own."""


@dataclass(frozen=True)
class Run:
    """One run as the ledger knows it."""

    run_id: str
    created_at: datetime
    dataset: str
    dataset_fingerprint: str
    mode: str
    connection: str
    checks: tuple[CheckRecord, ...]
    plan: Mapping[str, Any]
    notices: tuple[str, ...]
    total: int = 0
    flow_run_id: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    wall_seconds: float = 0.0
    exit_code: int | None = None
    submits: int = 0
    polls: int = 0
    retries: int = 0
    throttled: int = 0
    possible_duplicates: int = 0
    """Follows from the items, on reading: see `duplicates`."""
    begun_by: str | None = None
    """The Prefect flow run that worked on it first; `flow_run_id` is the latest."""
    address: str | None = None
    """Where its requests go: written when the first is sent, and kept to."""
    account: str | None = None
    """Whose keys they are sent with, sealed: see `account`. None: not known, or the embedded evaluator's."""

    def check(self, name: str) -> CheckRecord:
        return next(check for check in self.checks if check.name == name)

    def to_row(self) -> dict[str, Any]:
        checks, plan = [vars(check) for check in self.checks], dict(self.plan)
        return vars(self) | {"checks": checks, "notices": list(self.notices), "plan": plan}

    @classmethod
    def of_row(cls, row: sa.RowMapping) -> Run:
        """`row`: all columns, and `doubled`, what its items add to the possible duplicates."""
        values = {name: value for name, value in row.items() if name not in ("is_whole", "doubled")}
        values["possible_duplicates"] += row["doubled"]
        return cls(**values | {"checks": checks_of(row["checks"]), "notices": tuple(row["notices"])})


def checks_of(recorded: Sequence[Mapping[str, Any]]) -> tuple[CheckRecord, ...]:
    """The checks of a run's row; those of older programs lack the newest fields."""
    return tuple(CheckRecord(**{**check, "models": tuple(check.get("models", ()))}) for check in recorded)
