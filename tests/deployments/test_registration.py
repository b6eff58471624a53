"""`python -m deployments` on a real Prefect API: everything is there afterwards, once, however often it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployments.__main__ import main
from tests.deployments.conftest import at


@pytest.fixture
def notification(place: Path) -> str:
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    block = CustomWebhookNotificationBlock(name="team", url="http://127.0.0.1:9/", headers=None, cookies=None)
    block.save("team", overwrite=True)
    return "custom-webhook/team"


def known(*, switching_off: str | None = None) -> dict[str, Any]:
    """What the server has, without what Prefect counts and stamps itself."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for automation in client.read_automations_by_name(switching_off) if switching_off else ():
            client.pause_automation(automation.id)
        deployed = client.read_deployments()
        return {
            "deployments": {one.id: (one.name, one.entrypoint, one.parameters, one.tags) for one in deployed},
            "pools": [pool.name for pool in client.read_work_pools()],
            "automations": sorted((one.name, one.enabled) for one in client.read_automations()),
        }


def test_setting_up_twice_makes_everything_once_and_leaves_a_switched_off_automation_off(
    place: Path, notification: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["setup", "--notify", notification]) == 0
    told = capsys.readouterr().out
    assert "automation fieval gate failed: created" in told
    before = known(switching_off="fieval zombie runs")
    assert {("fieval gate failed", True), ("fieval run stopped", True), ("fieval zombie runs", False)} <= {
        *before["automations"]
    }
    assert main(["setup"]) == 0
    told = capsys.readouterr().out
    assert "work pool fieval: there already" in told
    assert "fieval zombie runs: there already, left as it is" in told, "it forgets nothing of what it counts"
    assert "fieval gate failed: there already" in told, "it keeps the block that it has"
    assert known() == before


def test_an_automation_is_updated_where_its_file_has_changed(place: Path) -> None:
    from prefect.client.orchestration import get_client

    from deployments.definitions import automations
    from deployments.registration import _automation

    said = next(said for said in automations() if "zombie" in said["name"]) | {"name": "changing"}
    with get_client(sync_client=True) as client:
        told = [_automation(client, said, None) for _ in range(2)]
        told.append(_automation(client, said | {"trigger": said["trigger"] | {"within": 1200}}, None))
        for automation in client.read_automations_by_name("changing"):
            client.delete_automation(automation.id)
    assert [line.partition(": ")[2] for line in told] == ["created", "there already, left as it is", "updated"]


def test_automations_that_notify_wait_for_a_block_to_notify_by(place: Path) -> None:
    from prefect.client.orchestration import get_client

    from deployments.definitions import automations
    from deployments.registration import _automation

    with get_client(sync_client=True) as client:
        told = [_automation(client, said | {"name": f"{said['name']}, alone"}, None) for said in automations()]
    assert [line.rpartition(": ")[2].split(",")[0] for line in told] == ["left out", "left out", "created"]


def test_the_environments_keys_are_saved_under_a_name_and_not_told(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from deployments import registration
    from fieval_tasks.blocks import load_credentials

    monkeypatch.setenv("FI_API_KEY", "an-api-key-90c2")
    monkeypatch.setenv("FI_SECRET_KEY", "a-secret-key-b1d4")
    print(*registration._blocks("team-keys"), sep="\n")
    assert load_credentials("team-keys").secret_key == "a-secret-key-b1d4"
    told = capsys.readouterr().out
    assert "futureagi-credentials/team-keys: saved" in told
    assert "-key-" not in told


def test_a_shared_limit_is_made_and_then_changed(place: Path) -> None:
    from prefect.client.orchestration import get_client

    from deployments.registration import _limit, _shared_limit
    from fieval_tasks.core.plan import EvaluationPlan
    from fieval_tasks.on_prefect.shared_limit import shared_limit

    with get_client(sync_client=True) as client:
        assert "created, 200 requests a second" in _shared_limit(client, _limit("key-one=200/s"))
        assert "updated, 10 requests a second" in _shared_limit(client, _limit("key-one=600/min"))
        found = client.read_global_concurrency_limit_by_name("key-one")
    assert (found.limit, found.slot_decay_per_second) == (4 * 200, 10)
    shared_limit(EvaluationPlan(shared_limit="key-one").shared_limit or "").close()


@pytest.mark.parametrize("wrong", ["key-one", "key-one=fast", "=200/s"])
def test_a_shared_limit_that_does_not_read_is_refused(
    place: Path, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["setup", "--shared-limit", wrong]) == 2
    told = capsys.readouterr()
    assert f"--shared-limit {wrong!r}: expected NAME=N/s" in told.err
    assert not told.out


@pytest.mark.parametrize(("block", "why"), [("slack-webhook/nobody", "there is no such block"), ("team", "TYPE/NAME")])
def test_a_notification_block_that_is_not_there_is_named_before_anything_is_made(
    place: Path, capsys: pytest.CaptureFixture[str], block: str, why: str
) -> None:
    assert main(["setup", "--notify", block]) == 2
    told = capsys.readouterr()
    assert block in told.err
    assert why in told.err
    assert not told.out


def test_what_a_pool_runs_is_not_served_as_well(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["setup"]) == 0
    assert main(["serve"]) == 2
    told = capsys.readouterr().err
    assert "evaluate/nightly is run by workers of the pool 'fieval'" in told
    assert "prefect worker start --pool fieval" in told


def test_without_a_prefect_api_it_says_how_to_have_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert main(["setup"]) == 2
    assert "prefect server start" in capsys.readouterr().err
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with at("http://127.0.0.1:9/api"):  # Prefect has read its settings already
        assert main(["serve"]) == 4
    assert "the Prefect API at http://127.0.0.1:9/api can't be used, so nothing was sent: it does not answer (" in (
        capsys.readouterr().err
    )
