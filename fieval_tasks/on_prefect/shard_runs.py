"""The flow runs on a work pool that share a run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any
from uuid import UUID, uuid4

import httpx
from prefect import State, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterIdempotencyKey
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Cancelling, Crashed

from fieval_tasks.core.errors import FievalError, Interrupted, PlanError, RunStopped
from fieval_tasks.core.plan import SHARD_DEPLOYMENT
from fieval_tasks.on_prefect.prefect_errors import why
from fieval_tasks.on_prefect.watching import PrefectApi, Rhythm, asked_to_end


class ShardRuns:
    """The shards of a run: started when the `with` block begins; those that still run are cancelled at its end."""

    def __init__(self, plan: dict[str, Any], shards: int, deployment: str) -> None:
        self.deployment = deployment
        self._plan = plan
        self._own = UUID(str(flow_run.id))
        attempt = uuid4()  # Prefect counts a flow run that is resumed as the same attempt, whose shards have ended
        self._keys = [f"{self._own}-{attempt}-{number}" for number in range(1, shards + 1)]
        """Idempotency key of each shard, by which a shard is found whose creation was not answered."""
        self._states: dict[UUID, State[Any]] = {}
        """Each shard's state when Prefect was last asked."""
        self._rhythm = Rhythm()
        self._prefect = PrefectApi()
        self._reasons: SimpleQueue[FievalError] = SimpleQueue()  # the one kind that a signal handler may put into

    def __enter__(self) -> ShardRuns:
        _at_work.append(self)
        try:
            self._start()
        except BaseException:
            _at_work.remove(self)
            self._find_unheard_of()
            self.cancel()
            raise
        return self

    def _start(self) -> None:
        of = len(self._keys)
        try:
            for number, key in enumerate(self._keys, 1):
                self.wait(0)
                parameters = {"plan": self._plan, "shard": number, "of": of}
                started: Any = run_deployment(self.deployment, parameters=parameters, timeout=0, idempotency_key=key)
                self._states[started.id] = started.state
        except ObjectNotFound as error:
            raise PlanError(
                f"there is no deployment {self.deployment!r} of the flow evaluate-shard: `python -m deployments setup` "
                f"makes {SHARD_DEPLOYMENT}; --deployment names another"
            ) from error
        except httpx.HTTPError as error:
            raise RunStopped(
                f"shard {number} of {of} could not be started: the Prefect API can't be asked ({why(error)})"
            ) from error

    def _find_unheard_of(self) -> None:
        """The shard that was started and whose answer was lost, if there is one."""
        wanted = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=self._keys))
        with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
            self._states |= {run.id: run.state for run in client.read_flow_runs(flow_run_filter=wanted) if run.state}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _at_work.remove(self)
        if error is not None:
            return self.cancel()
        lost: State[Any] = Crashed(message="nothing was heard of it any more; the other shards carried on")
        late: State[Any] = Cancelling(message="the run was over before a worker took it up")
        left = {shard: state for shard, state in self._states.items() if not state.is_final()}
        self._set({n: lost if state.is_running() else late for n, state in left.items() if not state.is_cancelling()})

    def cancel(self) -> None:
        """Cancel the shards; the ledger has everything that they know."""
        stopped: State[Any] = Cancelling(message="the run that it belongs to was stopped")
        self._set({shard: stopped for shard, state in self._states.items() if not state.is_final()})

    def _set(self, wanted: Mapping[UUID, State[Any]]) -> None:
        """Set the shards' states at Prefect. Where it is away for longer than its client tries, the log says so."""
        if not wanted:
            return
        try:
            with get_client(sync_client=True) as client:
                for shard, state in wanted.items():
                    with suppress(ObjectNotFound):  # somebody has deleted it
                        client.set_flow_run_state(shard, state, force=state.is_crashed())
                    self._states[shard] = state
        except httpx.HTTPError as error:
            get_run_logger().warning(
                "not every shard could be ended (%s): cancel in Prefect those of %s that still run",
                why(error), self.deployment,
            )  # fmt: skip

    def stop(self, reason: FievalError) -> None:
        """Have `wait` raise this error; may be called from any thread, and from a signal handler."""
        self._reasons.put(reason)

    def wait(self, seconds: float) -> None:
        """Wait so many seconds. Raises the reason as soon as `stop` is called."""
        with suppress(Empty):
            raise self._reasons.get(timeout=seconds)

    def look(self, *, soon: bool = False) -> None:
        """Ask Prefect for the shards' states, at the intervals of `Rhythm`. Raises Interrupted once the run is cancelled."""
        if not self._rhythm.due() and not soon:
            return
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=[self._own, *self._states]))
        with self._prefect.asked() as client:
            found = {run.id: run.state for run in client.read_flow_runs(flow_run_filter=wanted) if run.state}
            own = found.pop(self._own)
            self._states.update(found)
            if reason := asked_to_end([own]):
                raise reason

    @property
    def has_begun(self) -> bool:
        return any(not state.is_scheduled() and not state.is_pending() for state in self._states.values())

    @property
    def has_ended(self) -> bool:
        return all(state.is_final() for state in self._states.values())

    @property
    def stopped(self) -> FievalError | None:
        """Why the shards did not finish the run; None where they did."""
        states = self._states.values()
        reason = next((str(state.message) for state in states if state.is_failed() and state.message), None)
        if reason is not None:
            return RunStopped(reason.splitlines()[0])
        if any(state.is_cancelled() for state in states):
            return Interrupted("a shard was cancelled")
        return None if self.has_ended and not self._lost else RunStopped("its shards ended before it did")

    @property
    def notices(self) -> tuple[str, ...]:
        """Notices for the report: those of the shards, and how many shards were lost."""
        notices = [line for state in self._states.values() for line in str(state.message or "").splitlines()[1:]]
        lost = f"{self._lost} of {len(self._keys)} shards ended before their time: the others carried on what they left"
        return (*dict.fromkeys(notices), *([lost] if self._lost else []))

    @property
    def _lost(self) -> int:
        return sum(state.is_crashed() or state.is_running() for state in self._states.values())


_at_work: list[ShardRuns] = []


def stop_shard_runs(reason: FievalError) -> bool:
    """Stop every run that this process shares out to shards. False where there is none."""
    for shard_runs in _at_work:
        shard_runs.stop(reason)
    return bool(_at_work)
