"""Cutting text that is too long to be kept, with a mark that says how long it was."""

from __future__ import annotations


def cut(text: str, most: int, *, of: int | None = None) -> str:
    """The text in at most `most` characters. `of`: the length of the whole text, where `text` is only its beginning."""
    whole = len(text) if of is None else of
    if whole <= most and len(text) <= most:
        return text
    mark = f"… (cut, {whole:,} characters)"
    return text[: max(0, most - len(mark))] + mark
