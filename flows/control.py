"""Steer a run that is at work: `python -m flows.control RUN --pause`. The Prefect UI does the same through a variable."""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    from flows.command import control_command

    sys.exit(control_command())

from typing import Any

from prefect.variables import Variable

from fieval_tasks.control import VARIABLE, Control, control_of


def steer(run_id: str, changes: dict[str, Any]) -> Control:
    """Write what is to change into the variable, beside what it says of other runs; what the run is told now."""
    variable: Any = Variable.get(VARIABLE, default=None)
    wanted = control_of(run_id, variable).model_copy(update=changes)
    wanted = Control.model_validate(wanted.model_dump())
    others = {name: told for name, told in (variable or {}).items() if name != run_id}
    mine = {run_id: wanted.model_dump(exclude_defaults=True)} if wanted != Control() else {}
    Variable.set(VARIABLE, others | mine, overwrite=True)
    return wanted
