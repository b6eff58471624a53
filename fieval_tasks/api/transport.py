"""An httpx transport over httpcore's connections, with a connection pool of its own.

httpcore's own pool looks at all of its connections for each request: with 3,000 items under way a request takes 4.5 ms of
CPU, here 0.9 (`python -m benchmarks cpu`). This pool is a stack of idle connections; a request takes the top one.
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

# Writing more to a socket in one call holds up the event loop.
AT_ONCE = 2**20
"""Bytes of the parts in which a longer body is written."""

# From here a body may fill all buffers on the way, so that writing waits for the server to read.
LISTENS_FROM = 2**16
"""Bytes of a body from which the stream also reads while it writes."""

# Many servers close idle connections after 5 s, and a request on a closed one would be lost.
KEPT_FOR = 4.0
"""Seconds for which an idle connection is kept."""

LONGEST_ANSWER = 200
"""Characters that are kept of a proxy's answer."""

# At DEBUG httpcore logs each reply's headers, in which a server may repeat the keys.
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
    """The server's certificate is signed by no authority that this machine trusts."""


class NoWayThrough(httpx.ConnectError):
    """The proxy did not connect to the server."""

    def __init__(self, message: str, *, proxy: str, status: int | None) -> None:
        super().__init__(message)
        self.proxy = proxy
        """The proxy's host and port."""
        self.status = status
        """The HTTP status that the proxy answered; None where it gave no answer."""


class PooledTransport(httpx.AsyncBaseTransport):
    """A pool of connections to one server. All requests must come from one event loop.

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
        # httpcore's pool only makes the connections (it knows proxies and TLS); this class keeps them.
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
        """Keep a connection for the next request if its reply was read to the end; else close it."""
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
        """The error for a request that got no connection, by the proxy's answer where there is a proxy."""
        if any(isinstance(cause, SSLCertVerificationError) for cause in _causes(error)):
            return Untrusted(in_words(error))
        if self._proxy is None:
            return httpx.ConnectError(in_words(error))
        refused = error.args[0][:3] if isinstance(error, httpcore.ProxyError) else ""
        status = int(refused) if refused.isdecimal() else None
        return NoWayThrough(_answered(error), proxy=shown_address(self._proxy.url), status=status)


class _Way:
    """Whether a request's first byte was written: before that it is certainly unsent."""

    def __init__(self) -> None:
        self.limit: Any = None
        self.is_begun = False

    async def follow(self, event: str, facts: Mapping[str, Any]) -> None:
        """httpcore's trace callback. The CONNECT to a proxy does not count as the request."""
        if event == "http11.send_request_headers.started" and facts["request"].method != b"CONNECT":
            self.is_begun = True
            if sys.version_info >= (3, 11):
                self.limit.reschedule(None)
            else:
                self.limit.reject()


class _Body(httpx.AsyncByteStream):
    """A reply's body as a stream. Closing it gives its connection back to the pool."""

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
    """httpcore's network backend with `_Duplex` streams."""

    async def connect_tcp(self, *args: Any, **named: Any) -> httpcore.AsyncNetworkStream:
        return _Duplex(await super().connect_tcp(*args, **named))


class _Duplex(httpcore.AsyncNetworkStream):
    """A stream that reads while it writes, for servers that answer a large body before they have read all of it."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._reading: asyncio.Task[bytes] | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        reading, self._reading = self._reading, None
        return await (reading or self._stream.read(max_bytes, timeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Raises WriteError where the server answers before all is written; httpcore then reads the answer."""
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
    """The proxy's answer, or what went wrong with it, for a message."""
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
