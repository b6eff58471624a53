"""The items packed into one request's `inputs`.

An input value is a string, a list of strings, or a list of lists of strings. The traps are the platform's own: the
*first* key alone decides whether the request is a batch, and then every value is indexed, strings included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fieval_tasks.local.refusals import server_error

Inputs = Mapping[str, Any]
Item = dict[str, Any]

CAP: Final = 3
"""Most items one request may carry once two or more of its values are lists of strings."""
LARGEST_PACK: Final = 100
"""Most items in any case. No cap of the platform's was seen there; ten at a time spare nearly all of the requests."""


def complaint(inputs: Inputs) -> str | None:
    """What is wrong with the shapes of these values, or None."""
    first = next(iter(inputs.values()), "")
    if isinstance(first, list) and len(first) > LARGEST_PACK:
        return f"Input lists cannot have more than {LARGEST_PACK} items, but found length {len(first)}."
    if not all(map(_is_readable, inputs.values())):
        return "All input values must be either strings, lists of strings, or lists of lists of strings."
    lengths = [len(value) for value in inputs.values() if isinstance(value, list) and _are_strings(value)]
    if len(lengths) < 2:
        return None
    if max(lengths) > CAP:
        return f"Input lists cannot have more than {CAP} items, but found length {max(lengths)}."
    return None if len(set(lengths)) == 1 else "All input lists must have the same length."


def unpack(inputs: Inputs) -> list[Item]:
    """The items in order. Raises the 500 refusal where a value is shorter than the first."""
    first = next(iter(inputs.values()), "")
    if not isinstance(first, list):
        return [dict(inputs)]
    try:
        return [{key: value[index] for key, value in inputs.items()} for index in range(len(first))]
    except IndexError:
        raise server_error() from None


def _is_readable(value: object) -> bool:
    if not isinstance(value, list):
        return isinstance(value, str)
    return _are_strings(value) or all(isinstance(row, list) and _are_strings(row) for row in value)


def _are_strings(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
