"""A server with bad manners: it speaks bytes, not HTTP, and keeps what it was sent."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias

from fieval_tasks.api.client import Credentials, EvalClient
from fieval_tasks.api.reply_bodies import BOUNDS, Bounds

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

    def __init__(self, *manners: Manner, tls: ssl.SSLContext | None = None, reads_bodies: bool = True) -> None:
        self._manners = manners
        self._tls = tls
        self._reads_bodies = reads_bodies
        self._talks: set[asyncio.Task[None]] = set()
        self.received: list[Received] = []
        self.was_cut_off = asyncio.Event()
        """A client closed the line before it was told everything."""

    async def __aenter__(self) -> RawServer:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def connections(self) -> int:
        """Open ones."""
        return len(self._talks)

    def client(self, *, timeout: float = 20.0, path: str = "", bounds: Bounds = BOUNDS) -> EvalClient:
        credentials = Credentials(API_KEY, SECRET_KEY, base_url=self.url + path)
        return EvalClient(credentials, timeout=timeout, bounds=bounds)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        self._talks.add(talk)
        try:
            while not writer.is_closing() and (request := await _read(reader, body=self._reads_bodies)):
                self.received.append(request)
                await self._manners[min(len(self.received), len(self._manners)) - 1](writer)
        except (ConnectionError, asyncio.CancelledError) as left:  # the client left, or the test is over
            if isinstance(left, ConnectionError):
                self.was_cut_off.set()
            writer.transport.abort()
        finally:
            writer.close()
            self._talks.discard(talk)


async def _read(reader: asyncio.StreamReader, *, body: bool) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    line, *lines = head.decode("latin-1").rstrip().split("\r\n")
    headers = [(name.lower(), value) for name, _, value in (text.partition(": ") for text in lines)]
    length = int(dict(headers).get("content-length", "0")) if body else 0
    return Received(line, headers, await reader.readexactly(length))


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


def says_without_end(beginning: bytes, piece: bytes) -> Manner:
    """As fast as the client reads, until it leaves."""

    async def manner(writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        while True:
            await says(piece)(writer)

    return manner


def drips(beginning: bytes, piece: bytes, *, every: float = 0.02) -> Manner:
    """A piece at a time, each soon enough after the last, until the client leaves."""

    async def manner(writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        while True:
            await says(piece)(writer)
            await asyncio.sleep(every)

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
