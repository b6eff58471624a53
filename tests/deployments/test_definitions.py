"""prefect.yaml and the automations mean what they say, before any server sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from deployments.definitions import PREFECT_FILE, Definition, automations, deployments
from fieval_tasks.core.plan import SHARD_DEPLOYMENT

ROOT = Path(__file__).parents[2]
TAG = "fieval"


def test_prefect_deploy_finds_the_file_where_it_looks() -> None:
    found = ROOT / "prefect.yaml"
    assert not found.is_symlink()  # a clone on Windows has text where a link is
    assert found == PREFECT_FILE


def test_everything_goes_to_one_pool() -> None:
    assert [one.full_name for one in deployments()] == [
        "evaluate/nightly", "collect/every-10-minutes", "fan-out/on-demand", SHARD_DEPLOYMENT,
    ]  # fmt: skip
    assert {one.work_pool.name for one in deployments()} == {"fieval"}


def test_what_is_scheduled_runs_once_at_a_time_and_shards_as_many_as_there_are() -> None:
    scheduled = {one.name for one in deployments() if one.schedules}
    assert scheduled == {one.name for one in deployments() if one.concurrency_limit} == {"nightly", "every-10-minutes"}
    assert {one.concurrency_limit.limit for one in deployments() if one.concurrency_limit} == {1}


@pytest.mark.parametrize("definition", deployments(), ids=lambda one: one.name)
def test_the_entry_point_is_a_flow_that_takes_the_parameters(prefect_home: Path, definition: Definition) -> None:
    from prefect.flows import Flow, load_flow_from_entrypoint

    flow: Flow[..., Any] = load_flow_from_entrypoint(definition.entrypoint, use_placeholder_flow=False)
    assert definition.full_name == f"{flow.name}/{definition.name}"
    given = {"plan": {"resume": "a-run"}, "shard": 1, "of": 3} if definition.name == "shard" else {}
    flow.validate_parameters({**definition.parameters, **given})


@pytest.mark.parametrize("definition", deployments(), ids=lambda one: one.name)
def test_serving_has_the_same_schedules_tags_and_limits(prefect_home: Path, definition: Definition) -> None:
    from deployments.serving import served

    deployment = served(definition)
    assert (deployment.name, deployment.entrypoint) == (definition.name, definition.entrypoint)
    assert set(deployment.tags) == set(definition.tags) >= {TAG}
    wanted, options = definition.concurrency_limit, deployment.concurrency_options
    assert deployment.concurrency_limit == (wanted.limit if wanted else None)
    assert (options.collision_strategy if options else None) == (wanted.collision_strategy if wanted else None)
    for schedule, said in zip(deployment.schedules or (), definition.schedules, strict=True):
        assert str(said.get("cron") or said["interval"]) in str(schedule.schedule)


@pytest.mark.parametrize("said", automations(), ids=lambda said: str(said["name"]))
def test_every_field_of_an_automation_is_one_that_prefect_knows(prefect_home: Path, said: dict[str, Any]) -> None:
    from prefect.events.schemas.automations import AutomationCore

    block = {"block_document_id": str(uuid4())}
    actions = [action | (block if action["type"] == "send-notification" else {}) for action in said["actions"]]
    automation = AutomationCore.model_validate(said | {"actions": actions})
    assert set(said) <= set(AutomationCore.model_fields)
    assert set(said["trigger"]) <= set(type(automation.trigger).model_fields)
    for action, read in zip(said["actions"], automation.actions, strict=True):
        assert set(action) <= set(type(read).model_fields)


def test_notifications_listen_to_events_that_runs_emit(prefect_home: Path) -> None:
    from fieval_tasks.on_prefect.events import GATES
    from fieval_tasks.report.endings import ENDINGS

    listening = [said for said in automations() if said["actions"][0]["type"] == "send-notification"]
    heard = {event for said in listening for event in said["trigger"]["expect"]}
    assert heard == {"fieval.run.stopped", "fieval.gate.failed", "fieval.gate.undecided"}
    assert heard <= {*(f"fieval.run.{one.event}" for one in ENDINGS.values()), *GATES.values()}
    assert {said["trigger"]["match"]["prefect.resource.id"] for said in listening} == {"fieval.run.*"}


def test_only_runs_of_ours_are_called_dead_and_never_between_two_of_prefects_own_heartbeats() -> None:
    [zombies] = [said for said in automations() if said["trigger"]["posture"] == "Proactive"]
    assert zombies["trigger"]["match_related"]["prefect.resource.id"] == f"prefect.tag.{TAG}"
    assert zombies["trigger"]["within"] > 3 * 180
    assert {"Completed", "Failed", "Cancelled", "Crashed"} <= {
        event.rpartition(".")[2] for event in zombies["trigger"]["expect"]
    }


def test_a_text_in_a_notification_calls_nobody_and_links_nowhere() -> None:
    from prefect.server.utilities.user_templates import render_user_template_sync

    said = "<!channel> the judge refused <https://evil.example|Prefect>, [see](http://evil.example); rate >= 0.9"
    event = {"payload": {"sentence": said, "message": said}, "resource": {"name": "nightly"}}
    for action in (one["actions"][0] for one in automations() if "send-notification" in str(one)):
        shown = render_user_template_sync(action["body"], {"event": event})
        assert "<!" not in shown
        assert "<http" not in shown
        assert "](" not in shown
        assert "rate >= 0.9" in shown
