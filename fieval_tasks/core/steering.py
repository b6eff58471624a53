"""Settings that may be changed while a run is at work, and the Prefect variable that holds them."""

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
"""How the name of a run's Prefect variable begins; the variable exists while the run is at work."""
# What Prefect allows as a variable's name. Most runs have such a name themselves.
_PLAIN = re.compile(r"[a-z0-9_-]+")


class Control(BaseModel):
    """One run's settings. A setting that is None is the plan's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paused: bool = False
    """Submit nothing. Replies to requests that were sent are read, and verdicts are fetched."""
    rate: Rate | None = None
    """Requests at most, such as 20/s or 600/min."""
    concurrency: int | None = Field(default=None, ge=1, le=1000)
    """Requests in flight at most."""

    @property
    def requests_a_second(self) -> float | None:
        return None if self.rate is None else parse_rate(self.rate)


def variable_of(run_id: str) -> str:
    """The name of the run's variable, such as `fieval_control_nightly-20260101-020000`. No two runs have the same."""
    if _PLAIN.fullmatch(run_id):
        return PREFIX + run_id
    plain = "".join(letter if _PLAIN.fullmatch(letter) else "_" for letter in run_id.lower())
    return f"{PREFIX}{plain}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"


def control_of(run_id: str, value: Any) -> Control:
    """The settings in the variable's value. Raises PlanError where it can't be read."""
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
    """The value to write to the variable for these settings, with the run's name."""
    return {"run": run_id, **wanted.model_dump(exclude_defaults=True)}
