"""The deployments in one process, without a work pool or workers."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Any

from prefect import serve
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.schedules import Cron, Interval, Schedule
from prefect.types.entrypoint import EntrypointType

from deployments.definitions import Definition, Limit, deployments
from fieval_tasks.core.errors import PlanError


def serve_all(*, limit: int) -> None:
    """Run what is scheduled, or started in the UI, until interrupted; `limit` flow runs at the same time."""
    require_no_pool()
    serve(*(served(definition) for definition in deployments()), limit=limit, pause_on_shutdown=False)


def require_no_pool() -> None:
    """Raises PlanError where a deployment is a work pool's: served, it would be taken from there, and half of it kept."""
    with get_client(sync_client=True) as client:
        for definition in deployments():
            name = f"{definition.flow}/{definition.name}"
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
        name=definition.name,
        description=definition.description,
        tags=[*definition.tags],
        schedules=[_schedule(said) for said in definition.schedules],
        parameters=dict(definition.parameters),
        concurrency_limit=None if definition.limit is None else _limit(definition.limit),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    assert isinstance(deployment, RunnerDeployment)
    return deployment


def _limit(limit: Limit) -> ConcurrencyLimitConfig:
    return ConcurrencyLimitConfig(limit=limit.runs, collision_strategy=ConcurrencyLimitStrategy(limit.collision))


def _schedule(said: Mapping[str, Any]) -> Schedule:
    rest = {name: value for name, value in said.items() if name not in ("cron", "interval")}
    return Cron(said["cron"], **rest) if "cron" in said else Interval(said["interval"], **rest)
