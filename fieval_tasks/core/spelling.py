"""Names that are spelled nearly like another, and the question that suggests them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three of `known` that are spelled like `name`; case does not matter."""
    by_folded = {k.casefold(): k for k in known}
    return [by_folded[k] for k in difflib.get_close_matches(name.casefold(), by_folded, n=3, cutoff=0.5)]


def did_you_mean(names: Sequence[str]) -> str:
    """The end of a sentence that suggests these names; empty where there are none."""
    return f"; did you mean {' or '.join(map(repr, names))}?" if names else ""
