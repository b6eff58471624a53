"""The evaluator behind HTTP: the three calls, and every other way to be answered."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from fieval_tasks.local import intake, replies
from fieval_tasks.local.catalogue import ENTRIES
from fieval_tasks.local.evaluator import Evaluator
from fieval_tasks.local.hosts import answers_to
from fieval_tasks.local.refusals import (
    Refusal,
    api_error,
    authentication_failed,
    invalid,
    not_authenticated,
    server_error,
)
from fieval_tasks.local.scorer import Limits
from fieval_tasks.local.verdicts import NoInput, Unscorable

_log = logging.getLogger(__name__)

ROOT: Final = "/sdk/api/v1"
LARGEST_BODY: Final = 16 * 2**20
"""Bytes of a request body beyond which the answer is 413."""

Handler = Callable[[Request], Awaitable[bytes]]


def build(
    *,
    api_key: str,
    secret_key: str,
    database: Path | str | None,
    workers: int,
    delay: float,
    names: Collection[str] | None,
    limits: Limits | None = None,
) -> Starlette:
    """See `fieval_tasks.local.create_app`."""
    if not api_key.strip() or not secret_key.strip():
        raise ValueError("the local evaluator needs an API key and a secret key that are not blank")
    if workers < 1 or delay < 0:
        raise ValueError(f"workers must be at least 1 and delay at least 0, not {workers} and {delay}")
    evaluator = Evaluator(database, workers, delay, limits or Limits())
    calls = _Calls(evaluator)
    keys = _Keys(api_key, secret_key)
    endpoints = {
        f"{ROOT}/new-eval/": _Endpoint({"GET": calls.poll, "POST": calls.evaluate}, keys),
        f"{ROOT}/get-evals/": _Endpoint({"GET": calls.catalogue}, keys),
    }
    routes = [Route(path, endpoint) for path, endpoint in endpoints.items()]
    routes += [Route(path.rstrip("/"), _to_slash, methods=_METHODS) for path in endpoints]
    guards = [] if names is None else [Middleware(_OnlyKnownHosts, names=names)]
    app = Starlette(routes=routes, middleware=guards, lifespan=_lifespan, exception_handlers={404: _not_found})
    app.router.redirect_slashes = False
    app.state.evaluator = evaluator
    return app


class _Calls:
    """What each of the three calls answers with, once a request is let in."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    async def evaluate(self, request: Request) -> bytes:
        submission = await asyncio.to_thread(_submission, await _body(request))
        if submission.is_async:
            return await asyncio.to_thread(self._submitted, submission)
        try:
            return _encode(replies.evaluated(await self._evaluator.run(submission)))
        except Unscorable as error:
            raise invalid(str(error)) from None
        except NoInput:
            raise server_error() from None

    async def poll(self, request: Request) -> bytes:
        intake.parse_json(await _body(request))
        return await asyncio.to_thread(self._state, intake.read_eval_id(dict(request.query_params)))

    async def catalogue(self, request: Request) -> bytes:
        return _encode(replies.done(ENTRIES))

    def _submitted(self, submission: intake.Submission) -> bytes:
        return _encode(replies.submitted(self._evaluator.submit(submission)))

    def _state(self, eval_id: UUID) -> bytes:
        row = self._evaluator.find(eval_id)
        if row is None:
            raise invalid("Evaluation not found.")
        return _encode(replies.state(row, is_running=self._evaluator.is_running(row)))


def _submission(body: bytes) -> intake.Submission:
    return intake.read_submission(intake.parse_json(body))


class _OnlyKnownHosts:
    """Refuses, ahead of all else, what is asked of a host that this server is not."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        hosts = Request(scope).headers.getlist("host") if scope["type"] == "http" else []
        if scope["type"] == "http" and not answers_to(hosts, self._names):
            called = " and ".join(hosts)[:80]
            told = f"This server is not known as {called!r}: ask its address, or start it with --name."
            app = _refused(api_error(400, "unknown_host", told))
        await app(scope, receive, send)


class _Keys:
    """The one pair of keys that is let in."""

    def __init__(self, api_key: str, secret_key: str) -> None:
        self._pair = (api_key.encode(), secret_key.encode())

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise the 401 refusal unless the headers carry both keys and no `Authorization`."""
        if "authorization" in headers:
            # On the platform any such header wins over good keys.
            raise authentication_failed("Invalid Token parsed: Invalid Token parsed: Invalid token encryption")
        given = [headers.get(name, "").strip() for name in ("x-api-key", "x-secret-key")]
        if not all(given):
            raise not_authenticated()
        # Both are compared in full, so that the time taken says nothing about either.
        matches = [hmac.compare_digest(key.encode("latin-1"), own) for key, own in zip(given, self._pair, strict=True)]
        if not all(matches):
            raise authentication_failed("Invalid API key or secret key")


class _Endpoint:
    """An ASGI app for one path, refusing in the platform's order: 406, 401, 405, and then what the call finds."""

    def __init__(self, handlers: Mapping[str, Handler], keys: _Keys) -> None:
        self._handlers = handlers
        self._keys = keys
        self._allow = ", ".join([*handlers, "HEAD", "OPTIONS"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        except Refusal as refusal:
            response = _refused(refusal)
        except Exception:
            _log.exception("%s %s broke", request.method, request.url.path)
            response = _refused(server_error())
        response.headers["Allow"] = self._allow
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=200)
        if not _accepts_json(request.headers.get("accept", "*/*")):
            raise api_error(406, "not_acceptable", "Could not satisfy the request Accept header.")
        self._keys.check(request.headers)
        handler = self._handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            raise api_error(405, "method_not_allowed", f'Method "{request.method}" not allowed.')
        return Response(await handler(request), media_type="application/json")


async def _body(request: Request) -> bytes:
    """The JSON body's bytes; none when the request does not say how many there are.

    Raises the 413 refusal past `LARGEST_BODY`, the 415 one for another content type.
    """
    length = request.headers.get("content-length", "0")
    # The platform reads a chunked body as empty, and so must a rehearsal of it.
    if "transfer-encoding" in request.headers or not length.isdecimal() or int(length) == 0:
        return b""
    if int(length) > LARGEST_BODY:
        raise api_error(413, "request_too_large", f"Request body is larger than {LARGEST_BODY} bytes.")
    content_type = request.headers.get("content-type", "")
    if content_type.split(";")[0].strip().lower() != "application/json":
        raise api_error(415, "unsupported_media_type", f'Unsupported media type "{content_type}" in request.')
    return await request.body()


def _accepts_json(accept: str) -> bool:
    ranges = {part.split(";")[0].strip().lower() for part in accept.split(",")}
    return not ranges.isdisjoint({"*/*", "application/*", "application/json"})


def _refused(refusal: Refusal) -> Response:
    return Response(_encode(refusal.body), refusal.status, refusal.headers, media_type="application/json")


def _encode(body: Any) -> bytes:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair, sent to us escaped: it can only go back escaped.
        return json.dumps(body, separators=(",", ":")).encode()


_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


async def _to_slash(request: Request) -> Response:
    query = f"?{request.url.query}" if request.url.query else ""
    return Response(status_code=301, headers={"Location": f"{request.url.path}/{query}"})


async def _not_found(request: Request, error: Exception) -> Response:
    return _refused(api_error(404, "not_found", "Not found."))


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    evaluator: Evaluator = app.state.evaluator
    await asyncio.to_thread(evaluator.recover)
    yield
    await evaluator.aclose()
