"""Keys and jobs as Prefect blocks: keys show nowhere, a job is triggered in one process and waited for in another."""

from __future__ import annotations

import asyncio
import json
import os
import re
import runpy
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import pytest

from fieval_tasks.api.client import Credentials
from fieval_tasks.core.errors import PlanError, RunStopped
from fieval_tasks.core.plan import Check, EvaluationPlan
from fieval_tasks.on_prefect.openers import PREFECT
from fieval_tasks.runs.connections import Openers, connection_of
from fieval_tasks.work.engine import current
from tests.conftest import PATIENCE, Evaluator

KEYS = {"api_key": "an-api-key-5d1f0c", "secret_key": "a-secret-key-77ab02"}
ADDRESS = "http://evaluations.test:8000"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_api: str) -> Iterator[Path]:
    """An empty working folder, and the session's Prefect API."""
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    monkeypatch.chdir(tmp_path)
    with temporary_settings(updates={PREFECT_API_URL: prefect_api, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield tmp_path


def credentials(**fields: Any) -> Any:
    from fieval_tasks.blocks import FutureAGICredentials

    return FutureAGICredentials(**{**KEYS, "base_url": ADDRESS, **fields})


def of(evaluator: Evaluator) -> dict[str, str]:
    """The fields of a block for the tests' evaluation server."""
    names = {"api_key": "FI_API_KEY", "secret_key": "FI_SECRET_KEY", "base_url": "FI_BASE_URL"}
    return {field: evaluator.environment[name] for field, name in names.items()}


def job(folder: Path, marker: str, *, credentials: Any = None, **fields: Any) -> Any:
    """Three answers to be evaluated, each of which contains the marker."""
    from fieval_tasks.blocks import EvaluationJob

    rows = [{"question": f"{marker} {n}?", "answer": f"{marker} is {n}."} for n in range(3)]
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    fields.setdefault("connection", None if credentials else "local")
    plan = EvaluationPlan(dataset="answers.jsonl", checks=(Check(template="completeness"),), **fields)
    return EvaluationJob(plan=plan, credentials=credentials)


# -- keys ----------------------------------------------------------------------------------------------------------


def test_keys_are_in_no_repr_and_no_error() -> None:
    block = credentials(workspace_id="")
    for shown in (repr(block), str(block), repr(block.credentials()), block.model_dump_json()):
        assert not [key for key in KEYS.values() if key in shown]
    assert block.credentials() == Credentials(**KEYS, base_url=ADDRESS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_key": "curly-“quote”-key"},
        {"secret_key": "two secret keys"},
        {"secret_key": ""},
        {"workspace_id": "a\nb"},
        {"base_url": "ftp://evaluations.test"},
        {"base_url": "https://me:a-secret-key-77ab02@evaluations.test"},
    ],
)
def test_what_no_request_can_carry_is_refused_and_not_repeated(wrong: dict[str, str]) -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError) as raised:
        credentials(**wrong)
    [(field, value)] = wrong.items()
    assert field in str(raised.value)
    assert not value or field == "base_url" or value not in str(raised.value)
    assert KEYS["secret_key"] not in str(raised.value)


async def test_the_block_makes_a_client_of_its_own_address() -> None:
    async with credentials().get_client() as client:
        assert client.base_url == ADDRESS


def test_a_flow_that_is_given_a_block_stores_no_key(place: Path) -> None:
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.runtime import flow_run

    global FutureAGICredentials  # where Prefect looks for what an annotation names
    from fieval_tasks.blocks import FutureAGICredentials

    @flow
    def uses(keys: FutureAGICredentials) -> str:  # type: ignore[name-defined]
        return str(flow_run.id)

    block = credentials()
    block.save("in-parameters", overwrite=True)
    with get_client(sync_client=True) as client:
        stored = client.read_flow_run(uses(block)).model_dump_json()  # type: ignore[arg-type]
    assert not [key for key in KEYS.values() if key in stored]


# -- found by Prefect ----------------------------------------------------------------------------------------------


def test_prefect_finds_the_blocks_through_the_entry_point_of_this_package() -> None:
    from prefect.plugins import load_prefect_collections

    import fieval_tasks.blocks

    assert load_prefect_collections()["prefect_futureagi"] is fieval_tasks.blocks


def test_the_command_registers_them_with_what_the_ui_shows(place: Path) -> None:
    from prefect.client.orchestration import get_client

    command = [sys.executable, "-m", "prefect", "block", "register", "-m", "fieval_tasks.blocks"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"│ (\S.*?)\s*│", done.stdout) == ["Future AGI Evaluation", "Future AGI Credentials"]
    with get_client(sync_client=True) as client:
        known = {block.slug: block for block in client.read_block_types()}
    for slug in ("futureagi-credentials", "futureagi-evaluation"):
        assert known[slug].logo_url
        assert known[slug].documentation_url
        assert known[slug].description
        assert "```python" in str(known[slug].code_example)


@pytest.mark.parametrize("name", ["FutureAGICredentials", "EvaluationJob"])
def test_the_example_that_the_ui_shows_runs_as_it_is_pasted(
    place: Path, evaluator: Evaluator, tmp_path: Path, name: str
) -> None:
    from fieval_tasks import blocks

    credentials(**of(evaluator)).save("prod", overwrite=True)
    job(place, "an example").save("answers", overwrite=True)
    code = str(getattr(blocks, name)._code_example).removeprefix("```python\n").removesuffix("```")
    (tmp_path / "pasted.py").write_text(code, encoding="utf-8")
    runpy.run_path(str(tmp_path / "pasted.py"))


# -- a block as the connection -------------------------------------------------------------------------------------


def test_a_connection_of_another_name_is_a_block_of_keys(place: Path) -> None:
    credentials().save("prod", overwrite=True)
    assert connection_of(EvaluationPlan(connection="prod"), PREFECT).label == ADDRESS


@pytest.mark.parametrize("name", ["staging", "../../admin/settings", "a/b", ""])
def test_a_missing_block_is_named_with_those_there_are(place: Path, name: str) -> None:
    from fieval_tasks.blocks import load_credentials

    credentials().save("prod", overwrite=True)
    with pytest.raises(PlanError, match=r"neither local nor env.*prod.*Future AGI Credentials") as raised:
        load_credentials(name)
    assert repr(name) in str(raised.value)


def test_what_the_uis_form_let_through_is_named_before_it_is_used(place: Path) -> None:
    from prefect.client.orchestration import get_client

    from fieval_tasks.blocks import load_credentials

    document_id = credentials().save("from-the-ui", overwrite=True)
    with get_client(sync_client=True) as client:
        typed = {"api_key": "two words", "secret_key": KEYS["secret_key"], "base_url": "no address"}
        client._client.patch(f"/block_documents/{document_id}", json={"data": typed}).raise_for_status()
    with pytest.raises(PlanError, match=r"'from-the-ui' can't be used: api_key: .*; base_url: ") as raised:
        load_credentials("from-the-ui")
    assert "two words" not in str(raised.value)


def test_keys_of_a_block_go_to_its_own_address_only() -> None:
    def load(name: str) -> NoReturn:
        raise AssertionError("not even loaded")

    with pytest.raises(PlanError, match="leave one of them out"):
        connection_of(EvaluationPlan(connection="prod", base_url="http://elsewhere.test"), Openers(load, load))


def test_without_a_prefect_api_a_block_is_a_sentence(monkeypatch: pytest.MonkeyPatch, prefect_home: Path) -> None:
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    from fieval_tasks.blocks import load_credentials

    nobody = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(updates=nobody), pytest.raises(RunStopped, match="Prefect API, which keeps the block"):
        load_credentials("prod")


# -- jobs ----------------------------------------------------------------------------------------------------------

WAIT = """
import json, sys
from fieval_tasks.blocks import EvaluationRun
run = EvaluationRun(sys.argv[1])
run.wait_for_completion()
print(json.dumps(run.fetch_result()))
"""


def test_what_one_process_triggers_another_waits_for(place: Path, evaluator: Evaluator) -> None:
    keys = credentials(**of(evaluator))
    keys.save("evaluator", overwrite=True)
    job(place, "two-processes", credentials=keys).save("two-processes", overwrite=True)
    from fieval_tasks.blocks import EvaluationJob

    loaded: Any = EvaluationJob.load("two-processes")
    run = loaded.trigger()
    assert len(evaluator.submissions("two-processes")) == 3
    command = [sys.executable, "-c", WAIT, run.run_id]
    waited = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=dict(os.environ))
    assert waited.returncode == 0, waited.stderr
    summary = json.loads(waited.stdout.splitlines()[-1])
    assert (summary["run_id"], summary["items"]["scored"], summary["exit_code"]) == (run.run_id, 3, 0)
    assert summary == json.loads(Path("fieval-runs", run.run_id, "summary.json").read_text(encoding="utf-8"))
    assert run.fetch_result()["items"] == summary["items"]
    assert len(evaluator.submissions("two-processes")) == 3, "waiting submits nothing"


def test_how_a_run_stands_is_read_without_its_keys(
    tmp_path: Path, evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieval_tasks.blocks import EvaluationRun
    from fieval_tasks.runs.preparation import prepared

    monkeypatch.chdir(tmp_path)
    for name, value in evaluator.environment.items():
        monkeypatch.setenv(name, value)
    with prepared(EvaluationPlan(run="theirs", connection="env", limit=2)):
        pass
    for name in evaluator.environment:
        monkeypatch.delenv(name)
    assert EvaluationRun("theirs").fetch_result()["items"]["pending"] == 4
    with pytest.raises(PlanError, match=r"no run 'there' in .*theirs"):
        EvaluationRun("there").fetch_result()
    with pytest.raises(PlanError):
        EvaluationRun("theirs", store="nowhere.db").fetch_result()
    assert not Path("nowhere.db").exists(), "a look makes nothing"


def test_before_anyone_waits_the_result_is_pending(place: Path, evaluator: Evaluator) -> None:
    keys = credentials(**of(evaluator))
    keys.save("evaluator", overwrite=True)
    run = job(place, "nobody-waited", credentials=keys, mode="submit").trigger()
    before = written(place)
    for _ in range(2):
        items = run.fetch_result()["items"]
        assert (items["total"], items["pending"]) == (3, 3)
    assert written(place) == before, "to look is to change nothing"
    type(run)(run.run_id).wait_for_completion()
    assert run.fetch_result()["items"]["scored"] == 3, "it was another that waited"


def written(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """Every file of a working folder, and all that the ledger in it says."""
    files = {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file() and ".db" not in file.name}
    with closing(sqlite3.connect(folder / "fieval-runs" / "ledger.db")) as ledger:
        return files, [*ledger.iterdump()]


async def test_async_callers_await_the_same_calls(place: Path) -> None:
    run = await job(place, "awaited").trigger()
    await run.wait_for_completion()
    assert (await run.fetch_result())["items"]["scored"] == 3


async def test_a_wait_that_is_cancelled_lets_go_of_the_run(place: Path, evaluator: Evaluator) -> None:
    keys = credentials(**of(evaluator))
    await keys.save("evaluator", overwrite=True)
    run = await job(place, "let-go", credentials=keys).trigger()
    waiting = asyncio.create_task(run.await_for_completion())
    await until(lambda: current(run.run_id) is not None)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: current(run.run_id) is None)
    await run.wait_for_completion()
    assert (await run.fetch_result())["items"]["scored"] == 3


async def until(holds: Any) -> None:
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that within 20 s")


def test_a_run_that_is_stopped_says_how_to_carry_on(place: Path, evaluator: Evaluator) -> None:
    keys = credentials(**of(evaluator))
    keys.save("rotated", overwrite=True)
    run = job(place, "rotated", credentials=keys).trigger()
    credentials(**{**of(evaluator), "secret_key": KEYS["secret_key"]}).save("rotated", overwrite=True)
    with pytest.raises(RunStopped, match=rf"refused the keys.*--resume {run.run_id}") as raised:
        run.wait_for_completion()
    assert not [key for key in KEYS.values() if key in str(raised.value)]


def test_keys_that_no_other_process_could_find_are_refused(place: Path) -> None:
    with pytest.raises(PlanError, match="save them first"):
        job(place, "unsaved", credentials=credentials()).trigger()


def test_two_connections_are_refused(place: Path) -> None:
    keys = credentials()
    keys.save("prod", overwrite=True)
    with pytest.raises(PlanError, match="keep one"):
        job(place, "both", credentials=keys, connection="local").trigger()
