"""The evaluator behind HTTP: the three calls, and every other way to be answered."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from fieval_tasks.local import envelopes, validation
from fieval_tasks.local.catalogue import LISTING
from fieval_tasks.local.envelopes import ErrorReply, detailed, invalid, unable
from fieval_tasks.local.evaluator import Evaluator
from fieval_tasks.local.hosts import answers_to
from fieval_tasks.local.verdicts import NoInput, Unscorable

_log = logging.getLogger(__name__)

ROOT: Final = "/sdk/api/v1"
# Bytes of a request body beyond which the answer is 413: three texts of 5 MB, far more than a judge reads.
LARGEST_BODY: Final = 16 * 2**20

Handler = Callable[[Request], Awaitable[bytes]]


def build(evaluator: Evaluator, keys: tuple[str, str], names: Collection[str] | None) -> Starlette:
    """The ASGI app of `fieval_tasks.local.create_app`."""
    calls = _Calls(evaluator)
    endpoints = {
        f"{ROOT}/new-eval/": _Endpoint({"GET": calls.poll, "POST": calls.evaluate}, keys),
        f"{ROOT}/get-evals/": _Endpoint({"GET": calls.catalogue}, keys),
    }
    routes = [Route(path, endpoint) for path, endpoint in endpoints.items()]
    routes += [Route(path.rstrip("/"), _to_slash, methods=_METHODS) for path in endpoints]
    guards = [] if names is None else [Middleware(_OnlyKnownHosts, names=names)]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await evaluator.aclose()

    app = Starlette(routes=routes, middleware=guards, lifespan=lifespan, exception_handlers={404: _not_found})
    app.router.redirect_slashes = False
    app.state.evaluator = evaluator
    return app


class _Calls:
    """What each of the three calls answers with, once a request is let in. The store blocks, hence the threads."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    async def evaluate(self, request: Request) -> bytes:
        body = await _body(request)
        post = await asyncio.to_thread(lambda: validation.read_post(validation.parse_json(body)))
        if post.is_async:
            return _encode(envelopes.submitted(await asyncio.to_thread(self._evaluator.submit, post)))
        try:
            return _encode(envelopes.evaluated(await self._evaluator.run(post)))
        except Unscorable as error:
            raise invalid(str(error)) from None
        except NoInput:
            raise unable() from None

    async def poll(self, request: Request) -> bytes:
        validation.parse_json(await _body(request))
        return await asyncio.to_thread(self._state, validation.read_eval_id(dict(request.query_params)))

    async def catalogue(self, request: Request) -> bytes:
        return _encode(envelopes.done(LISTING))

    def _state(self, eval_id: UUID) -> bytes:
        found = self._evaluator.find(eval_id)
        if found is None:
            raise invalid("Evaluation not found.")
        return _encode(envelopes.state(found))


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
            text = f"This server is not known as {called!r}: ask its address, or start it with --name."
            app = _refused(detailed(400, "api_error", "unknown_host", text))
        await app(scope, receive, send)


class _Endpoint:
    """An ASGI app for one path, refusing in the platform's order: 406, 401, 405, and then what the call finds."""

    def __init__(self, handlers: Mapping[str, Handler], keys: tuple[str, str]) -> None:
        self._handlers = handlers
        self._keys = keys
        self._allow = ", ".join([*handlers, "HEAD", "OPTIONS"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        except ErrorReply as error:
            response = _refused(error)
        except Exception:
            _log.exception("%s %s broke", request.method, request.url.path)
            response = _refused(unable())
        response.headers["Allow"] = self._allow
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=200)
        accepted = {part.split(";")[0].strip().lower() for part in request.headers.get("accept", "*/*").split(",")}
        if accepted.isdisjoint({"*/*", "application/*", "application/json"}):
            raise detailed(406, "api_error", "not_acceptable", "Could not satisfy the request Accept header.")
        _check_keys(request.headers, self._keys)
        handler = self._handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            raise detailed(405, "api_error", "method_not_allowed", f'Method "{request.method}" not allowed.')
        return Response(await handler(request), media_type="application/json")


def _check_keys(headers: Mapping[str, str], keys: tuple[str, str]) -> None:
    """Raise the 401 reply unless the headers carry both keys and no `Authorization`."""
    kind, code = "authentication_error", "authentication_failed"
    if "authorization" in headers:
        # On the platform any such header wins over good keys.
        raise detailed(401, kind, code, "Invalid Token parsed: Invalid Token parsed: Invalid token encryption")
    given = [headers.get(name, "").strip() for name in ("x-api-key", "x-secret-key")]
    if not all(given):
        raise detailed(401, kind, "not_authenticated", "Authentication credentials were not provided.")
    # Both are compared in full, so that the time taken says nothing about either.
    pairs = zip(given, keys, strict=True)
    matches = [hmac.compare_digest(theirs.encode("latin-1"), ours.encode()) for theirs, ours in pairs]
    if not all(matches):
        raise detailed(401, kind, code, "Invalid API key or secret key")


async def _body(request: Request) -> bytes:
    """The JSON body's bytes; none when the request does not say how many there are.

    Raises the 413 reply past `LARGEST_BODY`, the 415 one for another content type.
    """
    length = request.headers.get("content-length", "0")
    # The platform reads a chunked body as empty, and so must a rehearsal of it.
    if "transfer-encoding" in request.headers or not length.isdecimal() or int(length) == 0:
        return b""
    if int(length) > LARGEST_BODY:
        text = f"Request body is larger than {LARGEST_BODY} bytes."
        raise detailed(413, "api_error", "request_too_large", text)
    content_type = request.headers.get("content-type", "")
    if content_type.split(";")[0].strip().lower() != "application/json":
        text = f'Unsupported media type "{content_type}" in request.'
        raise detailed(415, "api_error", "unsupported_media_type", text)
    return await request.body()


def _refused(error: ErrorReply) -> Response:
    return Response(_encode(error.body), error.status, error.headers, media_type="application/json")


def _encode(body: Any) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        # Half a surrogate pair, sent to us escaped: it can only go back escaped.
        return json.dumps(body, separators=(",", ":")).encode()


_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


async def _to_slash(request: Request) -> Response:
    query = f"?{request.url.query}" if request.url.query else ""
    return Response(status_code=301, headers={"Location": f"{request.url.path}/{query}"})


async def _not_found(request: Request, error: Exception) -> Response:
    return _refused(detailed(404, "api_error", "not_found", "Not found."))
