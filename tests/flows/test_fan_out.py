"""A run in shards on a work pool, and the limit that runs share, against a real Prefect server."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.conftest import PATIENCE, Evaluator
from tests.flows.conftest import exit_code

ITEMS = 200


@pytest.fixture
def limit(workplace: Path) -> str:
    """A global concurrency limit with slot decay."""
    return made(f"limit-{uuid4().hex[:8]}", limit=400, slot_decay_per_second=200.0)


def made(name: str, **fields: Any) -> str:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, **fields))
    return name


def slots(name: str) -> int:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(name).active_slots


# -- the shared limit --------------------------------------------------------------------------------------------------


def test_a_limit_that_is_not_there_is_named_with_the_command_that_makes_it(workplace: Path) -> None:
    from fieval_tasks.core.errors import PlanError
    from fieval_tasks.on_prefect.shared_limit import shared_limit

    with pytest.raises(PlanError, match=r"no such limit; make it with `prefect gcl create a-key --limit"):
        shared_limit("a-key")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [({"slot_decay_per_second": 0.0}, "no slot decay"), ({"slot_decay_per_second": 9.0, "active": False}, "disabled")],
)
def test_a_limit_that_would_not_hold_is_refused(workplace: Path, fields: dict[str, Any], problem: str) -> None:
    from fieval_tasks.core.errors import PlanError
    from fieval_tasks.on_prefect.shared_limit import shared_limit

    with pytest.raises(PlanError, match=problem):
        shared_limit(made(f"useless-{uuid4().hex[:8]}", limit=10, **fields))


def test_a_run_with_a_limit_that_is_not_there_sends_nothing(workplace: Path, evaluator: Evaluator) -> None:
    from fieval_tasks.core.plan import Check, EvaluationPlan
    from fieval_tasks.ledger.database import store_url
    from fieval_tasks.ledger.store import Ledger
    from flows.evaluate import evaluate

    plan = EvaluationPlan(
        dataset=dataset(workplace, 3), checks=(Check(template="groundedness"),), run="no-limit", shared_limit="nowhere"
    )
    state = evaluate(plan, return_state=True)
    assert state.is_failed()
    assert "prefect gcl create nowhere" in str(state.message)
    with Ledger(store_url()) as ledger:
        assert ledger.names("") == set()


def test_a_block_is_leased_in_three_calls_and_can_be_given_back(limit: str) -> None:
    from fieval_tasks.on_prefect.shared_limit import shared_limit
    from fieval_tasks.pace.permits import Leased

    one = shared_limit(limit)
    first, second = asyncio.run(two_leases(one))
    assert isinstance(first, Leased)
    assert isinstance(second, Leased)
    assert first.permits == 200
    assert second.due_in > first.due_in, "the second block comes after the first"
    before = slots(limit)
    asyncio.run(one.give_back(150))
    assert slots(limit) <= max(0, before - 150)
    one.close()


async def two_leases(one: Any) -> list[Any]:
    return [await one.lease(100) for _ in range(2)]


def test_a_process_begins_with_few_permits_and_leaves_the_others_theirs(limit: str) -> None:
    from fieval_tasks.on_prefect.shared_limit import shared_limit

    one = shared_limit(limit)
    one._client = InNoTime()  # type: ignore[assignment]
    leased = [asyncio.run(one.lease(1)) for _ in range(5)]
    one.close()
    assert [block.permits for block in leased] == [8, 16, 32, 200, 60], "and takes many where nobody else waits"


class InNoTime:
    """Prefect with a limit of 400 requests, 200 a second, of which none lapses however slow the machine is."""

    def __init__(self) -> None:
        self._taken = 0

    def read_global_concurrency_limit_by_name(self, name: str) -> Any:
        return SimpleNamespace(active=True, limit=400, slot_decay_per_second=200.0, active_slots=self._taken)

    def increment_concurrency_slots(self, names: list[str], slots: int, mode: str) -> None:
        self._taken += slots


def test_a_full_limit_is_not_asked_so_that_it_can_empty(workplace: Path) -> None:
    """Each refusal would have Prefect forget what had decayed."""
    from prefect.client.orchestration import get_client

    from fieval_tasks.on_prefect.shared_limit import shared_limit
    from fieval_tasks.pace.permits import Full

    one = shared_limit(made(f"slow-{uuid4().hex[:8]}", limit=2, slot_decay_per_second=0.001))
    asyncio.run(two_leases(one))
    answer = asyncio.run(one.lease(1))
    with get_client(sync_client=True) as client:
        left = client.read_global_concurrency_limit_by_name(one.name)
    assert isinstance(answer, Full)
    assert 900 < answer.seconds <= 1000
    assert left.active_slots == 2
    one.close()


def test_a_prefect_that_is_away_is_waited_for(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    from fieval_tasks.on_prefect.shared_limit import shared_limit
    from fieval_tasks.pace.permits import Away

    one = shared_limit(limit)

    def away(name: str) -> None:
        raise httpx.ConnectError("connection refused")

    monkeypatch.setattr(one._client, "read_global_concurrency_limit_by_name", away)
    answer = asyncio.run(one.lease(1))
    assert answer == Away("the Prefect API can't be asked (connection refused)")
    one.close()


def test_a_limit_that_is_removed_while_a_run_uses_it_stops_the_run(limit: str) -> None:
    from prefect.client.orchestration import get_client

    from fieval_tasks.core.errors import RunStopped
    from fieval_tasks.on_prefect.shared_limit import shared_limit

    one = shared_limit(limit)
    with get_client(sync_client=True) as client:
        client.delete_global_concurrency_limit_by_name(limit)
    with pytest.raises(RunStopped, match="no such limit"):
        asyncio.run(one.lease(1))
    one.close()


# -- the fan-out -------------------------------------------------------------------------------------------------------


def dataset(folder: Path, rows: int, marker: str = "a city of shards") -> str:
    lines = ({"id": f"r{n}", "output": f"Paris is {marker}, {n}.", "context": f"Paris, {n}."} for n in range(rows))
    (folder / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return "answers.jsonl"


@dataclass(frozen=True)
class Pool:
    deployment: str
    worker: subprocess.Popen[bytes]


@pytest.fixture
def deployed(workplace: Path) -> str:
    """A deployment of evaluate-shard, on a work pool of its own without a worker."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.deployments.runner import EntrypointType
    from prefect.workers.process import ProcessWorker

    from flows.fan_out import evaluate_shard

    name = f"pool-{uuid4().hex[:8]}"
    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
    made = evaluate_shard.to_deployment(name, work_pool_name=name, entrypoint_type=EntrypointType.MODULE_PATH)
    made.apply()
    return f"evaluate-shard/{name}"


@pytest.fixture
def pool(deployed: str, evaluator: Evaluator, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """With a worker that has room for two shards."""
    name = deployed.partition("/")[2]
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", name, "--type", "process", "--limit", "2"]
    for variable, value in evaluator.environment.items():
        monkeypatch.setenv(variable, value)
    quick = {"PREFECT_API_URL": prefect_api, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    worker = started(command, os.environ | quick, name)
    yield Pool(deployed, worker)
    worker.send_signal(signal.SIGTERM)
    ended(worker, within=30)


def started(command: list[str], environment: dict[str, str], pool: str) -> subprocess.Popen[bytes]:
    """A worker that the server has heard of. One in many hangs while it starts, as no test of ours can help."""
    for _ in range(3):
        worker = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = monotonic() + 60
        while monotonic() < deadline and worker.poll() is None:
            if asyncio.run(is_online(pool)):
                return worker
            sleep(0.5)
        ended(worker, within=0)
    raise AssertionError(f"no worker of {pool} came up")


async def is_online(pool: str) -> bool:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        return bool(await client.read_workers_for_work_pool(work_pool_name=pool))


def ended(worker: subprocess.Popen[bytes], *, within: float) -> None:
    try:
        worker.wait(timeout=within)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def test_a_run_in_shards_ends_with_one_report_though_one_is_killed(
    pool: Pool, workplace: Path, evaluator: Evaluator
) -> None:
    from fieval_tasks.core.plan import Check, EvaluationPlan
    from flows.fan_out import fan_out

    plan = EvaluationPlan(
        dataset=dataset(workplace, ITEMS), checks=(Check(template="groundedness"),), connection="env", run="shared-out",
        rate="40/s", gates=("groundedness.failures <= 0",), to=("sqlite:///scores.db#verdicts",),
    )  # fmt: skip
    with ThreadPoolExecutor(1) as aside:
        killed = aside.submit(kill_a_shard, pool.worker.pid)
        state = fan_out(plan, 2, pool.deployment, return_state=True)
    assert state.is_completed(), state.message
    assert killed.result()
    told = json.loads(Path("fieval-runs/shared-out/summary.json").read_text(encoding="utf-8"))
    assert told["items"]["scored"] == ITEMS
    assert "1 of 2 shards ended before their time" in Path("fieval-runs/shared-out/report.md").read_text(
        encoding="utf-8"
    )
    sent = evaluator.submissions("a city of shards")
    assert len(set(sent)) == ITEMS
    assert len(sent) <= ITEMS + told["requests"]["possible_duplicates"]
    assert reports("shared-out") == {UUID(told["flow_run_id"])}
    with closing(sqlite3.connect("scores.db")) as scores:
        counted = scores.execute("SELECT status, count(*), count(DISTINCT item_id) FROM verdicts GROUP BY status")
        assert counted.fetchall() == [("scored", ITEMS, ITEMS)]


def kill_a_shard(worker: int) -> bool:
    """Once the run is under way: kill -9 for one of the processes that work on it."""
    is_under_way = under_way("shared-out")
    os.kill(children(worker)[0], signal.SIGKILL)
    return is_under_way


def under_way(run: str, *, verdicts: int = ITEMS // 10) -> bool:
    """True once so many verdicts are out."""
    from fieval_tasks.core.items import State
    from fieval_tasks.ledger.database import store_url
    from fieval_tasks.ledger.store import Ledger

    until(Path("fieval-runs/ledger.db").exists)
    with Ledger(store_url()) as ledger:
        until(lambda: run in ledger.names(run) and ledger.book(run).counts()[State.SCORED] >= verdicts)
    return True


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def reports(run: str) -> set[UUID | None]:
    """The flow runs that published one."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["fieval-answers-jsonl-summary"]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted)
    return {artifact.flow_run_id for artifact in found if str(artifact.description).startswith(f"{run}:")}


def slow_plan(folder: Path, run: str, marker: str, rate: str = "40/s") -> Any:
    from fieval_tasks.core.plan import Check, EvaluationPlan

    rows = dataset(folder, ITEMS, marker)
    return EvaluationPlan(dataset=rows, checks=(Check(template="groundedness"),), connection="env", run=run, rate=rate)


def test_a_fan_out_cancelled_in_prefect_ends_its_shards_and_is_finished_by_a_resume(
    pool: Pool, workplace: Path, evaluator: Evaluator
) -> None:
    from flows.fan_out import fan_out

    with ThreadPoolExecutor(1) as aside:
        cancelled = aside.submit(copy_context().run, cancel, "called-off")
        state = fan_out(slow_plan(workplace, "called-off", "a cancelled town"), 2, pool.deployment, return_state=True)
    assert cancelled.result()
    assert state.is_cancelled()
    assert "python -m flows.evaluate --resume called-off" in str(state.message)
    assert not Path("fieval-runs/called-off/summary.json").exists()
    assert set(shards_of(pool.deployment)) == {"CANCELLED"}
    finished_by_a_resume("called-off", evaluator, "a cancelled town")


def cancel(run: str) -> bool:
    """Once the run is under way: what the button in the UI does to the fan-out's flow run."""
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelling

    from fieval_tasks.ledger.database import store_url
    from fieval_tasks.ledger.store import Ledger

    is_under_way = under_way(run)
    with Ledger(store_url()) as ledger, get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(ledger.run(run).flow_run_id), Cancelling())
    return is_under_way


def shards_of(deployment: str) -> list[str]:
    """How the deployment's flow runs ended, once they have."""
    for _ in range(300):
        states = states_of(deployment)
        if all(state.is_final() for state in states):
            break
        sleep(0.1)
    return [state.type.value for state in states]


def states_of(deployment: str) -> list[Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId

    with get_client(sync_client=True) as client:
        wanted = DeploymentFilter(id=DeploymentFilterId(any_=[client.read_deployment_by_name(deployment).id]))
        return [run.state for run in client.read_flow_runs(deployment_filter=wanted) if run.state]


def finished_by_a_resume(run: str, evaluator: Evaluator, marker: str) -> None:
    from fieval_tasks.core.plan import EvaluationPlan
    from flows.evaluate import evaluate

    resumed = evaluate(EvaluationPlan(resume=run, rate="1000/s"), return_state=True)
    assert resumed.is_completed(), resumed.message
    told = json.loads(Path(f"fieval-runs/{run}/summary.json").read_text(encoding="utf-8"))
    assert told["items"]["scored"] == ITEMS
    sent = evaluator.submissions(marker)
    assert len(set(sent)) == ITEMS
    assert len(sent) <= ITEMS + told["requests"]["possible_duplicates"]


def test_a_run_whose_shards_are_all_lost_with_their_worker_says_so_and_is_finished_by_a_resume(
    pool: Pool, workplace: Path, evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieval_tasks.on_prefect.times import PrefectTimes
    from flows.fan_out import fan_out

    monkeypatch.setattr("flows.fan_out.TIMES", PrefectTimes(shards_quiet=3.0))
    plan = slow_plan(workplace, "forsaken", "a ghost town", "1/s")  # no shard takes so long to begin as this to end
    with ThreadPoolExecutor(1) as aside:
        killed = aside.submit(copy_context().run, kill_all, "forsaken", pool)
        state = fan_out(plan, 2, pool.deployment, return_state=True)
    assert killed.result()
    assert state.is_failed()
    assert "its shards ended before it did" in str(state.message)
    assert "--resume forsaken" in str(state.message)
    assert json.loads(Path("fieval-runs/forsaken/summary.json").read_text(encoding="utf-8"))["exit_code"] == 4
    assert shards_of(pool.deployment) == ["CRASHED", "CRASHED"]
    finished_by_a_resume("forsaken", evaluator, "a ghost town")


def kill_all(run: str, pool: Pool) -> bool:
    """Once both shards are at work: their machine goes, and its worker with it."""
    is_under_way = under_way(run, verdicts=1)
    until(lambda: [state.is_running() for state in states_of(pool.deployment)] == [True, True])
    for pid in (pool.worker.pid, *children(pool.worker.pid)):
        os.kill(pid, signal.SIGKILL)
    return is_under_way


def test_where_no_worker_takes_up_a_shard_the_run_says_how_to_start_one(
    deployed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieval_tasks.core.plan import EvaluationPlan
    from fieval_tasks.on_prefect.times import PrefectTimes
    from flows.fan_out import fan_out

    monkeypatch.setattr("flows.fan_out.TIMES", PrefectTimes(begins_within=0.5))
    state = fan_out(EvaluationPlan(run="unheard", limit=3), 2, deployed, return_state=True)
    assert state.is_failed()
    assert f"no worker took up a run of {deployed}" in str(state.message)
    assert "prefect worker start --pool" in str(state.message)
    assert json.loads(Path("fieval-runs/unheard/summary.json").read_text(encoding="utf-8"))["exit_code"] == 4
    assert set(shards_of(deployed)) == {"CANCELLED"}, "a worker that comes later has nothing to do"


def test_where_a_shard_can_not_be_started_none_is_left_behind_not_even_one_whose_answer_was_lost(
    deployed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    from fieval_tasks.core.plan import EvaluationPlan
    from fieval_tasks.on_prefect import shard_runs
    from flows.fan_out import fan_out

    start, started = shard_runs.run_deployment, iter(range(9))

    def slow(*args: Any, **options: Any) -> Any:
        made = start(*args, **options)
        if next(started) == 1:
            raise httpx.ReadTimeout("the Prefect API was slow")
        return made

    monkeypatch.setattr(shard_runs, "run_deployment", slow)
    state = fan_out(EvaluationPlan(run="half", limit=3), 3, deployed, return_state=True)
    assert state.is_failed()
    assert "shard 2 of 3 could not be started: the Prefect API can't be asked" in str(state.message)
    assert "--resume half" in str(state.message)
    assert json.loads(Path("fieval-runs/half/summary.json").read_text(encoding="utf-8"))["exit_code"] == 4
    assert shards_of(deployed) == ["CANCELLED", "CANCELLED"]


@pytest.mark.usefixtures("interruptible_here")
def test_ctrl_c_on_the_command_cancels_the_fan_out_and_its_shards(
    deployed: str, prefect_api: str, capfd: pytest.CaptureFixture[str]
) -> None:
    from fieval_tasks.ledger.database import store_url
    from fieval_tasks.ledger.store import Ledger
    from flows.cli.command import fan_out_command
    from tests.flows.test_events import events

    def press() -> None:
        until(lambda: len(states_of(deployed)) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    words = ["--run", "let-go", "--limit", "3", "--shards", "2", "--deployment", deployed]
    with ThreadPoolExecutor(1) as aside:
        pressed = aside.submit(copy_context().run, press)
        code = exit_code(lambda: fan_out_command(words))
    pressed.result()
    told = capfd.readouterr().err
    assert code == 130, told
    assert "--resume let-go" in told
    assert "Traceback" not in told
    assert shards_of(deployed) == ["CANCELLED", "CANCELLED"]
    assert set(events(prefect_api, "let-go", 1)) == {"fieval.run.cancelled"}
    with Ledger(store_url()) as ledger:
        run = ledger.run("let-go")
    assert run.exit_code == 130
    assert state_of(UUID(run.flow_run_id)) == "CANCELLED"


def until(happened: Callable[[], bool]) -> None:
    deadline = monotonic() + PATIENCE
    while not happened():
        assert monotonic() < deadline, "it did not happen in time"
        sleep(0.1)


def state_of(flow_run_id: UUID) -> str:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(flow_run_id).state
    assert state is not None
    return state.type.value


def test_a_prefect_that_is_away_for_a_look_costs_no_shard_its_work(
    prefect_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx
    from prefect import states

    from fieval_tasks.on_prefect import shard_runs, watching

    own, shard = uuid4(), uuid4()
    answers: list[Any] = [httpx.ConnectError("refused"), httpx.ReadTimeout(""), {own: states.Running(), shard: states.Completed()}]  # fmt: skip

    class Prefect(nullcontext[Any]):
        def read_flow_runs(self, **_: Any) -> Any:
            if isinstance(answer := answers.pop(0), Exception):
                raise answer
            return [SimpleNamespace(id=run, state=state) for run, state in answer.items()]

        def __enter__(self) -> Any:
            return self

    monkeypatch.setattr(watching, "get_client", lambda **_: Prefect())
    monkeypatch.setattr(watching, "get_run_logger", lambda: logging.getLogger("tests"))
    monkeypatch.setattr(shard_runs, "flow_run", SimpleNamespace(id=own, run_count=1))
    monkeypatch.setattr(
        shard_runs, "run_deployment", lambda *_, **__: SimpleNamespace(id=shard, state=states.Running())
    )
    with shard_runs.ShardRuns({}, 1, "evaluate-shard/any") as shards:
        ended = []
        while answers:
            shards.look(soon=True)
            ended.append(shards.has_ended)
    assert ended == [False, False, True]


def test_a_shared_limit_that_is_not_there_is_told_before_a_shard_is_started(deployed: str) -> None:
    from fieval_tasks.core.plan import EvaluationPlan
    from flows.fan_out import fan_out

    state = fan_out(EvaluationPlan(run="no-pace", shared_limit="nowhere"), 2, deployed, return_state=True)
    assert state.is_failed()
    assert "prefect gcl create nowhere" in str(state.message)
    assert shards_of(deployed) == []


def test_no_address_is_taken_from_the_parameters_of_shards_for_keys_would_be_sent_there(deployed: str) -> None:
    from fieval_tasks.core.plan import EvaluationPlan
    from flows.fan_out import evaluate_shard, fan_out

    elsewhere = EvaluationPlan(run="astray", base_url="http://127.0.0.1:9")
    state = fan_out(elsewhere, 2, deployed, return_state=True)
    assert state.is_failed()
    assert "FI_BASE_URL" in str(state.message)
    assert shards_of(deployed) == []
    assert evaluate_shard(elsewhere, 1, 1, return_state=True).is_failed()
    assert not Path("fieval-runs/ledger.db").exists()


@pytest.fixture
def keys() -> list[str]:
    """With which shards have been started."""
    return []


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, keys: list[str]) -> list[int]:
    """Instead of a pool: a shard is worked on at once, here. The shards that were started."""
    from flows.fan_out import evaluate_shard

    numbers: list[int] = []

    def run_deployment(_: str, *, parameters: dict[str, Any], idempotency_key: str, **__: Any) -> Any:
        from prefect.client.orchestration import get_client

        numbers.append(parameters["shard"])
        assert not keys.count(idempotency_key), "Prefect would find the flow run that it has begun with this key"
        keys.append(idempotency_key)
        state = evaluate_shard(**parameters, return_state=True)
        with get_client(sync_client=True) as client:
            return client.read_flow_run(state.state_details.flow_run_id)

    monkeypatch.setattr("fieval_tasks.on_prefect.shard_runs.run_deployment", run_deployment)
    return numbers


def test_a_fan_out_that_is_tried_again_carries_on_its_run_and_starts_no_shard_for_what_is_done(
    workplace: Path, in_this_process: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieval_tasks.core.plan import EvaluationPlan
    from fieval_tasks.ledger.database import store_url
    from fieval_tasks.ledger.store import Ledger
    from fieval_tasks.on_prefect.artifacts import publish
    from flows.fan_out import fan_out

    broken = iter([OSError("the report's disk is away")])

    def at_last(*args: Any, **options: Any) -> None:
        if error := next(broken, None):
            raise error
        publish(*args, **options)

    monkeypatch.setattr("fieval_tasks.on_prefect.flow_runs.publish", at_last)
    state = fan_out.with_options(retries=1)(EvaluationPlan(limit=3), 1, return_state=True)
    assert state.is_completed()
    assert in_this_process == [1]
    with Ledger(store_url()) as ledger:
        [run] = ledger.names("")
    assert json.loads(Path(f"fieval-runs/{run}/summary.json").read_text(encoding="utf-8"))["items"]["scored"] == 6


def test_a_suspended_fan_out_ends_its_shards_and_rests_until_a_resume_carries_it_on(
    workplace: Path, in_this_process: list[int], keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import Pause
    from prefect.flow_engine import run_flow
    from prefect.states import Pending, Running, Suspended

    from flows import fan_out

    parameters = {"plan": {"run": "rests-in-shards", "limit": 3}, "shards": 1}
    deployment = fan_out.fan_out.to_deployment(f"rests-{uuid4().hex[:8]}").apply()  # Prefect resumes no other run
    shards: list[UUID] = []
    with get_client(sync_client=True) as client:
        begun = client.create_flow_run_from_deployment(deployment, parameters=parameters, state=Pending())
        monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a-deployment")

        def suspended_meanwhile(*_: Any, parameters: dict[str, Any], idempotency_key: str, **__: Any) -> Any:
            keys.append(idempotency_key)
            shards.append(client.create_flow_run(fan_out.evaluate_shard, parameters=parameters, state=Running()).id)
            client.set_flow_run_state(begun.id, Suspended(), force=True)
            return client.read_flow_run(shards[0])

        with monkeypatch.context() as patched:
            patched.setattr("fieval_tasks.on_prefect.watching.Rhythm.due", lambda _: True)
            patched.setattr("fieval_tasks.on_prefect.shard_runs.run_deployment", suspended_meanwhile)
            with pytest.raises(Pause):
                run_flow(fan_out.fan_out, flow_run=begun, parameters=parameters, return_type="state")
        rests, shard = client.read_flow_run(begun.id).state, client.read_flow_run(shards[0]).state
        assert (rests and rests.name, shard and shard.type.value) == ("Suspended", "CANCELLING")
        client.resume_flow_run(begun.id)
        client.set_flow_run_state(begun.id, Pending())
        again = client.read_flow_run(begun.id)
    ended = run_flow(fan_out.fan_out, flow_run=again, parameters=parameters, return_type="state")
    assert ended.is_completed(), ended.message  # type: ignore[union-attr]
    assert in_this_process == [1]
    told = json.loads(Path("fieval-runs/rests-in-shards/summary.json").read_text(encoding="utf-8"))
    assert (told["items"]["scored"], told["requests"]["possible_duplicates"]) == (6, 0)


def test_a_fan_out_ends_where_its_budget_does_with_exit_3_and_says_how_to_go_on(
    workplace: Path, in_this_process: list[int]
) -> None:
    from fieval_tasks.core.plan import EvaluationPlan
    from flows.fan_out import fan_out

    state = fan_out(EvaluationPlan(run="ends", limit=10, chunk_size=4, max_items=7), 3, return_state=True)
    assert "the end set by --max-items 7 is reached, and 13 items were not sent; to go on: " in str(state.message)
    assert "--resume ends --max-items 20" in str(state.message)
    told = json.loads(Path("fieval-runs/ends/summary.json").read_text(encoding="utf-8"))
    assert (told["exit_code"], told["items"]["scored"], told["items"]["pending"]) == (3, 7, 13)
    assert in_this_process == [1, 2, 3]


def test_a_fan_out_that_only_submits_is_complete_without_verdicts(workplace: Path, in_this_process: list[int]) -> None:
    from fieval_tasks.core.plan import EvaluationPlan
    from flows.fan_out import fan_out

    state = fan_out(EvaluationPlan(run="sent", limit=3, mode="submit"), 1, return_state=True)  # type: ignore[arg-type]
    assert state.is_completed(), state.message
    assert "python -m flows.collect sent" in str(state.message)


def test_without_the_deployment_the_run_says_what_makes_it(workplace: Path) -> None:
    from fieval_tasks.core.plan import EvaluationPlan
    from flows.fan_out import fan_out

    state = fan_out(EvaluationPlan(run="nobody"), 2, "evaluate-shard/nowhere", return_state=True)
    assert state.is_failed()
    assert "python -m deployments setup" in str(state.message)


def test_a_shard_is_told_where_the_ledger_is_and_no_secret(workplace: Path) -> None:
    from fieval_tasks.core.plan import EvaluationPlan
    from fieval_tasks.runs.preparation import prepared
    from flows.fan_out import shard_plan

    with prepared(EvaluationPlan(run="told", shared_limit="one", output="here", limit=5, concurrency=9)) as run:
        here = f"sqlite:///{workplace / 'fieval-runs/ledger.db'}"
        assert shard_plan(run) == {"resume": "told", "store": here}, "all else is in the ledger"
    with prepared(EvaluationPlan(resume="told", concurrency=96, rate="5/s")) as run:
        assert shard_plan(run) == {"resume": "told", "store": here, "rate": "5/s", "concurrency": 96}


def test_a_shard_opens_no_ledger_on_a_server_that_its_worker_does_not_know(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieval_tasks.core.plan import EvaluationPlan
    from flows.fan_out import evaluate_shard

    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a-deployment")
    elsewhere = EvaluationPlan(resume="told", store="postgresql://me@evil.test/db")
    state = evaluate_shard(elsewhere, 1, 2, return_state=True)  # type: ignore[arg-type]
    assert state.is_failed()
    assert "store: a deployment takes none on a server" in str(state.message), "it could ask for the worker's password"


def test_a_fan_out_without_a_worker_says_what_it_waits_for(
    prefect_home: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from flows import fan_out

    class Nobody:
        """Shards that nobody takes up."""

        deployment, has_ended, has_begun = "evaluate-shard/shard", False, False

        def wait(self, seconds: float) -> None: ...

        def look(self, *, soon: bool = False) -> None: ...

    clock = iter(range(0, 10_000, 10))
    run: Any = SimpleNamespace(plan=SimpleNamespace(timeout=None))
    run.book = SimpleNamespace(unfinished_chunks=lambda: [1])
    monkeypatch.setattr(fan_out, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(fan_out, "Rhythm", lambda seconds: fan_out_rhythm(seconds))
    monkeypatch.setattr(fan_out, "get_run_logger", lambda: logging.getLogger("tests"))
    shard_runs: Any = Nobody()
    with pytest.raises(Exception, match="no worker took up"):
        list(fan_out.rounds(run, shard_runs))
    told = [record.getMessage() for record in caplog.records if "waits for one that runs" in record.getMessage()]
    assert len(told) >= 5
    assert "prefect worker start --pool" in told[0]


def fan_out_rhythm(seconds: float) -> Any:
    """A rhythm by a clock that goes ten seconds at each look."""
    from fieval_tasks.on_prefect.watching import Rhythm

    clock = iter(range(0, 10_000, 10))
    return Rhythm(seconds, lambda: float(next(clock)))
