"""Connections that bring no request are closed, those that wait for an answer are not, and there are only so many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from fieval_tasks.local.connection import ConnectionLimits, ServerConnection

GET = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF_A_BODY = b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
LARGE = 64 * 2**20


@dataclass
class Listening:
    """A server whose connections are looked at when the test says so."""

    port: int
    state: ServerState
    answer: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: what waits for an answer gets it."""

    async def visit(self, said: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        known = set(self.state.connections)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while not (new := self.state.connections - known):
            await asyncio.sleep(0)
        [connection] = new
        received: list[bytes] = []
        take = connection.data_received
        connection.data_received = lambda data: (received.append(data), take(data))  # type: ignore[method-assign]
        writer.write(said)
        while b"".join(received) != said:
            await asyncio.sleep(0)
        return reader, writer

    async def look(self) -> None:
        for connection in [*self.state.connections]:
            assert isinstance(connection, ServerConnection)
            connection.look()
        await asyncio.sleep(0)


@asynccontextmanager
async def listening(monkeypatch: pytest.MonkeyPatch, most: int = 100) -> AsyncIterator[Listening]:
    monkeypatch.setattr(ServerConnection, "limits", ConnectionLimits(patience=1e6, most=most))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        while message.get("more_body"):
            message = await receive()
        if message["type"] == "http.disconnect":
            return
        if scope["path"] == "/later":
            await here.answer.wait()
        body = b"x" * (LARGE if scope["path"] == "/large" else 2)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", lifespan="off", timeout_keep_alive=9_999)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: ServerConnection(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    here = Listening(server.sockets[0].getsockname()[1], state)
    yield here
    server.close()
    for connection in [*state.connections]:
        connection.transport.abort()
    while state.connections or state.tasks:
        await asyncio.sleep(0.001)


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        while await asyncio.wait_for(reader.read(2**20), 10):
            pass
    except ConnectionResetError:
        return True
    return True


@pytest.mark.parametrize("said", [b"", b"GET / HT", HALF_A_BODY], ids=["silent", "half a head", "half a body"])
async def test_a_connection_that_owes_a_request_at_two_looks_is_closed(
    monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    async with listening(monkeypatch) as here:
        reader, writer = await here.visit(said)
        await here.look()
        assert len(here.state.connections) == 1
        writer.write(b"x")  # a byte now and then is no request
        await writer.drain()
        await here.look()
        assert await is_closed(reader)
        assert not here.state.connections
        writer.close()


async def test_a_connection_whose_requests_are_done_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(monkeypatch) as here:
        reader, writer = await here.visit(GET % b"")
        assert (await reader.readuntil(b"xx")).startswith(b"HTTP/1.1 200")
        await here.look()
        writer.write(GET % b"")
        assert (await reader.readuntil(b"xx")).startswith(b"HTTP/1.1 200"), "between two looks it was of use"
        await here.look()
        assert len(here.state.connections) == 1
        await here.look()
        assert await is_closed(reader)
        writer.close()


async def test_who_waits_for_an_answer_is_never_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(monkeypatch) as here:
        reader, writer = await here.visit(GET % b"later")
        for _ in range(5):
            await here.look()
        here.answer.set()
        assert (await reader.readuntil(b"xx")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_who_leaves_an_answer_unread_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(monkeypatch) as here:
        reader, writer = await here.visit(GET % b"large")
        [connection] = here.state.connections
        before = -1
        while (unread := connection.transport.get_write_buffer_size()) != before or not unread:
            before = unread
            await asyncio.sleep(0.01)
        await here.look()
        await here.look()
        while here.state.connections:
            await asyncio.sleep(0.001)
        writer.close()
        assert await is_closed(reader)


async def test_beyond_the_cap_the_oldest_goes_that_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(monkeypatch, most=3) as here:
        asking, asking_writer = await here.visit(GET % b"later")
        idle = [await here.visit() for _ in range(5)]
        while len(here.state.connections) > 3:
            await asyncio.sleep(0.001)
        for reader, _ in idle[:3]:
            assert await is_closed(reader)
        here.answer.set()
        assert (await asking.readuntil(b"xx")).startswith(b"HTTP/1.1 200")
        for _, writer in [(asking, asking_writer), *idle]:
            writer.close()
