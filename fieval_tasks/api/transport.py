"""httpx's transport interface over aiohttp's pool, for the few requests of this client.

httpx's own pool costs more the more requests are under way. The general httpx-aiohttp would do, were it not for what httpx
spends on reading each address letter by letter: here an address is read once, and each request names its target.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from ssl import SSLContext
from typing import Any

import aiohttp
import httpx
from yarl import URL

from fieval_tasks.core.errors import in_words
from fieval_tasks.core.scrubbing import scrubbed

# Bytes of a body beyond which it is written in parts: a socket takes no more without holding up the loop.
AT_ONCE = 2**20

# Characters of what a proxy says of its refusal.
LONGEST_ANSWER = 200


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
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=None, connect=wait, sock_connect=connect)
        self._ssl = ssl
        self._proxy = None if proxy is None else URL(proxy)
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        session = self._session = self._session or self._opened()
        try:
            reply = await session.request(
                request.method,
                _address(request),
                headers=[(name.decode("ascii"), value.decode("ascii")) for name, value in request.headers.raw],
                data=_data(request.content),
                allow_redirects=False,
                proxy=self._proxy,
            )
        except aiohttp.ClientError as error:
            raise self._unsent(error) or _as_httpx(error) from error
        return httpx.Response(reply.status, headers=reply.raw_headers, stream=_Body(reply), request=request)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            connector=_Connector(limit=self._connections, keepalive_timeout=4.0, ssl=self._ssl),
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        # or a GET on a dropped connection would go out again, with no turn and uncounted
        session._retry_connection = False
        return session

    def _unsent(self, error: aiohttp.ClientError) -> httpx.ConnectError | None:
        """Of a request for which there was no connection, on the way of which a proxy may stand."""
        if not isinstance(error, (_NoConnection, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)):
            return None
        cause = error.cause if isinstance(error, _NoConnection) else error
        if isinstance(cause, aiohttp.ClientConnectorCertificateError):
            return Untrusted(in_words(cause))
        if self._proxy is None:
            return httpx.ConnectError(in_words(cause))
        return NoWayThrough(_answered(cause), proxy=shown_address(self._proxy), status=getattr(cause, "status", None))


class _Connector(aiohttp.TCPConnector):
    """Tells a request that got no connection from one that went out: a proxy that refuses may fail in any way."""

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        try:
            return await super().connect(*args, **kwargs)
        except aiohttp.ClientError as error:
            raise _NoConnection(error) from error


class _NoConnection(aiohttp.ClientError):
    def __init__(self, cause: aiohttp.ClientError) -> None:
        super().__init__(in_words(cause))
        self.cause = cause


def shown_address(url: URL) -> str:
    """Host and port, without user name and password."""
    return f"{url.host}:{url.port}"


def _answered(error: aiohttp.ClientError) -> str:
    """What a proxy said or did, of which aiohttp would show the whole request."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return scrubbed(f"it answered {error.status} {error.message}".strip())[:LONGEST_ANSWER]
    if isinstance(error, aiohttp.ClientResponseError):
        return "what it answered is no HTTP"
    return in_words(error)


def _address(request: httpx.Request) -> URL:
    target = request.extensions.get("target")
    if target is None:
        return URL(str(request.url), encoded=True)
    return URL(f"{request.url.scheme}://{request.url.netloc.decode('ascii')}{target.decode('ascii')}", encoded=True)


def _data(content: bytes) -> bytes | io.BytesIO | None:
    return io.BytesIO(content) if len(content) > AT_ONCE else content or None


class _Body(httpx.AsyncByteStream):
    """A reply's body as it comes."""

    def __init__(self, reply: aiohttp.ClientResponse) -> None:
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._reply.content.iter_any():
                yield part
        except aiohttp.ClientError as error:
            raise _as_httpx(error) from error

    async def aclose(self) -> None:
        self._reply.release()


def _as_httpx(error: aiohttp.ClientError) -> httpx.ReadError:
    return httpx.ReadError(in_words(error))
