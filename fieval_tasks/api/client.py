"""The evaluation API's three calls over httpx; every answer that is not a valid reply is raised as a typed error."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from traceback import clear_frames
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from fieval_tasks.api import error_replies, wire
from fieval_tasks.api.dialect import Listener
from fieval_tasks.api.network import login_wanted, pooled, transport_error
from fieval_tasks.api.reply_bodies import BOUNDS, BodyReader, Bounds, time_limit
from fieval_tasks.core.cutting import cut
from fieval_tasks.core.errors import (
    ApiError,
    KeysRefused,
    Lost,
    NotTheProtocol,
    PlanError,
    Refused,
    TurnedAway,
)
from fieval_tasks.core.items import Evaluation, Pending, Verdict
from fieval_tasks.core.scrubbing import (
    SHORTEST_IN_DATA,
    forms_in_data,
    raise_without_secrets,
    remember_secrets,
    scrubbed_data,
    without_secrets,
)
from fieval_tasks.core.templates import Catalogue

T = TypeVar("T")

CLOUD = "https://api.futureagi.com"
KEY_VARIABLES = ("FI_API_KEY", "FI_SECRET_KEY")
# Its cause may quote megabytes that the server sent.
LONGEST_MESSAGE = 3_000
"""Characters of an error's message."""


@dataclass(frozen=True)
class Credentials:
    """The platform's keys and the address that they are for. Neither key shows in a repr."""

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
        """Whether both keys are set."""
        return all(os.environ.get(name, "").strip() for name in KEY_VARIABLES)

    @property
    def headers(self) -> dict[str, str]:
        """The API's own headers. Never Authorization: the server would read that one first and answer 401."""
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
        bounds: Bounds = BOUNDS,
    ) -> None:
        """`timeout`: seconds from a call to the last byte of its reply."""
        self.base_url = credentials.base_url.rstrip("/")
        self._url = httpx.URL(self.base_url)
        self._transport = transport or pooled(self._url, connections, timeout)
        self._takes_targets = transport is None
        ours = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate", "User-Agent": "fieval"}
        ours["Host"] = self._url.netloc.decode("ascii")
        self._plain_headers = httpx.Headers(credentials.headers | ours)
        self._json_headers = httpx.Headers(credentials.headers | ours | {"Content-Type": "application/json"})
        self._timeout = timeout
        self._listener = Listener()
        self._bounds = bounds
        self._bodies = BodyReader(bounds)
        keys = [key for key in (credentials.api_key, credentials.secret_key) if len(key) >= SHORTEST_IN_DATA]
        self._secret = forms_in_data(*keys)
        remember_secrets(*keys)  # a shorter one, such as "test", would be found in any sentence

    async def __aenter__(self) -> EvalClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def in_time(self, call: Awaitable[T], seconds: float) -> T:
        """The result of one of this client's calls. Raises Lost where it takes longer than so many seconds."""
        if seconds >= self._timeout:
            return await call
        try:
            async with time_limit(seconds):
                return await call
        except asyncio.TimeoutError as error:
            raise Lost(f"no whole reply came within {seconds:.0f} s, which is the item's time") from error

    @property
    def notices(self) -> tuple[str, ...]:
        """A sentence for each way in which the server's replies changed while this client used it, for a report."""
        return self._listener.notices

    async def templates(self) -> Catalogue:
        """The templates that these keys may use."""
        source = f"the catalogue of {self.base_url}"
        return await self._call("GET", wire.TEMPLATES, lambda reply: wire.catalogue(reply, source=source))

    async def is_there(self) -> bool:
        """Whether the API answers get-evals. If it does while some items get no answer, those items are the cause."""
        return await self._error_in_time(self.templates()) is None

    async def takes_submissions(self) -> bool:
        """Whether the API answers an empty submission, which buys nothing, with its validation error."""
        call = self._call("POST", wire.EVALUATIONS, lambda reply: reply, body=b"{}")
        return isinstance(await self._error_in_time(call), Refused)

    async def _error_in_time(self, call: Awaitable[object]) -> ApiError | None:
        try:
            await self.in_time(call, self._bounds.presence)
        except ApiError as error:
            return error
        return None

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
            raise NotTheProtocol(f"{self.base_url} took it as {eval_id} and gave no verdict: get_result asks for it")
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

    async def get_row(self, eval_id: str) -> Evaluation:
        """How the evaluation stands, and on which inputs it is."""
        path = f"{wire.EVALUATIONS}?eval_id={quote(eval_id, safe='')}"
        return await self._call("GET", path, partial(wire.evaluation, eval_id=eval_id), sent=1)

    async def submit_pack(
        self,
        template: str,
        inputs: Sequence[Mapping[str, str]],
        *,
        model: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> list[str | None]:
        """Submit items of one check in one request; their eval_ids, in order. None: perhaps accepted, without an eval_id."""
        body = wire.submission(template, inputs, model=model, params=params, is_async=True)
        decode = partial(wire.eval_ids, expected=len(inputs))
        return await self._call("POST", wire.EVALUATIONS, decode, body=body, sent=len(inputs))

    async def evaluate_pack(
        self,
        template: str,
        inputs: Sequence[Mapping[str, str]],
        *,
        model: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> list[wire.Answered]:
        """Evaluate items of one check in one synchronous request; (eval_id, verdict) of each, in order.

        Where the reply has no verdict for an item, it is Pending if there is an eval_id to ask for, else None.
        """
        body = wire.submission(template, inputs, model=model, params=params, is_async=False)
        decode = partial(wire.verdicts, expected=len(inputs))
        try:
            return await self._call("POST", wire.EVALUATIONS, decode, body=body, sent=len(inputs))
        except Refused as error:
            raise error_replies.judges_failure(error) from error.__cause__

    async def _call(
        self, method: str, path: str, decode: Callable[[Any], T], *, body: bytes | None = None, sent: int = 0
    ) -> T:
        """The decoded JSON of a 2xx reply. `sent`: items that the request carried; 0 for a call that is not about items."""
        try:
            reply, answer = await self._answered(method, path, decode, body)
            if sent:
                self._listener.hear(reply, sent=sent)
            return answer
        except ApiError as error:
            _let_go_of_bodies(error)
            self._explain(error)
            raise
        except Exception as error:  # nobody's answer to give, but it may hold the request with its headers
            raise_without_secrets(error)

    async def _answered(self, method: str, path: str, decode: Callable[[Any], T], body: bytes | None) -> tuple[Any, T]:
        response, received = await self._exchange(method, path, body)
        if response.status_code == 407:
            raise login_wanted(self.base_url)
        content = scrubbed_data(self._bodies.unpacked(response, received), self._secret)
        if not response.is_success:
            raise error_replies.error(response.status_code, response.headers, content)
        try:
            reply = wire.parsed(content)
            return reply, decode(reply)
        except NotTheProtocol as error:
            raise _traced(error, response) from error

    async def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[httpx.Response, bytes]:
        """A response and its body as received, bounded by Bounds.

        Calls the transport without httpx's client around it: that would follow redirects with the keys, keep cookies and
        read netrc, and costs twice as much CPU (`python -m benchmarks cpu`).
        """
        request = self._request(method, path, body)
        try:
            async with time_limit(self._timeout):  # for the whole of it: a server may drip a byte a second for ever
                response = await self._transport.handle_async_request(request)
                try:
                    return response, await self._bodies.received(response)
                finally:
                    await response.aclose()
        except asyncio.TimeoutError as error:
            within = f"within {self._timeout:g} s"
            raise Lost(f"{self.base_url} took the request and no whole reply came back {within}") from error
        except httpx.HTTPError as error:
            raise transport_error(error, self.base_url) from error

    def _request(self, method: str, path: str, body: bytes | None) -> httpx.Request:
        """The request, its path as the `target` extension where the transport takes one: parsing a URL costs httpx as much
        CPU as sending it."""
        headers = self._plain_headers if body is None else self._json_headers
        if not self._takes_targets:
            return httpx.Request(method, self.base_url + path, headers=headers, content=body)
        target = self._url.raw_path.rstrip(b"/") + path.encode("ascii")
        return httpx.Request(method, self._url, headers=headers, content=body, extensions={"target": target})

    def _explain(self, error: ApiError) -> None:
        """Add the next step to the error, and drop a cause whose traceback would show a secret, such as a proxy's password."""
        if isinstance(error, KeysRefused):
            error.message = f"{self.base_url} refused the keys ({error}): check {' and '.join(KEY_VARIABLES)}"
        if isinstance(error, TurnedAway) and error.status in (404, 405):
            error.message = f"{self.base_url}: {error}"
        error.message = cut(error.message, LONGEST_MESSAGE)
        error.args = (error.message,)
        without_secrets(error)


def _let_go_of_bodies(error: BaseException | None) -> None:
    """Clear the frames of an error's traceback: errors are kept for a while, and those hold the received bodies."""
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _traced(error: NotTheProtocol, response: httpx.Response) -> NotTheProtocol:
    """The same error, with the server's id of the request."""
    request_id = error_replies.request_id_of(response.headers)
    message = error.message if request_id is None else f"{error.message} (request id {request_id})"
    return type(error)(message, status=response.status_code, request_id=request_id)


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
