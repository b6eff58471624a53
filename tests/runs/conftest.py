"""A folder of its own for each test, in which it is, and a ledger in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ledger(in_a_folder_of_its_own: None) -> Iterator[Ledger]:
    with Ledger(store_url()) as opened:
        yield opened
