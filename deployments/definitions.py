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
class Definition:
    """One deployment of prefect.yaml."""

    name: str
    entrypoint: str
    description: str
    tags: tuple[str, ...]
    schedules: tuple[Mapping[str, Any], ...]
    parameters: Mapping[str, Any]
    limit: int
    """Runs of it at the same time."""
    collision: str
    """What becomes of one more: ENQUEUE or CANCEL_NEW."""
    pool: str

    @property
    def flow(self) -> str:
        """The flow's name."""
        return self.entrypoint.rpartition(".")[2]


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
        limit=said["concurrency_limit"]["limit"],
        collision=said["concurrency_limit"]["collision_strategy"],
        pool=said["work_pool"]["name"],
    )
