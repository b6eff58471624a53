"""The rows that report.html holds: compressed as they stream past, within a budget of rows and of bytes."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeAlias
from zlib import crc32

from fieval_tasks.core.items import Result
from fieval_tasks.report.caps import CAPS, Caps
from fieval_tasks.report.differences import Comparison, Flip, JudgedAnswer
from fieval_tasks.report.figures import segments_of
from fieval_tasks.report.record import finite, value_text
from fieval_tasks.report.text import clip, shown_text

COLUMNS = (
    *("item", "row", "check", "repeat", "verdict", "value", "score", "reason", "group", "segments", "change", "before"),
    *("inputs", "cut", "seconds"),
)
"""The places in a row of the page, which its script reads."""
Row: TypeAlias = dict[str, Any]


class Telling(IntEnum):
    """How much a row is missed where the page has no room for all."""

    REST = 0
    """It passed, has a score, or was not needed."""
    FAILED = 1
    """It did not pass, or has no verdict."""
    REGRESSED = 2
    """It passed in the baseline and fails now."""


# Each a fifth to a quarter less than the one before, so that little of the budget stays empty.
_LENGTHS = (4000, 3000, 2400, 1900, 1500, 1200, 950, 750, 600, 480, 380, 300, 240, 190, 150, 120, 90)
_STEPS = (
    *((Telling.REST, length) for length in _LENGTHS),
    *((Telling.FAILED, length) for length in _LENGTHS if length >= 600),
    *((Telling.REGRESSED, length) for length in _LENGTHS if length >= 950),
    (Telling.REST, 0),
    *((which, length) for length in (*_LENGTHS, 0) for which in (Telling.FAILED, Telling.REGRESSED)),
)
"""To how many characters the texts of which rows are shortened, step after step, until all rows fit."""


@dataclass
class Held:
    """The rows that are as telling as each other: packed blocks, and those that are not packed yet."""

    blocks: list[bytes] = field(default_factory=list)
    open: list[Row] = field(default_factory=list)
    open_text: int = 0
    """Characters of the open rows' texts."""
    packed: int = 0
    """Rows in the blocks."""
    longest: int | None = None
    """Characters that a text may have; None: any number."""
    share: float = 1.0
    """Of the rows that are held; less than 1 for a sample."""
    longest_text: int = 0
    """Characters of the longest text that came."""
    shortened: int = 0
    """Rows whose texts are."""
    came: int = 0
    """Rows, of which some may have been left out."""

    def __len__(self) -> int:
        return self.packed + len(self.open)

    def add(self, row: Row, caps: Caps) -> bool:
        """Hold the row, if it is in the sample. True where a block was packed."""
        if self.share < 1 and _place(row) >= self.share:
            return False
        row = row if self.longest is None else _shortened(row, self.longest)
        self.shortened += row["cut"]
        self.open.append(row)
        lengths = [len(text) for text in _texts(row)]
        self.open_text += sum(lengths)
        self.longest_text = max(self.longest_text, *lengths)
        if len(self.open) < caps.page_block_rows and self.open_text < caps.page_block_text:
            return False
        self.close()
        return True

    def close(self) -> None:
        if self.open:
            self.blocks.append(_packed(self.open))
            self.packed += len(self.open)
            self.open, self.open_text = [], 0

    def again(self, caps: Caps) -> None:
        """Pack all rows anew, under another `longest` or `share`."""
        blocks, rows = self.blocks, self.open
        self.blocks, self.open, self.open_text, self.packed, self.longest_text, self.shortened = [], [], 0, 0, 0, 0
        for row in _unpacked(blocks):
            self.add(row, caps)
        for row in rows:
            self.add(row, caps)


class PageRows:
    """Holds the rows of a run's page. Where the caps are reached, texts are shortened and then rows are left out: those that
    are missed least first. What is held then is a sample that depends on the items alone."""

    def __init__(self, comparison: Comparison | None = None, caps: Caps = CAPS) -> None:
        self._caps = caps
        self._changes: dict[tuple[str, str], Flip] = {
            (name, flip.item_id): flip
            for name, change in (comparison.checks.items() if comparison else ())
            for flip in change.flips
        }
        self._moved = {name: change.moved for name, change in comparison.checks.items()} if comparison else {}
        self._kinds = {which: Held() for which in Telling}
        self._steps = iter(_STEPS)

    def add(self, result: Result, group: int | None = None) -> None:
        """`group`: the number of its reason's group."""
        flip = None if result.repeat else self._changes.get((result.check, result.item_id))
        row = _row(result, group, flip)
        if flip is None and result.seq is not None:
            row["change"] = _CHANGES.get(self._moved.get(result.check, {}).get(result.seq))
        kind = self._kinds[_telling(row)]
        kind.came += 1
        if kind.add(row, self._caps):
            self._fit()

    def of_kind(self, which: Telling) -> Held:
        return self._kinds[which]

    @property
    def shown(self) -> int:
        return sum(map(len, self._kinds.values()))

    @property
    def of(self) -> int:
        """Rows that came, of which some may have been left out."""
        return sum(kind.came for kind in self._kinds.values())

    @property
    def shortened(self) -> int:
        """Rows that are held with shortened texts."""
        return sum(kind.shortened for kind in self._kinds.values())

    def blocks(self) -> Iterator[str]:
        """The rows as base64 of gzip of JSON, the most telling first. Ends the adding."""
        kinds = self._kinds.values()
        while any(kind.open for kind in kinds):  # to pack rows anew leaves the last of them open
            for kind in kinds:
                kind.close()
            self._fit()
        for kind in reversed(self._kinds.values()):
            yield from (b64encode(block).decode() for block in kind.blocks)

    def _fit(self) -> None:
        while self.shown > self._caps.page_rows:
            self._thin()
        while self._size() > self._caps.page_bytes and self.shown:
            self._shorten()

    def _size(self) -> int:
        """Characters that the blocks take in the page."""
        return sum(4 * ((len(block) + 2) // 3) + 3 for kind in self._kinds.values() for block in kind.blocks)

    def _thin(self) -> None:
        """Leave out a fifth of the least telling rows; of these a tenth of the page remains, as a sample of what passed."""
        least = self._caps.page_rows // 10
        kinds = self._kinds.values()
        kind = next((kind for kind in kinds if len(kind) > least), max(kinds, key=len))
        kind.share *= 0.8
        kind.again(self._caps)

    def _shorten(self) -> None:
        """Shorten the texts that are missed least and longer than the next step allows; where no step is left, leave rows out."""
        for which, length in self._steps:
            if self._kinds[which].longest_text > length:
                self._kinds[which].longest = length
                self._kinds[which].again(self._caps)
                return
        self._thin()


def _telling(row: Row) -> Telling:
    if row["change"] == "regression":
        return Telling.REGRESSED
    return Telling.FAILED if row["verdict"] in (NOT_PASSED, "unmeasured", "pending") else Telling.REST


def _place(row: Row) -> float:
    """Where the row lies in a random order, from 0 to 1: always the same for one item, and nobody's choice."""
    key = f"{row['check']}\0{row['item']}\0{row['repeat']}"
    return crc32(key.encode("utf-8", "replace")) / 2**32


# -- one row -------------------------------------------------------------------------------------------------------

_NAME = 200
"""Characters of a segment's value: more are no name."""
NOT_PASSED = "not passed"
"""The judge said no. `failed` is the status of an item that ended without a verdict."""
WITHOUT_VERDICT = {"failed": "unmeasured", "pending": "pending", "not_needed": "not needed"}
"""Status of an item that has no verdict of the judge -> the word for it in the page's rows and links."""


def verdict_word(status: str, passed: bool | None) -> str:
    """passed, not passed, scored, unmeasured, pending or not needed: as the page's rows and links say it."""
    return WITHOUT_VERDICT.get(status) or ("scored" if passed is None else "passed" if passed else NOT_PASSED)


def _row(result: Result, group: int | None, flip: Flip | None) -> Row:
    error = result.error or {}
    reason = result.reason if result.status == "scored" else error.get("message", "")
    return {
        "item": shown_text(result.item_id),
        "row": result.row,
        "check": shown_text(result.check),
        "repeat": result.repeat,
        "verdict": verdict_word(result.status, result.passed),
        "value": shown_text(value_text(result.value) or ""),
        "score": finite(result.score),
        "reason": shown_text(reason or ""),
        "group": group,
        "segments": {
            shown_text(name): clip(shown_text(value), _NAME) for name, value in segments_of(result.traits).items()
        },
        "change": _CHANGES.get(None if flip is None else flip.is_regression),
        "before": None if flip is None or flip.baseline is None else _before(flip.baseline, result.inputs or {}),
        "inputs": {shown_text(key): shown_text(text) for key, text in (result.inputs or {}).items()},
        "cut": False,
        "seconds": None if result.runtime_ms is None else finite(result.runtime_ms / 1000),
    }


_CHANGES = {True: "regression", False: "fix", None: None}
"""Whether it is a regression -> the change, in a word."""


def _before(answer: JudgedAnswer, now: Mapping[str, str]) -> dict[str, Any]:
    """The baseline's verdict, and those of its inputs that are others `now`."""
    changed = {key: text for key, text in (answer.inputs or {}).items() if now.get(key) != text}
    return {
        "verdict": verdict_word("scored", answer.passed),
        "value": shown_text(value_text(answer.value) or ""),
        "score": finite(answer.score),
        "reason": shown_text(answer.reason or ""),
        "inputs": {shown_text(key): shown_text(text) for key, text in changed.items()},
    }


def _texts(row: Row) -> Iterator[str]:
    yield from (row["value"], row["reason"], *row["inputs"].values())
    if before := row["before"]:
        yield from (before["value"], before["reason"], *before["inputs"].values())


def _shortened(row: Row, length: int) -> Row:
    """The row with each text in so many characters; with none, its inputs are left out."""
    if all(len(text) <= length for text in _texts(row)):
        return row
    short = row | _cut(row, length) | {"cut": True}
    return short if not row["before"] else short | {"before": row["before"] | _cut(row["before"], length)}


def _cut(texts: Mapping[str, Any], length: int) -> dict[str, Any]:
    def clipped(text: str) -> str:
        return clip(text, length) if length else ""

    inputs = {key: clipped(text) for key, text in texts["inputs"].items()} if length else {}
    return {"value": clip(texts["value"], max(length, 40)), "reason": clipped(texts["reason"]), "inputs": inputs}


# -- blocks --------------------------------------------------------------------------------------------------------


def _packed(rows: Iterable[Row]) -> bytes:
    lists = [[row[name] for name in COLUMNS] for row in rows]
    text = json.dumps(lists, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Level 9 takes twice the time for a hundredth less.
    return gzip.compress(text.encode("utf-8", "replace"), compresslevel=6, mtime=0)


def _unpacked(blocks: Iterable[bytes]) -> Iterator[Row]:
    for block in blocks:
        yield from (dict(zip(COLUMNS, row, strict=True)) for row in json.loads(gzip.decompress(block)))
