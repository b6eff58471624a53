"""What a run tells Prefect's automations."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx

from tests.flows.test_evaluate import ROWS, dataset, evaluated, plan_of


def events(api: str, run: str, wanted: int) -> dict[str, Any]:
    """The events of a run by name, once there are as many as wanted."""
    from flows.laptop import send_what_is_queued

    send_what_is_queued()
    query = {"filter": {"any_resource": {"id": [f"fieval.run.{run}"]}}}
    deadline = time.monotonic() + 30
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
