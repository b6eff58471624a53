"""What a run tells Prefect's automations."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from fieval_tasks.core.items import State
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.progress import Progress
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.preparation import prepared
from tests.conftest import PATIENCE
from tests.flows.test_evaluate import ROWS, dataset, evaluated, plan_of


def events(api: str, run: str, wanted: int) -> dict[str, Any]:
    """The events of a run by name, once there are as many as wanted."""
    from fieval_tasks.on_prefect.laptop import send_what_is_queued

    send_what_is_queued()
    query = {"filter": {"any_resource": {"id": [f"fieval.run.{run}"]}}}
    deadline = time.monotonic() + PATIENCE
    while True:
        found = httpx.post(f"{api}/events/filter", json=query).raise_for_status().json()["events"]
        if len(found) >= wanted or time.monotonic() > deadline:
            return {event["event"]: event["payload"] for event in found}
        time.sleep(0.2)


def test_a_run_that_misses_its_gate_says_so_with_its_figures(workplace: Path, prefect_api: str) -> None:
    plan = plan_of(dataset=dataset(workplace, ROWS), run="missed", gates=("groundedness.pass_rate >= 1",))
    state = evaluated(plan)
    assert state.is_failed()
    assert "gate FAIL: groundedness.pass_rate >= 1" in state.message
    told = events(prefect_api, "missed", 2)
    assert set(told) == {"fieval.run.completed", "fieval.gate.failed"}
    assert told["fieval.run.completed"]["exit_code"] == 1
    assert told["fieval.run.completed"]["items"]["scored"] == 6
    assert told["fieval.gate.failed"]["gate"] == "groundedness.pass_rate >= 1"


def test_a_run_that_reaches_its_gate_completes(workplace: Path, prefect_api: str) -> None:
    plan = plan_of(dataset=dataset(workplace, ROWS), run="reached", gates=("failures == 0",))
    assert evaluated(plan).is_completed()
    assert set(events(prefect_api, "reached", 1)) == {"fieval.run.completed"}


def test_a_run_that_is_stopped_at_work_is_cancelled_and_so_is_its_polling(
    workplace: Path, prefect_api: str, block: Any
) -> None:
    from flows.evaluate import evaluate

    rows = [{"q": f"Is there a lamp {n}?", "a": f"There is a lamp {n}.", "docs": f"A lamp {n}."} for n in range(600)]
    plan = plan_of(dataset=dataset(workplace, rows), run="halted", connection=None, rate="5/s")
    with ThreadPoolExecutor(1) as aside:
        halted = aside.submit(halt, "halted")
        state = evaluate(plan, block, return_state=True)
    assert halted.result()
    assert state.is_cancelled()
    assert events(prefect_api, "halted", 1) == {"fieval.run.cancelled": {"exit_code": 130}}
    wanted = {"flow_runs": {"name": {"any_": ["halted", "poll-halted"]}}}
    found = httpx.post(f"{prefect_api}/flow_runs/filter", json=wanted).raise_for_status().json()
    assert {run["name"]: run["state_type"] for run in found} == {"halted": "CANCELLED", "poll-halted": "CANCELLED"}


@pytest.mark.parametrize("flow", ["evaluate", "fan_out", "collect"])
def test_a_run_that_its_worker_ends_says_so_before_it_goes(
    flow: str, workplace: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.exceptions import TerminationSignal

    from fieval_tasks.on_prefect.flow_runs import work_on
    from flows import collect, evaluate, fan_out

    def end(*_: object) -> None:
        raise TerminationSignal(signal=signal.SIGTERM)

    told: list[str] = []
    monkeypatch.setattr(evaluate, "submit_and_wait", end)
    monkeypatch.setattr(fan_out, "worked_on", end)
    monkeypatch.setattr(collect, "wait_for_tickets", end)
    monkeypatch.setattr(
        "fieval_tasks.on_prefect.final_states.get_run_logger", lambda: SimpleNamespace(warning=told.append)
    )
    name = f"ended-{flow.replace('_', '-')}"
    with prepared(plan_of(dataset=dataset(workplace, ROWS), run=name)) as run:  # a flow would pass the signal on
        work: dict[str, Callable[[], object]] = {
            "evaluate": lambda: work_on(run, lambda: evaluate.submit_and_wait(run)),
            "fan_out": lambda: work_on(run, lambda: fan_out.worked_on(run, 2, "evaluate-shard/shard")),
            "collect": lambda: collect.collect_run(name, None),
        }
        with pytest.raises(TerminationSignal):
            work[flow]()
        assert run.ledger.run(name).exit_code == 130
    assert told == [f"run {name} was interrupted; to carry on: python -m flows.evaluate --resume {name}"]
    assert events(prefect_api, name, 1) == {"fieval.run.cancelled": {"exit_code": 130}}


def test_a_run_that_is_to_be_paused_sends_nothing_first(workplace: Path, prefect_api: str) -> None:
    from flows.control import steer

    with prepared(plan_of(dataset=dataset(workplace, ROWS), run="early")):
        pass
    steer("early", {"paused": True})
    with ThreadPoolExecutor(1) as aside:
        halted = aside.submit(halt, "early", once=lambda progress: progress.paused, after=1.0)
        state = evaluated(EvaluationPlan(resume="early"))
    assert halted.result()
    assert state.is_cancelled()
    with Ledger(store_url()) as ledger:
        assert {state: n for state, n in ledger.book("early").counts().items() if n} == {State.READY: 6}


def halt(
    run: str, *, once: Callable[[Progress], object] = lambda progress: progress.waiting, after: float = 0.0
) -> bool:
    """Once the run waits for verdicts, or whatever else it is to do: what Ctrl-C does."""
    from fieval_tasks.core.errors import Interrupted
    from fieval_tasks.work.engine import current, stop_all

    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if (engine := current(run)) and once(engine.progress):
            time.sleep(after)
            return stop_all(Interrupted("interrupted"))
        time.sleep(0.1)
    return False
