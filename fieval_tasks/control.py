"""What may be changed while a run is at work: whether it submits, and how fast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieval_tasks.errors import PlanError
from fieval_tasks.plan import Rate, parse_rate
from fieval_tasks.refusals import sentences

VARIABLE = "fieval_control"
"""The Prefect variable that holds it: a JSON object, run name -> settings."""


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


def control_of(run_id: str, variable: Any) -> Control:
    """What the variable says of a run. Raises PlanError where that can't be read."""
    if variable is None:
        return Control()
    if not isinstance(variable, Mapping):
        raise PlanError(f"the variable {VARIABLE} is no JSON object: write {{{run_id!r}: {{'paused': true}}}}")
    try:
        return Control.model_validate(variable.get(run_id) or {})
    except ValidationError as error:
        told = "; ".join(sentences(error, Control))
        raise PlanError(f"the variable {VARIABLE} can't be read for run {run_id} ({told})") from None
