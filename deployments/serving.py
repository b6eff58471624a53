"""The deployments in one process, without a work pool or workers."""

from __future__ import annotations

from shlex import quote
from typing import Any

from prefect import serve
from prefect.client.orchestration import get_client
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.schedules import Cron, Interval, Schedule
from prefect.types.entrypoint import EntrypointType

from deployments.definitions import Definition, deployments
from fieval_tasks.core.errors import PlanError


def serve_all(*, limit: int) -> None:
    """Run what is scheduled, or started in the UI, until interrupted; `limit` flow runs at the same time."""
    require_no_pool()
    serve(*(served(definition) for definition in deployments()), limit=limit, pause_on_shutdown=False)


def require_no_pool() -> None:
    """Raises PlanError where a deployment is a work pool's: served, it would be taken from there, and half of it kept."""
    with get_client(sync_client=True) as client:
        for name in (definition.full_name for definition in deployments()):
            try:
                pool = client.read_deployment_by_name(name).work_pool_name
            except ObjectNotFound:
                continue
            if pool is not None:
                raise PlanError(
                    f"the deployment {name} is run by workers of the pool {pool!r}: start one with `prefect worker start "
                    f"--pool {quote(pool)}`, or delete it first (`prefect deployment delete {quote(name)}`)"
                )


def served(definition: Definition) -> RunnerDeployment:
    """A deployment of prefect.yaml whose flow runs are started by this process, in its working folder."""
    flow: Flow[..., Any] = load_flow_from_entrypoint(definition.entrypoint)
    deployment = flow.to_deployment(
        **definition.model_dump(include={"name", "description", "tags", "parameters"}),
        schedules=[_schedule(**said) for said in definition.schedules],
        concurrency_limit=definition.concurrency_limit,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    assert isinstance(deployment, RunnerDeployment)
    return deployment


def _schedule(*, cron: str | None = None, interval: float | None = None, **said: Any) -> Schedule:
    return Cron(cron, **said) if cron else Interval(interval or 0.0, **said)
