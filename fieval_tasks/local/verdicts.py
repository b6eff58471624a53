"""What scoring one item can come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

# An item's values by key: a string, or a list of strings.
Inputs = Mapping[str, Any]
Params = Mapping[str, Any]

PASSED: Final = "Passed"
FAILED: Final = "Failed"


@dataclass(frozen=True)
class Verdict:
    """A value as the API types it, and the sentence that says what was computed."""

    value: Any
    """`Passed` or `Failed`, a score (higher is better), or a list of choices."""
    reason: str


class NoInput(Exception):
    """A value the template needs is blank. Async: a failed row with this text; sync: the opaque 500."""


class Unscorable(Exception):
    """The item cannot be scored, for the reason in the text. Async: a failed row; sync: a 400."""


def passed(verdict: bool, reason: str) -> Verdict:
    return Verdict(PASSED if verdict else FAILED, reason)
