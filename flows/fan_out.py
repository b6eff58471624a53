"""One run as shards over a work pool: the flow, the flow of a shard, and `python -m flows.fan_out`."""

from __future__ import annotations

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "fan_out_command")

from collections.abc import Iterator, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from types import TracebackType
from typing import Annotated, Any
from uuid import UUID, uuid4

import httpx
from prefect import State, flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterIdempotencyKey
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.futures import PrefectFuture, PrefectFutureList
from prefect.runtime import flow_run
from prefect.states import Cancelling, Completed, Crashed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from fieval_tasks.blocks import FutureAGICredentials
from fieval_tasks.core.errors import FievalError, Interrupted, PlanError, RunStopped
from fieval_tasks.core.items import State as ItemState
from fieval_tasks.core.plan import MOST_SHARDS, SHARD_DEPLOYMENT, EvaluationPlan, Mode
from fieval_tasks.core.progress import Progress
from fieval_tasks.core.scrubbing import raise_without_secrets
from fieval_tasks.on_prefect import ending
from fieval_tasks.on_prefect.ending import REFUSED, failed, name_of, refused
from fieval_tasks.on_prefect.naming import tag, title
from fieval_tasks.on_prefect.parameters import plan_given
from fieval_tasks.on_prefect.prefect_errors import why
from fieval_tasks.on_prefect.shared import require_limit
from fieval_tasks.on_prefect.showing import shown_in_prefect
from fieval_tasks.on_prefect.watching import Line, Rhythm, asked_to_end, steerable
from fieval_tasks.runs.conclusion import Ended, conclude
from fieval_tasks.runs.display import display
from fieval_tasks.runs.preparation import Prepared, prepared
from fieval_tasks.tasks import submit_rest
from fieval_tasks.work.engine import SUBMITTERS, Engine
from fieval_tasks.work.options import Share
from flows.evaluate import (
    interrupted,
    published,
    require_doors,
    require_store,
    series_of,
    start_submitting,
    submit_and_wait,
    terminable,
)

BEGIN_WITHIN = 600.0
"""Seconds in which a worker has to take up the first shard."""
WAITS_FOR_A_WORKER = 30.0
"""Seconds after which, and then each time, the log says so: a worker that is there takes up a run within ten to twenty."""
QUIET = 90.0
"""Seconds without a live claim after which shards that still count as running are given up: longer than a lease."""
LAST_WORDS = 10.0
"""Seconds that shards get, once everything has its verdict, to say that they have ended."""
LOOK = 1.0
"""Seconds between two looks at the ledger."""


# -- the whole run -----------------------------------------------------------------------------------------------------


@flow(
    name="fan-out",
    flow_run_name=title,
    persist_result=False,
    validate_parameters=False,  # they are read here, and refused in a sentence
)
def fan_out(
    plan: EvaluationPlan,
    shards: Annotated[
        int, Field(ge=1, le=MOST_SHARDS, title="Shards", description="Flow runs that share the work")
    ] = 3,
    deployment: Annotated[str, Field(title="Deployment", description="Of the flow evaluate-shard")] = SHARD_DEPLOYMENT,
    credentials: FutureAGICredentials | None = None,
) -> State[None]:
    """Share a run out to flow runs on a work pool, follow them, and publish the one report.

    Args:
        plan: What is evaluated, and how. Left as it is, it evaluates the bundled sample on the local evaluator.
        shards: Flow runs that share the work, from 1 to 100.
        deployment: Of the flow evaluate-shard, FLOW/DEPLOYMENT: what the shards are flow runs of.
        credentials: A saved block of keys. None: by the plan's connection.
    """
    try:
        whole = plan_given(plan, credentials)
        may_be_shared_out(whole, shards)
        with prepared(whole, flow_run_id=flow_run.id, processes=shards) as run:
            may_be_shared_out(run.plan, shards)
            tag(run.run_id)
            for line in run.described():
                get_run_logger().info(line)
            with steerable(run, is_all=True):
                return shared_out(run, shards, deployment)
    except FievalError as error:
        return refused(error)
    except Exception as error:  # nobody foresaw it, and Prefect logs and keeps it
        raise_without_secrets(error)


def may_be_shared_out(plan: EvaluationPlan, shards: int) -> None:
    """Raises PlanError for what every shard would stumble over: said once, before anything starts."""
    if not 1 <= shards <= MOST_SHARDS:
        raise PlanError(f"shards: {shards} is not a number from 1 to {MOST_SHARDS}")
    if plan.base_url:  # whoever may edit a deployment's parameters could have the keys sent anywhere
        raise PlanError("plan.base_url: shards take none; set FI_BASE_URL where their workers run, or use a block")
    require_doors(plan)
    require_limit(plan)


def shared_out(run: Prepared, shards: int, deployment: str) -> State[None]:
    """Have a prepared run worked on by shards, and publish what it came to."""
    began = monotonic()
    run.ledger.started(run.run_id, flow_run_id=flow_run.id)
    with terminable(run, began):
        ended = worked_on(run, shards, deployment) if run.book.unfinished_chunks() else Ended()
    if isinstance(ended.stopped, Interrupted):
        return interrupted(run, seconds=monotonic() - began)
    return published(run, conclude(run, ended, seconds=monotonic() - began))


def worked_on(run: Prepared, shards: int, deployment: str) -> Ended:
    """How it ended that shards worked on the run."""
    try:
        with Team(shard_plan(run), shards, deployment) as team:
            return follow(run, team)
    except RunStopped as error:  # before all its shards were started
        return Ended(error)


def shard_plan(run: Prepared) -> dict[str, Any]:
    """The plan by which a shard works on the run, as a flow parameter: where the run is, and what this call says of it
    otherwise. A store with a password is not named in it: the workers have it as FIEVAL_STORE_URL."""
    store = None if "***" in run.ledger.name else run.ledger.name
    now = run.plan.model_dump(mode="json", exclude={"retry_failed", "output", "same_account"})
    said = {name: value for name, value in now.items() if value not in (None, run.run.plan.get(name))}
    return said | {"resume": run.run_id} | ({"store": store} if store else {})


def follow(run: Prepared, team: Team) -> Ended:
    """Wait until the shards have done all they can; how it ended."""
    with shown_in_prefect(run.run.total, series=series_of(run)):
        try:
            for _ in rounds(run, team):
                display.get().show(progress_of(run))
        except FievalError as error:
            team.cancel()
            return Ended(error, team.notices)
        finally:
            display.get().show(progress_of(run))
    stopped = None if run.book.unfinished_chunks() == [] else team.stopped
    return Ended(stopped, team.notices, waited=run.plan.mode is not Mode.SUBMIT)


def rounds(run: Prepared, team: Team) -> Iterator[None]:
    """One for each look, until there is nothing more to wait for. Raises what stops the run."""
    began = last_sign = monotonic()
    waiting = Rhythm(WAITS_FOR_A_WORKER)
    while not team.has_ended:
        yield
        now = monotonic()
        if not team.has_begun and waiting.due():
            get_run_logger().warning(
                "no worker has taken up a shard yet: the run waits for one that runs %s, for %.0f s in all; to start one: "
                "prefect worker start --pool NAME", team.deployment, BEGIN_WITHIN,
            )  # fmt: skip
        if run.plan.timeout is not None and now - began > run.plan.timeout:
            raise RunStopped("the time given by --timeout is over")
        if now - began > BEGIN_WITHIN and not team.has_begun:
            raise RunStopped(
                f"no worker took up a run of {team.deployment} within {BEGIN_WITHIN:.0f} s: start one for its work pool, "
                f"with `prefect worker start --pool NAME`"
            )
        if not team.has_begun or run.worked_on_by_others():
            last_sign = now
        is_done = not run.book.unfinished_chunks()
        if now - last_sign > (LAST_WORDS if is_done else QUIET):
            return
        team.wait(LOOK)
        team.look(soon=is_done)


def progress_of(run: Prepared) -> Progress:
    """How far the shards are, by the ledger."""
    counts = run.book.counts()
    return Progress(
        total=sum(counts.values()),
        scored=counts[ItemState.SCORED],
        failed=counts[ItemState.FAILED],
        waiting=counts[ItemState.SUBMITTED],
    )


class Team:
    """The flow runs that share a run: started with the block, and none left behind after it."""

    def __init__(self, plan: dict[str, Any], shards: int, deployment: str) -> None:
        self._plan = plan
        self._shards = shards
        self.deployment = deployment
        self._states: dict[UUID, State[Any]] = {}
        """Of each shard, when it was last looked at."""
        self._own = UUID(str(flow_run.id))
        self._attempt = (
            uuid4()
        )  # Prefect counts a flow run that is resumed as the same attempt, whose shards have ended
        self._rhythm = Rhythm()
        self._line = Line()
        self._reasons: SimpleQueue[FievalError] = SimpleQueue()  # the one kind that a signal handler may put into

    def __enter__(self) -> Team:
        _teams.append(self)
        try:
            self._start()
        except BaseException:
            _teams.remove(self)
            self._find_unheard_of()
            self.cancel()
            raise
        return self

    def _start(self) -> None:
        try:
            for number in range(1, self._shards + 1):
                self.wait(0)
                started = self._started(number)
                self._states[started.id] = started.state
        except ObjectNotFound as error:
            raise PlanError(
                f"there is no deployment {self.deployment!r} of the flow evaluate-shard: `python -m deployments setup` "
                f"makes {SHARD_DEPLOYMENT}; --deployment names another"
            ) from error
        except httpx.HTTPError as error:
            raise RunStopped(
                f"shard {number} of {self._shards} could not be started: the Prefect API can't be asked ({why(error)})"
            ) from error

    def _started(self, number: int) -> Any:
        return run_deployment(
            self.deployment,
            parameters={"plan": self._plan, "shard": number, "of": self._shards},
            timeout=0,
            idempotency_key=self._key(number),
        )

    def _key(self, number: int) -> str:
        return f"{self._own}-{self._attempt}-{number}"

    def _find_unheard_of(self) -> None:
        """The shard that was started and whose answer was lost, if there is one."""
        keys = [self._key(number) for number in range(1, self._shards + 1)]
        wanted = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=keys))
        with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
            self._states |= {run.id: run.state for run in client.read_flow_runs(flow_run_filter=wanted) if run.state}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _teams.remove(self)
        if error is not None:
            return self.cancel()
        lost: State[Any] = Crashed(message="nothing was heard of it any more; the other shards carried on")
        late: State[Any] = Cancelling(message="the run was over before a worker took it up")
        left = {shard: state for shard, state in self._states.items() if not state.is_final()}
        self._set({n: lost if state.is_running() else late for n, state in left.items() if not state.is_cancelling()})

    def cancel(self) -> None:
        """Have the shards end soon; what they know is in the ledger."""
        stopped: State[Any] = Cancelling(message="the run that it belongs to was stopped")
        self._set({shard: stopped for shard, state in self._states.items() if not state.is_final()})

    def _set(self, wanted: Mapping[UUID, State[Any]]) -> None:
        """Tell Prefect. Where it is away for longer than its client tries, nobody is told any more."""
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
                "not every shard could be told to end (%s): cancel in Prefect those of %s that still run",
                why(error), self.deployment,
            )  # fmt: skip

    def stop(self, reason: FievalError) -> None:
        """Have whoever waits raise this soon; from any thread, and from a signal handler."""
        self._reasons.put(reason)

    def wait(self, seconds: float) -> None:
        """Raises what stops the team meanwhile."""
        with suppress(Empty):
            raise self._reasons.get(timeout=seconds)

    def look(self, *, soon: bool = False) -> None:
        """Ask Prefect, now and then, how the shards are. Raises Interrupted once the run is to be cancelled."""
        if not self._rhythm.due() and not soon:
            return
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=[self._own, *self._states]))
        with self._line.open() as client:
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
        """What kept the shards from finishing the run, if anything did."""
        states = self._states.values()
        told = next((str(state.message) for state in states if state.is_failed() and state.message), None)
        if told is not None:
            return RunStopped(told.splitlines()[0])
        if any(state.is_cancelled() for state in states):
            return Interrupted("a shard was cancelled")
        return None if self.has_ended and not self._lost else RunStopped("its shards ended before it did")

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader of the report must know: what came up in the shards, and which were lost."""
        told = [line for state in self._states.values() for line in str(state.message or "").splitlines()[1:]]
        lost = f"{self._lost} of {self._shards} shards ended before their time: the others carried on what they left"
        return (*dict.fromkeys(told), *([lost] if self._lost else []))

    @property
    def _lost(self) -> int:
        return sum(state.is_crashed() or state.is_running() for state in self._states.values())


_teams: list[Team] = []


def stop_teams(reason: FievalError) -> bool:
    """Stop every run that this process shares out. False where there is none."""
    for team in _teams:
        team.stop(reason)
    return bool(_teams)


# -- a shard -----------------------------------------------------------------------------------------------------------


@flow(
    name="evaluate-shard",
    flow_run_name="{plan.resume}-{shard}-of-{of}",
    task_runner=ThreadPoolTaskRunner(max_workers=SUBMITTERS),  # type: ignore[arg-type]
    persist_result=False,
)
def evaluate_shard(
    plan: EvaluationPlan, shard: Annotated[int, Field(ge=1)], of: Annotated[int, Field(ge=1, le=MOST_SHARDS)]
) -> State[None]:
    """Work on a run that others work on too: first on its own part, then on what nobody does. It concludes nothing.

    Args:
        plan: The run, as fan-out names it.
        shard: Which of the shards this is, from 1.
        of: How many there are.
    """
    if plan.resume is None:
        return failed("a shard works on a run that fan-out began, and plan.resume names none", name=REFUSED)
    try:
        require_store(plan.store)
        with prepared(plan) as run:
            may_be_shared_out(run.plan, of)
            ended = submit_and_wait(run, share=Share(shard - 1, of), start=start_both)
    except FievalError as error:
        return refused(error)
    except Exception as error:  # nobody foresaw it, and Prefect logs and keeps it
        raise_without_secrets(error)
    told = "\n".join((str(ended.stopped or "nothing is left to do"), *ended.notices))
    if isinstance(ended.stopped, Interrupted):
        return ending.cancelled(told)
    return failed(told, name=name_of(ended.stopped)) if ended.stopped else Completed(message=told)


def start_both(engine: Engine) -> PrefectFutureList[Any]:
    """What is this shard's, and what nobody works on."""
    submissions = start_submitting(engine)
    submissions.append(start_helping(engine))
    return submissions


def start_helping(engine: Engine) -> PrefectFuture[Any]:
    """One task for all that others have not come to, or have left behind."""
    engine.expect(1)
    helping = submit_rest.submit(engine.run.run_id)
    helping.add_done_callback(lambda _: engine.chunk_done())
    return helping
