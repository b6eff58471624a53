"""The datasets that are measured with: made, not kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.judge import digest, verdict

_WORDS = "the quick brown fox jumps over the lazy dog while nobody in the quiet village takes any notice of it "


def rows(items: int, size: int) -> Iterator[dict[str, str]]:
    """So many different items, each of about `size` characters."""
    for n in range(items):
        question = f"Question {n}: what happens next?"
        filler = _WORDS * (size // len(_WORDS) + 1)
        yield {"input": question, "output": f"Answer {n}: {filler}"[: max(20, size - len(question))]}


def write(path: Path, items: int, size: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows(items, size):
            file.write(json.dumps(row) + "\n")


def right_verdicts(items: int, size: int) -> Iterator[str]:
    """What the server's judge says of each item, in order."""
    return (verdict(digest(row)) for row in rows(items, size))
