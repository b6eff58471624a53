"""The embedded server's doors, tried over a real socket: who is let in, by what name, with how much."""

from __future__ import annotations

import hmac
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from fieval_tasks.local.application import LARGEST_BODY
from fieval_tasks.local.hosts import answers_to
from tests.conftest import PATIENCE
from tests.local.local_evaluator import GET_EVALS, KEYS, NEW_EVAL, ROOT, Server, in_process, serving

GOOD = {"eval_name": "is_json", "inputs": {"text": "[1]"}}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("--name", "Evaluator.Test") as server:
        yield server


@pytest.fixture
def browser(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.base_url, headers=KEYS) as client:
        yield client


def raw(server: Server, request: bytes, *, half_close: bool = True) -> bytes:
    """What the server says to these very bytes until it hangs up."""
    address = urlsplit(server.base_url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE) as connection:
        connection.sendall(request)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


# -- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *("evil.test", "evil.test:8300", "localhost.evil.test", "127.0.0.1.evil.test", "", "x]", "[evil.test]"),
        *("[::1]evil.com", "[::1]:80evil.com", "[::1].evil.com", "[::1", "::1", "[127.0.0.1]", "[]", "[::1%25eth0]"),
        *("localhost:80@evil.com", "localhost:", "localhost:x", "localhost:80:80", "localhost/", "localhost evil.com"),
        *("localhost,evil.com", "me@localhost", "127.1", "0x7f.0.0.1", "2130706433", "localhost.", "localhost:999999"),
    ],
)
def test_a_page_that_rebinds_its_name_is_refused_even_with_the_keys(browser: httpx.Client, host: str) -> None:
    reply = browser.get(GET_EVALS, headers={"Host": host})
    assert (reply.status_code, reply.json()["code"]) == (400, "unknown_host")


@pytest.mark.parametrize("path", ["/", NEW_EVAL, GET_EVALS.rstrip("/"), "/nowhere/"])
def test_a_foreign_name_is_refused_on_every_path(browser: httpx.Client, path: str) -> None:
    assert browser.post(path, json=GOOD, headers={"Host": "evil.test"}).json()["code"] == "unknown_host"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:8300", "192.0.2.7", "evaluator.test:9"]
)
def test_addresses_localhost_and_given_names_are_answered(browser: httpx.Client, host: str) -> None:
    assert browser.get(GET_EVALS, headers={"Host": host}).status_code == 200


def test_a_request_without_a_host_is_refused(server: Server) -> None:
    assert b"unknown_host" in raw(server, f"GET {GET_EVALS} HTTP/1.0\r\n\r\n".encode())


def test_names_are_compared_whole_and_whatever_their_case() -> None:
    assert answers_to(["NAS.local:80"], ["nas.LOCAL"])
    assert not answers_to(["x.nas.local"], ["nas.local"])
    assert not answers_to(["nas.local."], [])
    assert not answers_to(["localhost\n"], [])


def test_a_host_that_is_said_twice_is_none() -> None:
    assert not answers_to(["localhost", "localhost"], [])
    request = f"GET {GET_EVALS} HTTP/1.1\r\nHost: localhost\r\nHost: evil.test\r\nConnection: close\r\n\r\n"
    with serving(is_quiet=False) as server:
        assert raw(server, request.encode()).startswith(b"HTTP/1.1 400")


def test_no_other_site_is_ever_given_leave_to_ask(browser: httpx.Client) -> None:
    asked = {"Origin": "http://evil.test", "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "x-api-key,x-secret-key"
    for reply in (browser.options(NEW_EVAL, headers=asked), browser.get(GET_EVALS, headers=asked)):
        assert not [name for name in reply.headers if name.startswith("access-control-")]


# -- keys ----------------------------------------------------------------------------------------------------------

ALMOST = {
    "none": {},
    "one": {"X-Api-Key": KEYS["X-Api-Key"]},
    "the other": {"X-Secret-Key": KEYS["X-Secret-Key"]},
    "the first wrong": KEYS | {"X-Api-Key": "key-of-the-testz"},
    "the second wrong": KEYS | {"X-Secret-Key": "secret"},
    "swapped": dict(zip(KEYS, reversed(KEYS.values()), strict=True)),
    "longer": {name: f"{key}x" for name, key in KEYS.items()},
    "blank": dict.fromkeys(KEYS, ""),
}


@pytest.mark.parametrize("keys", ALMOST.values(), ids=ALMOST.keys())
def test_nothing_is_told_or_taken_without_both_keys(server: Server, keys: dict[str, str]) -> None:
    with httpx.Client(base_url=server.base_url, headers=keys) as client:
        replies = [client.get(GET_EVALS), client.post(NEW_EVAL, json=GOOD), client.get(NEW_EVAL), client.put(NEW_EVAL)]
    assert [reply.status_code for reply in replies] == [401] * 4
    assert not [reply for reply in replies for key in KEYS.values() if key in reply.text]


def test_bytes_that_are_no_text_are_only_wrong_keys(server: Server) -> None:
    request = f"GET {GET_EVALS} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Api-Key: ".encode()
    assert raw(server, request + b"\xff\xfe\r\nX-Secret-Key: \xe9\r\n\r\n").startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("keys", [ALMOST["the first wrong"], ALMOST["the second wrong"], KEYS])
async def test_both_keys_are_always_compared_and_in_constant_time(
    monkeypatch: pytest.MonkeyPatch, keys: dict[str, str]
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    plain = hmac.compare_digest

    def recorded(given: bytes, own: bytes) -> bool:
        compared.append((given, own))
        return plain(given, own)

    async with in_process() as client:
        monkeypatch.setattr(hmac, "compare_digest", recorded)
        await client.get(GET_EVALS, headers=keys)
    assert compared == [(keys[name].encode(), KEYS[name].encode()) for name in KEYS]


# -- connections -----------------------------------------------------------------------------------------------------


def test_the_server_s_connections_are_those_that_end() -> None:
    probe = (
        "import uvicorn; seen = []\n"
        "uvicorn.Config.__init__ = lambda self, app, **options: seen.append(options) or exit(options['http'].__name__)\n"
        "from fieval_tasks.local.__main__ import main; main(['--port', '0', '--generate-keys'])"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == "ServerConnection"


# -- size ----------------------------------------------------------------------------------------------------------


def test_a_body_too_large_is_refused_before_it_is_sent(server: Server) -> None:
    head = _post(f"Content-Length: {LARGEST_BODY + 1}")
    assert b" 413 " in raw(server, head, half_close=False).partition(b"\r\n")[0]


def test_a_stranger_s_body_is_not_read(server: Server) -> None:
    head = _post(f"Content-Length: {LARGEST_BODY}", keys={})
    assert b" 401 " in raw(server, head, half_close=False).partition(b"\r\n")[0]


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a":' * 100_000, "9" * 100_000, '{"inputs": NaN}', '"\\ud800"'])
def test_json_that_is_a_trap_is_an_ordinary_refusal(browser: httpx.Client, body: str) -> None:
    reply = browser.post(NEW_EVAL, content=body, headers={"Content-Type": "application/json"})
    assert (reply.status_code, reply.json()["status"]) == (400, False)


def _post(*headers: str, keys: dict[str, str] = KEYS) -> bytes:
    told = [f"{name}: {value}" for name, value in keys.items()]
    lines = [f"POST {NEW_EVAL} HTTP/1.1", "Host: localhost", "Connection: close", *told, *headers]
    return "\r\n".join([*lines, "Content-Type: application/json", "", ""]).encode()


# -- errors --------------------------------------------------------------------------------------------------------

ODD = (
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /%ff%00%0d%0a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    f"GET {NEW_EVAL}?eval_id=%00%ff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(),
    f"TRACE {NEW_EVAL} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(),
    f"GET {GET_EVALS} HTTP/1.1\r\nHost: localhost\r\nHost: evil.test\r\n\r\n".encode(),
    _post("Content-Length: -1") + b"{}",
    _post("Content-Length: 3", "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n",
    _post("Transfer-Encoding: chunked") + b"zz\r\n",
)


def test_odd_requests_get_no_traceback_and_the_next_caller_an_answer() -> None:
    with serving(is_quiet=False) as server:
        for request in ODD:
            told = raw(server, request).decode("latin-1")
            assert "Traceback" not in told
            assert ".py" not in told
            assert httpx.get(server.base_url + GET_EVALS, headers=KEYS).status_code == 200


async def test_a_fault_of_its_own_is_told_in_the_platform_s_sentence_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with in_process() as client:
        evaluator = client._transport.app.state.evaluator  # type: ignore[attr-defined]
        monkeypatch.setattr(evaluator, "submit", lambda _: 1 / 0)
        reply = await client.post(NEW_EVAL, json=GOOD | {"is_async": True})
    assert reply.status_code == 500
    assert "Zero" not in reply.text
    assert json.loads(reply.text)["detail"] == "Unable to run standalone evaluation. Please try again."


# -- addresses -----------------------------------------------------------------------------------------------------


def test_by_default_it_listens_on_loopback_only(server: Server) -> None:
    assert urlsplit(server.base_url).hostname == "127.0.0.1"


def test_an_address_that_others_can_reach_is_warned_of() -> None:
    with serving("--host", "0.0.0.0", "--allow-remote", is_quiet=False) as server:
        assert server.process.stderr is not None
        assert server.process.stderr.readline().startswith("warning: 0.0.0.0 can be reached from other machines")
