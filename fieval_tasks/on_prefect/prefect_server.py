"""The Prefect server of a run on a laptop, where the user has set no API: it ends with the run.

Nothing here imports Prefect: the server starts in a process of its own while this one is still checking the dataset.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from types import TracebackType

from fieval_tasks.core.errors import RunStopped
from fieval_tasks.core.scrubbing import names_a_secret
from fieval_tasks.on_prefect.times import TIMES, PrefectTimes

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
}
"""For a server of our own only: every task run recorded, no noise, none of the services that a laptop run lacks."""


class OwnServer:
    """A Prefect server on loopback that ends with this process, however this process ends."""

    def __init__(self, times: PrefectTimes = TIMES) -> None:
        self._times = times
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        self.api_url = f"http://127.0.0.1:{self._port}/api"

    def __enter__(self) -> OwnServer:
        with ExitStack() as opening:
            self._complaints = opening.enter_context(
                tempfile.TemporaryFile()
            )  # a pipe that nobody reads would hold it up
            opening.enter_context(environment_set(_past_proxies("127.0.0.1")))
            command = [sys.executable, "-m", "fieval_tasks.on_prefect.own_server", str(self._port)]
            self._process = subprocess.Popen(
                command, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._complaints,
                start_new_session=True,
            )  # fmt: skip  # its own session: a Ctrl-C is for this process, which then ends the server in order
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        try:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=self._times.server_ends_within)
        finally:  # late, or whoever waits was interrupted
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._open.close()

    def wait_until_ready(self) -> None:
        """Returns when the API answers. Raises RunStopped, with what the server said, where it does not come up."""
        assert self._process is not None
        deadline = time.monotonic() + self._times.server_starts_within
        while not is_healthy(self.api_url):
            if self._process.poll() is not None:
                why = self._last_complaint() or f"exit status {self._process.returncode}"
                raise RunStopped(f"the Prefect server that this run needs did not start: {why}")
            if time.monotonic() > deadline:
                raise RunStopped(
                    f"the Prefect server that this run needs was not up within {self._times.server_starts_within:.0f} s"
                )
            time.sleep(0.05)

    def _last_complaint(self) -> str:
        """The last error that it named, or else its last line."""
        self._complaints.seek(0)
        lines = self._complaints.read().decode("utf-8", "replace").strip().splitlines()
        return next(filter(_NAMES_AN_ERROR.match, reversed(lines)), lines[-1] if lines else "")


_NAMES_AN_ERROR = re.compile(r"[\w.]*(Error|Exception): ")
"""The line of a traceback that says what happened; a server that can't start logs a few more after it."""


def _environment() -> dict[str, str]:
    """The server's: the platform's keys and the ledger's password are none of its business."""
    left_out = {
        name for name in os.environ
        if (names_a_secret(name) and not name.upper().startswith("PREFECT_"))
        or name.upper() in ("PREFECT_API_URL", "FIEVAL_STORE_URL")
    }  # fmt: skip
    return {name: value for name, value in os.environ.items() if name not in left_out} | QUIET


def is_healthy(api_url: str, *, timeout: float = 2.0) -> bool:
    """A Prefect API answers there, if only that it wants the keys, which Prefect has.

    For a server that was just started on this machine: any other is asked by Prefect's own client, which knows what
    certificates, headers and logins it is set to.
    """
    try:
        with urllib.request.urlopen(f"{api_url.rstrip('/')}/health", timeout=timeout) as reply:
            return json.load(reply) is True
    except urllib.error.HTTPError as error:
        with error:
            return error.code in (401, 403)
    except (OSError, HTTPException, ValueError):
        return False


def _past_proxies(host: str) -> dict[str, str]:
    """The variables with which this process, and Prefect in it, asks the host itself, whatever proxy is set."""
    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if direct == "*" or host in direct.split(","):
        return {}
    return dict.fromkeys(("no_proxy", "NO_PROXY"), f"{direct},{host}".lstrip(","))


@contextmanager
def environment_set(variables: Mapping[str, str]) -> Iterator[None]:
    """The variables have these values within the block, and their own again after it, however it ends."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
