"""Whatever stands before a Prefect API, and whatever is wrong with it: Prefect's own settings count, and the cause is named."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fieval_tasks.core.errors import PlanError, RunStopped
from fieval_tasks.on_prefect.prefect_api import require_api
from fieval_tasks.on_prefect.times import TIMES, PrefectTimes
from tests.contract.test_client_tls import new_authority

HERE = "http://127.0.0.1:9/api"
LOGIN = "admin:geheim-77"
HEADERS = {"X-House": "yes"}
PREFECT: dict[str, Any] = {"/api/hello": "👋", "/api/admin/version": "3.8.8"}


@pytest.fixture(autouse=True)
def nothing_of_the_users(prefect_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)


@contextmanager
def served(
    pages: Mapping[str, Any] = PREFECT,
    *,
    status: int = 404,
    headers: Mapping[str, str] | None = None,
    wanted: Mapping[str, str] | None = None,
    refusal: int = 403,
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """A server with these pages, as JSON where they are no text in HTML; the address of its host.

    `status` and `headers`: of the answer where it has none. `refusal`: where one of the headers that are `wanted` is missing.
    """

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            if any(self.headers.get(name) != value for name, value in (wanted or {}).items()):
                return self.answer(refusal, "<html>no</html>")
            self.answer(200 if page is not None else status, page)

        def answer(self, code: int, page: Any) -> None:
            is_page = isinstance(page, str) and page.startswith("<")
            self.send_response(code)
            for name, value in (headers or {}).items() if code == status else ():
                self.send_header(name, value)
            self.send_header("content-type", "text/html" if is_page else "application/json")
            self.end_headers()
            self.wfile.write((page if is_page else json.dumps(page)).encode())

        def log_message(self, *_: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that hangs up at a certificate is what is tested."""

    with Server(("127.0.0.1", 0), Page) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def refusal(url: str, times: PrefectTimes = TIMES, **said: Any) -> str | None:
    """Why an API of that address is refused, by Prefect's settings of these names; None: it is not."""
    from prefect import settings

    updates = {getattr(settings, f"PREFECT_{name}"): value for name, value in ({"API_URL": url} | said).items()}
    with settings.temporary_settings(updates=updates):
        try:
            require_api(times)
        except RunStopped as error:
            told = str(error)
        else:
            return None
    head = f"the Prefect API at {url.replace(LOGIN, '[secret]')} can't be used, so nothing was sent: "
    assert told.startswith(head)
    return told.removeprefix(head)


# -- what stands before it -----------------------------------------------------------------------------------------------


def test_behind_tls_of_a_private_ca_it_is_believed_as_prefect_is_set_to(tmp_path: Path) -> None:
    authority = new_authority(tmp_path)
    with served(tls=authority.server) as host:
        told = str(refusal(f"{host}/api"))
        assert told.startswith("its certificate is not trusted (")
        assert "name the file of the CA that it is from in PREFECT_API_SSL_CERT_FILE" in told
        assert refusal(f"{host}/api", API_SSL_CERT_FILE=str(authority.file)) is None
        assert refusal(f"{host}/api", API_TLS_INSECURE_SKIP_VERIFY=True) is None
        other = str(refusal(f"{host}/api".replace("127.0.0.1", "localhost"), API_SSL_CERT_FILE=str(authority.file)))
        assert "name the host in PREFECT_API_URL as the certificate does" in other
        file = tmp_path / "nowhere.pem"
        assert f"PREFECT_API_SSL_CERT_FILE names, {file}, can't be read" in str(
            refusal(f"{host}/api", API_SSL_CERT_FILE=str(file))
        )
        assert "write https://" in str(refusal(f"{host}/api".replace("https", "http")))


def test_a_certificate_that_has_expired_is_no_matter_of_a_ca(tmp_path: Path) -> None:
    authority = new_authority(tmp_path, days=-1)
    with served(tls=authority.server) as host:
        told = str(refusal(f"{host}/api", API_SSL_CERT_FILE=str(authority.file)))
    assert told == "its certificate is not trusted (certificate has expired): renew it"


def test_custom_headers_and_logins_are_sent_and_named_where_they_are_wanted() -> None:
    with served(wanted=HEADERS) as host:
        assert "PREFECT_CLIENT_CUSTOM_HEADERS" in str(refusal(f"{host}/api"))
        assert refusal(f"{host}/api", CLIENT_CUSTOM_HEADERS=HEADERS) is None
    basic = {"Authorization": f"Basic {b64encode(LOGIN.encode()).decode()}"}
    with served(wanted=basic, refusal=401) as host:
        told = str(refusal(f"{host}/api"))
        assert told.startswith("it answers 401 Unauthorized: no login is set for it; ")
        assert "wants PREFECT_API_AUTH_STRING" in told
        wrong = str(refusal(f"{host}/api", API_AUTH_STRING="admin:falsch-88"))
        assert "it does not take the PREFECT_API_AUTH_STRING that is set" in wrong
        assert "falsch" not in wrong
        assert refusal(f"{host}/api", API_AUTH_STRING=LOGIN) is None


# -- what is not it ------------------------------------------------------------------------------------------------------


def test_an_address_that_lacks_api_is_told_what_it_lacks() -> None:
    with served({**PREFECT, "/": "<html>the UI</html>"}) as host:
        for address in (host, f"{host}/"):
            assert refusal(address) == f"its address lacks /api: set PREFECT_API_URL={host}/api"
        assert refusal(f"{host}/api") is None


PAGE = "<!doctype html><html>Welcome</html>"


@pytest.mark.parametrize(
    ("pages", "status", "told"),
    [
        ({"/api/hello": PAGE}, 404, "/api/hello is an HTML page, perhaps of a login (200)"),
        ({"/api/hello": {"status": "ok"}}, 404, "/api/hello is nothing that is Prefect (200)"),
        ({}, 404, "/api/hello is nothing that is Prefect (404)"),
        ({}, 500, "it answers 500 Internal Server Error"),
        ({**PREFECT, "/api/admin/version": "2.20.1"}, 404, "client: 3.8.8, server: 2.20.1. Major versions must match"),
        ({**PREFECT, "/api/admin/version": "none"}, 404, "Invalid version: 'none'"),
        ({"/api/hello": "👋"}, 404, "/api/admin/version is nothing that is Prefect (404)"),
    ],
)
def test_what_answers_and_is_no_api_of_this_version_is_called_what_it_is(
    pages: Mapping[str, Any], status: int, told: str
) -> None:
    with served(pages, status=status) as host:
        assert told in str(refusal(f"{host}/api"))


def test_a_redirection_after_which_nothing_could_be_written_names_the_address_to_set() -> None:
    with (
        served() as there,
        served({}, status=302, headers={"location": f"{there}/api/hello"}) as host,
    ):
        assert f"set PREFECT_API_URL={there}/api" in str(refusal(f"{host}/api"))


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:4200/api", "ftp://127.0.0.1/api"])
def test_what_is_no_address_is_told_what_one_looks_like(address: str) -> None:
    assert str(refusal(address)).startswith("PREFECT_API_URL is no address such as http://127.0.0.1:4200/api")


def test_where_nobody_listens_or_tls_is_not_spoken_it_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://{LOGIN}@127.0.0.1:{taken.getsockname()[1]}/api"
        told = str(refusal(address))
    assert told.startswith("it does not answer (")
    assert "start it, or change PREFECT_API_URL (or the profile that sets it)" in told
    with served() as host:
        assert "write http:// in PREFECT_API_URL" in str(refusal(f"{host}/api".replace("http", "https")))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "it does not answer within 0 s" in str(
            refusal(f"http://127.0.0.1:{silent.getsockname()[1]}/api", PrefectTimes(answers_within=0.05))
        )


# -- what Prefect itself refuses, and the whole way ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"PREFECT_API_REQUEST_TIMEOUT": "soon", "PREFECT_API_URL": HERE}, "request_timeout: write a number"),
        ({"PREFECT_CLIENT_CUSTOM_HEADERS": "no json", "PREFECT_API_URL": HERE}, "custom_headers"),
        (
            {"PREFECT_HOME": "/dev/null/x", "PREFECT_API_URL": ""},
            "set PREFECT_HOME, now /dev/null/x, to a folder that can",
        ),
    ],
)
def test_a_setting_that_can_not_be_is_a_sentence_that_names_it(
    said: Mapping[str, str], told: str, tmp_path: Path
) -> None:
    done = evaluated(tmp_path, **said)
    assert done.returncode in (PlanError.exit_code, RunStopped.exit_code)
    assert told in done.stderr.splitlines()[-1]
    assert "unexpected" not in done.stderr
    assert "Warning" not in done.stderr


def test_a_run_behind_tls_and_a_proxy_that_wants_headers_goes_all_the_way(
    tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = new_authority(tmp_path)
    with forwarded(prefect_api, tls=authority.server, wanted=b"x-house: yes") as (host, turned_away):
        done = evaluated(
            tmp_path,
            PREFECT_API_URL=f"{host}/api",
            PREFECT_API_SSL_CERT_FILE=str(authority.file),
            PREFECT_CLIENT_CUSTOM_HEADERS=json.dumps(HEADERS),
        )
    assert (done.returncode, turned_away) == (0, []), done.stderr


def evaluated(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.evaluate", "--limit", "1"],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | variables,
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@contextmanager
def forwarded(api: str, *, tls: ssl.SSLContext, wanted: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """An address with TLS that leads to the API, events' sockets included, and whom it has turned away: those
    whose connection does not begin with a header that is wanted."""
    turned_away: list[bytes] = []
    port = int(api.removesuffix("/api").rpartition(":")[2])

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def lead(client: socket.socket) -> None:
        with suppress(OSError), tls.wrap_socket(client, server_side=True) as inside:
            head = b""
            while b"\r\n\r\n" not in head and (data := inside.recv(65536)):
                head += data
            if wanted not in head.lower():
                turned_away.append(head)
                return
            with socket.create_connection(("127.0.0.1", port)) as onward:
                onward.sendall(head)
                threading.Thread(target=pump, args=(onward, inside), daemon=True).start()
                pump(inside, onward)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=lead, args=(listening.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}", turned_away
        listening.shutdown(socket.SHUT_RDWR)
