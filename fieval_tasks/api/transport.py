"""An httpx transport over asyncio and h11, with a connection pool of its own.

httpx's own pool looks at all of its connections for each request: with 3,000 items under way a request takes 4.5 ms of CPU
(`python -m benchmarks cpu`). This pool is a stack of idle connections; a request takes the top one.
"""

from __future__ import annotations

import asyncio
import select
from base64 import b64encode
from collections.abc import AsyncIterator
from ipaddress import ip_address
from ssl import PROTOCOL_TLS_CLIENT, SSLCertVerificationError, SSLContext
from time import monotonic
from typing import Any

import h11
import httpx

from fieval_tasks.api.reply_bodies import time_limit
from fieval_tasks.core.errors import in_words
from fieval_tasks.core.scrubbing import scrubbed

# More at once holds up the event loop and takes memory, less costs more calls; asyncio's own buffers are as long.
PIECE = 2**16
"""Bytes that are written or read at once, and the most of a reply's headers."""

# Many servers close idle connections after 5 s, and a request on a closed one would be lost.
KEPT_FOR = 4.0
"""Seconds for which an idle connection is kept."""

# As RFC 8305 recommends. Not used for an IP address, which is the only one: asyncio's race of addresses forgets its winner's
# socket if it is cancelled in that very moment.
NEXT_ADDRESS = 0.25
"""Seconds after which a host's next address is tried as well."""

LONGEST_ANSWER = 200
"""Characters that are kept of a proxy's answer."""

_PORTS = {"http": 80, "https": 443}
_FAILURES = (OSError, asyncio.TimeoutError, h11.ProtocolError, UnicodeError)  # the last of a host name that is none


class Untrusted(httpx.ConnectError):
    """The server's certificate is signed by no authority that this machine trusts."""


class NoWayThrough(httpx.ConnectError):
    """The proxy did not connect to the server."""

    def __init__(self, message: str, *, proxy: str, status: int | None = None) -> None:
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
        self, *, connections: int, connect: float, wait: float, ssl: SSLContext | None = None, proxy: str | None = None
    ) -> None:
        """`connect`: seconds until a connection is made; `wait`: until one is free, and made. `ssl`: for https."""
        self._connect, self._wait = connect, wait
        self._ssl = ssl or SSLContext(PROTOCOL_TLS_CLIENT)  # which trusts nobody
        self._proxy = None if proxy is None else httpx.Proxy(proxy)
        auth = self._proxy and self._proxy.raw_auth
        self._login = [(b"Proxy-Authorization", b"Basic " + b64encode(b":".join(auth)))] if auth else []
        self._free = asyncio.Semaphore(connections)
        self._idle: list[_Connection] = []
        self._is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        target = request.extensions.get("target", request.url.raw_path)
        headers = request.headers.raw
        if self._proxy is not None and request.url.scheme == "http":
            target = b"http://" + request.url.netloc + target
            headers += self._login
        connection = await self._taken(request.url)
        try:
            head = h11.Request(method=request.method, target=target, headers=headers)
            reply = await connection.reply(head, request.content)
        except BaseException as error:
            self.give_back(connection)
            if isinstance(error, _FAILURES):
                raise httpx.ReadError(in_words(error)) from error
            raise
        return httpx.Response(reply.status_code, headers=list(reply.headers), stream=_Body(self, connection))

    async def aclose(self) -> None:
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()
        await asyncio.sleep(0)  # in which the event loop closes their sockets

    def give_back(self, connection: _Connection) -> None:
        """Keep a connection for the next request if its reply was read to the end; else close it."""
        self._free.release()
        if connection.rests() and not self._is_closed:
            self._idle.append(connection)
        else:
            connection.close()

    async def _taken(self, url: httpx.URL) -> _Connection:
        try:
            async with time_limit(self._wait):
                await self._free.acquire()
                try:
                    return await self._connection(url)
                except BaseException:
                    self._free.release()
                    raise
        except _FAILURES as error:
            raise self._unsent(error) from error

    async def _connection(self, url: httpx.URL) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fresh():
                return connection
            connection.close()
        return await self._opened(url)

    async def _opened(self, url: httpx.URL) -> _Connection:
        """A new connection to the server or, if its address is http, to the proxy, which passes each request on."""
        first = url if self._proxy is None else self._proxy.url
        loop, port = asyncio.get_running_loop(), first.port or _PORTS[first.scheme]
        async with time_limit(self._connect):
            delay = None if _is_ip_address(first.host) else NEXT_ADDRESS
            _, connection = await loop.create_connection(_Connection, first.host, port, happy_eyeballs_delay=delay)
        try:
            if first.scheme == "https":
                await connection.start_tls(self._ssl, first.host, self._connect)
            if self._proxy is not None and url.scheme == "https":
                await self._ask_through(self._proxy.url, connection, url)
                await connection.start_tls(self._ssl, url.host, self._connect)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _ask_through(self, proxy: httpx.URL, connection: _Connection, url: httpx.URL) -> None:
        there = url.netloc if url.port else url.netloc + b":443"
        headers = [(b"Host", there), *self._login]
        reply = await connection.reply(h11.Request(method="CONNECT", target=there, headers=headers))
        if not 200 <= reply.status_code < 300:
            said = scrubbed(f"it answered {reply.status_code} {reply.reason.decode('ascii', 'ignore')}")
            raise NoWayThrough(said[:LONGEST_ANSWER], proxy=shown_address(proxy), status=reply.status_code)

    def _unsent(self, error: Exception) -> httpx.ConnectError:
        """The error for a request that got no connection, by the proxy's answer where there is a proxy."""
        said = in_words(error) if str(error) else "no connection was made in time"
        if isinstance(error, SSLCertVerificationError):
            return Untrusted(said)
        if self._proxy is None:
            return httpx.ConnectError(said)
        said = "what it answered is no HTTP" if isinstance(error, h11.ProtocolError) else said
        return NoWayThrough(said, proxy=shown_address(self._proxy.url))


class _Body(httpx.AsyncByteStream):
    """A reply's body as a stream. Closing it gives its connection back to the pool."""

    def __init__(self, pool: PooledTransport, connection: _Connection) -> None:
        self._pool = pool
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while isinstance(event := await self._connection.event(), h11.Data):
                yield bytes(event.data)
        except _FAILURES as error:
            raise httpx.ReadError(in_words(error)) from error

    async def aclose(self) -> None:
        self._pool.give_back(self._connection)


class _Connection(asyncio.Protocol):
    """One connection to a server or proxy."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=PIECE)
        self._heard = bytearray()
        self._news = asyncio.Event()
        self._is_full = self._is_over = False
        self._error: Exception | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as asyncio has it
        self._socket = self._transport = transport  # with TLS they differ

    def data_received(self, data: bytes) -> None:
        self._heard += data
        self._news.set()
        if len(self._heard) > PIECE:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._news.set()

    def eof_received(self) -> None:
        self.connection_lost(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._is_over, self._error = True, error
        self._news.set()

    async def start_tls(self, ssl: SSLContext, host: str, within: float) -> None:
        """Raises SSLCertVerificationError where the other end can't be trusted."""
        # Without it Python 3.10 refuses TLS within TLS, as to a proxy and through it, though it can.
        self._transport._start_tls_compatible = True  # type: ignore[attr-defined]
        transport = None
        if not self._is_over:  # else asyncio would wait for all the time there is
            transport = await asyncio.get_running_loop().start_tls(
                self._transport, self, ssl, server_hostname=host, ssl_handshake_timeout=within
            )
        if transport is None:
            raise ConnectionResetError("it hung up")
        self._transport = transport
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=PIECE)

    async def reply(self, request: h11.Request, body: bytes = b"") -> h11.Response:
        """The head of the server's answer."""
        for part in (request, h11.Data(data=body), h11.EndOfMessage()):
            await self._write(self._http.send(part))
        while not isinstance(event := await self.event(), h11.Response):
            pass  # such as 100 Continue
        return event

    async def event(self) -> Any:
        """h11's next event of the answer."""
        while (event := self._http.next_event()) is h11.NEED_DATA:
            while self._is_silent():
                await self._wait()
            if not self._heard and (self._error or self._http.their_state is h11.SEND_RESPONSE):
                raise self._error or ConnectionResetError("the server hung up without an answer")
            self._http.receive_data(bytes(self._heard[:PIECE]))
            del self._heard[:PIECE]
        return event

    def rests(self) -> bool:
        """Get ready for another request. False where this one was not all written, or its answer not all read."""
        http, unsent = self._http, self._socket.get_write_buffer_size()
        is_done = http.our_state is http.their_state is h11.DONE and not (unsent or http.trailing_data[0])
        if is_done:
            http.start_next_cycle()
            self._kept_until = monotonic() + KEPT_FOR
        return is_done

    def is_fresh(self) -> bool:
        """Whether the server still waits for a request: one that sends anything unasked is hanging up."""
        if not self._is_silent() or self._socket.is_closing() or monotonic() > self._kept_until:
            return False
        # Windows has none; its event loop reads without being asked to, so what came is in `_heard`.
        if not hasattr(select, "poll"):
            return True
        unseen = select.poll()  # by the event loop
        unseen.register(self._socket.get_extra_info("socket"), select.POLLIN)
        return not unseen.poll(0)

    def close(self) -> None:
        self._transport.abort()

    def _is_silent(self) -> bool:
        return not (self._heard or self._is_over)

    async def _wait(self) -> None:
        self._news.clear()
        self._transport.resume_reading()
        await self._news.wait()

    async def _write(self, data: bytes) -> None:
        """Waits until the server has read most of it, or answers: it may do so before it has read all, or read no more."""
        for start in range(0, len(data), PIECE):
            if self._is_over:  # asyncio would complain of each piece
                return
            self._transport.write(data[start : start + PIECE])
            while self._is_full and self._is_silent():
                await self._wait()


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def shown_address(url: httpx.URL) -> str:
    """Host and port, without user name and password."""
    return f"{url.host}:{url.port or _PORTS[url.scheme]}"
