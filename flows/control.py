"""Steer a run that is at work: `python -m flows.control RUN --pause`. The Prefect UI does the same through a variable."""

from __future__ import annotations

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "control_command")

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from time import sleep
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from fieval_tasks.core.command_lines import command
from fieval_tasks.core.errors import PlanError, RunStopped
from fieval_tasks.core.steering import PREFIX, Control, control_of, value_of, variable_of
from fieval_tasks.on_prefect.times import TIMES
from fieval_tasks.runs.preparation import kept


def steer(
    run: str, changes: Mapping[str, Any], store: str | None = None, *, wait: Callable[[float], None] = sleep
) -> tuple[str, Control]:
    """Change settings of a run from now on; its name, and all its settings.

    `store`: the ledger in which a run is looked for that is not at work. Raises PlanError where there is no such run, or it
    has ended, and pydantic's ValidationError for changes that can't be meant.
    """
    Control.model_validate(changes)
    with get_client(sync_client=True) as client:
        run = _known(client, run, store)
        for _ in range(TIMES.write_attempts):
            wanted = _written(client, run, changes)
            wait(TIMES.settled)
            if wanted is not None and _holds(client, run, changes):
                return run, wanted
    raise RunStopped(f"run {run} is being steered otherwise at the same time: ask for it again")


def _written(client: SyncPrefectClient, run: str, changes: Mapping[str, Any]) -> Control | None:
    """The variable's settings with the changes written. None: another writer created or deleted the variable meanwhile."""
    name, there = variable_of(run), client.read_variable_by_name(variable_of(run))
    said = control_of(run, None if there is None else there.value)
    wanted = Control.model_validate({**said.model_dump(), **changes})
    try:
        if there is None:
            client.create_variable(VariableCreate(name=name, value=value_of(run, wanted)))
        else:
            client.update_variable(VariableUpdate(name=name, value=value_of(run, wanted)))
    except (ObjectAlreadyExists, ObjectNotFound):
        return None
    return wanted


def _holds(client: SyncPrefectClient, run: str, changes: Mapping[str, Any]) -> bool:
    """Whether the variable still holds the changes, or the run has ended: another writer may have overwritten them."""
    there = client.read_variable_by_name(variable_of(run))
    if there is None:
        return True
    said = control_of(run, there.value)
    return all(getattr(said, name) == value for name, value in changes.items())


def _known(client: SyncPrefectClient, run: str, store: str | None) -> str:
    """The name of the run that is meant: one that is at work anywhere, or one of the ledger that is not finished."""
    if client.read_variable_by_name(variable_of(run)) is not None:
        return run
    try:
        with kept(run, store) as there:
            found, busy = there.run, there.book.claims.holder()
    except PlanError as error:
        raise PlanError(f"no run {run!r} is at work{_near(client, run)}; {error}") from error
    if busy and found.flow_run_id is None:
        raise PlanError(
            f"run {found.run_id} is worked on without Prefect, by {busy}, and hears nothing: stop it by Ctrl-C, and carry on by "
            f"{command('evaluate', '--resume', found.run_id, '--rate', 'N/s')}"
        )
    if found.finished_at is not None:
        raise PlanError(f"run {found.run_id} has ended (exit code {found.exit_code}): there is nothing to steer")
    return found.run_id


def _near(client: SyncPrefectClient, run: str) -> str:
    found = (variable.value for variable in client.read_variables() if variable.name.startswith(PREFIX))
    runs = [str(value["run"]) for value in found if isinstance(value, Mapping) and "run" in value]
    near = get_close_matches(run, runs, n=3)
    return f", did you mean {' or '.join(near)}?" if near else f" ({', '.join(sorted(runs)[:5])} are)" if runs else ""
