"""The evaluation API's three calls over httpx; every answer that isn't one is a typed error."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import quote
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from fieval_tasks import wire
from fieval_tasks.errors import ApiError, KeysRefused, Lost, NotTheProtocol, PlanError, Unreachable
from fieval_tasks.items import Pending, Verdict
from fieval_tasks.templates import Catalogue

CLOUD = "https://api.futureagi.com"
KEY_VARIABLES = ("FI_API_KEY", "FI_SECRET_KEY")


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
            base_url=_checked_url(base_url or os.environ.get("FI_BASE_URL") or CLOUD),
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
        self.base_url = credentials.base_url.rstrip("/")
        self._transport = transport or _aiohttp_transport(self.base_url, connections)
        ours = {"Accept": "application/json", "User-Agent": "fieval", "Host": _host(self.base_url)}
        self._asking = httpx.Headers(credentials.headers | ours)
        self._telling = httpx.Headers(credentials.headers | ours | {"Content-Type": "application/json"})
        self._limits = {"timeout": httpx.Timeout(timeout, connect=15.0).as_dict()}

    async def __aenter__(self) -> EvalClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def templates(self) -> Catalogue:
        """The templates that these keys may use."""
        reply = await self._call("GET", wire.TEMPLATES)
        return wire.catalogue(reply, source=f"get-evals of {self.base_url}")

    async def evaluate(
        self,
        template: str,
        inputs: Mapping[str, str],
        *,
        model: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Verdict:
        """One synchronous evaluation: waits for the judge and answers with its verdict."""
        [(_, verdict)] = await self.evaluate_pack(template, [inputs], model=model, params=params)
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
        return eval_id

    async def get_result(self, eval_id: str) -> Pending | Verdict:
        """How the evaluation stands: Pending, or its verdict."""
        return wire.state(await self._call("GET", f"{wire.EVALUATIONS}?eval_id={quote(eval_id, safe='')}"))

    async def submit_pack(
        self,
        template: str,
        inputs: Sequence[Mapping[str, str]],
        *,
        model: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Submit items of one check in one request; their eval_ids, in order."""
        body = wire.submission(template, inputs, model=model, params=params, is_async=True)
        return wire.eval_ids(await self._call("POST", wire.EVALUATIONS, body=body), expected=len(inputs))

    async def evaluate_pack(
        self,
        template: str,
        inputs: Sequence[Mapping[str, str]],
        *,
        model: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> list[tuple[str | None, Verdict]]:
        """Evaluate items of one check in one synchronous request; (eval_id, verdict) of each, in order."""
        body = wire.submission(template, inputs, model=model, params=params, is_async=False)
        return wire.verdicts(await self._call("POST", wire.EVALUATIONS, body=body), expected=len(inputs))

    async def _call(self, method: str, path: str, *, body: bytes | None = None) -> Any:
        """The parsed body of a 200.

        The transport is called without httpx's client around it: no redirect is followed with the keys in hand, no
        cookie kept, no netrc read, and it costs half as much.
        """
        headers = self._asking if body is None else self._telling
        try:
            request = httpx.Request(
                method, self.base_url + path, headers=headers, content=body, extensions=self._limits
            )
            response = await self._transport.handle_async_request(request)
            try:
                content = await _content(response)
            finally:
                await response.aclose()
        except (httpx.HTTPError, aiohttp.ClientError, ValueError) as error:  # ValueError: a header beyond reading
            raise transport_error(error, self.base_url) from error
        if response.status_code != 200:
            raise self._explained(wire.error(response.status_code, response.headers, content))
        return wire.parsed(content)

    def _explained(self, error: ApiError) -> ApiError:
        if isinstance(error, KeysRefused):
            error.message = f"{self.base_url} refused the keys ({error.message}): check {' and '.join(KEY_VARIABLES)}"
            error.args = (error.message,)
        return error


async def _content(response: httpx.Response) -> bytes:
    """The body. httpx's decoders are only asked where there is something to decode."""
    if "content-encoding" in response.headers:
        return await response.aread()
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return b"".join([part async for part in response.stream])


def transport_error(error: httpx.HTTPError | aiohttp.ClientError | ValueError, where: str) -> ApiError:
    """Lost where the request may have gone out, Unreachable where it certainly did not.

    The aiohttp transport reports a server that hangs up as a *connect* timeout, so its own error behind
    httpx's is asked: calling a lost POST unsent would submit, and pay, twice.
    """
    told = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, httpx.DecodingError):
        return NotTheProtocol(f"{where} sent a body that can't be decoded ({told})")
    if _never_sent(error):
        return Unreachable(f"can't connect to {where} ({told}): is the server running, and is the base URL right?")
    return Lost(f"{where} took the request and no reply came back ({told})")


def _never_sent(error: BaseException) -> bool:
    root = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
    if isinstance(root, aiohttp.ClientError):
        return isinstance(root, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL))
    unsent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
    return isinstance(root, unsent)


def _aiohttp_transport(base_url: str, connections: int) -> httpx.AsyncBaseTransport:
    """httpx's interface over aiohttp's pool, whose cost does not grow with the requests in flight."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=4.0)
    return AiohttpTransport(limits=limits, proxy=_proxy(httpx.URL(base_url)))


def _proxy(url: httpx.URL) -> httpx.Proxy | None:
    """The proxy that the environment names for this address."""
    named = getproxies().get(url.scheme)
    return httpx.Proxy(named) if named and not proxy_bypass(url.host) else None


def _host(base_url: str) -> str:
    return httpx.URL(base_url).netloc.decode("ascii")


def _header_text(variable: str) -> str:
    text = os.environ.get(variable, "").strip()
    if not all("!" <= letter <= "~" for letter in text):
        raise PlanError(f"{variable} holds a space, a curly quote or the like, which no key or id has: copy it again")
    return text


def _checked_url(text: str) -> str:
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
