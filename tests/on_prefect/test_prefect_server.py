"""Which Prefect API a run talks to, as Prefect itself would find it, and the life of a server of our own."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieval_tasks.core.errors import RunStopped
from fieval_tasks.on_prefect import prefect_server
from fieval_tasks.on_prefect.prefect_api import configured_api, may_be_set
from fieval_tasks.on_prefect.prefect_server import OwnServer, is_healthy
from fieval_tasks.on_prefect.times import PrefectTimes
from tests.conftest import PATIENCE

HERE = "http://here.test/api"
THERE = "http://there.test/api"


# Where the API is configured


@dataclass(frozen=True)
class Place:
    """One thing that a user can set: variables of the environment, or a file."""

    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Path -> content; ~ is the user's home, anything else is in the working folder."""


def profiles(active: str | None, **urls: str | None) -> str:
    lines = [f'active = "{active}"'] if active else []
    for name, url in urls.items():
        lines += [f"[profiles.{name}]", f'PREFECT_API_URL = "{url}"' if url is not None else 'PREFECT_HOME = "x"']
    return "\n".join(lines)


class Desk:
    """A home and a working folder, laid out anew for each question."""

    def __init__(self, root: Path) -> None:
        self.home, self.folder = root / "home", root / "folder"
        self.home.mkdir()
        self.folder.mkdir()

    def lay_out(self, *places: Place) -> dict[str, str]:
        """Write the files; the environment."""
        for found in (*self.home.iterdir(), *self.folder.iterdir()):
            shutil.rmtree(found) if found.is_dir() else found.unlink()
        environment = {"HOME": str(self.home)}
        for place in places:
            environment |= {name: self.whole(value) for name, value in place.environment.items()}
            for name, content in place.files.items():
                path = Path(self.whole(name))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self.whole(content), encoding="utf-8")
        return environment

    def whole(self, text: str) -> str:
        return text.replace("~", str(self.home)) if text.startswith("~") else text


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk(tmp_path)
    monkeypatch.setenv("HOME", str(desk.home))
    monkeypatch.chdir(desk.folder)
    return desk


def test_a_variable_names_the_api_and_an_empty_one_names_none(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.lay_out(Place(files={"~/.prefect/profiles.toml": profiles("mine", mine=THERE)}))
    for value, found in ((HERE, HERE), ("", None)):
        monkeypatch.setenv("PREFECT_API_URL", value)
        assert configured_api() == found


def test_where_nothing_may_name_an_api_prefect_is_not_imported_and_elsewhere_it_is_asked(desk: Desk) -> None:
    program = (
        "import sys\n"
        "from fieval_tasks.on_prefect.prefect_api import configured_api\n"
        "print(configured_api(), 'prefect' in sys.modules)"
    )
    at_home = Place(files={"~/.prefect/profiles.toml": profiles("mine", mine=THERE)})
    keys = Place(files={".env": "FI_API_KEY=x"})
    for places, said in (((), "None False"), ((keys,), "None False"), ((at_home,), f"{THERE} True")):
        environment = {**desk.lay_out(*places), "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, cwd=desk.folder, capture_output=True, text=True
        )
        assert done.stdout.strip() == said, done.stderr


ORACLE = """
import json, logging, os, sys
from prefect.settings import Settings, sources
logging.disable()
for line in sys.stdin:
    folder, environment = json.loads(line)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sources._file_cache.clear()
    print(json.dumps(Settings().api.url), flush=True)
"""
Oracle = Callable[[Path, Mapping[str, str]], "str | None"]


@pytest.fixture
def prefect_itself(desk: Desk) -> Iterator[Oracle]:
    """The API that Prefect's own settings come to, asked in a process that has nothing of the user's."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(desk.home)}
    process = subprocess.Popen(
        [sys.executable, "-c", ORACLE],
        env=environment, cwd=desk.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip

    def ask(folder: Path, environment: Mapping[str, str]) -> str | None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([str(folder), dict(environment)]) + "\n")
        process.stdin.flush()
        url: str | None = json.loads(process.stdout.readline())
        return url

    yield ask
    process.communicate()


urls = st.sampled_from([HERE, THERE, ""])
profile_names = st.sampled_from(["mine", "other", "local", "ephemeral", "unknown"])
profile_files = st.builds(
    lambda active, urls: profiles(active, **urls),
    st.none() | profile_names,
    st.dictionaries(st.sampled_from(["mine", "other", "ephemeral"]), st.none() | urls),
)
profile_paths = st.sampled_from(["~/moved.toml", "moved.toml", "nowhere.toml"])
dotenv_lines = st.one_of(
    urls.map("PREFECT_API_URL={}".format),
    urls.map("export prefect_api_url = '{}'  # ours".format),
    profile_paths.filter(lambda path: path[0] != "~").map("PREFECT_PROFILES_PATH={}".format),
    st.sampled_from(["", "# PREFECT_API_URL=http://commented/api", "PREFECT_API_URL", "OTHER=1"]),
)
toml_lines = st.one_of(
    urls.map("[@api]\nurl = '{}'".format),
    st.just("[@]\nprofiles_path = 'moved.toml'"),
    st.just("[@server]\nurl = 'http://no/api'"),
)
layouts = st.lists(
    st.one_of(
        urls.map(lambda url: Place({"PREFECT_API_URL": url})),
        profile_names.map(lambda name: Place({"PREFECT_PROFILE": name})),
        profile_paths.map(lambda path: Place({"PREFECT_PROFILES_PATH": path})),
        st.sampled_from(["~/elsewhere", ""]).map(lambda path: Place({"PREFECT_HOME": path})),
        st.just(Place({"PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true"})),
        st.lists(dotenv_lines, max_size=3).map(lambda lines: Place(files={".env": "\n".join(lines)})),
        toml_lines.map(lambda line: Place(files={"prefect.toml": line.replace("[@]", "").replace("@", "")})),
        toml_lines.map(
            lambda line: Place(
                files={"pyproject.toml": line.replace("@]", "tool.prefect]").replace("@", "tool.prefect.")}
            )
        ),
        st.tuples(
            st.sampled_from(["~/.prefect/profiles.toml", "~/elsewhere/profiles.toml", "~/moved.toml", "moved.toml"]),
            profile_files,
        ).map(lambda named: Place(files=dict([named]))),
    ),
    max_size=6,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layouts)
def test_where_we_look_for_no_api_prefect_itself_finds_none(
    desk: Desk, prefect_itself: Oracle, places: list[Place]
) -> None:
    environment = desk.lay_out(*places)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HOME", environment["HOME"])
        assert may_be_set(environment, desk.folder) or prefect_itself(desk.folder, environment) is None


# Health


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that answers everything so."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body if self.path == "/api/health" else b"")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "is_api"),
    [
        (200, b"true", True),
        (200, b"false", False),
        (200, b"<html>welcome</html>", False),
        (200, b'{"status": "ok"}', False),
        (200, b"\xff\xfe", False),
        (404, b"true", False),
        (500, b"true", False),
        (401, b'{"exception_message": "Unauthorized"}', True),
        (403, b"", True),
    ],
)
def test_only_what_prefect_would_answer_counts_as_its_api(status: int, body: bytes, is_api: bool) -> None:
    with answering(status, body) as url:
        assert is_healthy(url) is is_api
        assert is_healthy(f"{url}/") is is_api


def test_a_port_where_nobody_listens_is_not_healthy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert not is_healthy(f"http://127.0.0.1:{taken.getsockname()[1]}/api")


def test_a_server_that_does_not_answer_in_time_is_not_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not is_healthy(f"http://127.0.0.1:{silent.getsockname()[1]}/api", timeout=0.05)


def test_a_server_of_another_kind_is_not_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1000)
                client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        assert not is_healthy(f"http://127.0.0.1:{server.getsockname()[1]}/api")
        thread.join()


@pytest.mark.parametrize("url", ["", "nonsense", "http://", "http://a b/api", "file:///etc", "http://[::1/api"])
def test_what_is_no_url_is_not_healthy(url: str) -> None:
    assert not is_healthy(url)


# A server of our own


@pytest.fixture
def instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., OwnServer]:
    """An OwnServer that runs this Python program, with the port as its last argument, instead of Prefect's server."""

    def make(program: str, **times: float) -> OwnServer:
        (tmp_path / "program.py").write_text(program)
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\nexec "{real}" "{tmp_path / "program.py"}" "$@"\n')
        python.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(python))
        return OwnServer(PrefectTimes(**times))  # type: ignore[arg-type]

    real = sys.executable
    return make


HEALTHY = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"true")
HTTPServer(("127.0.0.1", int(sys.argv[-1])), Healthy).serve_forever()
"""


def test_a_server_that_does_not_come_up_says_why_in_its_last_line(instead: Callable[..., OwnServer]) -> None:
    own = instead("import sys; sys.exit('Traceback:\\n  something\\nValueError: the database is from the future')")
    with own, pytest.raises(RunStopped, match=r"did not start: ValueError: the database is from the future$"):
        own.wait_until_ready()


def test_a_server_that_ends_without_a_word_is_told_by_its_exit_status(instead: Callable[..., OwnServer]) -> None:
    with instead("raise SystemExit(7)") as own, pytest.raises(RunStopped, match=r"did not start: exit status 7$"):
        own.wait_until_ready()


def test_a_talkative_server_is_not_held_up(instead: Callable[..., OwnServer]) -> None:
    own = instead("import sys; sys.stderr.write('warning\\n' * 200_000); sys.exit('the last word')")
    with own, pytest.raises(RunStopped, match=r"did not start: the last word$"):
        own.wait_until_ready()


@pytest.mark.parametrize("direct", ["", "intranet.test", "intranet.test,127.0.0.1", "*"])
def test_our_own_server_is_asked_directly_whatever_proxy_is_set(
    instead: Callable[..., OwnServer], monkeypatch: pytest.MonkeyPatch, direct: str
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, direct)
    with instead(HEALTHY) as own:
        own.wait_until_ready()
        hosts = os.environ["no_proxy"].split(",")
        assert os.environ["NO_PROXY"] == os.environ["no_proxy"]
        assert hosts == ["*"] if direct == "*" else hosts.count("127.0.0.1") == 1 and direct in os.environ["no_proxy"]
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == direct, "as it was"


def test_a_server_that_never_answers_is_given_up_and_ended(instead: Callable[..., OwnServer]) -> None:
    with instead("import sys; sys.stdin.read()", server_starts_within=0.0) as own:
        with pytest.raises(RunStopped, match="was not up within 0 s"):
            own.wait_until_ready()
        ended = ends(pid_of(own))
    assert ended()


def test_a_server_that_will_not_end_is_killed(instead: Callable[..., OwnServer], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "deaf")
    with instead(
        "import signal, threading\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"open({str(tmp_path / 'deaf')!r}, 'w').close()\n"
        "threading.Event().wait()",
        server_ends_within=0.05,
    ) as own:
        (tmp_path / "deaf").read_text()
        ended = ends(pid_of(own))
    assert ended()


def test_a_server_without_its_parent_ends_in_order_or_else_at_once() -> None:
    program = (
        "import signal, sys, threading\n"
        "from fieval_tasks.on_prefect import own_server\n"
        "from fieval_tasks.on_prefect.times import PrefectTimes\n"
        "if sys.argv[1] == 'deaf': signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "own_server.TIMES = PrefectTimes(server_ends_within=float(sys.argv[2]))\n"
        "own_server._end_with_parent()\n"
        "threading.Event().wait()"
    )
    for hearing, within, status in (("well", PATIENCE, -signal.SIGTERM), ("deaf", 0.05, 1)):
        process = subprocess.Popen([sys.executable, "-c", program, hearing, str(within)], stdin=subprocess.PIPE)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == status


PARENT = """
import threading
from fieval_tasks.on_prefect.prefect_server import OwnServer
with OwnServer() as server:
    server.wait_until_ready()
    print(server._process.pid, server.api_url, flush=True)
    threading.Event().wait()
"""


@pytest.fixture
def nothing_of_the_users(begun_prefect_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(begun_prefect_home, tmp_path / "prefect")
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("nothing_of_the_users")
def test_our_own_server_answers_until_its_context_ends() -> None:
    with OwnServer() as own:
        own.wait_until_ready()
        assert is_healthy(own.api_url)
        ended = ends(pid_of(own))
    assert ended()
    assert not is_healthy(own.api_url)


@pytest.mark.usefixtures("nothing_of_the_users")
def test_our_own_server_ends_by_itself_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, api_url = parent.stdout.readline().split()
        assert is_healthy(api_url)
        ended = ends(int(pid))
        parent.kill()
    assert ended()
    assert not is_healthy(api_url)


def pid_of(own: OwnServer) -> int:
    assert own._process is not None
    return own._process.pid


def ends(pid: int) -> Callable[[], bool]:
    """Whether that process, which is alive now, is over within ten seconds; it need not be a child of ours."""
    if not hasattr(os, "pidfd_open"):
        pytest.skip("this system can't wait for a process that is not a child")
    watched = os.pidfd_open(pid)

    def over() -> bool:
        try:
            return bool(select.select([watched], [], [], 10)[0])
        finally:
            os.close(watched)

    return over


def test_our_own_server_is_given_no_keys_of_the_platform_and_no_password_of_the_ledger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = {"FI_API_KEY": "a", "FI_SECRET_KEY": "b", "AWS_SECRET_ACCESS_KEY": "c", "FIEVAL_STORE_URL": "postgresql://x"}
    prefects = {"PREFECT_SERVER_API_AUTH_STRING": "x:y", "PATH": os.environ["PATH"]}
    for name, value in (mine | prefects).items():
        monkeypatch.setenv(name, value)
    given = prefect_server._environment()
    assert not mine.keys() & given.keys()
    assert prefects.items() <= given.items()
