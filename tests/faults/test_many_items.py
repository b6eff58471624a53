"""Thousands of items through the command, on a server that does everything wrong now and then."""

from __future__ import annotations

import os
from pathlib import Path

from fieval_tasks.core.items import Result
from tests.conftest import PATIENCE
from tests.faults.account import Account
from tests.faults.mix import Mix
from tests.faults.running import Command, accounts, dataset, serving, summary

ITEMS = int(os.environ.get("FIEVAL_ITEMS", "250"))
ONE_IN_TWENTY = 0.05
EVERYTHING = Mix(
    seed=7,
    post=dict.fromkeys(("500", "503", "429", "drop", "taken drop", "taken html", "taken truncated"), ONE_IN_TWENTY),
    get=dict.fromkeys(("500", "503", "429", "drop", "html", "truncated"), ONE_IN_TWENTY),
    rows={"fails": ONE_IN_TWENTY},
    items={"stuck": 0.01},
    reply=0.01,
    takes=(0.2, 1.0),
)


def test_items_under_every_fault_at_once_are_all_accounted_for(tmp_path: Path, prefect_api: str) -> None:
    with serving(tmp_path, EVERYTHING) as server:
        command = Command(tmp_path, server, *dataset(tmp_path, ITEMS), "--item-timeout", "20s")
        code = command.ended(within=PATIENCE)
        found = accounts(tmp_path, server)
        assert found.disagreements() == []
        assert code == 3, command.said
        assert found.statuses["scored"] > ITEMS / 2
        assert sum(found.statuses.values()) == ITEMS
        told = summary(tmp_path)
        assert (told["exit_code"], told["items"]["total"]) == (3, ITEMS)
        declared = told["requests"]["possible_duplicates"]
        assert found.duplicates <= declared
        ready = sum(is_ready(server.account, result) for result in found.results)
        print(
            f"{dict(found.statuses)}, {ready} pending whose verdict was ready; {found.duplicates} of {declared} declared"
        )


def is_ready(account: Account, result: Result) -> bool:
    """It is pending, and the platform would have told its verdict."""
    evaluation = account.evaluation(result.eval_id) if result.status == "pending" and result.eval_id else None
    return evaluation is not None and evaluation.fate != "stuck"
