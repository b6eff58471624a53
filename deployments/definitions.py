"""What prefect.yaml and the files of automations/ define."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

PREFECT_FILE = Path(__file__).with_name("prefect.yaml")
AUTOMATIONS = Path(__file__).with_name("automations")


@dataclass(frozen=True)
class Limit:
    """How many runs of a deployment there may be at the same time."""

    runs: int
    collision: str
    """What becomes of one more: ENQUEUE or CANCEL_NEW."""


@dataclass(frozen=True)
class Definition:
    """One deployment of prefect.yaml."""

    name: str
    entrypoint: str
    description: str
    tags: tuple[str, ...]
    schedules: tuple[Mapping[str, Any], ...]
    parameters: Mapping[str, Any]
    limit: Limit | None
    pool: str

    @property
    def flow(self) -> str:
        """The flow's name: its function's, as Prefect writes it."""
        return self.entrypoint.rpartition(".")[2].replace("_", "-")


def deployments() -> list[Definition]:
    """In the order of the file."""
    return [_definition(said) for said in yaml.safe_load(PREFECT_FILE.read_text(encoding="utf-8"))["deployments"]]


def pools() -> list[str]:
    """The work pools that the deployments want, each once."""
    return list(dict.fromkeys(definition.pool for definition in deployments()))


def automations() -> list[dict[str, Any]]:
    """As the files say, by name."""
    files = sorted(AUTOMATIONS.glob("*.yaml"))
    return [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]


def _definition(said: Mapping[str, Any]) -> Definition:
    return Definition(
        name=said["name"],
        entrypoint=said["entrypoint"],
        description=said["description"],
        tags=tuple(said["tags"]),
        schedules=tuple(said["schedules"]),
        parameters=said["parameters"],
        limit=_limit(said["concurrency_limit"]) if "concurrency_limit" in said else None,
        pool=said["work_pool"]["name"],
    )


def _limit(said: Mapping[str, Any]) -> Limit:
    return Limit(said["limit"], said["collision_strategy"])
