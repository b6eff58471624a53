"""What may be changed while a run is at work: whether it submits, and how fast."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.quantities import Rate, parse_rate
from fieval_tasks.core.refusals import sentences

PREFIX = "fieval_control_"
"""How the Prefect variable begins by which a run is steered; each run has one of its own while it is at work."""
_PLAIN = re.compile(r"[a-z0-9_-]+")
"""What a variable may be called, and most runs are."""


class Control(BaseModel):
    """One run's settings. What is not said is as the plan has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paused: bool = False
    """Submit nothing; what is on its way comes in, and verdicts are fetched."""
    rate: Rate | None = None
    """Requests at most, such as 20/s or 600/min."""
    concurrency: int | None = Field(default=None, ge=1, le=1000)
    """Requests in flight at most."""

    @property
    def requests_a_second(self) -> float | None:
        return None if self.rate is None else parse_rate(self.rate)


def variable_of(run_id: str) -> str:
    """The variable's name, another one for each run: `fieval_control_nightly-20260101-020000`."""
    if _PLAIN.fullmatch(run_id):
        return PREFIX + run_id
    plain = "".join(letter if _PLAIN.fullmatch(letter) else "_" for letter in run_id.lower())
    return f"{PREFIX}{plain}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"


def control_of(run_id: str, value: Any) -> Control:
    """What the variable's value says. Raises PlanError where that can't be read."""
    if value is None:
        return Control()
    if not isinstance(value, Mapping):
        raise PlanError(f'the variable {variable_of(run_id)} is no JSON object: write {{"paused": true}}')
    try:
        return Control.model_validate({name: said for name, said in value.items() if name != "run"})
    except ValidationError as error:
        problems = "; ".join(sentences(error, Control))
        raise PlanError(f"the variable {variable_of(run_id)} can't be read ({problems})") from None


def value_of(run_id: str, wanted: Control) -> dict[str, Any]:
    """The variable's value that says it, with the run's own name."""
    return {"run": run_id, **wanted.model_dump(exclude_defaults=True)}
