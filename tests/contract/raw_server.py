"""A server with bad manners: it speaks bytes, not HTTP, and keeps what it was sent."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias

from fieval_tasks.client import Credentials, EvalClient

API_KEY = "api-key-that-nobody-may-see"
SECRET_KEY = "secret-key-that-nobody-may-see"

Manner: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""What the server does once it has read a request."""


@dataclass(frozen=True)
class Received:
    """One request, as the bytes on the wire have it."""

    line: str
    headers: list[tuple[str, str]]
    """Names in lower case."""
    body: bytes

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)


class RawServer:
    """Listens on a free loopback port. The n-th request meets the n-th manner, later ones the last."""

    def __init__(self, *manners: Manner) -> None:
        self._manners = manners
        self._talks: set[asyncio.Task[None]] = set()
        self.received: list[Received] = []

    async def __aenter__(self) -> RawServer:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        await self._server.wait_closed()

    def client(self, *, timeout: float = 20.0, path: str = "") -> EvalClient:
        return EvalClient(Credentials(API_KEY, SECRET_KEY, base_url=self.url + path), timeout=timeout)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        self._talks.add(talk)
        try:
            while not writer.is_closing() and (request := await _read(reader)):
                self.received.append(request)
                await self._manners[min(len(self.received), len(self._manners)) - 1](writer)
        except (ConnectionError, asyncio.CancelledError):  # the client left, or the test is over
            writer.transport.abort()
        finally:
            writer.close()
            self._talks.discard(talk)


async def _read(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    line, *lines = head.decode("latin-1").rstrip().split("\r\n")
    headers = [(name.lower(), value) for name, _, value in (text.partition(": ") for text in lines)]
    return Received(line, headers, await reader.readexactly(int(dict(headers).get("content-length", "0"))))


# -- manners -------------------------------------------------------------------------------------------------------


def answers(status: int, body: bytes = b"", **headers: str) -> Manner:
    """A whole and proper HTTP reply; `retry_after` is written Retry-After."""
    fields = {"content-length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return says(f"HTTP/1.1 {status} So\r\n{head}\r\n".encode() + body)


def says(text: bytes) -> Manner:
    """Exactly these bytes; the line stays open."""

    async def manner(writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()

    return manner


def says_and_hangs_up(text: bytes) -> Manner:
    async def manner(writer: asyncio.StreamWriter) -> None:
        await says(text)(writer)
        writer.close()

    return manner


async def hangs_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def resets(writer: asyncio.StreamWriter) -> None:
    """Ends the connection with RST instead of FIN."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def is_silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()
