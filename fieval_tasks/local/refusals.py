"""Answers that are not 200.

Refusal                  any error envelope, raised from wherever the fault is found
├── bad_fields()         400, one list of complaints per field
├── invalid()            400, one sentence
├── not_authenticated(), authentication_failed()    401
├── api_error()          400 (unknown host), 404, 405, 406, 413, 415
└── server_error()       500, always the same sentence
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Complaints = Mapping[str, Sequence[str]]
"""Field name -> what is wrong with it; `non_field_errors` for the request as a whole."""

_UNABLE: Final = "Unable to run standalone evaluation. Please try again."


class Refusal(Exception):
    """An error envelope on its way out."""

    def __init__(self, status: int, kind: str, code: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        # The platform says the same text four times over, for old clients.
        self.body: dict[str, Any] = {
            "status": False,
            "type": kind,
            "code": code,
            **dict.fromkeys(("detail", "message", "error", "result"), detail),
            **more,
        }
        self.headers: dict[str, str] = {"WWW-Authenticate": "ApiKey"} if status == 401 else {}


def bad_fields(complaints: Complaints) -> Refusal:
    """400 naming each field at fault; `attr` is the first of them."""
    first = next(iter(complaints))
    attr = {} if first == "non_field_errors" else {"attr": first}
    listed = {field: list(texts) for field, texts in complaints.items()}
    return Refusal(400, "validation_error", "invalid", "Validation failed", **attr, details=listed, errors=dict(listed))


def invalid(detail: str) -> Refusal:
    return Refusal(400, "validation_error", "invalid", detail)


def parse_error(cause: Exception) -> Refusal:
    return _detailed(400, "validation_error", "parse_error", f"JSON parse error - {cause}")


def not_authenticated() -> Refusal:
    detail = "Authentication credentials were not provided."
    return _detailed(401, "authentication_error", "not_authenticated", detail)


def authentication_failed(detail: str) -> Refusal:
    return _detailed(401, "authentication_error", "authentication_failed", detail)


def api_error(status: int, code: str, detail: str) -> Refusal:
    return _detailed(status, "api_error", code, detail)


def server_error() -> Refusal:
    return Refusal(500, "server_error", "server_error", _UNABLE)


def _detailed(status: int, kind: str, code: str, detail: str) -> Refusal:
    return Refusal(status, kind, code, detail, details={"detail": [detail]})
