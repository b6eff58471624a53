"""The server goes and comes back, the keys stop being good, somebody stops the run: it ends in order, and carries on."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from fieval_tasks.core.plan import Mode
from tests.conftest import PATIENCE
from tests.faults.mix import Mix
from tests.faults.platform import ALONE
from tests.faults.running import Command, accounts, dataset, evaluated, resumed, serving, wait_until
from tests.faults.test_kills import SLOWLY

FINE = Mix(reply=0.04, takes=(0.2, 1.0))
OUTAGE = float(os.environ.get("FIEVAL_OUTAGE", "8"))
"""Seconds. More than a chunk tries to connect for: its task has to try again."""


def test_a_run_outlives_a_server_that_goes_and_comes_back(tmp_path: Path, prefect_api: str) -> None:
    with serving(tmp_path, FINE) as server:
        command = Command(tmp_path, server, *dataset(tmp_path, 400), *SLOWLY)
        wait_until(lambda: server.account.items_accepted() >= 100)
        server.kill()
        time.sleep(OUTAGE)
        server.start()
        assert command.ended(within=PATIENCE) == 0, command.said
        found = accounts(tmp_path, server)
        assert found.disagreements(killed=True) == []
        assert found.statuses == {"scored": 400}


def test_keys_refused_in_the_middle_stop_the_run_and_lose_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, replace(FINE, keys_refused_after=150)) as server:
        stopped = evaluated(tmp_path, server, 300)
        assert stopped.exit_code == 4, stopped.message
        assert "refused the keys" in stopped.message
        assert accounts(tmp_path, server).disagreements() == []
        assert server.account.requests() <= 150 + 100  # what was on its way
        server.become(FINE)
        outcome = resumed(tmp_path, server)
        assert outcome.exit_code == 0, outcome.message
        found = accounts(tmp_path, server)
        assert found.disagreements() == []
        assert (found.statuses, found.duplicates) == ({"scored": 300}, 0)


def test_a_terminated_run_says_how_to_carry_on_and_does(tmp_path: Path, prefect_api: str) -> None:
    with serving(tmp_path, FINE) as server:
        command = Command(tmp_path, server, *dataset(tmp_path, 300), *SLOWLY)
        wait_until(lambda: server.account.items_accepted() >= 60)
        command.terminate()
        assert command.ended(within=20) == 130, command.said  # two seconds, and what a busy machine makes of them
        assert "--resume r" in command.said
        outcome = resumed(tmp_path, server)
        assert outcome.exit_code == 0, outcome.message
        found = accounts(tmp_path, server)
        assert found.disagreements(killed=True) == []
        assert found.statuses == {"scored": 300}


def test_a_synchronous_run_that_meets_only_opaque_faults_turns_to_where_the_reason_can_be_read(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, replace(FINE, credit=50)) as server:
        outcome = evaluated(tmp_path, server, 300, template=ALONE, mode=Mode.SYNC)
        assert outcome.exit_code == 4, outcome.message
        assert "credit" in outcome.message
        assert accounts(tmp_path, server).disagreements() == []
        assert server.account.posts() <= 50 + 150  # 32 calls under way meet a fault twice, before the lane turns


def test_a_server_that_changes_its_spelling_in_the_middle_is_read_on_and_that_is_said(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, FINE) as server:

        def change() -> None:
            wait_until(lambda: server.account.items_accepted() >= 60)
            server.become(replace(FINE, camel_case=True))

        with ThreadPoolExecutor() as threads:
            changed = threads.submit(change)
            outcome = evaluated(tmp_path, server, 300, concurrency=4)
            changed.result()
        assert outcome.exit_code == 0, outcome.message
        assert "partly in snake_case, partly in camelCase" in outcome.message
        found = accounts(tmp_path, server)
        assert found.disagreements() == []
        assert (found.statuses, found.duplicates) == ({"scored": 300}, 0)
