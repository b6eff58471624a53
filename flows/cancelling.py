"""A cancel from the Prefect UI or CLI, noticed by the run itself: where no worker stands behind it, nobody else would."""

from __future__ import annotations

from time import monotonic
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.runtime import flow_run

from fieval_tasks.engine import Engine
from fieval_tasks.errors import Interrupted

LOOK_EVERY = 5.0
"""Seconds between two looks at the flow run's state."""


class CancelWatch:
    """Stops an engine once its flow run is to be cancelled."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._flow_runs = [UUID(i) for i in (flow_run.id, flow_run.parent_flow_run_id) if i]
        self._next_look = monotonic() + LOOK_EVERY

    def look(self) -> None:
        """Ask Prefect, now and then."""
        if monotonic() < self._next_look:
            return
        with get_client(sync_client=True) as client:
            if any(_is_cancelled(client, one) for one in self._flow_runs):
                self._engine.stop(Interrupted("cancelled in Prefect"))
        self._next_look = monotonic() + LOOK_EVERY


def _is_cancelled(client: SyncPrefectClient, flow_run_id: UUID) -> bool:
    state = client.read_flow_run(flow_run_id).state
    return state is not None and (state.is_cancelling() or state.is_cancelled())
