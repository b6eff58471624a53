"""Input values and parameters, read the way the platform's code templates read them."""

from __future__ import annotations

import json
from typing import Any, Final

from fieval_tasks.local.verdicts import Inputs, Params, Unscorable

LARGEST_NUMBER: Final = 1e150
"""Its square is still a float."""

_FALSE: Final = frozenset({"false", "no", "off", "0", ""})


def text(inputs: Inputs, key: str) -> str:
    """A value as text; a list's strings are joined by spaces."""
    value = inputs[key]
    return value if isinstance(value, str) else " ".join(value)


def texts(inputs: Inputs, key: str) -> list[str]:
    """A value as a list: a JSON array, an array as it came, or the parts between commas."""
    value = inputs[key]
    found = parsed(value) if isinstance(value, str) else value
    if isinstance(found, list):
        return [item if isinstance(item, str) else json.dumps(item) for item in found]
    return [part for part in map(str.strip, value.split(",")) if part]


def labels(inputs: Inputs, key: str) -> list[str]:
    """A value as class labels, lower-case; text that is not a JSON array is one label."""
    value = inputs[key]
    found = parsed(value) if isinstance(value, str) else value
    items = found if isinstance(found, list) else [value]
    return [str(item).strip().lower() for item in items]


def numbers(inputs: Inputs, key: str) -> list[float]:
    """A value as numbers. Raises Unscorable where one is not."""
    try:
        found = [float(item) for item in texts(inputs, key)]
    except ValueError as error:
        raise Unscorable(f"{key!r} is not a list of numbers: {error}") from None
    if not all(abs(number) <= LARGEST_NUMBER for number in found):
        raise Unscorable(f"{key!r} holds a number that is not finite, or beyond {LARGEST_NUMBER:g}")
    return found


def pairs(inputs: Inputs, first: str, second: str, *, at_least: int = 1) -> tuple[list[float], list[float]]:
    """Two values as series of equal length. Raises Unscorable where they are not."""
    one, other = numbers(inputs, first), numbers(inputs, second)
    if len(one) != len(other) or len(one) < at_least:
        counts = f"{len(one)} and {len(other)}"
        raise Unscorable(f"{first!r} and {second!r} need at least {at_least} paired numbers, not {counts}")
    return one, other


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
    return value.strip().lower() not in _FALSE if isinstance(value, str) else bool(value)


def whole(params: Params, name: str) -> int | None:
    """A whole-number parameter, or None where it is missing or something else."""
    try:
        return int(params[name])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
