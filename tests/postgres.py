"""A PostgreSQL server of the tests' own: a throw-away folder, loopback only, a free port, no password."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest

WHY_NOT = "PostgreSQL is not installed: apt-get update && apt-get install -y postgresql"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "timezone": "Asia/Kathmandu",  # nobody's: a time that comes back in it was not turned back to UTC
    "log_min_messages": "log",
}
_number = count()


def binaries() -> Path | None:
    """The folder of the newest PostgreSQL of this machine, as Debian installs it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    return found[-1].parent if found else None


@contextmanager
def serving() -> Iterator[str]:
    """A running server; yields the URL of its first database. Skips the tests that need it where there is none."""
    programs = binaries()
    if programs is None:
        pytest.skip(WHY_NOT)
    folder = Path(tempfile.mkdtemp(prefix="fieval-postgres-"))
    port = _free_port()
    try:
        if account := _account():
            shutil.chown(folder, account, account)
        _initialise(programs, folder)
        with _started(programs, folder, port):
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder)


def fresh_database(server: str) -> str:
    """The URL of a new, empty database on the server."""
    name = f"test_{next(_number)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{server.rpartition('/')[0]}/{name}"


def _initialise(programs: Path, folder: Path) -> None:
    options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    command = [str(programs / "initdb"), "-D", str(folder), *options]
    made = subprocess.run(command, user=_account(), cwd="/", capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


@contextmanager
def _started(programs: Path, folder: Path, port: int) -> Iterator[None]:
    settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
    command = [str(programs / "postgres"), "-D", str(folder), "-p", str(port), *settings]
    with subprocess.Popen(command, user=_account(), cwd="/", stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            said: list[str] = []
            while not (said and "ready to accept connections" in said[-1]):
                said.append(process.stderr.readline())
                assert said[-1], "".join(said)
            yield
        finally:
            os.kill(process.pid, signal.SIGQUIT)  # at once: nothing of it is kept


def _account() -> str | None:
    """PostgreSQL refuses to run as root: then its own account runs it."""
    return pwd.getpwnam("postgres").pw_name if os.geteuid() == 0 else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
