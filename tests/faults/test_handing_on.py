"""`kill -9` in the middle of a write to a table of the user's own, and two processes at once: every verdict is there once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from fieval_tasks.sinks.opening import opened
from tests import postgres
from tests.conftest import PATIENCE
from tests.faults.running import ROOT, wait_until
from tests.sinks.conftest import asked
from tests.sinks.test_tables import SCORED, a_run

ITEMS = 300
COUNTED = "SELECT count(*) FROM verdicts WHERE run_id = 'r'"


@contextmanager
def at_work(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that works on the run; it has begun."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.faults.handing_on", *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield process


def ended(process: subprocess.Popen[str]) -> int:
    said, _ = process.communicate(timeout=PATIENCE)
    print(said)
    return process.returncode


def everything_is_there_once(folder: Path, to: str) -> None:
    """Each line of results.jsonl is a row of the table, with the same verdict."""
    lines = [json.loads(line) for line in (folder / "fieval-runs/r/results.jsonl").read_text().splitlines()]
    found = asked(to, "SELECT item_id, status, passed, value, eval_id, reason FROM verdicts WHERE run_id = 'r'")
    said = (
        (line["item_id"], line["status"], line["passed"], line["value"], line["eval_id"], line["reason"])
        for line in lines
    )
    assert len(lines) == ITEMS
    assert Counter((item, status, None if passed is None else bool(passed), *rest) for item, status, passed, *rest in found) == Counter(said)  # fmt: skip


def test_killed_in_the_middle_of_a_write_to_sqlite_and_resumed(tmp_path: Path) -> None:
    to = f"sqlite:///{tmp_path / 'mine.db'}#verdicts"
    with_table(to)
    with at_work(tmp_path, to, str(ITEMS), str(ITEMS // 2)) as process:
        assert ended(process) == -signal.SIGKILL
    assert asked(to, COUNTED) < [(ITEMS,)], "what was not committed is taken back"
    with at_work(tmp_path, to, "resume") as process:
        assert ended(process) == 0
    everything_is_there_once(tmp_path, to)


def test_killed_in_the_middle_of_a_write_to_postgresql_and_resumed(tmp_path: Path, postgres_server: str) -> None:
    url = postgres.emptied(postgres_server)
    to = f"{url}#verdicts"
    with_table(to)
    with psycopg.connect(url) as other, psycopg.connect(url, autocommit=True) as watching:
        # A row that another one has written and not committed: the write waits in its middle.
        other.execute("INSERT INTO verdicts (run_id, item_id, \"check\", repeat) VALUES ('r', 'id-150', 'is_json', 0)")
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%INSERT INTO%'"
        with at_work(tmp_path, to, str(ITEMS)) as process:
            wait_until(lambda: watching.execute(waits).fetchone() is not None, within=PATIENCE)
            process.kill()
        other.rollback()
    assert asked(to, COUNTED) < [(ITEMS,)]
    with at_work(tmp_path, to, "resume") as process:
        assert ended(process) == 0
    everything_is_there_once(tmp_path, to)


def with_table(to: str) -> None:
    sink = opened(to, a_run("another"))
    sink.take([SCORED])
    sink.close()


def test_two_processes_share_a_run_and_a_file_that_one_at_a_time_may_open(tmp_path: Path) -> None:
    to = f"duckdb:///{tmp_path / 'mine.db'}#verdicts"
    with at_work(tmp_path, to, str(ITEMS)) as first, at_work(tmp_path, to, "resume") as second:
        assert [ended(first), ended(second)] == [0, 0]
    everything_is_there_once(tmp_path, to)
