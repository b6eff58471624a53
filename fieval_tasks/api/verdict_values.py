"""Decoding a verdict's value (typed in a POST's reply, text in a GET's), and bounding other texts and numbers in replies."""

from __future__ import annotations

import ast
import json
import math
import warnings
from collections.abc import Mapping
from typing import Any

from fieval_tasks.core.cutting import cut
from fieval_tasks.core.items import Failed, Scored, Value

# Python's parser takes seconds and much memory for long literals.
LONGEST_LITERAL = 65_536
"""Characters of a text that is parsed as a Python literal; a longer one stays text."""
# Some fifty pages. A judge writes some hundred characters; a server that sends megabytes for each item must fill neither
# the memory nor the ledger.
LONGEST_TEXT = 100_000
"""Characters that are kept of a reason or a value."""


def decode_value(value: Any, output_type: str | None) -> Scored | Failed:
    """A verdict from its value: typed as in a POST's reply, or text as in a GET's. Without reason and runtime."""
    if output_type == "Pass/Fail":
        return _pass_fail(value)
    if output_type in ("score", "numeric"):
        number = finite(value)
        return _unreadable(value, "a finite number") if number is None else Scored(number, score=_in_range(number))
    if output_type == "choices":
        return _choices(value)
    if value is None:
        return _unreadable(value, "a value")
    return Scored(_plain(_literal(value) if isinstance(value, str) and output_type is None else value))


def _pass_fail(value: Any) -> Scored | Failed:
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in ("passed", "pass"):
        return Scored("Passed", score=1.0, passed=True)
    if word in ("failed", "fail"):
        return Scored("Failed", score=0.0, passed=False)
    return _unreadable(value, "Passed or Failed")


def _choices(value: Any) -> Scored | Failed:
    value = _literal(value) if isinstance(value, str) else value
    if isinstance(value, dict):
        return _scored_choice(value)
    return Scored(_plain(value)) if isinstance(value, (list, str)) else _unreadable(value, "a choice")


def _scored_choice(value: Mapping[str, Any]) -> Scored | Failed:
    """The verdict of a choice with its score, or of several choices with one score."""
    score = _in_range(finite(value.get("score")))
    if isinstance(value.get("choices"), list):
        return Scored(_plain(value["choices"]), score=score)
    return _unreadable(value, "a choice") if value.get("choice") is None else Scored(_plain(value), score=score)


def _plain(value: Any) -> Value:
    """Any JSON value or Python literal as a `Value`, nested parts as text."""
    if isinstance(value, (list, dict)) and _is_endless(value):
        return text_of(json.dumps(value, ensure_ascii=False))
    if isinstance(value, list):
        return [text_of(v) for v in value]
    if isinstance(value, dict):
        return {text_of(k): _number_or_text(v) for k, v in value.items()}
    return _number_or_text(value)


def _is_endless(value: list[Any] | dict[str, Any]) -> bool:
    """Whether the choices are longer than LONGEST_TEXT; they are then kept as one text, which is cut."""
    if len(value) > LONGEST_TEXT:
        return True
    parts = value if isinstance(value, list) else [*value, *value.values()]
    return sum(len(part) if isinstance(part, str) else 1 for part in parts) > LONGEST_TEXT


def _number_or_text(value: Any) -> str | float:
    number = None if isinstance(value, str) else finite(value)
    return text_of(value) if number is None else number


def _literal(text: str) -> Any:
    """The list or dict that the text is a Python literal of, as GET writes them; else the text itself."""
    if text[:1] not in ("[", "{") or len(text) > LONGEST_LITERAL:
        return text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python, on a stray backslash in somebody's text
            value = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, (list, dict)) else text


def finite(value: Any) -> float | None:
    """The number, or the number that a text holds; None for anything else, NaN and infinity."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _in_range(number: float | None) -> float | None:
    return number if number is not None and 0.0 <= number <= 1.0 else None


def text_of(value: Any) -> str:
    """Any JSON value as text that every file and database can hold: no NUL, no lone surrogate, LONGEST_TEXT at most."""
    text = cut(value, LONGEST_TEXT) if isinstance(value, str) else shown(value)
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _unreadable(value: Any, wanted: str) -> Failed:
    return Failed("evaluate", "unreadable_value", f"the judge answered {shown(value)} where {wanted} was expected")


def shown(value: Any) -> str:
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or a number of more digits than Python will write
        text = f"an endless {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
