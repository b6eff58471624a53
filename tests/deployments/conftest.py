"""An empty working folder for each test, and a Prefect API: the session's, or a stock server of these tests' own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from tests.conftest import PATIENCE


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_api: str) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    with at(prefect_api):
        yield tmp_path


@pytest.fixture
def stock_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stock_api: str) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("PREFECT_API_URL", stock_api)
    with at(stock_api):
        yield tmp_path


def at(api: str) -> AbstractContextManager[Any]:
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    return temporary_settings(updates={PREFECT_API_URL: api, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})


@pytest.fixture(scope="session")
def stock_api(begun_prefect_home: Path, prefect_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`prefect server start` with all that schedules, triggers and acts, as it comes but for how often it schedules."""
    from fieval_tasks.on_prefect.prefect_server import free_port, is_healthy

    port = str(free_port())
    url = f"http://127.0.0.1:{port}/api"
    home = tmp_path_factory.mktemp("stock-server")
    shutil.copytree(begun_prefect_home, home, dirs_exist_ok=True)
    own = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",  # not 60: a test waits for it
    }
    with running("server", "start", "--port", port, "--no-ui", **own) as server:
        deadline = monotonic() + PATIENCE
        while not is_healthy(url):
            assert server.poll() is None, "the server ended"
            assert monotonic() < deadline, "the server did not come up"
            sleep(0.2)
        yield url


@contextmanager
def running(*command: str, folder: Path | None = None, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command of Prefect's, which ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", *command], cwd=folder, env=os.environ | variables, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=PATIENCE)
