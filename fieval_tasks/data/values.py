"""A cell's value as a text that the API accepts, or the flaw that keeps it from being sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from math import inf, isnan
from pathlib import PurePath
from typing import Any
from uuid import UUID

from fieval_tasks.data.places import MISSING

# The API treats these as no input, like blank text.
BLANK = frozenset({"{}", "[]", "null"})
# The largest value that was seen to be accepted.
LARGEST_TEXT = 30 * 2**20
"""Characters of a value."""
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


@dataclass(frozen=True)
class Flaw:
    """Why a value can't be sent."""

    kind: str
    """blank, nul, surrogate, not_finite, not_text or too_large."""
    why: str
    """A predicate for messages: "is blank"."""


@dataclass(frozen=True)
class Unreadable:
    """A value of a file that Python has no type for."""

    why: str


class _Flawed(Exception):
    def __init__(self, kind: str, why: str) -> None:
        self.flaw = Flaw(kind, why)


def text_of(value: object) -> str | Flaw:
    """The text to send: text as it is, anything else as JSON text. Lists too: the API would read a list as a batch."""
    if value is MISSING:
        return Flaw("blank", "is missing")
    if type(value) is not str:
        plain = _plain_or_flaw(value)
        if isinstance(plain, Flaw):
            return plain
        try:
            value = plain if isinstance(plain, str) else _encode(plain)
        except ValueError:
            return Flaw("not_text", "holds a number of more digits than Python writes")
    return _flaw(value) or value


def typed(value: object) -> object:
    """A value in JSON's types; for a value without a JSON form, a text that says why."""
    if value is MISSING:
        return None
    plain = value if isinstance(value, str) else _plain_or_flaw(value)
    return f"({plain.why})" if isinstance(plain, Flaw) else plain


def is_blank(value: object) -> bool:
    """Whether a value of JSON's types counts as no input."""
    if isinstance(value, str):
        flaw = _flaw(value) if len(value) < 16 or value.isspace() else None
        return flaw is not None and flaw.kind == "blank"
    return value is None or value in ({}, [])


def _plain_or_flaw(value: object) -> object:
    try:
        return _plain(value)
    except _Flawed as error:
        return error.flaw
    except RecursionError:
        return Flaw("not_text", "is nested too deeply")


def _flaw(text: str) -> Flaw | None:
    if not text or text.isspace():
        return Flaw("blank", "is blank")
    if len(text) < 16 and text.strip() in BLANK:
        return Flaw("blank", f"is {text.strip()}, which counts as blank")
    if "\0" in text:
        return Flaw("nul", f"has a NUL character at position {text.index(chr(0)) + 1}")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return Flaw("surrogate", f"has half a surrogate pair at position {error.start + 1}")
    if len(text) > LARGEST_TEXT:
        return Flaw("too_large", f"is {len(text):,} characters long, over {LARGEST_TEXT:,}")
    return None


def _plain(value: object) -> object:
    """The value in JSON's types. NaN, NaT and NA become null; infinity and undecodable bytes raise _Flawed."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, (float, Decimal)):
        return _number(value)
    if isinstance(value, Mapping):
        return _object(value)
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, (set, frozenset)):  # its own order differs from one process to another
        return sorted((_plain(inner) for inner in value), key=_encode)
    return _foreign(value)


def _object(value: Mapping[object, object]) -> dict[str, object]:
    found = {_whole(key if isinstance(key, str) else str(key)): _plain(inner) for key, inner in value.items()}
    if len(found) < len(value):
        raise _Flawed("not_text", "has two keys with one text")
    return found


def _whole(text: str) -> str:
    if "\0" in text:  # inside JSON text it would hide as \u0000
        raise _Flawed("nul", f"has a NUL character at position {text.index(chr(0)) + 1}")
    return str.__str__(text)  # of an enumeration's member str() may be its name


def _number(value: float | Decimal) -> float | str | None:
    if value.is_nan() if isinstance(value, Decimal) else isnan(value):
        return None
    if value in (inf, -inf):
        raise _Flawed("not_finite", f"is {str(value).lower()}, which JSON has no number for")
    return value if isinstance(value, float) else str(value)


def _foreign(value: object) -> object:
    """A value of NumPy, pandas or pyarrow in JSON's types, recognised without importing them."""
    if isinstance(value, Unreadable):
        raise _Flawed("not_text", f"can't be read ({value.why})")
    if type(value).__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (timedelta, UUID, PurePath)):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _decoded(bytes(value))
    unwrapped = getattr(value, "tolist", None)  # NumPy's scalars and arrays
    if unwrapped is None:
        raise _Flawed("not_text", f"is a {type(value).__name__}, which has no text")
    if getattr(getattr(value, "dtype", None), "kind", "") in ("M", "m"):  # as Python's, nanoseconds are a bare number
        return _times(value)
    return _plain(unwrapped())


def _times(value: Any) -> object:
    if value.ndim:
        return [_times(inner) for inner in value]
    text = str(value)
    return None if text == "NaT" else text


def _decoded(value: bytes) -> str:
    try:
        return _whole(value.decode())
    except UnicodeDecodeError as error:
        raise _Flawed("not_text", f"is bytes that are not UTF-8 (at offset {error.start})") from error
