"""Flows run in this process, against the session's Prefect server, in an empty working folder."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Evaluator


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_api: str) -> Iterator[Path]:
    """The working folder: ledger and files go to its fieval-runs."""
    monkeypatch.chdir(tmp_path)
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings(updates={PREFECT_API_URL: prefect_api, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield tmp_path


@pytest.fixture
def block(workplace: Path, evaluator: Evaluator) -> Any:
    """A saved block with the keys of the evaluation server."""
    from fieval_tasks.blocks import FutureAGICredentials

    names = {"api_key": "FI_API_KEY", "secret_key": "FI_SECRET_KEY", "base_url": "FI_BASE_URL"}
    fields: dict[str, Any] = {field: evaluator.environment[name] for field, name in names.items()}
    FutureAGICredentials(**fields).save("evaluator", overwrite=True)
    return FutureAGICredentials.load("evaluator")


@pytest.fixture
def interruptible_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command in this process may be interrupted: it does not end the process, and its handling of signals is undone."""
    monkeypatch.setattr("flows.cli.interruption._end_now", lambda _: None)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def exit_code(command: Callable[[], int]) -> int:
    """Of a command in this process, which may end it."""
    try:
        return command()
    except SystemExit as end:
        return int(end.code or 0)
