"""Noticing a cancel or a suspension in Prefect while a run is at work, and applying the variable that steers it.

For a run without a worker nothing else would notice a cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from time import monotonic
from typing import Any
from uuid import UUID

import httpx
from prefect import State, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.runtime import flow_run

from fieval_tasks.core.errors import Interrupted, PlanError
from fieval_tasks.core.steering import Control, control_of, value_of, variable_of
from fieval_tasks.on_prefect.changed_settings import with_settings
from fieval_tasks.on_prefect.prefect_errors import why
from fieval_tasks.on_prefect.times import TIMES
from fieval_tasks.runs.preparation import Prepared
from fieval_tasks.work.engine import Engine


class Rhythm:
    """True every `at_first` seconds at first, later each time the run is a twentieth older: bounds the calls to Prefect."""

    def __init__(self, at_first: float = TIMES.look_every, clock: Callable[[], float] = monotonic) -> None:
        self._at_first = at_first
        self._clock = clock
        self._began = clock()
        self._next = self._began + at_first

    def due(self) -> bool:
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + max(self._at_first, (now - self._began) / TIMES.look_share)
        return True


def without_retries() -> AbstractContextManager[Any]:
    """Disable the retries of Prefect's client in the block, for calls that are repeated anyway: while Prefect is away its
    retries would block the flow for a minute."""
    return with_settings("client", max_retries=0)


class PrefectApi:
    """Calls to Prefect's API that may fail: a failure is logged once, and the next query tries again."""

    def __init__(self) -> None:
        self._is_away = False

    @contextmanager
    def asked(self) -> Iterator[SyncPrefectClient]:
        try:
            with without_retries(), get_client(sync_client=True) as client:
                yield client
        except httpx.HTTPError as error:
            if not self._is_away:
                get_run_logger().warning(
                    "the Prefect API can't be asked (%s); the run goes on, and asks again",
                    why(error),
                )
            self._is_away = True
        else:
            self._is_away = False


@contextmanager
def steerable(run: Prepared, *, is_all: bool = False) -> Iterator[None]:
    """Create the run's variable for the block; a pause that was set before is kept.

    The last process that works on the run deletes it; with `is_all` the block is the whole work, and deletes it at its end.
    """
    with PrefectApi().asked() as client, suppress(ObjectAlreadyExists):
        client.create_variable(VariableCreate(name=variable_of(run.run_id), value=value_of(run.run_id, Control())))
    try:
        yield
    finally:
        if is_all or not run.book.claims.holder():
            _forget(variable_of(run.run_id))


def _forget(variable: str) -> None:
    """Delete the variable, with a few retries, since nothing else would delete it later."""
    few = with_settings("client", max_retries=TIMES.last_attempts)
    try:
        with few, get_client(sync_client=True) as client, suppress(ObjectNotFound):
            client.delete_variable_by_name(variable)
    except httpx.HTTPError as error:
        get_run_logger().warning(
            "the variable %s is left behind: the Prefect API can't be asked (%s)", variable, why(error)
        )


class Watch:
    """Stops an engine once its flow run is cancelled or suspended, and applies the run's variable to it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._flow_runs = {flow_run.id, flow_run.parent_flow_run_id}
        self._rhythm = Rhythm()
        self._prefect = PrefectApi()
        self._control = Control()
        self._complaint: str | None = None

    def look(self, *, at_once: bool = False) -> None:
        """Ask Prefect, every few seconds, by two calls: also of the subflow in which the look is taken."""
        if not self._rhythm.due() and not at_once:
            return
        ours = [UUID(str(one)) for one in self._flow_runs | {flow_run.id} if one]
        with self._prefect.asked() as client:
            found = client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ours)))
            states = [run.state for run in found]
            if reason := asked_to_end(states):
                self._engine.stop(reason)
            variable = client.read_variable_by_name(variable_of(self._engine.run.run_id))
            self._follow(None if variable is None else variable.value)

    def _follow(self, variable: object) -> None:
        try:
            wanted = control_of(self._engine.run.run_id, variable)
        except PlanError as error:  # a typing error in the variable must not end the run
            if str(error) != self._complaint:
                get_run_logger().warning("%s; the run goes on as it was", error)
            self._complaint = str(error)
            return
        if wanted != self._control:
            get_run_logger().info("from now on: %s", wanted)
            self._engine.control(wanted)
            self._control = wanted


SUSPENDED = "suspended in Prefect"


def asked_to_end(states: Iterable[State[Any] | None]) -> Interrupted | None:
    """The Interrupted for a cancel or a suspension among these states; None where there is none."""
    known = [state for state in states if state is not None]
    if any(state.is_cancelling() or state.is_cancelled() for state in known):
        return Interrupted("cancelled in Prefect")
    return Interrupted(SUSPENDED) if any(is_suspended(state) for state in known) else None


def is_suspended(state: State[Any]) -> bool:
    """Whether the flow run is suspended: no process works on it until it is resumed. (A paused one keeps its process.)"""
    return state.is_paused() and state.name == "Suspended"


def suspended_state() -> State[Any] | None:
    """The flow run's own state at the server, where that is a suspension."""
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(str(flow_run.id))).state
    return state if state is not None and is_suspended(state) else None
