"""The evaluation API's three calls over httpx; every answer that isn't one is a typed error."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from ssl import SSLContext
from traceback import clear_frames
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote
from urllib.request import getproxies, proxy_bypass

import httpx
from yarl import URL

from fieval_tasks.api import error_replies, wire
from fieval_tasks.api.dialect import Listener
from fieval_tasks.api.transport import NoWayThrough, PooledTransport, Untrusted, shown_address
from fieval_tasks.core.cutting import cut
from fieval_tasks.core.errors import (
    ApiError,
    KeysRefused,
    Lost,
    NotTheProtocol,
    PlanError,
    Refused,
    TurnedAway,
    Unreachable,
    in_words,
)
from fieval_tasks.core.items import Pending, Row, Verdict
from fieval_tasks.core.scrubbing import (
    SHORTEST_IN_DATA,
    forms_in_data,
    keep,
    keep_url,
    raise_without_secrets,
    scrubbed_data,
    without_secrets,
)
from fieval_tasks.core.templates import Catalogue

if sys.version_info >= (3, 11):
    from asyncio import timeout as time_limit
else:
    from async_timeout import timeout as time_limit  # aiohttp's own, there

T = TypeVar("T")

CLOUD = "https://api.futureagi.com"
KEY_VARIABLES = ("FI_API_KEY", "FI_SECRET_KEY")
LONGEST_REPLY = 64 * 2**20
"""Bytes, unpacked. The catalogue has 428 KB, and a result echoes its inputs: one of 30 MiB was seen."""
SHORT_REPLY = 2**20
"""Bytes of a reply that are read whatever else is under way; a result has some kilobytes as a rule."""
LONG_REPLIES = 3
"""Longer replies that are read at the same time; others wait for them, within their own time. With 100 connections all
replies under way hold 100 x 1 MiB + 3 x 64 MiB at most."""
LONGEST_ERROR = 2**20
"""Bytes that are read of an answer that is not 2xx: its status says most of it."""
ENOUGH_FOR_A_REFUSAL = 10.0
"""Seconds for the body of an answer that says by its status that nothing was accepted."""
IS_THERE_WITHIN = 5.0
"""Seconds for the templates, which a server that is there has at hand, and for its word on a submission of nothing."""
LONGEST_MESSAGE = 3_000
"""Characters of an error, whose cause may quote what the server sent."""


@dataclass(frozen=True)
class Credentials:
    """Keys and where they are for. Neither key shows in a repr."""

    api_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    base_url: str = CLOUD
    workspace_id: str | None = None
    organization_id: str | None = None

    @classmethod
    def from_environment(cls, *, base_url: str | None = None) -> Credentials:
        """FI_API_KEY, FI_SECRET_KEY and, where set, FI_BASE_URL. Raises PlanError where a key is missing."""
        missing = [name for name in KEY_VARIABLES if not os.environ.get(name, "").strip()]
        if missing:
            raise PlanError(f"{' and '.join(missing)} not set: export the keys, or use --connection local")
        return cls(
            api_key=_header_text("FI_API_KEY"),
            secret_key=_header_text("FI_SECRET_KEY"),
            base_url=checked_url(base_url or os.environ.get("FI_BASE_URL") or CLOUD),
            workspace_id=_header_text("FI_WORKSPACE_ID") or None,
            organization_id=_header_text("FI_ORGANIZATION_ID") or None,
        )

    @staticmethod
    def in_environment() -> bool:
        """Both keys are set."""
        return all(os.environ.get(name, "").strip() for name in KEY_VARIABLES)

    @property
    def headers(self) -> dict[str, str]:
        """The API's own headers. Never Authorization: the server would take that one first and refuse it."""
        optional = {"X-Workspace-Id": self.workspace_id, "X-Organization-Id": self.organization_id}
        keys = {"X-Api-Key": self.api_key, "X-Secret-Key": self.secret_key}
        return keys | {name: value for name, value in optional.items() if value}


class EvalClient:
    """One connection pool to one evaluation server. Use it as an async context manager."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 120.0,
        connections: int = 100,
    ) -> None:
        """`timeout`: seconds from a call to the last byte of its reply."""
        self.base_url = credentials.base_url.rstrip("/")
        self._url = httpx.URL(self.base_url)
        self._transport = transport or _pooled(self._url, connections, timeout)
        self._takes_targets = transport is None
        ours = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate", "User-Agent": "fieval"}
        ours["Host"] = self._url.netloc.decode("ascii")
        self._asking = httpx.Headers(credentials.headers | ours)
        self._telling = httpx.Headers(credentials.headers | ours | {"Content-Type": "application/json"})
        self._timeout = timeout
        self._listener = Listener()
        self._long_replies = asyncio.Semaphore(LONG_REPLIES)
        keys = [key for key in (credentials.api_key, credentials.secret_key) if len(key) >= SHORTEST_IN_DATA]
        self._secret = forms_in_data(*keys)
        keep(*keys)  # a shorter one, such as "test", would be found in any sentence

    async def __aenter__(self) -> EvalClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def in_time(self, call: Awaitable[T], seconds: float) -> T:
        """What a call of this client's comes to within so many seconds, where that is less than its own. Raises Lost then."""
        if seconds >= self._timeout:
            return await call
        try:
            async with time_limit(seconds):
                return await call
        except asyncio.TimeoutError as error:
            raise Lost(f"no whole reply came within {seconds:.0f} s, which is the item's time") from error

    @property
    def notices(self) -> tuple[str, ...]:
        """What the server was heard to change while this client talked to it, in sentences for a report."""
        return self._listener.notices

    async def templates(self) -> Catalogue:
        """The templates that these keys may use."""
        source = f"the catalogue of {self.base_url}"
        return await self._call("GET", wire.TEMPLATES, lambda reply: wire.catalogue(reply, source=source))

    async def is_there(self) -> bool:
        """Whether the API answers what is about no item: then it is for what they are that some items get no answer."""
        try:
            await self.in_time(self.templates(), IS_THERE_WITHIN)
        except ApiError:
            return False
        return True

    async def takes_submissions(self) -> bool:
        """Whether the API answers submissions: to one of nothing, which buys nothing, it says what is missing. Then it is
        for what they are that some items get no answer.
        """
        try:
            await self.in_time(self._call("POST", wire.EVALUATIONS, lambda reply: reply, body=b"{}"), IS_THERE_WITHIN)
        except ApiError as error:
            return isinstance(error, Refused)
        return False

    async def evaluate(
        self,
        template: str,
        inputs: Mapping[str, str],
        *,
        model: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Verdict:
        """One synchronous evaluation: waits for the judge and answers with its verdict."""
        [(eval_id, verdict)] = await self.evaluate_pack(template, [inputs], model=model, params=params)
        if verdict is None or isinstance(verdict, Pending):
            raise NotTheProtocol(f"{self.base_url} took it as {eval_id} and told no verdict: get_result asks for it")
        return verdict

    async def submit(
        self,
        template: str,
        inputs: Mapping[str, str],
        *,
        model: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> str:
        """Submit one evaluation and answer with its eval_id."""
        [eval_id] = await self.submit_pack(template, [inputs], model=model, params=params)
        assert eval_id is not None, "a reply that names nothing is an error"
        return eval_id

    async def get_result(self, eval_id: str) -> Pending | Verdict:
        """How the evaluation stands: Pending, or its verdict."""
        return (await self.get_row(eval_id)).verdict

    async def get_row(self, eval_id: str) -> Row:
        """How the evaluation stands, and on which inputs it is."""
        path = f"{wire.EVALUATIONS}?eval_id={quote(eval_id, safe='')}"

        def decoded(reply: Any) -> Row:
            return Row(wire.state(reply, eval_id=eval_id, listener=self._listener), wire.judged_inputs(reply))

        return await self._call("GET", path, decoded)

    async def submit_pack(
        self,
        template: str,
        inputs: Sequence[Mapping[str, str]],
        *,
        model: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> list[str | None]:
        """Submit items of one check in one request; their eval_ids, in order. None: perhaps taken, and not named."""
        body = wire.submission(template, inputs, model=model, params=params, is_async=True)
        return await self._submission(wire.eval_ids, body, expected=len(inputs))

    async def evaluate_pack(
        self,
        template: str,
        inputs: Sequence[Mapping[str, str]],
        *,
        model: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> list[wire.Answered]:
        """Evaluate items of one check in one synchronous request; (eval_id, verdict) of each, in order.

        Of one that the reply does not judge, the verdict is Pending where it has an eval_id to ask for, else None.
        """
        body = wire.submission(template, inputs, model=model, params=params, is_async=False)
        try:
            return await self._submission(wire.verdicts, body, expected=len(inputs))
        except Refused as error:
            raise error_replies.judges_failure(error) from error.__cause__

    async def _submission(self, decode: Callable[..., list[T]], body: bytes, *, expected: int) -> list[T]:
        def decoded(reply: Any) -> list[T]:
            return decode(reply, expected=expected, listener=self._listener)

        return await self._call("POST", wire.EVALUATIONS, decoded, body=body)

    async def _call(self, method: str, path: str, decode: Callable[[Any], T], *, body: bytes | None = None) -> T:
        """What the JSON of a 2xx decodes to."""
        try:
            return await self._told(method, path, decode, body)
        except ApiError as error:
            _let_go_of_bodies(error)
            self._explain(error)
            raise
        except Exception as error:  # nobody's answer to give, but it may hold the request with its headers
            raise_without_secrets(error)

    async def _told(self, method: str, path: str, decode: Callable[[Any], T], body: bytes | None) -> T:
        response, received = await self._exchange(method, path, body)
        if response.status_code == 407:
            raise no_way_through(self.base_url, _shown_proxy(self._url), "it answered 407", wants_login=True)
        told = scrubbed_data(_unpacked(response, received), self._secret)
        if not response.is_success:
            raise error_replies.error(response.status_code, response.headers, told)
        try:
            return decode(wire.parsed(told))
        except NotTheProtocol as error:
            raise _traced(error, response) from error

    async def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[httpx.Response, bytes]:
        """A response and its body as it came, which is read no further than a reply may be long.

        The transport is called without httpx's client around it: no redirect is followed with the keys in hand, no
        cookie kept, no netrc read, and it costs half as much.
        """
        request = self._request(method, path, body)
        try:
            async with time_limit(self._timeout):  # for the whole of it: a server may drip a byte a second for ever
                response = await self._transport.handle_async_request(request)
                try:
                    return response, await _received(response, self._long_replies)
                finally:
                    await response.aclose()
        except asyncio.TimeoutError as error:
            within = f"within {self._timeout:g} s"
            raise Lost(f"{self.base_url} took the request and no whole reply came back {within}") from error
        except httpx.HTTPError as error:
            raise transport_error(error, self.base_url) from error

    def _request(self, method: str, path: str, body: bytes | None) -> httpx.Request:
        """Where the transport allows, the path is no part of the address: to read one costs httpx as much as to send it."""
        headers = self._asking if body is None else self._telling
        if not self._takes_targets:
            return httpx.Request(method, self.base_url + path, headers=headers, content=body)
        target = self._url.raw_path.rstrip(b"/") + path.encode("ascii")
        return httpx.Request(method, self._url, headers=headers, content=body, extensions={"target": target})

    def _explain(self, error: ApiError) -> None:
        """Add the next step, and leave out a cause that would show a secret: of the proxy's, say, in a traceback."""
        if isinstance(error, KeysRefused):
            error.message = f"{self.base_url} refused the keys ({error}): check {' and '.join(KEY_VARIABLES)}"
        if isinstance(error, TurnedAway) and error.status in (404, 405):
            error.message = f"{self.base_url}: {error}"
        error.message = cut(error.message, LONGEST_MESSAGE)
        error.args = (error.message,)
        without_secrets(error)


def _let_go_of_bodies(error: BaseException | None) -> None:
    """An error may be kept for a while, and its traceback would keep all that was received."""
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _traced(error: NotTheProtocol, response: httpx.Response) -> NotTheProtocol:
    """The same error, with the id of the request that was answered so."""
    request_id = error_replies.request_id_of(response.headers)
    told = error.message if request_id is None else f"{error.message} (request id {request_id})"
    return type(error)(told, status=response.status_code, request_id=request_id)


async def _received(response: httpx.Response, long_replies: asyncio.Semaphore) -> bytes:
    """Its body, and of a redirect or a refusal what comes of it soon: its status says that nothing was accepted."""
    if not 300 <= response.status_code < 500:
        return await _all_of(response, long_replies)
    try:
        async with time_limit(ENOUGH_FOR_A_REFUSAL):
            return await _all_of(response, long_replies)
    except (httpx.HTTPError, asyncio.TimeoutError):
        return b""


async def _all_of(response: httpx.Response, long_replies: asyncio.Semaphore) -> bytes:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    most, length = _most(response), 0
    parts: list[bytes] = []
    async with AsyncExitStack() as room:
        async for part in response.stream:
            if length <= SHORT_REPLY < length + len(part):
                await room.enter_async_context(long_replies)
            parts.append(part)
            length += len(part)
            if length > most:
                break
        return b"".join(parts)


def _most(response: httpx.Response) -> int:
    return LONGEST_REPLY if response.is_success else LONGEST_ERROR


def _unpacked(response: httpx.Response, received: bytes) -> bytes:
    """The body of a reply, however much is packed in it: whole, or NotTheProtocol. Of an error, its beginning."""
    most = _most(response)
    if "content-encoding" in response.headers:
        try:
            received = _decompressed(received, response.headers["content-encoding"].strip().lower(), most)
        except NotTheProtocol:
            if response.is_success:
                raise
            return b""  # its status says enough
    if len(received) > most and response.is_success:
        raise NotTheProtocol(f"the server's reply is longer than {most >> 20} MiB, which no reply of this API is")
    return received


_WINDOWS = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}
"""zlib's window bits for each encoding. Some servers mean the bare stream by deflate."""


def _decompressed(packed: bytes, encoding: str, most: int) -> bytes:
    """At most one byte more than `most`: a few packed bytes may stand for gigabytes."""
    if encoding == "identity":
        return packed
    told = f"the server's reply can't be decoded as {encoding[:40]!r}"
    for window in _WINDOWS.get(encoding, ()):
        try:
            return zlib.decompressobj(window).decompress(packed, most + 1)
        except zlib.error as error:
            told = f"{told} ({error})"
    raise NotTheProtocol(told)


def transport_error(error: httpx.HTTPError, where: str) -> ApiError:
    """Lost where the request may have gone out, Unreachable where it certainly did not.

    Calling a lost POST unsent would submit, and pay, twice.
    """
    told = " ".join(in_words(error).split())
    if isinstance(error, Untrusted):
        return Unreachable(f"the certificate of {where} can't be trusted ({told}): {_TRUST}")
    if isinstance(error, NoWayThrough):
        return no_way_through(where, error.proxy, told, wants_login=error.status == 407)
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)):
        return Unreachable(f"can't connect to {where} ({told}): is the server running, and is the base URL right?")
    return Lost(f"{where} took the request and no reply came back ({told})")


def no_way_through(where: str, proxy: str | None, told: str, *, wants_login: bool) -> Unreachable:
    """Of a request that a proxy did not pass on."""
    variable = _proxy_variable(httpx.URL(where).scheme)
    named = f"the proxy {proxy} that {variable} names" if proxy else "a proxy on the way"
    next_step = (
        f"it wants a login: put NAME:PASSWORD@ before its host in {variable}"
        if wants_login
        else f"is that proxy running, and does it let you through to there? no_proxy={httpx.URL(where).host} goes past it"
    )
    return Unreachable(
        f"can't connect to {where} through {named} ({told}): {next_step}", status=407 if wants_login else None
    )


_TRUST = "where an authority of your own has signed it, name that authority's file in SSL_CERT_FILE"


def _pooled(url: httpx.URL, connections: int, timeout: float) -> PooledTransport:
    """A connection is had within half of the time, or Unreachable: so what then takes too long may have been sent."""
    unsent = timeout / 2
    return PooledTransport(
        connections=connections, connect=min(15.0, unsent), wait=unsent, ssl=_certificates(url), proxy=_proxy(url)
    )


def _certificates(url: httpx.URL) -> SSLContext | bool:
    if url.scheme != "https":
        return True  # none are needed, and they take a while to load
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        named = os.environ.get("SSL_CERT_FILE")
        raise PlanError(f"SSL_CERT_FILE names {named!r}, which can't be read as certificates ({error})") from error


def _proxy(url: httpx.URL) -> str | None:
    """The proxy that the environment names for this address."""
    variable = _proxy_variable(url.scheme)
    named = getproxies().get(variable.removesuffix("_proxy"))
    if not named or proxy_bypass(url.host):
        return None
    keep_url(named)
    if not re.fullmatch(
        r"https?://([^\s/@]+@)?(\[[0-9a-fA-F:]+\]|[^\s/@:\[\]]+)(:\d+)?/?", named
    ):  # it may hold a password, so it is not shown
        raise PlanError(
            f"{variable} names no HTTP proxy that can be used: write it as http://host:3128, and / and @ in a "
            f"password as %2F and %40"
        )
    return named


def _proxy_variable(scheme: str) -> str:
    """What names the proxy for addresses of that scheme: all_proxy, where nothing is said of them alone."""
    proxies = getproxies()
    return "all_proxy" if "all" in proxies and scheme not in proxies else f"{scheme}_proxy"


def _shown_proxy(url: httpx.URL) -> str | None:
    return (named := _proxy(url)) and shown_address(URL(named))


def _header_text(variable: str) -> str:
    text = os.environ.get(variable, "").strip()
    if not all("!" <= letter <= "~" for letter in text):
        raise PlanError(f"{variable} holds a space, a curly quote or the like, which no key or id has: copy it again")
    return text


def checked_url(text: str) -> str:
    url = text.strip().rstrip("/")
    if "@" in url:  # said first, for the other sentences show the address
        raise PlanError("the base URL carries a user name or password: give keys in FI_API_KEY and FI_SECRET_KEY only")
    try:
        parsed = httpx.URL(url)
        parsed.host.encode("idna")
    except (httpx.InvalidURL, ValueError) as error:
        raise PlanError(
            f"base URL {text!r} can't be read ({error}): write it as https://host or http://host:8000"
        ) from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise PlanError(f"base URL {text!r} is not a web address: write it as https://host or http://host:8000")
    return url
