"""What may be changed while a run is at work: whether it submits, and how fast."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieval_tasks.errors import PlanError
from fieval_tasks.plan import Rate, parse_rate
from fieval_tasks.refusals import sentences

VARIABLE = "fieval_control"
"""The Prefect variable that holds it: a JSON object, run name -> settings."""
LARGEST = 5_000
"""Bytes of JSON that Prefect takes in a variable."""


class Control(BaseModel):
    """One run's settings. What is not said is as the plan has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paused: bool = False
    """Submit nothing; what is on its way comes in, and verdicts are fetched."""
    rate: Rate | None = None
    """Requests at most, such as 20/s or 600/min."""
    concurrency: int | None = Field(default=None, ge=1, le=1000)
    """Requests in flight at most."""
    at: datetime | None = Field(default=None, exclude=True, repr=False)
    """When the command wrote it."""

    @property
    def requests_a_second(self) -> float | None:
        return None if self.rate is None else parse_rate(self.rate)


def control_of(run_id: str, variable: Any) -> Control:
    """What the variable says of a run. Raises PlanError where that can't be read."""
    if variable is None:
        return Control()
    if not isinstance(variable, Mapping):
        example = json.dumps({run_id: {"paused": True}})
        raise PlanError(f"the variable {VARIABLE} is no JSON object: write {example}")
    try:
        return Control.model_validate(variable.get(run_id) or {})
    except ValidationError as error:
        told = "; ".join(sentences(error, Control))
        raise PlanError(f"the variable {VARIABLE} can't be read for run {run_id} ({told})") from None


def steered(run_id: str, wanted: Control, variable: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """The variable once it says this of a run, beside what it says of others: of as many as fit into it."""
    told = wanted.model_dump(exclude_defaults=True)
    mine = {run_id: told | {"at": at.isoformat(timespec="seconds")}} if told else {}
    others = {name: said for name, said in variable.items() if name != run_id}
    for name in sorted(others, key=lambda name: _keep_longer(others[name])):
        if _size(others | mine) <= LARGEST:
            break
        del others[name]
    return others | mine


def _keep_longer(said: Any) -> tuple[bool, str]:
    """Most settings are of runs that have ended, the oldest above all; a pause that is forgotten would cost money."""
    return (said.get("paused") is True, str(said.get("at", ""))) if isinstance(said, Mapping) else (False, "")


def _size(variable: Mapping[str, Any]) -> int:
    return len(json.dumps(variable, ensure_ascii=False, separators=(",", ":")).encode())
