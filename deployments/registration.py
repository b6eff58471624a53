"""All that Prefect must know before the first nightly run. Doing it again brings it up to date."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
    WorkPoolCreate,
)
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.workers.process import ProcessWorker

from deployments.definitions import PREFECT_FILE, automations, deployments
from fieval_tasks.api.client import Credentials
from fieval_tasks.blocks import EvaluationJob, FutureAGICredentials
from fieval_tasks.core.errors import PlanError, RunStopped
from fieval_tasks.core.quantities import parse_rate
from fieval_tasks.on_prefect.shared_limit import LEASING, usual_block


def register_all(
    *, notify: str | None = None, keys: str | None = None, shared_limit: str | None = None
) -> Iterator[str]:
    """Make or update everything, and tell what was done, a line each.

    `notify` is a saved notification block, TYPE/NAME; `keys` names the block to save the environment's keys in;
    `shared_limit` is a pace that all runs which name it share, NAME=N/s. Raises PlanError before anything is made.
    """
    with get_client(sync_client=True) as client:
        block_id = None if notify is None else _notification_block(client, notify)
        limit = None if shared_limit is None else _limit(shared_limit)
        yield from _blocks(keys)
        if limit is not None:
            yield _shared_limit(client, limit)
        yield from (_pool(client, name) for name in dict.fromkeys(one.work_pool.name for one in deployments()))
        yield from _deployments()
        yield from (_automation(client, said, block_id) for said in automations())


def _notification_block(client: SyncPrefectClient, slug: str) -> UUID:
    block_type, _, name = slug.partition("/")
    if not block_type or not name:
        raise PlanError(f"--notify {slug!r}: expected TYPE/NAME, such as slack-webhook/team")
    try:
        document = client.read_block_document_by_name(name, block_type, include_secrets=False)
    except ObjectNotFound as error:
        raise PlanError(
            f"--notify {slug!r}: there is no such block: make it in the Prefect UI (Blocks), under one of its types for "
            f"notifications, such as slack-webhook, ms-teams-webhook or custom-webhook"
        ) from error
    return document.id


def _blocks(keys: str | None) -> Iterator[str]:
    for block in (FutureAGICredentials, EvaluationJob):
        block.register_type_and_schema(_sync=True)  # type: ignore[call-arg]  # Prefect's own switch
        yield f"block type {block.get_block_type_slug()}: registered"
    if keys is not None:
        known = {name: value for name, value in asdict(Credentials.from_environment()).items() if value is not None}
        FutureAGICredentials(**known).save(keys, overwrite=True, _sync=True)  # type: ignore[call-arg]
        yield f"block futureagi-credentials/{keys}: saved, with the keys of the environment"


def _limit(text: str) -> GlobalConcurrencyLimitCreate:
    """`futureagi=200/s` -> a limit that lets some blocks gather."""
    name, _, pace = text.partition("=")
    try:
        rate = parse_rate(pace)
        return GlobalConcurrencyLimitCreate(
            name=name, limit=LEASING.gathered * usual_block(rate), slot_decay_per_second=rate
        )
    except ValueError as error:
        raise PlanError(f"--shared-limit {text!r}: expected NAME=N/s or NAME=N/min, such as futureagi=200/s") from error


def _shared_limit(client: SyncPrefectClient, limit: GlobalConcurrencyLimitCreate) -> str:
    pace = f"{limit.slot_decay_per_second:g} requests a second"
    try:
        client.create_global_concurrency_limit(limit)
    except ObjectAlreadyExists:
        changed = GlobalConcurrencyLimitUpdate(limit=limit.limit, slot_decay_per_second=limit.slot_decay_per_second)
        client.update_global_concurrency_limit(limit.name, changed)
        return f"shared limit {limit.name}: updated, {pace}"
    return f"shared limit {limit.name}: created, {pace}"


def _pool(client: SyncPrefectClient, name: str) -> str:
    template = ProcessWorker.get_default_base_job_template()
    try:
        client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
    except ObjectAlreadyExists:
        return f"work pool {name}: there already, left as it is"
    return f"work pool {name}: created"


def _deployments() -> Iterator[str]:
    """By Prefect's own command, so that the file means here what it means there."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_FILE)]
    here = {**os.environ, "PWD": os.getcwd()}  # which the file names as the folder to run in
    done = subprocess.run(command, env=here, capture_output=True, text=True)
    if done.returncode:
        raise RunStopped(f"prefect deploy failed:\n{done.stdout}{done.stderr}".strip())
    yield from (f"deployment {one.full_name}: deployed" for one in deployments())


def _automation(client: SyncPrefectClient, said: Mapping[str, Any], block_id: UUID | None) -> str:
    there = next(iter(client.read_automations_by_name(said["name"])), None)
    known = (
        (action.block_document_id for action in there.actions if isinstance(action, SendNotification)) if there else ()
    )
    block_id = block_id or next(iter(known), None)
    actions = [
        {**action, "block_document_id": block_id} if action["type"] == "send-notification" else action
        for action in said["actions"]
    ]
    if any("block_document_id" in action for action in actions) and block_id is None:
        return f"automation {said['name']}: left out, for it needs --notify TYPE/NAME, a saved notification block"
    wanted = AutomationCore.model_validate({**said, "actions": actions})
    if there is None:
        client.create_automation(wanted)
        return f"automation {wanted.name}: created"
    wanted = wanted.model_copy(update={"enabled": there.enabled})  # somebody may have switched it off
    if _as_in_file(there) == _as_in_file(wanted):  # an update would have it forget what it is counting
        return f"automation {wanted.name}: there already, left as it is"
    client.update_automation(there.id, wanted)
    return f"automation {wanted.name}: updated{'' if there.enabled else ', and still switched off'}"


def _as_in_file(automation: AutomationCore) -> dict[str, Any]:
    """All that the files say of an automation; sets of names, so that their order is none."""
    return automation.model_dump(include={*AutomationCore.model_fields})
