"""The typed error for an answer that is not 2xx, whether the API, a gateway or another server gave it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from fieval_tasks.api.verdict_values import finite, shown, text_of
from fieval_tasks.core import errors
from fieval_tasks.core.cutting import cut
from fieval_tasks.core.errors import ApiError, Refused
from fieval_tasks.core.items import Failed
from fieval_tasks.core.scrubbing import scrubbed

JSON = Any

LONGEST_SENTENCE = 2_000
"""Characters that are kept of a server's error message."""
# A Retry-After beyond a day is a mistake, such as a date in epoch seconds: it is ignored.
LONGEST_RETRY_AFTER = 86_400.0
"""Seconds."""


_TOO_LONG = re.compile(r"Input lists cannot have more than ([1-9][0-9]{0,5}) items", re.IGNORECASE)
_BY_STATUS: Mapping[int, type[ApiError]] = {
    # A gateway waited for the server in vain; those from 520 on are a content network's.
    **dict.fromkeys((502, 504, 520, 522, 524), errors.GatewayFault),
    # The server takes nothing now, or a content network can't connect to it.
    **dict.fromkeys((503, 521, 523), errors.Unavailable),
}
"""Status -> its error, whoever answered and whatever the body says. What is not here goes by its hundred, and by the body."""


def longest_pack_named(error: Refused) -> int | None:
    """How many items a request may carry, if that is why a pack was refused; else None."""
    found = _TOO_LONG.search(str(error))
    return int(found[1]) if found else None


def error(status: int, headers: Mapping[str, str], body: bytes, *, now: float | None = None) -> ApiError:
    """The typed error of an answer that is not 200."""
    reply = _parsed_or_none(body)
    message = cut(_error_text(reply) or "", LONGEST_SENTENCE) or f"HTTP {status} with a body that is not the API's"
    request_id = request_id_of(headers)
    if status == 429 or (status == 503 and "retry-after" in headers):
        wait = _retry_after(headers.get("retry-after"), reply, now=time() if now is None else now)
        return errors.Throttled(message, retry_after=wait, status=status, request_id=request_id)
    if (of_its_own := _BY_STATUS.get(status)) is not None:
        return of_its_own(message, status=status, request_id=request_id)
    if 300 <= status < 500:
        refusal = _refusal(status, reply, message) if _is_error_envelope(reply) and status >= 400 else None
        refusal = refusal or errors.TurnedAway(_hint(status, headers))
        refusal.status, refusal.request_id = status, request_id
        return refusal
    kind = errors.ServerFault if status >= 500 else errors.NotTheProtocol
    return kind(message, status=status, request_id=request_id)


def _refusal(status: int, reply: Mapping[str, Any], message: str) -> ApiError | None:
    """The error in the API's own envelope; None where the envelope is not the API's."""
    if status in (401, 403) and _is_about_keys(reply):
        return errors.KeysRefused(message)
    if status == 402:
        return errors.NoCredit(message)
    if message.rstrip(".") == "Evaluation not found":
        return errors.NotFound(message)
    if status == 404:
        return None  # another server than this API
    refused = Refused(message)
    refused.is_validation = status != 400 or _is_validation(reply)
    return refused


def _is_error_envelope(reply: JSON) -> TypeGuard[Mapping[str, Any]]:
    """Whether the JSON is an error envelope of this API, as new or old servers write it."""
    if not isinstance(reply, dict):
        return False
    error = reply.get("error")
    is_documented = isinstance(error, dict) and all(isinstance(error.get(name), str) for name in ("code", "message"))
    is_old = isinstance(reply.get("detail"), str) or isinstance(reply.get("errors"), dict)
    return reply.get("status") is False or is_old or is_documented


def _is_about_keys(reply: Mapping[str, Any]) -> bool:
    """Whether a 403 refuses the keys. Old servers' envelopes have no `type`, so theirs always do."""
    kinds = (None, "authentication_error", "permission_error")
    codes = ("not_authenticated", "authentication_failed", "permission_denied")
    return reply.get("type") in kinds or reply.get("code") in codes


def _is_validation(reply: Mapping[str, Any]) -> bool:
    """Whether the API refused the request before it began to evaluate: by `details`, `errors` or its fixed sentences."""
    is_explained = bool(reply.get("details") or reply.get("errors"))
    return is_explained or _error_text(reply) in ("Validation failed", "Evaluation not found.")


def judges_failure(error: Refused) -> ApiError:
    """The error for a refused synchronous call that is no validation error: its judge failed, or a limit refused it."""
    if error.is_validation:
        return error
    kind = evaluation_error(error.message).kind
    limits: Mapping[str, type[ApiError]] = {"rate_limited": errors.Throttled, "insufficient_credits": errors.NoCredit}
    failure = limits.get(kind, errors.EvaluationFailed)
    return failure(error.message, status=error.status, request_id=error.request_id)


def evaluation_error(message: str) -> Failed:
    beginning = scrubbed(text_of(message[: 2 * LONGEST_SENTENCE]))
    reason = beginning if len(message) <= LONGEST_SENTENCE else cut(beginning, LONGEST_SENTENCE, of=len(message))
    kind = next((kind for kind, sentence in _LIMITS.items() if sentence.fullmatch(reason.strip())), "evaluation_error")
    return Failed("evaluate", kind, reason)


_NOT_ALLOWED = r"(?:API call not allowed ?: ?)?"
# Matched as whole sentences, as "API call not allowed: rate_limited" and "Free tier limit reached for ai_credits": an error
# may quote an item's own words. A rate limit of the judge's own provider (RateLimitError, insufficient_quota) does not
# belong here: there the platform ran the evaluation, and the evaluation failed.
_LIMITS = {
    "rate_limited": re.compile(rf"{_NOT_ALLOWED}rate_limited\.?", re.IGNORECASE),
    "insufficient_credits": re.compile(
        rf"{_NOT_ALLOWED}insufficient[ _]credits?\.?|(?:you are )?out of credits?\.?"
        r"|(?:\w+ ){0,3}limit reached for \w*credits?\.?",
        re.IGNORECASE,
    ),
}


def _parsed_or_none(body: bytes) -> JSON:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _error_text(reply: JSON) -> str | None:
    """The message of an error envelope, with its fields' complaints where there are some."""
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
    named = reply.get("errors")
    if not isinstance(named, dict):
        return {}
    return {text_of(k): [text_of(x) for x in v] if isinstance(v, list) else [text_of(v)] for k, v in named.items()}


def _retry_after(header: str | None, reply: JSON, *, now: float) -> float | None:
    """Seconds to wait: the header as a number or an HTTP date, else `retry_after` in the body."""
    if header is not None:
        seconds = _seconds(header)
        seconds = _seconds(_until(header, now=now)) if seconds is None else seconds
        if seconds is not None:
            return seconds
    result = reply.get("result") if isinstance(reply, dict) else None
    return _seconds(result.get("retry_after")) if isinstance(result, dict) else None


def _seconds(value: Any) -> float | None:
    seconds = finite(value)
    return seconds if seconds is not None and 0 <= seconds <= LONGEST_RETRY_AFTER else None


def _until(http_date: str, *, now: float) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(http_date).timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return None


def _hint(status: int, headers: Mapping[str, str]) -> str:
    """What may have given an answer that is not the API's, and the next step."""
    if status < 400:
        return f"the server redirects to {_place(headers.get('location'))} (HTTP {status}): check the base URL"
    if status in (404, 405):
        return f"HTTP {status}: no evaluation API at this address: check the base URL"
    if status == 413:
        return "HTTP 413: the request is too long for a proxy before the API"
    return f"HTTP {status} that is not the API's: a firewall or a proxy before it turned the request away"


def _place(location: str | None) -> str:
    """Where a redirect leads: scheme and host only, since its path and query may hold secrets."""
    try:
        parts = urlsplit(location or "")
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an address that can't be read"
    if host:
        return shown(f"{parts.scheme}://{host}" if parts.scheme else host)
    return "another path of its own" if parts.path and not parts.scheme else "no address"


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """The server's id of the request, by which its log can be searched."""
    given = headers.get("x-request-id", "")
    return scrubbed("".join(letter for letter in given[:100] if letter.isprintable())) or None
