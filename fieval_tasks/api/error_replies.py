"""What an answer that is no success says: the typed error of it, whoever gave it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from fieval_tasks.api.verdict_values import finite, shown, text_of
from fieval_tasks.core.cutting import cut
from fieval_tasks.core.errors import (
    ApiError,
    EvaluationFailed,
    GatewayFault,
    KeysRefused,
    NoCredit,
    NotFound,
    NotTheProtocol,
    Refused,
    ServerFault,
    Throttled,
    TurnedAway,
    Unavailable,
)
from fieval_tasks.core.items import Failed
from fieval_tasks.core.scrubbing import scrubbed

JSON = Any

LONGEST_SENTENCE = 2_000
"""Characters of what the server says of an error that are kept."""
LONGEST_WAIT_TOLD = 86_400.0
"""Seconds. A Retry-After beyond a day is a mistake (a date in epoch seconds, say), or worse: as good as none."""


def longest_pack_told(error: Refused) -> int | None:
    """How many items a request may carry, where that is what a packed one was refused for."""
    told = _TOO_LONG.search(str(error))
    return int(told[1]) if told else None


_TOO_LONG = re.compile(r"Input lists cannot have more than ([1-9][0-9]{0,5}) items", re.IGNORECASE)


def error(status: int, headers: Mapping[str, str], body: bytes, *, now: float | None = None) -> ApiError:
    """The typed error of an answer that is not 200."""
    reply = _parsed_or_none(body)
    told = cut(_said(reply) or "", LONGEST_SENTENCE) or f"HTTP {status} with a body that is not the API's"
    request_id = request_id_of(headers)
    if status == 429 or (status == 503 and "retry-after" in headers):
        wait = _retry_after(headers.get("retry-after"), reply, now=time() if now is None else now)
        return Throttled(told, retry_after=wait, status=status, request_id=request_id)
    if 300 <= status < 500:
        return _not_taken(status, reply, told, headers, request_id)
    if status in _GATEWAYS:
        return GatewayFault(told, status=status, request_id=request_id)
    if status in _AWAY:
        return Unavailable(told, status=status, request_id=request_id)
    if status >= 500:
        return ServerFault(told, status=status, request_id=request_id)
    return NotTheProtocol(told, status=status, request_id=request_id)


_AWAY = (503, 521, 523)
"""Of a server that takes nothing now; those from 521 on are a content network's that can't connect to it."""
_GATEWAYS = (502, 504, 520, 522, 524)
"""Of a gateway that waited for the server in vain; those from 520 on are a content network's."""


def _not_taken(status: int, reply: JSON, told: str, headers: Mapping[str, str], request_id: str | None) -> ApiError:
    """The error of a redirect or a refusal: the API's own where it comes in its envelope."""
    if _is_ours(reply) and status >= 400:
        if status in (401, 403) and _is_about_keys(reply):
            return KeysRefused(told, status=status, request_id=request_id)
        if status == 402:
            return NoCredit(told, status=status, request_id=request_id)
        if told.rstrip(".") == "Evaluation not found":
            return NotFound(told, fields=_fields(reply), status=status, request_id=request_id)
        if status != 404:
            fields, is_validation = _fields(reply), status != 400 or _is_validation(reply)
            return Refused(told, fields=fields, is_validation=is_validation, status=status, request_id=request_id)
    return TurnedAway(_hint(status, headers), status=status, request_id=request_id)


def _is_ours(reply: JSON) -> TypeGuard[Mapping[str, Any]]:
    """It is an error envelope of this API, of new servers or old ones."""
    if not isinstance(reply, dict):
        return False
    error = reply.get("error")
    is_documented = isinstance(error, dict) and all(isinstance(error.get(name), str) for name in ("code", "message"))
    is_old = isinstance(reply.get("detail"), str) or isinstance(reply.get("errors"), dict)
    return reply.get("status") is False or is_old or is_documented


def _is_about_keys(reply: Mapping[str, Any]) -> bool:
    """Old servers name no type."""
    kind = reply.get("type")
    return kind is None or kind in ("authentication_error", "permission_error") or reply.get("code") in _KEY_CODES


_KEY_CODES = ("not_authenticated", "authentication_failed", "permission_denied")


def _is_validation(reply: Mapping[str, Any]) -> bool:
    """As the API words what it did not begin to evaluate."""
    is_explained = bool(reply.get("details") or reply.get("errors"))
    return is_explained or _said(reply) in ("Validation failed", "Evaluation not found.")


def judges_failure(error: Refused) -> ApiError:
    """What a refusal of a synchronous call is, whose judge may have failed: told as a row that failed would tell it."""
    if error.is_validation:
        return error
    kind = evaluation_error(error.message).kind
    limits: Mapping[str, type[ApiError]] = {"rate_limited": Throttled, "insufficient_credits": NoCredit}
    failure = limits.get(kind, EvaluationFailed)
    return failure(error.message, status=error.status, request_id=error.request_id)


def evaluation_error(message: str) -> Failed:
    beginning = scrubbed(text_of(message[: 2 * LONGEST_SENTENCE]))
    told = beginning if len(message) <= LONGEST_SENTENCE else cut(beginning, LONGEST_SENTENCE, of=len(message))
    kind = next((kind for kind, sentence in _LIMITS.items() if sentence.fullmatch(told.strip())), "evaluation_error")
    return Failed("evaluate", kind, told)


_NOT_ALLOWED = r"(?:API call not allowed ?: ?)?"
_LIMITS = {
    "rate_limited": re.compile(rf"{_NOT_ALLOWED}rate_limited\.?", re.IGNORECASE),
    "insufficient_credits": re.compile(
        rf"{_NOT_ALLOWED}insufficient[ _]credits?\.?|(?:you are )?out of credits?\.?"
        r"|(?:\w+ ){0,3}limit reached for \w*credits?\.?",
        re.IGNORECASE,
    ),
}
"""Whole sentences, as "API call not allowed: rate_limited" and "Free tier limit reached for ai_credits": an error may quote
an item's own words. A judge's own provider that has enough (RateLimitError, insufficient_quota) is not among them: the
platform ran the evaluation, and it failed."""


def _parsed_or_none(body: bytes) -> JSON:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _said(reply: JSON) -> str | None:
    """The most telling sentence of an error envelope, new or old."""
    if not isinstance(reply, dict):
        return None
    fields = _fields(reply)
    if fields:
        return "; ".join(f"{name}: {' '.join(said)}" if name != "non_field_errors" else " ".join(said)
                         for name, said in fields.items())  # fmt: skip
    for key in ("detail", "message", "error", "result"):
        said = reply.get(key)
        if isinstance(said, dict):
            said = said.get("message")
        if isinstance(said, str) and said:
            return text_of(cut(said, LONGEST_SENTENCE))
    return None


def _fields(reply: Mapping[str, Any]) -> dict[str, list[str]]:
    errors = reply.get("errors")
    if not isinstance(errors, dict):
        return {}
    return {text_of(k): [text_of(x) for x in v] if isinstance(v, list) else [text_of(v)] for k, v in errors.items()}


def _retry_after(header: str | None, reply: JSON, *, now: float) -> float | None:
    """Seconds to wait: the header as a number or an HTTP date, else `retry_after` in the body."""
    if header is not None:
        seconds = _seconds(header)
        seconds = _seconds(_until(header, now=now)) if seconds is None else seconds
        if seconds is not None:
            return seconds
    told = reply.get("result") if isinstance(reply, dict) else None
    return _seconds(told.get("retry_after")) if isinstance(told, dict) else None


def _seconds(value: Any) -> float | None:
    seconds = finite(value)
    return seconds if seconds is not None and 0 <= seconds <= LONGEST_WAIT_TOLD else None


def _until(http_date: str, *, now: float) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(http_date).timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return None


def _hint(status: int, headers: Mapping[str, str]) -> str:
    """Of an answer that is not the API's: who may have given it."""
    if status < 400:
        return f"the server redirects to {_place(headers.get('location'))} (HTTP {status}): check the base URL"
    if status in (404, 405):
        return f"HTTP {status}: no evaluation API at this address: check the base URL"
    if status == 413:
        return "HTTP 413: the request is too long for a proxy before the API"
    return f"HTTP {status} that is not the API's: a firewall or a proxy before it turned the request away"


def _place(location: str | None) -> str:
    """Where a redirect leads: scheme and host only, for its path and query may carry secrets."""
    try:
        parts = urlsplit(location or "")
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an address that can't be read"
    if host:
        return shown(f"{parts.scheme}://{host}" if parts.scheme else host)
    return "another path of its own" if parts.path and not parts.scheme else "no address"


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """By which the server's own log can be searched."""
    told = headers.get("x-request-id")
    return "".join(letter for letter in told[:100] if letter.isprintable()) or None if told else None
