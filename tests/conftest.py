"""What every test has: no keys of the user's, no Prefect of the user's, and an empty folder to work in."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.sqlite_dialect import share_compiled_statements

if TYPE_CHECKING:
    from fieval_tasks.ledger.store import Ledger

PATIENCE = 300.0
"""Seconds after which a test gives up what it waits for: it is never reached where all is well, however busy the machine."""

# No test asserts on a stopwatch, and the gate draws the same examples each time: a new find there would blame a change
# that has nothing to do with it.
settings.register_profile(
    "house",
    max_examples=25,  # and not 100: which the gate draws does not change, and more of them find nothing new there
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
    phases=set(Phase) - {Phase.explain},  # it can take longer than all the tests together
)
settings.register_profile("brief", settings.get_profile("house"), max_examples=10)  # for other Pythons
settings.register_profile("thorough", settings.get_profile("house"), max_examples=500, derandomize=False)  # to search
settings.load_profile("house")

share_compiled_statements()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would all that it starts: Prefect's workers end by nothing else.
    signal.signal(signal.SIGINT, signal.default_int_handler)

for name in [n for n in os.environ if n.startswith(("FI_", "FIEVAL_STORE", "PREFECT_", "GITHUB_"))]:
    del os.environ[name]  # before anything imports Prefect, which reads its settings once


SLOW = (
    "deployments/test_stock_server.py",
    "flows/test_fan_out.py",
    "flows/test_command.py",
    "faults/",
    "flows/",
    "deployments/",
    "terminal/test_door.py",
    "on_prefect/test_blocks.py",
    "on_prefect/test_prefect_server.py",
    "security/test_keys.py",
    "security/test_hostile_command.py",
    "local/test_local_limits.py",
    "local/test_local_server.py",
    "local/test_local_jobs.py",
    "work/test_engine.py",
    "runs/test_early_end.py",
    "runs/test_dataframe.py",
    "work/test_shares.py",
    "sinks/test_runs.py",
    "terminal/test_script.py",
)
"""The tests of commands, servers and whole runs, the longest first, so that none is left to run alone at the end."""
SERVERS = {"prefect_home", "prefect_api", "evaluator", "postgres_server", "own_postgres_server", "browser"}
"""Fixtures by which a test in any other file is as slow."""
TESTS = Path(__file__).parent
GZIP = b"\x1f\x8b"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out the tests of commands, servers and whole runs")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What is slow as a whole isn't read: it is a third of all the tests' code, and imports Prefect."""
    is_left_out = (
        config.getoption("--quick") and collection_path.suffix == ".py" and _place(collection_path) < len(SLOW)
    )
    return True if is_left_out else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (_place(item.path), -_size(item.path)))
    if config.getoption("--quick"):
        config.hook.pytest_deselected(items=[item for item in items if _is_slow(item)])
        items[:] = [item for item in items if not _is_slow(item)]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The tests themselves stay to the end: no search for garbage goes through thousands of them."""
    gc.disable()
    collected = yield
    gc.freeze()
    gc.enable()
    return collected


def _is_slow(item: pytest.Item) -> bool:
    used = getattr(item, "fixturenames", ())
    return _place(item.path) < len(SLOW) or "postgresql" in item.name or not SERVERS.isdisjoint(used)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Every process that runs tests must know them by one name, and packed bytes hold the time of packing."""
    return "gzipped" if isinstance(val, bytes) and val.startswith(GZIP) else None


@cache
def _place(path: Path) -> int:
    """Where among the slow ones its tests are; behind them all if they are quick."""
    name = path.relative_to(TESTS).as_posix()
    return next((place for place, beginning in enumerate(SLOW) if name.startswith(beginning)), len(SLOW))


@cache
def _size(path: Path) -> int:
    """Of a file of tests: among the quick ones, that is how long they take, more or less. The small ones fill the end."""
    return path.stat().st_size


@pytest.fixture(scope="session")
def begun_prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Prefect home to copy, whose database has its tables: a server takes longer to make them than all else it does.

    One serves all processes that run tests.
    """
    from fieval_tasks.on_prefect.prefect_server import OwnServer

    mine = tmp_path_factory.getbasetemp()
    shared = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine
    home = shared / "begun-prefect-home"
    with (shared / "begun-prefect-home.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
        if not home.exists():
            making = tmp_path_factory.mktemp("prefect")
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("PREFECT_HOME", str(making))
                with OwnServer() as server:
                    server.wait_until_ready()
            making.rename(home)
    return home


@pytest.fixture(scope="session")
def prefect_home(begun_prefect_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Prefect home of this session's own, for every process the tests start."""
    home = tmp_path_factory.mktemp("prefect-home")
    shutil.copytree(begun_prefect_home, home, dirs_exist_ok=True)
    os.environ["PREFECT_HOME"] = str(home)
    yield home
    del os.environ["PREFECT_HOME"]


@pytest.fixture(scope="session")
def prefect_api(prefect_home: Path) -> Iterator[str]:
    """One Prefect server for the session: the one that the command starts, kept running."""
    from fieval_tasks.on_prefect.prefect_server import OwnServer

    with OwnServer() as server:
        server.wait_until_ready()
        os.environ["PREFECT_API_URL"] = server.api_url
        yield server.api_url
        _send_what_is_queued()
        del os.environ["PREFECT_API_URL"]


def _send_what_is_queued() -> None:
    if "prefect" in sys.modules:
        from fieval_tasks.on_prefect.laptop import send_what_is_queued

        send_what_is_queued()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of the first database of a PostgreSQL server of this session's own."""
    from tests import postgres

    with postgres.serving() as url:
        yield url


@pytest.fixture(scope="session")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluator]:
    """The embedded evaluator as a server of its own, whose evaluations take a moment."""
    database = tmp_path_factory.mktemp("evaluator") / "jobs.db"
    keys = {"FI_API_KEY": "test-api-key-7c1e", "FI_SECRET_KEY": "test-secret-key-93bd"}
    command = [sys.executable, "-m", "fieval_tasks.local", "--port", "0", "--database", str(database), "--delay", "0.3"]
    process = subprocess.Popen(command, env=os.environ | keys, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]
    yield Evaluator(keys | {"FI_BASE_URL": url}, database)
    process.terminate()
    process.communicate(timeout=PATIENCE)


@dataclass(frozen=True)
class Evaluator:
    """A running evaluation server."""

    environment: dict[str, str]
    """What points a command at it."""
    database: Path

    def submissions(self, marker: str) -> list[str]:
        """The inputs of every submission it ever took that contain `marker`."""
        with closing(sqlite3.connect(self.database)) as connection:
            rows = connection.execute("SELECT inputs FROM evaluations WHERE instr(inputs, ?)", (marker,))
            return [inputs for (inputs,) in rows]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty one in the test's own folder."""
    from fieval_tasks.ledger.store import Ledger

    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened
