"""A proxy that refuses says the credentials back: they are in nothing that the command writes or says."""

from __future__ import annotations

import json
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import Evaluator
from tests.security.test_keys import Story, forms, told

USER, PASSWORD = "zu-who", "zp/kn@ws+93bd7c1e"
WRITTEN = "zp%2Fkn%40ws+93bd7c1e"
ECHO = (
    f"Basic {b64encode(f'{USER}:{PASSWORD}'.encode()).decode()} {USER}:{PASSWORD} http://{USER}:{WRITTEN}@proxy.test/"
)
SECRETS = (PASSWORD, WRITTEN)


class Refusing(BaseHTTPRequestHandler):
    """Refuses CONNECT and every POST with what it was sent; passes the rest on to the evaluator."""

    def do_CONNECT(self) -> None:
        self._refuse(407)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._refuse(500)

    def do_GET(self) -> None:
        assert isinstance(self.server, Proxy)
        keys = {name: self.headers[name] for name in ("X-Api-Key", "X-Secret-Key")}
        path = self.path.partition("platform.test")[2]
        with urllib.request.urlopen(urllib.request.Request(self.server.onward + path, headers=keys)) as reply:
            self._say(200, reply.read())

    def _refuse(self, status: int) -> None:
        assert self.headers["Proxy-Authorization"] is not None
        self.server.seen.add(self.command)  # type: ignore[attr-defined]
        told = f"{ECHO} {self.headers['Proxy-Authorization']}"
        self._say(status, json.dumps({"detail": told, "errors": {told: [told]}}).encode(), reason=ECHO)

    def _say(self, status: int, body: bytes, *, reason: str = "So") -> None:
        self.send_response(status, reason)
        self.send_header("X-Request-Id", ECHO)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Standard error is for the tests."""


class Proxy(ThreadingHTTPServer):
    onward = ""
    seen: set[str]


@contextmanager
def proxy(onward: str) -> Iterator[Proxy]:
    with Proxy(("127.0.0.1", 0), Refusing) as server:
        server.onward, server.seen = onward, set()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("proxy")
    rows = ({"id": str(i), "question": f"What is {i}?", "answer": f"It is {i}."} for i in range(3))
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


@pytest.fixture(scope="module")
def stories(place: Path, evaluator: Evaluator, prefect_api: str) -> dict[str, Story]:
    """A run that gets no connection, and one whose submissions a proxy refuses."""
    with proxy(evaluator.environment["FI_BASE_URL"]) as server:
        there = f"http://{USER}:{WRITTEN}@127.0.0.1:{server.server_port}"
        commands = {
            scheme: (
                ("rows.jsonl", "--template", "completeness", "--run", scheme),
                {
                    **evaluator.environment, f"{scheme}_proxy": there, "no_proxy": "127.0.0.1",
                    "FI_BASE_URL": f"{scheme}://platform.test",
                },
            )
            for scheme in ("https", "http")
        }  # fmt: skip
        stories = dict(zip(commands, told(place, *commands.values()), strict=True))
        assert server.seen == {"CONNECT", "POST"}
    return stories


def test_a_refused_connect_stops_the_run_before_anything_is_sent(stories: dict[str, Story]) -> None:
    assert stories["https"].code == 4, stories["https"].told[-2000:]
    assert "that https_proxy names" in stories["https"].told
    assert "wants a login" in stories["https"].told


def test_what_a_proxy_refuses_is_in_the_report(stories: dict[str, Story], place: Path) -> None:
    results = (place / "fieval-runs" / "http" / "results.jsonl").read_text()
    assert "[secret]" in results, stories["http"].told[-2000:]


def test_the_password_is_in_no_file_and_no_output(stories: dict[str, Story], place: Path, prefect_home: Path) -> None:
    files = [path for root in (place, prefect_home) for path in root.rglob("*") if path.is_file()]
    written = {str(path): path.read_bytes() for path in files}
    written |= {f"what {name} said": story.told.encode() for name, story in stories.items()}
    assert {"report.html", "ledger.db", "prefect.db"} <= {path.name for path in files}
    for secret in SECRETS:
        for form in forms(secret):
            assert [name for name, content in written.items() if form in content] == [], form
