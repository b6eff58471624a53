"""Submitted evaluations: they are kept, they are finished, and they tie up nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import time
import weakref
from contextlib import AsyncExitStack, ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from fieval_tasks.local import create_app
from fieval_tasks.local.jobs import Job, JobStore
from fieval_tasks.local.scorer import Broken, ScoringProcess
from tests.local.local_evaluator import KEYS, NEW_EVAL, an_app, client_of, in_process, serving, settled


async def test_jobs_survive_a_killed_process(tmp_path: Path) -> None:
    database = str(tmp_path / "evaluations.db")
    with serving("--database", database, "--delay", "2") as server:
        async with httpx.AsyncClient(base_url=server.base_url, headers=KEYS) as client:
            ids = [eval_id for n in range(20) for eval_id in await _submit(client, [f"[{n}]", "{a", ""])]
        server.kill()
    with serving("--database", database) as server:
        async with httpx.AsyncClient(base_url=server.base_url, headers=KEYS) as client:
            states = [await settled(client, eval_id) for eval_id in ids]
    assert [state["result"]["value"] for state in states] == ["Passed", "Failed", None] * 20


async def test_a_settled_row_reads_the_same_after_a_restart(tmp_path: Path) -> None:
    database = tmp_path / "evaluations.db"
    async with in_process(database=database) as client:
        (eval_id,) = await _submit(client, "[1]")
        before = await settled(client, eval_id)
    async with in_process(database=database) as client:
        assert await settled(client, eval_id) == before


def rights(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
def test_only_its_owner_may_read_a_database_also_one_that_was_open_before(tmp_path: Path) -> None:
    database = tmp_path / "evaluations.db"
    before = os.umask(0)
    try:
        for _ in range(2):
            with closing(JobStore(database)) as store:
                store.add([Job("is_json", {"text": "[1]"}, {})])
                assert rights(tmp_path) == dict.fromkeys(
                    ("evaluations.db", "evaluations.db-wal", "evaluations.db-shm"), 0o600
                )
            database.chmod(0o644)
        other = tmp_path / "others.db"
        with closing(sqlite3.connect(other)) as connection:
            connection.execute("CREATE TABLE notes (text)")
        other.chmod(0o640)
        with pytest.raises(ValueError, match="another program"):
            JobStore(other)
        assert rights(tmp_path)["others.db"] == 0o640, "it is none of ours"
    finally:
        os.umask(before)


async def test_several_processes_may_open_one_new_database(tmp_path: Path) -> None:
    with ExitStack() as running:
        servers = [running.enter_context(serving("--database", str(tmp_path / "shared.db"))) for _ in range(3)]
        async with AsyncExitStack() as open_:
            clients = [
                await open_.enter_async_context(httpx.AsyncClient(base_url=server.base_url, headers=KEYS))
                for server in servers
            ]
            ids = [eval_id for client in clients for eval_id in await _submit(client, "[1]")]
            states = [await settled(clients[0], eval_id) for eval_id in ids]
    assert [state["eval_status"] for state in states] == ["completed"] * 3


async def test_packed_verdicts_are_single_verdicts(client: httpx.AsyncClient) -> None:
    texts = ["[1]", "{a", '{"b": 2}', "x" * 1000]
    packed = [(await settled(client, eval_id))["result"] for eval_id in await _submit(client, texts)]
    single = [(await settled(client, (await _submit(client, text))[0]))["result"] for text in texts]
    assert [(row["value"], row["reason"]) for row in packed] == [(row["value"], row["reason"]) for row in single]


async def test_one_bad_item_fails_alone_when_async_and_all_when_sync(client: httpx.AsyncClient) -> None:
    texts = ["[1]", "", "[2]"]
    states = [await settled(client, eval_id) for eval_id in await _submit(client, texts)]
    assert [state["eval_status"] for state in states] == ["completed", "failed", "completed"]
    reply = await client.post(NEW_EVAL, json={"eval_name": "is_json", "inputs": {"text": texts}})
    assert reply.status_code == 500


async def test_an_unscorable_item_is_a_400_when_sync_and_a_message_when_async(client: httpx.AsyncClient) -> None:
    body = {"eval_name": "accuracy", "inputs": {"output": '["yes", "no"]', "expected": '["yes"]'}}
    reply = await client.post(NEW_EVAL, json=body)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid")
    reply = await client.post(NEW_EVAL, json={**body, "is_async": True})
    state = await settled(client, reply.json()["result"][0]["evaluations"][0]["eval_id"])
    assert state["result"]["value"] is None
    assert "must be as many" in state["result"]["error_message"]


async def test_a_sync_call_is_not_queued_behind_submissions() -> None:
    async with in_process(workers=1) as client:
        text = "Paris is the capital of France. " * 200
        body = {
            "eval_name": "context_adherence",
            "inputs": {"output": [text] * 3, "context": [text] * 3},
            "is_async": True,
        }
        ids = [entry["eval_id"] for _ in range(20) for entry in await _post(client, body)]
        await _post(client, {"eval_name": "is_json", "inputs": {"text": "[1]"}})
        reply = await client.get(NEW_EVAL, params={"eval_id": ids[-1]})
        assert reply.json()["result"]["eval_status"] in ("pending", "processing")


async def test_a_delay_holds_back_sync_and_async_alike() -> None:
    async with in_process(delay=0.2) as client:
        started = time.monotonic()
        await _post(client, {"eval_name": "is_json", "inputs": {"text": "[1]"}})
        assert time.monotonic() - started >= 0.2


def test_one_app_serves_one_event_loop_after_another() -> None:
    app = an_app()

    async def submit_and_settle() -> str:
        async with client_of(app) as client:
            await _post(client, {"eval_name": "is_json", "inputs": {"text": "[1]"}})
            state = await settled(client, (await _submit(client, "[1]"))[0])
            return str(state["eval_status"])

    assert [asyncio.run(submit_and_settle()) for _ in range(3)] == ["completed"] * 3
    asyncio.run(app.state.evaluator.aclose())


async def test_closing_twice_is_closing_once_and_leaves_rows_pending(tmp_path: Path) -> None:
    database = tmp_path / "evaluations.db"
    app = an_app(database=database, delay=30)
    async with client_of(app) as client:
        (eval_id,) = await _submit(client, "[1]")
        await app.state.evaluator.aclose()
        await app.state.evaluator.aclose()
    async with in_process(database=database) as client:
        assert (await settled(client, eval_id))["eval_status"] == "completed"


def test_an_app_nobody_closed_is_collected_once_idle() -> None:
    async def use() -> weakref.ref[Any]:
        app = an_app()
        async with client_of(app) as client:
            await settled(client, (await _submit(client, "[1]"))[0])
        return weakref.ref(app.state.evaluator)

    evaluator = asyncio.run(use())
    while evaluator() is not None:  # a thread that has just settled the evaluation still holds it
        gc.collect()


@pytest.mark.parametrize("options", [{"workers": 0}, {"delay": -1.0}, {"api_key": " "}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        create_app(**{"api_key": "k", "secret_key": "s", **options})


async def test_a_fault_of_ours_is_a_failed_row_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise Broken("Traceback of ours\nValueError: broken on purpose")

    monkeypatch.setattr(ScoringProcess, "score", broken)
    async with in_process() as client:
        state = await settled(client, (await _submit(client, "[1]"))[0])
    assert state["result"]["error_message"] == "ValueError: broken on purpose"
    assert "Traceback of ours" in caplog.text


async def _post(client: httpx.AsyncClient, body: dict[str, Any]) -> list[dict[str, Any]]:
    reply = await client.post(NEW_EVAL, json=body)
    entries: list[dict[str, Any]] = reply.json()["result"][0]["evaluations"]
    return entries


async def _submit(client: httpx.AsyncClient, texts: str | list[str]) -> list[str]:
    entries = await _post(client, {"eval_name": "is_json", "inputs": {"text": texts}, "is_async": True})
    return [entry["eval_id"] for entry in entries]
