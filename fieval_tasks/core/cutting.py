"""Text that is too long to be kept is cut, and says so and how long it was."""

from __future__ import annotations


def cut(text: str, most: int, *, of: int | None = None) -> str:
    """At most so many characters. `of`: how long it was, where this is only its beginning."""
    whole = len(text) if of is None else of
    if whole <= most and len(text) <= most:
        return text
    mark = f"… (cut, {whole:,} characters)"
    return text[: max(0, most - len(mark))] + mark
