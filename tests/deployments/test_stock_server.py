"""On a stock `prefect server start`: what its scheduler, its triggers and a worker make of the deployments."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar
from uuid import UUID

import httpx
import pytest

from deployments.__main__ import main
from flows.cli.command import evaluate_command
from tests.conftest import PATIENCE
from tests.deployments.conftest import running
from tests.flows.test_fan_out import children

T = TypeVar("T")
ROWS = [
    {"question": "What is the capital of France?", "answer": "Paris is.", "docs": "Paris is the capital of France."},
    {"question": "How long is the warranty?", "answer": "It lasts two years.", "docs": "It lasts two years."},
    {"question": "Is there parking?", "answer": "Yes, and a helipad.", "docs": "There is parking behind the shop."},
]
CHECKS = ("--template", "groundedness", "--template", "completeness")
PLAN = {"dataset": "answers.jsonl", "checks": [{"template": "groundedness"}, {"template": "completeness"}]}


def eventually(look: Callable[[], T | None]) -> T:
    """What a look finds, once it finds something."""
    deadline = monotonic() + PATIENCE
    while (found := look()) is None:
        assert monotonic() < deadline, "waited in vain"
        sleep(0.2)
    return found


# -- three doors -------------------------------------------------------------------------------------------------------


@pytest.fixture
def told(stock_place: Path) -> Iterator[list[str]]:
    """What a webhook was told, whose block is custom-webhook/team."""
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    heard: list[str] = []

    class Ear(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.rfile.read(int(self.headers["content-length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Ear) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{listening.server_port}/"
        said = {"text": "{{subject}}: {{body}}"}
        block = CustomWebhookNotificationBlock(name="team", url=url, json_data=said, headers=None, cookies=None)
        block.save("team", overwrite=True)
        yield heard
        listening.shutdown()
        thread.join()


def test_the_command_a_scheduled_run_and_a_run_from_the_ui_give_the_same_verdicts(
    stock_place: Path, told: list[str]
) -> None:
    (stock_place / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    assert main(["setup", "--notify", "custom-webhook/team"]) == 0
    elsewhere = stock_place / "elsewhere"
    elsewhere.mkdir()
    worker = running("worker", "start", "--pool", "fieval", folder=elsewhere, PREFECT_WORKER_QUERY_SECONDS="1")
    with worker:
        assert evaluate_command(["answers.jsonl", *CHECKS, "--run", "command"]) == 0
        scheduled = ended(scheduled_run())
        from_ui = ended(run_from_the_ui(PLAN | {"gates": ["groundedness.pass_rate >= 1"]}))
    assert scheduled.state.is_completed(), scheduled.state.message
    assert scheduled.auto_scheduled
    assert from_ui.state.is_failed()
    assert "gate FAIL: groundedness.pass_rate >= 1" in from_ui.state.message
    assert len(verdicts("command")) == 2 * len(ROWS)
    assert verdicts("command") == verdicts(run_of(scheduled.id)) == verdicts(run_of(from_ui.id))
    notified = eventually(lambda: told[0] if told else None)
    assert f"{run_of(from_ui.id)} did not pass a gate: gate FAIL: groundedness.pass_rate >= 1" in notified
    assert len(told) == 1


def scheduled_run() -> UUID:
    """A run that the server's scheduler made of a schedule of the nightly deployment: one that is due in a moment."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
    from prefect.client.schemas.schedules import IntervalSchedule
    from prefect.types._datetime import now

    with get_client(sync_client=True) as client:
        nightly = client.read_deployment_by_name("evaluate/nightly")
        its = DeploymentFilter(id=DeploymentFilterId(any_=[nightly.id]))
        soon = IntervalSchedule(interval=timedelta(seconds=10), anchor_date=now("UTC"))
        [schedule] = client.create_deployment_schedules(nightly.id, [(soon, True)], parameters={"plan": PLAN})

        def begun() -> UUID | None:
            runs = client.read_flow_runs(deployment_filter=its)
            mine = (run for run in runs if run.auto_scheduled and run.parameters == {"plan": PLAN})
            return next((run.id for run in mine if run.state and not run.state.is_scheduled()), None)

        first = eventually(begun)
        client.delete_deployment_schedule(nightly.id, schedule.id)  # and the runs that would have followed
        return first


def run_from_the_ui(plan: dict[str, Any]) -> UUID:
    """What the form of a custom run posts."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        nightly = client.read_deployment_by_name("evaluate/nightly")
        return client.create_flow_run_from_deployment(nightly.id, parameters={"plan": plan}).id


def ended(flow_run_id: UUID) -> Any:
    """The flow run, once it has ended."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:

        def final() -> Any:
            run = client.read_flow_run(flow_run_id)
            return run if run.state and run.state.is_final() else None

        return eventually(final)


def run_of(flow_run_id: UUID) -> str:
    from fieval_tasks.ledger.database import store_url
    from fieval_tasks.ledger.store import Ledger

    with Ledger(store_url()) as ledger:
        return ledger.begun_by(str(flow_run_id)) or ""


def verdicts(run: str) -> dict[tuple[str, str], Any]:
    lines = Path("fieval-runs", run, "results.jsonl").read_text(encoding="utf-8").splitlines()
    told = ("status", "value", "score", "passed", "reason")
    return {(line["item_id"], line["check"]): [line[name] for name in told] for line in map(json.loads, lines)}


# -- automations ---------------------------------------------------------------------------------------------------------


def test_a_run_that_was_stopped_is_told_of_with_the_reason(stock_place: Path, told: list[str]) -> None:
    from prefect.client.orchestration import get_client

    from deployments.definitions import automations
    from deployments.registration import _automation, _notification_block

    [stopped] = [said for said in automations() if said["trigger"]["expect"] == ["fieval.run.stopped"]]
    with get_client(sync_client=True) as client:
        _automation(client, stopped, _notification_block(client, "custom-webhook/team"))
    assert evaluate_command(["--run", "halted", "--rate", "2/s", "--timeout", "1s"]) == 4
    notified = eventually(lambda: told[0] if told else None)
    assert "fieval: run halted was stopped" in notified
    assert "run halted: the time given by --timeout is over" in notified
    assert "--resume halted" in notified


def test_a_run_whose_process_is_gone_becomes_crashed(stock_place: Path, stock_api: str) -> None:
    from prefect.client.orchestration import get_client

    from deployments.definitions import automations
    from deployments.registration import _automation, _deployments, _pool

    [zombies] = [said for said in automations() if said["trigger"]["posture"] == "Proactive"]
    soon = zombies | {"name": "zombies, soon", "trigger": zombies["trigger"] | {"within": 10}}
    with get_client(sync_client=True) as client:
        told = [_pool(client, "fieval"), *_deployments(), _automation(client, soon, None)]
    assert "automation zombies, soon: created" in told
    dying = run_from_the_ui({"rate": "1/s"})
    with running("flow-run", "execute", str(dying), PREFECT_FLOWS_HEARTBEAT_FREQUENCY="30") as process:
        eventually(lambda: heartbeat(stock_api, dying))
        for pid in (process.pid, *children(process.pid)):
            os.kill(pid, signal.SIGKILL)
    assert "resume the run" in ended(dying).state.message
    assert ended(dying).state.is_crashed()


def heartbeat(api: str, flow_run_id: UUID) -> Any:
    """One that the server has heard, if any."""
    wanted = {
        "event": {"name": ["prefect.flow-run.heartbeat"]},
        "any_resource": {"id": [f"prefect.flow-run.{flow_run_id}"]},
    }
    found = httpx.post(f"{api}/events/filter", json={"filter": wanted}).raise_for_status().json()["events"]
    return next(iter(found), None)
