"""`kill -9`, again and again: each item ends with one verdict, and what may have been paid twice is said."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

from fieval_tasks.core.items import State
from tests.faults.mix import Mix
from tests.faults.running import RESUME, Command, Server, accounts, dataset, resumed, serving, summary, wait_until

ITEMS = 300
KILLS = int(os.environ.get("FIEVAL_KILLS", "4"))
SLOWLY = ("--concurrency", "4")
"""So that every kill finds work under way."""


def test_a_run_killed_at_random_moments_pays_twice_only_what_was_in_flight_and_says_so(
    tmp_path: Path, prefect_api: str
) -> None:
    dice = Random(4)
    moments = sorted(dice.uniform(0, 1.9 * ITEMS) for _ in range(KILLS))
    arguments, landed = dataset(tmp_path, ITEMS), 0
    in_flight: set[tuple[int, str]] = set()
    with serving(tmp_path, Mix(reply=0.04, takes=(0.5, 1.5))) as server:
        for moment in moments:
            command = Command(tmp_path, server, *arguments, *SLOWLY)
            wait_until(is_at(moment, server, command))
            time.sleep(dice.uniform(0, 0.05))
            landed += command.is_running
            command.kill()
            in_flight |= being_sent(tmp_path)
            arguments = (*RESUME, "--no-prefect")  # the ledger is the same, and the start takes a third of the time
        last = resumed(tmp_path, server)
        assert last.exit_code == 0, last.message
        found = accounts(tmp_path, server)
        assert found.disagreements(killed=True) == []
        assert found.statuses == {"scored": ITEMS}
        assert landed == KILLS
        declared = summary(tmp_path)["requests"]["possible_duplicates"]
        assert found.duplicates <= len(in_flight) == declared
        print(f"{KILLS} kills: {found.duplicates} evaluations beyond {ITEMS}, {declared} items in flight at the kills")


def is_at(moment: float, server: Server, command: Command) -> Callable[[], bool]:
    """The run has come so far, in items accepted and verdicts told, and this process has had its part in it."""
    before = server.account.requests()

    def reached() -> bool:
        account = server.account
        has_come = account.items_accepted() + account.verdicts_told() >= moment and account.requests() > before
        return has_come or not command.is_running

    return reached


def being_sent(folder: Path) -> set[tuple[int, str]]:
    """Items in requests whose answer the ledger does not have, and when each was sent: the next process may not come to it."""
    query = "SELECT seq, sent_at FROM fieval_items WHERE state = ?"
    with closing(sqlite3.connect(folder / "fieval-runs" / "ledger.db")) as ledger:
        return {*ledger.execute(query, (State.SENDING.value,))}
