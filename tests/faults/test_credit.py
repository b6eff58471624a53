"""Credit that ends in the middle of a run."""

from __future__ import annotations

from pathlib import Path

from tests.faults.mix import Mix
from tests.faults.running import accounts, evaluated, resumed, serving


def test_a_run_without_credit_stops_before_much_is_sent_in_vain_and_is_finished_later(tmp_path: Path) -> None:
    mix = Mix(reply=0.04, takes=(0.2, 1.0), credit=200)
    with serving(tmp_path, mix) as server:
        stopped = evaluated(tmp_path, server, 450)
        assert stopped.exit_code == 4, stopped.message
        assert "credit" in stopped.message
        ended_at = server.account.first_without_credit()
        assert ended_at is not None
        posts, items = server.account.posts(since=ended_at), server.account.items_posted(since=ended_at)
        print(f"after the credit had ended: {posts} submissions with {items} items")
        assert accounts(tmp_path, server).disagreements() == []
        assert posts <= 50

        server.become(Mix(reply=0.04, takes=(0.2, 1.0)))
        finished = resumed(tmp_path, server)
        assert finished.exit_code == 0, finished.message
        found = accounts(tmp_path, server)
        assert found.disagreements() == []
        assert (found.statuses, found.duplicates) == ({"scored": 450}, 0)
