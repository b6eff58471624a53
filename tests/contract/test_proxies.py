"""A proxy that refuses or fails: nothing was sent, and its password is told to nobody."""

from __future__ import annotations

import asyncio
import logging
import traceback
from base64 import b64encode
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from fieval_tasks.api.client import Credentials, EvalClient
from fieval_tasks.core.errors import ApiError, PlanError, Unreachable
from fieval_tasks.on_prefect.prefect_server import free_port
from tests.contract.raw_server import (
    API_KEY,
    SECRET_KEY,
    Manner,
    RawServer,
    answers,
    hangs_up,
    resets,
    says,
    says_and_hangs_up,
)
from tests.contract.test_client_faults import TAKEN, get_result, submit, templates
from tests.contract.test_client_tls import new_authority

USER, PASSWORD = "who", "kn/ws%3Anothing+42"
WRITTEN = "kn%2Fws%253Anothing+42"
IN_BASE64 = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
ECHO = f"Basic {IN_BASE64} of {USER}:{PASSWORD} for http://{USER}:{WRITTEN}@proxy.test"


async def passes_on(onward: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes CONNECT, says yes, and is a pipe to that port of this machine."""
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"CONNECT ")
    from_there, there = await asyncio.open_connection("127.0.0.1", onward)
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(2**16):
                sink.write(data)
                await sink.drain()
        except ConnectionError:  # the client left
            pass
        finally:
            sink.close()

    await asyncio.gather(pipe(reader, there), pipe(from_there, writer))


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_tunnel_is_trusted_and_used_for_one_request_after_another(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = new_authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with RawServer(answers(200, TAKEN), tls=authority.server) as server:
        onward = partial(passes_on, int(server.url.rpartition(":")[2]))
        tls = authority.server if scheme == "https" else None
        async with await asyncio.start_server(onward, "127.0.0.1", 0, ssl=tls) as proxy:
            monkeypatch.setenv("https_proxy", f"{scheme}://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
            async with server.client() as asking:
                for text in ("a", "b" * 3 * 2**20):
                    assert await asking.submit("t", {"text": text}) == "e-1"
                assert server.connections == 1


REFUSALS: dict[str, Manner] = {
    "wants a login": says(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n"),
    "forbids it": answers(403, b"<html>no</html>"),
    "can't reach it": answers(502),
    "says the credentials back": says(f"HTTP/1.1 407 {ECHO}\r\nX-Echo: {ECHO}\r\nContent-Length: 0\r\n\r\n".encode()),
    "redirects": answers(302, location=f"http://{USER}:{WRITTEN}@login.test/"),
    "hangs up": hangs_up,
    "resets the connection": resets,
    "speaks no HTTP": says_and_hangs_up(f"550 {ECHO}\r\n\r\n".encode()),
    "says yes and hangs up": says_and_hangs_up(b"HTTP/1.1 200 Connection established\r\n\r\n"),
    "says yes and speaks no TLS": says_and_hangs_up(
        b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 400 No\r\n\r\n"
    ),
}
refusing = pytest.mark.parametrize("manner", [pytest.param(m, id=name) for name, m in REFUSALS.items()])


@pytest.fixture
async def proxy(manner: Manner, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RawServer]:
    """One that the environment names, with a password."""
    async with RawServer(manner, reads_bodies=False) as server:
        monkeypatch.setenv("https_proxy", server.url.replace("://", f"://{USER}:{WRITTEN}@"))
        yield server


def client() -> EvalClient:
    return EvalClient(Credentials(API_KEY, SECRET_KEY, base_url="https://platform.test"), timeout=20.0)


def assert_tells_no_password(error: BaseException, *more: str) -> None:
    shown = "".join(traceback.format_exception(error))
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    for text in (shown, *more, *map(str, causes), *map(repr, causes), *map(str, vars(error).values())):
        for secret in (PASSWORD, WRITTEN, IN_BASE64, API_KEY, SECRET_KEY):
            assert secret not in text


@refusing
@pytest.mark.parametrize("call", [submit, get_result, templates])
async def test_a_refused_connect_was_certainly_not_sent(
    proxy: RawServer, call: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(call)
    caplog.set_level(logging.DEBUG)
    async with client() as asking:
        with pytest.raises(ApiError) as told:
            await call(asking)
    assert type(told.value) is Unreachable
    assert (told.value.retryable, told.value.ambiguous) == (True, False)
    assert {request.line.split()[0] for request in proxy.received} == {"CONNECT"}
    assert_tells_no_password(told.value, caplog.text)


@refusing
async def test_a_refusal_names_the_proxy_and_the_variable(proxy: RawServer) -> None:
    async with client() as asking:
        with pytest.raises(Unreachable) as told:
            await submit(asking)
    assert f"the proxy {proxy.url.removeprefix('http://')} that https_proxy names" in str(told.value)
    assert "https://platform.test" in str(told.value)
    assert len(str(told.value)) < 600


@pytest.mark.parametrize("manner", [REFUSALS["wants a login"]])
async def test_a_407_says_how_to_log_in(proxy: RawServer) -> None:
    async with client() as asking:
        with pytest.raises(Unreachable, match="wants a login: put NAME:PASSWORD@ before its host in https_proxy"):
            await submit(asking)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_not_there_is_named_without_its_password(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv(f"{scheme}_proxy", f"http://{USER}:{WRITTEN}@{there}")
    async with EvalClient(Credentials(API_KEY, SECRET_KEY, base_url=f"{scheme}://platform.test")) as asking:
        with pytest.raises(Unreachable, match=f"the proxy {there} that {scheme}_proxy names") as told:
            await submit(asking)
    assert_tells_no_password(told.value)


async def test_a_proxy_that_never_answers_connect_is_unreachable_at_half_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def is_silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with RawServer(is_silent) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("://", f"://{USER}:{WRITTEN}@"))
        async with EvalClient(
            Credentials(API_KEY, SECRET_KEY, base_url="https://platform.test"), timeout=1.0
        ) as asking:
            with pytest.raises(Unreachable) as told:
                await submit(asking)
    assert_tells_no_password(told.value)


async def test_a_407_to_a_plain_request_was_not_passed_on_either(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawServer(answers(407, ECHO.encode())) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("://", f"://{USER}:{WRITTEN}@"))
        async with EvalClient(Credentials(API_KEY, SECRET_KEY, base_url="http://platform.test")) as asking:
            with pytest.raises(
                Unreachable, match="wants a login: put NAME:PASSWORD@ before its host in http_proxy"
            ) as told:
                await submit(asking)
    assert_tells_no_password(told.value)


@pytest.mark.parametrize("status", [403, 500, 502, 503])
async def test_a_plain_requests_answer_by_a_proxy_tells_no_password(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RawServer(answers(status, f'{{"detail":"{ECHO}"}}'.encode(), x_request_id=ECHO)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("://", f"://{USER}:{WRITTEN}@"))
        async with EvalClient(Credentials(API_KEY, SECRET_KEY, base_url="http://platform.test")) as asking:
            with pytest.raises(ApiError) as told:
                await submit(asking)
    assert_tells_no_password(told.value, told.value.explained)


@pytest.mark.parametrize("named", ["http://who:p/ss@somewhere:3128", "http://who:p@ss@somewhere:3128"])
def test_a_password_that_is_not_escaped_is_told_before_anything_is_sent(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", named)
    with pytest.raises(PlanError, match=r"https_proxy names no HTTP proxy.*%2F and %40") as told:
        client()
    assert "ss@" not in str(told.value)
