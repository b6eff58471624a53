"""The real thing: the platform's process, commands as a user starts them, and the same work in this process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from fieval_tasks.core.plan import Check, EvaluationPlan
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs import workers
from fieval_tasks.runs.conclusion import Outcome
from fieval_tasks.runs.preparation import prepared
from tests.conftest import PATIENCE
from tests.faults.account import Account
from tests.faults.driving import inputs
from tests.faults.laws import Accounts
from tests.faults.mix import Mix
from tests.faults.platform import API_KEY, IN_CONTEXT, SECRET_KEY

ROOT = Path(__file__).parents[2]
SAY_WHERE = {"PYTHONFAULTHANDLER": "1"}
"""Has a Python that is aborted say where each of its threads stood."""


class Server:
    """The platform in a process of its own. Its account can be read while it runs, and after it."""

    def __init__(self, database: Path, mix: Mix) -> None:
        self._database = database
        self._mix = mix
        self._port = 0
        self.start()
        self.account = Account(database)

    def start(self) -> None:
        """Where it was before, with all that it knew."""
        command = [sys.executable, "-m", "tests.faults.server", "--database", str(self._database)]
        options = ["--port", str(self._port), "--mix", str(self._mix)]
        self._process = subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        self._port = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=PATIENCE)

    def close(self) -> None:
        self.kill()
        self.account.close()

    def become(self, mix: Mix) -> None:
        """Another character from now on."""
        self._mix = mix
        with urlopen(Request(f"{self.url}/mix", data=str(mix).encode(), method="PUT"), timeout=PATIENCE):
            pass

    @property
    def environment(self) -> dict[str, str]:
        """What points a command at it."""
        return {"FI_BASE_URL": self.url, "FI_API_KEY": API_KEY, "FI_SECRET_KEY": SECRET_KEY}


@contextmanager
def serving(folder: Path, mix: Mix) -> Iterator[Server]:
    server = Server(folder / "platform.db", mix)
    try:
        yield server
    finally:
        server.close()


class Command:
    """`python -m flows.evaluate` in a folder, against a server."""

    def __init__(self, folder: Path, server: Server, *arguments: str, name: str = "command") -> None:
        self._said = folder / f"{name}.err"
        command = [sys.executable, "-m", "flows.evaluate", *arguments]
        with self._said.open("w") as said:
            self._process = subprocess.Popen(
                command, cwd=folder, env=os.environ | server.environment | SAY_WHERE, stdout=said, stderr=said
            )
        self.began = time.time()

    def ended(self, *, within: float) -> int:
        """The exit code. One that does not end by itself in time is killed, says where it stood, and fails the test."""
        try:
            return self._process.wait(timeout=within)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)
            self._process.wait(timeout=PATIENCE)
            raise AssertionError(f"the command did not end within {within} s:\n{self.said}") from None

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def said(self) -> str:
        return self._said.read_text(errors="replace")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=PATIENCE)

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)


def dataset(folder: Path, items: int, *, template: str = IN_CONTEXT) -> tuple[str, ...]:
    """Write one, and the arguments that evaluate it as run `r`."""
    _write_rows(folder, items, template)
    return ("data.jsonl", "--template", template, "--id", "id", "--run", "r")


RESUME = ("--resume", "r")


def evaluated(folder: Path, server: Server, items: int, *, template: str = IN_CONTEXT, **options: Any) -> Outcome:
    """What the same run comes to in this process, without Prefect: for what starts no process twice and kills none."""
    _write_rows(folder, items, template)
    checks = (Check(template=template),)
    return _worked(
        folder, server, EvaluationPlan(dataset="data.jsonl", checks=checks, id_column="id", run="r", **options)
    )


def resumed(folder: Path, server: Server, **options: Any) -> Outcome:
    """The same for `--resume r`."""
    return _worked(folder, server, EvaluationPlan(resume="r", **options))


def _write_rows(folder: Path, items: int, template: str) -> None:
    rows = (json.dumps({"id": f"id-{n}"} | inputs(template, n)) for n in range(items))
    (folder / "data.jsonl").write_text("".join(f"{row}\n" for row in rows))


def _worked(folder: Path, server: Server, plan: EvaluationPlan) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in server.environment.items():
            patch.setenv(name, value)
        with prepared(plan) as run:
            return workers.evaluated(run)


def accounts(folder: Path, server: Server) -> Accounts:
    with Ledger(store_url(str(folder / "fieval-runs" / "ledger.db"))) as ledger:
        return Accounts.of(ledger, "r", server.account)


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "fieval-runs" / "r" / "summary.json").read_text(encoding="utf-8"))
    return found


def wait_until(happened: Callable[[], bool], *, within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
