"""What a flow run is called in the UI, and how it is found there by its run in the ledger."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import httpx
from coolname.data import config  # what Prefect makes names of
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from fieval_tasks.core.errors import PlanError
from fieval_tasks.on_prefect.forms import plan_given
from fieval_tasks.on_prefect.prefect_errors import why
from fieval_tasks.on_prefect.watching import without_retries
from fieval_tasks.runs.beginning import name_stem


def title() -> str:
    """The flow run's name: what somebody typed stays; else the run's own name, or its dataset and time."""
    given = str(flow_run.name or "")
    if given and not is_made_up(given):
        return given
    try:
        plan = plan_given(flow_run.parameters["plan"])
    except PlanError:
        return "refused"  # which the flow itself explains
    return plan.resume or plan.run or f"{name_stem(plan.dataset)} {datetime.now():%Y-%m-%d %H:%M:%S}"


def collector_title() -> str:
    """The name of a collector's flow run: what somebody typed stays; else the name of the run that it is for."""
    given, run = str(flow_run.name or ""), flow_run.parameters.get("run")
    return given if run in (None, "last") or not is_made_up(given) else str(run)


def is_made_up(name: str) -> bool:
    """Prefect made this name, of two words of its list, for a run that nobody named."""
    words = name.split("-")
    return len(words) == 2 and all(word in _vocabulary() for word in words)


@cache
def _vocabulary() -> frozenset[str]:
    lists: Any = config
    return frozenset(word for entry in lists.values() for word in entry.get("words", ()))


def tag(run_id: str) -> None:
    """Have the flow run found by the run's name in the ledger. Where Prefect can't be asked, the log says so."""
    tags = sorted({*flow_run.tags, run_id})
    try:
        with without_retries(), get_client(sync_client=True) as client:
            client.update_flow_run(UUID(str(flow_run.id)), tags=tags).raise_for_status()
    except httpx.HTTPError as error:
        get_run_logger().warning("the flow run has not got the tag %s (%s)", run_id, why(error))
