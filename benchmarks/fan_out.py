"""One run on three workers that share a limit. A worker is killed on the way.

Everything is real and on this machine: a stock `prefect server start`, PostgreSQL, process workers, and
benchmarks.server, which answers 429 past its rate.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import dataset, postgres
from benchmarks.judge import TEMPLATE
from benchmarks.measures import FIRST_SECONDS, Measure, Table
from benchmarks.ours import wrong
from benchmarks.relay import Relay, relays
from benchmarks.running import DidNotEnd, Setting, account_of, command, environment, served
from fieval_tasks.on_prefect.prefect_server import free_port, is_healthy

POOL, SHARED = "fieval", "one-key"
WORKERS = 3
LIMIT, RATE = 200, 189
"""Requests a second that the server allows, and those of the shared limit: README.md says why they are fewer."""
START = 120.0
"""Seconds for the Prefect server to come up."""
TASK_RUNS = "SELECT max(n) FROM (SELECT count(*) AS n FROM task_run GROUP BY flow_run_id) AS counts"
"""Of the flow run that has most."""
REPORTS = "SELECT count(*) FROM artifact WHERE key LIKE 'fieval-%-summary'"


@dataclass(frozen=True)
class Place:
    """Where it all happens."""

    folder: Path
    variables: Mapping[str, str]

    def start(self, *words: str, log: str) -> subprocess.Popen[bytes]:
        """In a session of its own, so that it can be killed with all its children."""
        with (self.folder / log).open("wb") as file:
            return subprocess.Popen(
                [sys.executable, "-m", *words], cwd=self.folder, env=dict(self.variables), stdout=file,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def by(self, way: Relay) -> Place:
        """The same, with its own way to Prefect's API."""
        return replace(self, variables={**self.variables, "PREFECT_API_URL": f"http://127.0.0.1:{way.port}/api"})


@contextmanager
def prefect_server(place: Place, port: int) -> Iterator[None]:
    """A stock server."""
    with ended(place.start("prefect", "server", "start", "--port", str(port), "--no-ui", log="server.log")):
        deadline = time.monotonic() + START
        while not is_healthy(place.variables["PREFECT_API_URL"]):
            if time.monotonic() > deadline:
                raise DidNotEnd("the Prefect server did not come up")
            time.sleep(0.5)
        yield


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        kill(process, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            kill(process)
            process.wait()


def kill(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGKILL) -> None:
    """With all that it started."""
    family = [process.pid, *descendants(process.pid)]
    for pid in family:
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            continue


def descendants(pid: int) -> list[int]:
    try:
        children = [int(c) for t in Path(f"/proc/{pid}/task").iterdir() for c in (t / "children").read_text().split()]
    except OSError:
        return []
    return [one for child in children for one in (child, *descendants(child))]


def fan_out(items: int) -> Iterator[Table]:
    """Raises DidNotEnd where PostgreSQL or its driver is not installed, too."""
    if find_spec("psycopg") is None:
        raise DidNotEnd("PostgreSQL's driver is not installed: pip install -e '.[postgres]'")
    setting = Setting(items, rate=f"{LIMIT}/s", patience=600.0)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="fan-out-")))
        address = stack.enter_context(served(setting))
        database = stack.enter_context(postgres.server()).url
        port = free_port()
        own, *theirs = stack.enter_context(relays(port, WORKERS + 1))
        variables = environment(address, folder) | {
            "FIEVAL_STORE_URL": postgres.fresh_database(database),
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            # on SQLite, a stock server that workers and flow runs write to at once is locked for a minute now and then
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database.replace("postgresql:", "postgresql+asyncpg:", 1),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_CLI_PROMPT": "false",
        }
        place = Place(folder, variables)
        stack.enter_context(prefect_server(place, port))
        command(("deployments", "setup", "--shared-limit", f"{SHARED}={RATE}/s"), folder, variables)
        workers = [
            stack.enter_context(ended(place.by(way).start(*_worker(n), log=f"worker-{n}.log")))
            for n, way in enumerate(theirs)
        ]
        dataset.write(folder / "dataset.jsonl", setting.items, setting.size)
        asked = stack.enter_context(ended(place.by(own).start(*_COMMAND, log="command.log")))
        killed = _killed(address, workers[0], items)
        code = asked.wait(setting.patience)
        time.sleep(3)  # what Prefect's clients have queued
        account = account_of(address)
        made = [of_flow_runs(way.calls) for way in (own, *theirs)]
        yield _table(setting, account, folder, made, database, [Measure("exit code", code, at_most=0), killed])


def _worker(n: int) -> Sequence[str]:
    return ("prefect", "worker", "start", "--pool", POOL, "--type", "process", "--limit", "1", "--name", f"worker-{n}")


_COMMAND = (
    *("flows.fan_out", "dataset.jsonl", "--template", TEMPLATE, "--connection", "env"),
    *("--shared-limit", SHARED, "--shards", str(WORKERS), "--output", "output"),
)


def _killed(address: str, worker: subprocess.Popen[bytes], items: int) -> Measure:
    """Kill a worker and its shard once a third of the verdicts are out; how many were."""
    while (settled := account_of(address)["settled"]) < items / 3:
        time.sleep(0.5)
    kill(worker)
    return Measure("verdicts out when a worker was killed", settled)


def of_flow_runs(calls: Counter[str]) -> Counter[str]:
    """Without what a worker asks for by itself, when it looks for work."""
    return Counter(
        {name: n for name, n in calls.items() if not re.search(r"/(work_pools|work_queues|health|csrf)", name)}
    )


def _table(
    setting: Setting, account: Mapping[str, Any], folder: Path, made: Sequence[Counter[str]], database: str,
    told: Sequence[Measure],
) -> Table:  # fmt: skip
    """`made`: the calls of each relay; `told`: what was seen on the way."""
    summary = json.loads((folder / "output/summary.json").read_text(encoding="utf-8"))
    with (folder / "output/results.jsonl").open(encoding="utf-8") as lines:
        mistakes = wrong((json.loads(line) for line in lines), setting.items, setting.size)
    allowed = account["requests_by_second"]
    used = allowed[FIRST_SECONDS : int(account["last_accepted"] - account["first_post"])]
    seconds = account["last_verdict"] - account["first_post"]
    calls = sum(made, Counter[str]())
    return Table(
        f"fan_out: {setting.items:,} items, {WORKERS} workers, {LIMIT}/s allowed, {RATE}/s shared",
        [
            *told,
            Measure("items without the right verdict", mistakes, at_most=0),
            Measure("reports", _one(database, REPORTS), at_most=1),
            Measure("of the limit used while items were left to send", sum(used) / LIMIT / max(1, len(used)), at_least=0.85, unit="%"),
            Measure("of the limit used from the first submission to the last verdict", sum(allowed) / LIMIT / seconds, unit="%"),
            Measure("most requests in a second", max(allowed)),
            Measure("requests past the limit (429)", account["refused_requests"], at_most=0),
            Measure("seconds, first submission to last verdict", seconds, unit="s"),
            Measure("requests", sum(allowed)),
            Measure("evaluated more than once", account["duplicates"]),
            Measure("possible duplicates told", summary["requests"]["possible_duplicates"], at_least=account["duplicates"]),
            Measure("calls of Prefect's API, of all flow runs", calls.total()),
            Measure("most calls of Prefect's API by one flow run", max(one.total() for one in made), at_most=500),
            Measure("most task runs of one flow run", _one(database, TASK_RUNS), at_most=200),
        ],
        [f"{n} x {name}" for name, n in calls.most_common(14)] + ["requests by second: " + " ".join(map(str, allowed))],
    )  # fmt: skip


def _one(database: str, query: str) -> int:
    """A number that the Prefect server has recorded."""
    import psycopg

    with psycopg.connect(database) as connection:
        [found] = connection.execute(query.encode()).fetchone() or (0,)
    return int(found)
