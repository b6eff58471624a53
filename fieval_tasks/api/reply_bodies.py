"""Reading and decompressing the body of a reply, bounded by the longest reply that this API gives."""

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
    """The bounds of one reply: bytes after decompression, and seconds."""

    # The catalogue has 428 KB. A result echoes its inputs, and one of 30 MiB was seen.
    longest: int = 64 * 2**20
    """Bytes of a 2xx reply."""
    # A result has some kilobytes as a rule.
    short: int = 2**20
    """Bytes up to which a reply is read at once; longer ones wait for one of `long_at_once` places."""
    # With 100 connections all replies that are being read hold 100 x 1 MiB + 3 x 64 MiB at most.
    long_at_once: int = 3
    """Long replies that are read at the same time; the others wait, within their own timeout."""
    # Its status says most of an error.
    longest_error: int = 2**20
    """Bytes of an answer that is not 2xx; the rest is cut."""
    # The status alone says that nothing was accepted, so the body is not worth a long wait.
    refusal: float = 10.0
    """Seconds for the body of a redirect or a refusal."""
    presence: float = 5.0
    """Seconds for an answer in `is_there` and `takes_submissions`: a server that is there answers both at once."""

    def longest_of(self, response: httpx.Response) -> int:
        return self.longest if response.is_success else self.longest_error


BOUNDS = Bounds()


class BodyReader:
    """Reads the bodies of one client's replies, `Bounds.long_at_once` long ones at a time."""

    def __init__(self, bounds: Bounds = BOUNDS) -> None:
        self._bounds = bounds
        self._long_replies = asyncio.Semaphore(bounds.long_at_once)

    async def received(self, response: httpx.Response) -> bytes:
        """The body as received, still compressed; of a redirect or a refusal as much as comes within `Bounds.refusal`."""
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
        """The decompressed body. Raises NotTheProtocol where a 2xx is too long; an error's body is cut instead."""
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


# zlib's window bits for each encoding. Some servers send a raw stream as deflate, so both are tried.
_WINDOWS = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}


def _decompressed(packed: bytes, encoding: str, most: int) -> bytes:
    """The decompressed bytes, `most` + 1 at most: a few compressed bytes may expand to gigabytes."""
    problem = f"the server's reply can't be decoded as {encoding[:40]!r}"
    for window in _WINDOWS.get(encoding, ()):
        try:
            return zlib.decompressobj(window).decompress(packed, most + 1)
        except zlib.error as error:
            problem = f"{problem} ({error})"
    raise NotTheProtocol(problem)
