"""The body of a reply, read and unpacked no further than a reply of this API can be long."""

from __future__ import annotations

import asyncio
import sys
import zlib
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx

from fieval_tasks.core.errors import NotTheProtocol

if sys.version_info >= (3, 11):
    from asyncio import timeout as time_limit
else:
    from async_timeout import timeout as time_limit  # there it is a package

__all__ = ["BOUNDS", "BodyReader", "Bounds", "time_limit"]


@dataclass(frozen=True)
class Bounds:
    """What one reply may cost: bytes unpacked, and seconds."""

    longest: int = 64 * 2**20
    """Of a reply. The catalogue has 428 KB, and a result echoes its inputs: one of 30 MiB was seen."""
    short: int = 2**20
    """Of a reply that is read whatever else is under way; a result has some kilobytes as a rule."""
    long_at_once: int = 3
    """Longer replies read at the same time; others wait, within their own time. With 100 connections all replies under
    way hold 100 x 1 MiB + 3 x 64 MiB at most."""
    longest_error: int = 2**20
    """Of an answer that is not 2xx: its status says most of it."""
    refusal: float = 10.0
    """Seconds for the body of an answer that says by its status that nothing was accepted."""
    presence: float = 5.0
    """Seconds for the templates, which a server that is there has at hand, and for its word on a submission of nothing."""

    def longest_of(self, response: httpx.Response) -> int:
        return self.longest if response.is_success else self.longest_error


BOUNDS = Bounds()


class BodyReader:
    """Reads the bodies of one client's replies, few long ones at a time."""

    def __init__(self, bounds: Bounds = BOUNDS) -> None:
        self._bounds = bounds
        self._long_replies = asyncio.Semaphore(bounds.long_at_once)

    async def received(self, response: httpx.Response) -> bytes:
        """The body as it came; of a redirect or a refusal what comes soon, for its status says that nothing was accepted."""
        if not 300 <= response.status_code < 500:
            return await self._all_of(response)
        try:
            async with time_limit(self._bounds.refusal):
                return await self._all_of(response)
        except (httpx.HTTPError, asyncio.TimeoutError):
            return b""

    async def _all_of(self, response: httpx.Response) -> bytes:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        length, parts = 0, []
        async with AsyncExitStack() as room:
            async for part in response.stream:
                if length <= self._bounds.short < length + len(part):
                    await room.enter_async_context(self._long_replies)
                parts.append(part)
                length += len(part)
                if length > self._bounds.longest_of(response):
                    break
            return b"".join(parts)

    def unpacked(self, response: httpx.Response, received: bytes) -> bytes:
        """A reply's whole body, however much is packed in it. Raises NotTheProtocol; of an error, its beginning will do."""
        most = self._bounds.longest_of(response)
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        try:
            body = received if encoding == "identity" else _decompressed(received, encoding, most)
        except NotTheProtocol:
            if response.is_success:
                raise
            return b""  # its status says enough
        if len(body) > most and response.is_success:
            raise NotTheProtocol(f"the server's reply is longer than {most >> 20} MiB, which no reply of this API is")
        return body


# zlib's window bits for each encoding. Some servers mean the bare stream by deflate.
_WINDOWS = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}


def _decompressed(packed: bytes, encoding: str, most: int) -> bytes:
    """At most one byte more than `most`: a few packed bytes may stand for gigabytes."""
    problem = f"the server's reply can't be decoded as {encoding[:40]!r}"
    for window in _WINDOWS.get(encoding, ()):
        try:
            return zlib.decompressobj(window).decompress(packed, most + 1)
        except zlib.error as error:
            problem = f"{problem} ({error})"
    raise NotTheProtocol(problem)
