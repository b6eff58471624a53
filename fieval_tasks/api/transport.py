"""httpx's transport interface over httpcore's connections, in a pool of ours, for the few requests of this client.

httpcore's own pool looks at all of its connections for each request, so it costs more the more are under way: at 3,000
items 4.5 ms of CPU a request, here 0.9 (`python -m benchmarks cpu`). Here a request takes the top of a pile of idle ones.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from ssl import SSLCertVerificationError, SSLContext
from typing import Any

import httpcore
import httpx

from fieval_tasks.api.reply_bodies import time_limit
from fieval_tasks.core.errors import in_words
from fieval_tasks.core.scrubbing import scrubbed

# Bytes of a body beyond which it is written in parts: a socket takes no more without holding up the loop.
AT_ONCE = 2**20

# Bytes from which what is written may fill all buffers on the way, so that writing waits for the server to read.
LISTENS_FROM = 2**16

# Seconds that an idle connection is kept: servers close theirs after 5, and a request on a closed one would be lost.
KEPT_FOR = 4.0

# Characters of what a proxy says of its refusal.
LONGEST_ANSWER = 200

# At DEBUG it writes each reply's headers, in which a server may repeat the keys.
logging.getLogger("httpcore").setLevel(logging.INFO)

_FAILURES = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    asyncio.TimeoutError,
)


class Untrusted(httpx.ConnectError):
    """The server's certificate is signed by nobody known here."""


class NoWayThrough(httpx.ConnectError):
    """A proxy made no connection to the server."""

    def __init__(self, message: str, *, proxy: str, status: int | None) -> None:
        super().__init__(message)
        self.proxy = proxy
        """Its host and port."""
        self.status = status
        """What it answered; None where it gave no answer."""


class PooledTransport(httpx.AsyncBaseTransport):
    """One pool of connections, opened by the first request, in whose event loop all others must be.

    Raises httpx.ConnectError, or its kinds Untrusted and NoWayThrough, where a request was certainly not sent, and
    httpx.ReadError where it may have been. A request's `target` extension stands for its path and query.
    """

    def __init__(
        self, *, connections: int, connect: float, wait: float, ssl: SSLContext | bool = True, proxy: str | None = None
    ) -> None:
        """`connect`: seconds until a connection is made; `wait`: until one is free, and made."""
        self._connect = connect
        self._wait = wait
        self._proxy = None if proxy is None else httpx.Proxy(proxy)
        # It makes connections, also through a proxy; what it has made it does not keep.
        self._maker = httpcore.AsyncConnectionPool(
            ssl_context=ssl if isinstance(ssl, SSLContext) else None,
            keepalive_expiry=KEPT_FOR,
            network_backend=_Network(),
            proxy=None if self._proxy is None else _as_httpcore(self._proxy),
        )
        self._free = asyncio.Semaphore(connections)
        self._idle: list[httpcore.AsyncConnectionInterface] = []
        self._is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        way = _Way()
        try:
            async with time_limit(self._wait) as way.limit:
                await self._free.acquire()
                try:
                    connection, reply = await self._sent(request, way)
                except BaseException:
                    self._free.release()
                    raise
        except _FAILURES as error:
            raise (_as_httpx(error) if way.is_begun else self._unsent(error)) from error
        body = _Body(self, connection, reply)
        return httpx.Response(reply.status, headers=reply.headers, stream=body, request=request)

    async def aclose(self) -> None:
        self._is_closed = True
        while self._idle:
            await self._idle.pop().aclose()

    async def take_back(self, connection: httpcore.AsyncConnectionInterface) -> None:
        """Of a reply that was read, or given up. It serves the next request if all of it was read."""
        self._free.release()
        if connection.is_idle() and not self._is_closed:
            self._idle.append(connection)
        else:
            await connection.aclose()

    async def _sent(
        self, request: httpx.Request, way: _Way
    ) -> tuple[httpcore.AsyncConnectionInterface, httpcore.Response]:
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.extensions.get("target", request.url.raw_path),
        )
        connection = await self._connection(url.origin)
        try:
            reply = await connection.handle_async_request(
                httpcore.Request(
                    request.method,
                    url,
                    headers=request.headers.raw,
                    content=_parts(request.content),
                    extensions={"timeout": {"connect": self._connect}, "trace": way.follow},
                )
            )
        except BaseException:
            await connection.aclose()
            raise
        return connection, reply

    async def _connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        while self._idle:
            connection = self._idle.pop()
            if not connection.has_expired():
                return connection
            await connection.aclose()
        return self._maker.create_connection(origin)

    def _unsent(self, error: BaseException) -> httpx.ConnectError:
        """Of a request for which there was no connection, on the way of which a proxy may stand."""
        if any(isinstance(cause, SSLCertVerificationError) for cause in _causes(error)):
            return Untrusted(in_words(error))
        if self._proxy is None:
            return httpx.ConnectError(in_words(error))
        refused = error.args[0][:3] if isinstance(error, httpcore.ProxyError) else ""
        status = int(refused) if refused.isdecimal() else None
        return NoWayThrough(_answered(error), proxy=shown_address(self._proxy.url), status=status)


class _Way:
    """How far a request has come: up to its first byte it is unsent, and what takes too long is broken off."""

    def __init__(self) -> None:
        self.limit: Any = None
        self.is_begun = False

    async def follow(self, event: str, facts: Mapping[str, Any]) -> None:
        """httpcore's account of what it does. The CONNECT that a proxy is asked is no request of ours."""
        if event == "http11.send_request_headers.started" and facts["request"].method != b"CONNECT":
            self.is_begun = True
            if sys.version_info >= (3, 11):
                self.limit.reschedule(None)
            else:
                self.limit.reject()


class _Body(httpx.AsyncByteStream):
    """A reply's body as it comes. Its connection goes back when it is closed."""

    def __init__(
        self, pool: PooledTransport, connection: httpcore.AsyncConnectionInterface, reply: httpcore.Response
    ) -> None:
        self._pool = pool
        self._connection: httpcore.AsyncConnectionInterface | None = connection
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._reply.aiter_stream():
                yield part
        except _FAILURES as error:
            raise _as_httpx(error) from error

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await self._reply.aclose()
            finally:
                await self._pool.take_back(connection)


class _Network(httpcore.AnyIOBackend):
    """The network, with streams that listen while they write."""

    async def connect_tcp(self, *args: Any, **named: Any) -> httpcore.AsyncNetworkStream:
        return _Duplex(await super().connect_tcp(*args, **named))


class _Duplex(httpcore.AsyncNetworkStream):
    """A stream on which a server is heard that answers a large body before it has read it all, or reads none of it."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._reading: asyncio.Task[bytes] | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        reading, self._reading = self._reading, None
        return await (reading or self._stream.read(max_bytes, timeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Raises WriteError where the server speaks first, upon which httpcore reads what it says."""
        if len(buffer) < LISTENS_FROM:
            return await self._stream.write(buffer, timeout)
        writing = asyncio.ensure_future(self._stream.write(buffer, timeout))
        self._reading = self._reading or asyncio.ensure_future(self._stream.read(LISTENS_FROM, timeout))
        try:
            await asyncio.wait({writing, self._reading}, return_when=asyncio.FIRST_COMPLETED)
            if not writing.done():
                raise httpcore.WriteError("the server answered before it had read all")
            await writing
        finally:
            writing.cancel()

    async def aclose(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        await self._stream.aclose()

    async def start_tls(self, *args: Any, **named: Any) -> httpcore.AsyncNetworkStream:
        return _Duplex(await self._stream.start_tls(*args, **named))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def shown_address(url: httpx.URL) -> str:
    """Host and port, without user name and password."""
    return f"{url.host}:{url.port or {'http': 80, 'https': 443}[url.scheme]}"


def _as_httpcore(proxy: httpx.Proxy) -> httpcore.Proxy:
    url = httpcore.URL(scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=b"/")
    return httpcore.Proxy(url, auth=proxy.raw_auth)


def _answered(error: BaseException) -> str:
    """What a proxy said or did."""
    if isinstance(error, httpcore.ProxyError):
        return scrubbed(f"it answered {error}")[:LONGEST_ANSWER]
    return "what it answered is no HTTP" if isinstance(error, httpcore.ProtocolError) else in_words(error)


def _parts(content: bytes) -> bytes | AsyncIterator[bytes]:
    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(content), AT_ONCE):
            yield content[start : start + AT_ONCE]

    return parts() if len(content) > AT_ONCE else content


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _as_httpx(error: BaseException) -> httpx.ReadError:
    return httpx.ReadError(in_words(error))
