"""What prefect.yaml and the files of automations/ define."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from pydantic import BaseModel

HERE = Path(__file__).parent
PREFECT_FILE = next(file for file in (HERE / "prefect.yaml", HERE.parent / "prefect.yaml") if file.is_file())
"""In an installed package beside this module; in a clone in the root, where `prefect deploy` looks for it."""
AUTOMATIONS = HERE / "automations"


class WorkPool(BaseModel):
    name: str


class Definition(BaseModel):
    """One deployment of prefect.yaml."""

    name: str
    entrypoint: str
    description: str
    tags: list[str]
    schedules: list[dict[str, Any]]
    parameters: dict[str, Any]
    work_pool: WorkPool
    concurrency_limit: ConcurrencyLimitConfig | None = None
    """How many of its runs there may be at the same time, and what becomes of one more."""

    @property
    def full_name(self) -> str:
        """FLOW/DEPLOYMENT; the flow's name is its function's, as Prefect writes it."""
        return f"{self.entrypoint.rpartition('.')[2].replace('_', '-')}/{self.name}"


def deployments() -> list[Definition]:
    """In the order of the file."""
    return [Definition.model_validate(said) for said in _read(PREFECT_FILE)["deployments"]]


def automations() -> list[dict[str, Any]]:
    """As the files say, by name."""
    return [_read(file) for file in sorted(AUTOMATIONS.glob("*.yaml"))]


def _read(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))
