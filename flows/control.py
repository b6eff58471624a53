"""Steer a run that is at work: `python -m flows.control RUN --pause`. The Prefect UI does the same through a variable."""

from __future__ import annotations

if __name__ == "__main__":
    from fieval_tasks.door import run_command

    run_command("flows.command", "control_command")

from datetime import datetime, timezone
from typing import Any

from prefect.variables import Variable

from fieval_tasks.control import VARIABLE, Control, control_of, steered


def steer(run_id: str, changes: dict[str, Any]) -> Control:
    """Write what is to change into the variable, beside what it says of other runs; what the run is told now."""
    variable: Any = Variable.get(VARIABLE, default=None)
    wanted = control_of(run_id, variable).model_copy(update=changes)
    wanted = Control.model_validate(wanted.model_dump())
    told: Any = steered(run_id, wanted, variable or {}, datetime.now(timezone.utc))
    Variable.set(VARIABLE, told, overwrite=True)
    return wanted
