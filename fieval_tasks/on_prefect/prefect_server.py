"""The Prefect API a run on a laptop talks to: the user's own where one is set, else a server that ends with the run.

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
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from dotenv import dotenv_values

from fieval_tasks.core.errors import PlanError, RunStopped
from fieval_tasks.core.scrubbing import names_a_secret
from fieval_tasks.on_prefect.times import TIMES, PrefectTimes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

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


def configured_api(environment: Mapping[str, str] = os.environ, folder: Path = Path()) -> str | None:
    """The Prefect API that the user has set; None where there is none.

    As in Prefect, the first of its places that names one decides, and one that names it as empty says: none.
    """
    return next((url for url in _apis_named(environment, folder) if url is not None), None) or None


def _apis_named(environment: Mapping[str, str], folder: Path) -> Iterator[str | None]:
    """By each of Prefect's places, in Prefect's order; each is read once it is its turn."""
    yield _named(environment, "PREFECT_API_URL")
    yield _named(_dotenv(folder), "PREFECT_API_URL")
    yield _toml(folder / "prefect.toml", "api", "url")
    yield _toml(folder / "pyproject.toml", "tool", "prefect", "api", "url")
    profiles = profiles_path(environment, folder)
    active = environment.get("PREFECT_PROFILE") or _toml(profiles, "active")
    # A profile that its file does not have counts as Prefect's default: no API.
    yield _toml(profiles, "profiles", active, "PREFECT_API_URL") if active else None


def require_configured(problem: str, instead: str) -> None:
    """Raises PlanError where no Prefect API is set, and a server of our own would not do."""
    if configured_api() is None:
        raise PlanError(f"{problem}{unknown_profile()}{instead}")


def unknown_profile(environment: Mapping[str, str] = os.environ, folder: Path = Path()) -> str:
    """Said where no API is found and the environment names a profile that is not there; else nothing."""
    named, path = environment.get("PREFECT_PROFILE"), profiles_path(environment, folder)
    if not named or any(_at(place, "profiles", named) is not None for place in (path, _profiles_of_prefect())):
        return ""
    return f", for PREFECT_PROFILE names {named!r}, which is not in {path}"


def profiles_path(environment: Mapping[str, str] = os.environ, folder: Path = Path()) -> Path:
    """Where Prefect looks for profiles."""
    named = (
        environment.get("PREFECT_PROFILES_PATH")
        or _dotenv(folder).get("PREFECT_PROFILES_PATH")
        or _toml(folder / "prefect.toml", "profiles_path")
        or _toml(folder / "pyproject.toml", "tool", "prefect", "profiles_path")
    )
    if named:
        return folder / named
    if home := environment.get("PREFECT_HOME"):
        return folder / home / "profiles.toml"
    own = Path.home() / ".prefect" / "profiles.toml"
    return own if own.exists() else _profiles_of_prefect()


def _profiles_of_prefect() -> Path:
    """The profiles that Prefect brings along; found, not imported."""
    found = find_spec("prefect")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "settings" / "profiles.toml"


def _toml(path: Path, *keys: str) -> str | None:
    found = _at(path, *keys)
    return found if isinstance(found, str) else None


def _at(path: Path, *keys: str) -> Any:
    """What stands there in a TOML file, if anything does."""
    if not path.is_file():
        return None
    with _readable(path):
        found: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _dotenv(folder: Path) -> Mapping[str, str | None]:
    path = folder / ".env"
    if not path.is_file():
        return {}
    with _readable(path):
        return dotenv_values(path, encoding="utf-8")


def _named(variables: Mapping[str, str | None], name: str) -> str | None:
    """A variable's value, whatever the case of its name; the last of several."""
    return {key.upper(): value for key, value in variables.items()}.get(name)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise PlanError(f"{path} can't be read: {error}") from error


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
