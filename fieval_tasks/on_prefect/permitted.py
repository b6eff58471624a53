"""Restricting what a deployment's parameters may name: people who may edit them must not reach all files of its worker."""

from __future__ import annotations

import os
from pathlib import Path

from prefect.runtime import deployment

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.locations import is_allowed, is_stream, locations_in
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.sink_names import TableName, tables_in
from fieval_tasks.ledger.database import file_of, store_url
from fieval_tasks.runs.baselines import file_named

_SHUT = (
    "this worker opens files in its working folder and in those that its FIEVAL_FOLDERS names "
    f"(folders with {os.pathsep!r} between them), and no others"
)


def require_permitted(plan: EvaluationPlan) -> None:
    """Raises PlanError where a deployment's plan names files that its worker must not open. Other runs may name any."""
    if not deployment.id:
        return
    if plan.base_url:  # the keys would be sent there
        raise PlanError("plan.base_url: a deployment takes none; set FI_BASE_URL for its worker, or use a block")
    read = {"dataset": None if plan.resume else plan.dataset, "labels": plan.labels}
    named = {name: locations_in(location) for name, location in read.items() if location is not None}
    for name, locations in named.items():
        if "-" in locations:
            raise PlanError(f"plan.{name}: - is for a terminal; give a deployment the path or the URL of a file")
        if any(map(is_stream, locations)):  # which need not have an end
            raise PlanError(
                f"plan.{name}: a pipe or a device is for a terminal; give a deployment the path or URL of a file"
            )
    file = None if plan.baseline is None else file_named(plan.baseline)
    named["to"] = [
        str(file.absolute()) for table in tables_in(plan.to) if (file := TableName.parse(table).file) is not None
    ]
    _require_permitted_servers(plan)
    named["baseline"] = [] if file is None else [str(file.absolute())]
    named["output"] = [] if plan.output is None else [str(Path(plan.output).expanduser().absolute())]
    if shut := [name for name, places in named.items() if not all(map(is_allowed, places))]:
        raise PlanError(*(f"plan.{name}: {_SHUT}" for name in shut))
    require_permitted_store(plan.store)


def _require_permitted_servers(plan: EvaluationPlan) -> None:
    """Raises PlanError where the worker's password would go to a server that the parameters choose."""
    if "PGPASSWORD" not in os.environ:  # what ~/.pgpass holds goes to the servers that it names
        return
    tables = [TableName.parse(to) for to in tables_in(plan.to)]
    if any(table.file is None and table.host not in (None, os.environ.get("PGHOST")) for table in tables):
        raise PlanError(
            "plan.to: this worker has a PGPASSWORD, which would go to the server that the URL names; set PGHOST where the worker runs "
            "and write postgresql:///DB#TABLE, or keep the password in the worker's ~/.pgpass"
        )


def require_permitted_store(store: str | None) -> None:
    """Raises PlanError where a deployment names another ledger than its worker may open."""
    if store is None or not deployment.id or store_url(store) == store_url():
        return
    path = file_of(store)
    if path is None:  # its host could ask for the worker's password
        raise PlanError("store: a deployment takes none on a server; set FIEVAL_STORE_URL where its worker runs")
    if not is_allowed(str(path)):
        raise PlanError(f"store: {_SHUT}")
