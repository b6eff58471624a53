"""Two processes on one run."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import PATIENCE
from tests.faults.mix import Mix
from tests.faults.running import RESUME, Command, accounts, dataset, resumed, serving, summary, wait_until
from tests.faults.test_kills import SLOWLY, being_sent

ITEMS = 400


def test_two_processes_that_resume_one_run_at_once_send_nothing_twice(tmp_path: Path) -> None:
    with serving(tmp_path, Mix(reply=0.04, takes=(0.5, 1.0))) as server:
        begun = Command(tmp_path, server, *dataset(tmp_path, ITEMS), *SLOWLY, "--no-prefect")
        wait_until(lambda: server.account.items_accepted() >= 60)
        begun.kill()
        in_flight = len(being_sent(tmp_path))
        both = [Command(tmp_path, server, *RESUME, *SLOWLY, "--no-prefect", name=name) for name in ("one", "other")]
        codes = [command.ended(within=PATIENCE) for command in both]
        assert set(codes) <= {0, 3}, "\n".join(command.said for command in both)
        if 0 not in codes:
            finished = resumed(tmp_path, server)
            assert finished.exit_code == 0, finished.message
        found = accounts(tmp_path, server)
        assert found.disagreements(killed=True) == []
        assert found.statuses == {"scored": ITEMS}
        assert found.duplicates <= in_flight == summary(tmp_path)["requests"]["possible_duplicates"]
        print(f"they ended with {codes}")
