"""Names in messages: the first of many, and those that are spelled nearly like another."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three of `known` that are spelled like `name`; case does not matter."""
    by_folded = {k.casefold(): k for k in known}
    return [by_folded[k] for k in difflib.get_close_matches(name.casefold(), by_folded, n=3, cutoff=0.5)]


MOST_LISTED = 20
"""Names that a message lists: more are read by nobody."""


def listed(names: Iterable[str], most: int = MOST_LISTED) -> str:
    """`question, reply and 80 more`."""
    every = [*names]
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def did_you_mean(names: Sequence[str]) -> str:
    """The end of a sentence that suggests these names; empty where there are none."""
    return f"; did you mean {' or '.join(map(repr, names))}?" if names else ""
