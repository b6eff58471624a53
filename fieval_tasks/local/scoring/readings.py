"""Input values and parameters, read the way the platform's code templates read them; text as words and sentences."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from fieval_tasks.local.verdicts import Inputs, Params, Unscorable

# Its square is still a float.
LARGEST_NUMBER: Final = 1e150

_SENTENCE_END: Final = re.compile(r"(?<=[.!?。！？])[\"')\]]*\s+|\n+|(?<=[。！？])")  # noqa: RUF001
_CJK: Final = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")
_WORD: Final = re.compile(r"\w+(?:[.,]\d+)*")


def text(inputs: Inputs, key: str, joint: str = " ") -> str:
    """A value as text; a list's strings are joined."""
    value = inputs[key]
    return value if isinstance(value, str) else joint.join(value)


def texts(inputs: Inputs, key: str) -> list[str]:
    """A value as a list: a JSON array, an array as it came, or the parts between commas."""
    value = inputs[key]
    found = parsed(value) if isinstance(value, str) else value
    if isinstance(found, list):
        return [item if isinstance(item, str) else json.dumps(item) for item in found]
    return [part for part in map(str.strip, value.split(",")) if part]


def numbers(inputs: Inputs, key: str) -> list[float]:
    """A value as numbers. Raises Unscorable where one is not."""
    try:
        found = [float(item) for item in texts(inputs, key)]
    except ValueError as error:
        raise Unscorable(f"{key!r} is not a list of numbers: {error}") from None
    if not all(abs(number) <= LARGEST_NUMBER for number in found):
        raise Unscorable(f"{key!r} holds a number that is not finite, or beyond {LARGEST_NUMBER:g}")
    return found


def parsed(value: str) -> Any:
    """The JSON value of a text, or None where it is not JSON."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def flag(params: Params, name: str, *, default: bool) -> bool:
    value = params.get(name)
    if value is None:
        return default
    return value.strip().lower() not in {"false", "no", "off", "0", ""} if isinstance(value, str) else bool(value)


def whole(params: Params, name: str) -> int | None:
    """A whole-number parameter, or None where it is missing or something else."""
    try:
        return int(params[name])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def sentences(value: str) -> list[str]:
    """The sentences and lines of a text, bullets and blank ones dropped."""
    parts = (part.strip().lstrip("-*•#> ").strip() for part in _SENTENCE_END.split(value))
    return [part for part in parts if part]


def words(value: str) -> list[str]:
    """Lower-case words and numbers, in order; each CJK character is a word of its own."""
    return _WORD.findall(_CJK.sub(r" \1 ", value.lower()))
