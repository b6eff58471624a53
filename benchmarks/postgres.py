"""A PostgreSQL server of one's own, for benchmarks and tests: a throw-away folder, loopback only, a free port, no password."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from fieval_tasks.on_prefect.prefect_server import free_port


class NotInstalled(Exception):
    """PostgreSQL is not installed: apt-get update && apt-get install -y postgresql"""


SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "wal_writer_delay": "10s",  # what was not waited for is lost with the server
    "full_page_writes": "off",
    "timezone": "Asia/Kathmandu",  # nobody's: a time that comes back in it was not turned back to UTC
    "log_min_messages": "log",
}
_number = count()


def binaries() -> Path | None:
    """The folder of the newest PostgreSQL of this machine, as Debian installs it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    return found[-1].parent if found else None


class Server:
    """A server that can be stopped and started again; its data stays until it is removed."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="fieval-postgres-"))
        self._port = free_port()
        self._process: subprocess.Popen[str] | None = None
        self.url = f"postgresql://postgres@127.0.0.1:{self._port}/postgres"
        if account := _account():
            shutil.chown(self._folder, account, account)
        _initialise(programs, self._folder)

    def start(self) -> None:
        """Returns when it takes connections."""
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        command = [str(self._programs / "postgres"), "-D", str(self._folder), "-p", str(self._port), *settings]
        self._process = subprocess.Popen(command, user=_account(), cwd="/", stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said: list[str] = []
        while not (said and "ready to accept connections" in said[-1]):
            said.append(self._process.stderr.readline())
            assert said[-1], "".join(said)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Every connection is cut; what was committed is there again after `start`."""
        if self._process is not None:
            os.kill(self._process.pid, how)
            self._process.communicate()
            self._process = None

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)  # at once: nothing of it is kept
        shutil.rmtree(self._folder)


@contextmanager
def server() -> Iterator[Server]:
    """A running server. Raises NotInstalled where Debian's package is missing."""
    programs = binaries()
    if programs is None:
        raise NotInstalled(NotInstalled.__doc__)
    one = Server(programs)
    try:
        one.start()
        yield one
    finally:
        one.remove()


def cut_connections(url: str) -> None:
    """End every other connection to the database."""
    import psycopg

    others = "datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}".encode())


def fresh_database(server: str) -> str:
    """The URL of a new, empty database on the server."""
    import psycopg

    name = f"test_{next(_number)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{server.rpartition('/')[0]}/{name}"


def _initialise(programs: Path, folder: Path) -> None:
    options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    command = [str(programs / "initdb"), "-D", str(folder), *options]
    made = subprocess.run(command, user=_account(), cwd="/", capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


def _account() -> str | None:
    """PostgreSQL refuses to run as root: then its own account runs it."""
    return pwd.getpwnam("postgres").pw_name if os.geteuid() == 0 else None
