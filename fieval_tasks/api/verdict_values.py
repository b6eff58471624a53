"""A verdict's value, as POST types it and as GET writes it, and every other text and number that the server tells."""

from __future__ import annotations

import ast
import json
import math
import warnings
from collections.abc import Mapping
from typing import Any

from fieval_tasks.core.cutting import cut
from fieval_tasks.core.items import Failed, Scored, Value

# Characters of a Python literal that are worth parsing; longer text stays text.
LONGEST_LITERAL = 65_536
# Characters of a reason or a value that are kept, some fifty pages: a judge gives some hundreds, and a server that
# gives megabytes to each item must fill neither the memory nor the ledger.
LONGEST_TEXT = 100_000


def decode_value(value: Any, output_type: str | None) -> Scored | Failed:
    """A verdict from its value: typed as POST gives it, or text as GET gives it. Reason and runtime come later."""
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
    """Of one choice and its score, or of several choices and their common score."""
    score = _in_range(finite(value.get("score")))
    if isinstance(value.get("choices"), list):
        return Scored(_plain(value["choices"]), score=score)
    return _unreadable(value, "a choice") if value.get("choice") is None else Scored(_plain(value), score=score)


def _plain(value: Any) -> Value:
    """Any JSON or Python literal, as flat as a verdict's value is."""
    if isinstance(value, (list, dict)) and _is_endless(value):
        return text_of(json.dumps(value, ensure_ascii=False))
    if isinstance(value, list):
        return [text_of(v) for v in value]
    if isinstance(value, dict):
        return {text_of(k): _number_or_text(v) for k, v in value.items()}
    return _number_or_text(value)


def _is_endless(value: list[Any] | dict[str, Any]) -> bool:
    """More choices than fit into a text that is kept. They are kept as such a text, which is cut."""
    if len(value) > LONGEST_TEXT:
        return True
    parts = value if isinstance(value, list) else [*value, *value.values()]
    return sum(len(part) if isinstance(part, str) else 1 for part in parts) > LONGEST_TEXT


def _number_or_text(value: Any) -> str | float:
    number = None if isinstance(value, str) else finite(value)
    return text_of(value) if number is None else number


def _literal(text: str) -> Any:
    """GET writes lists and dicts as Python literals: read those, leave any other text alone."""
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
    """A number, or text of one; None for anything else, NaN and infinity."""
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
    """Any JSON as text that every file and database can hold: no NUL, no half of a surrogate pair, no megabytes."""
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
