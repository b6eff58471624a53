"""The deployments in one process, without a work pool or workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.schedules import Cron, Interval, Schedule
from prefect.types.entrypoint import EntrypointType

from deployments.definitions import Definition, Limit, deployments


def serve_all(*, limit: int) -> None:
    """Run what is scheduled, or started in the UI, until interrupted; `limit` flow runs at the same time."""
    serve(*(served(definition) for definition in deployments()), limit=limit, pause_on_shutdown=False)


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
