"""Names of columns, and of places inside of a column: `answer`, `output.answer`, `choices[0].message.content`."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from fieval_tasks.core.spelling import did_you_mean, listed, nearest

# One step of a path: `.name` or `[0]`.
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,9})\]")

_SHOWN = 5
"""Keys of an object that a message names."""


class Missing:
    """The type of MISSING: a row has nothing at a place (None is a value)."""


MISSING: Final = Missing()


@dataclass(frozen=True)
class Place:
    """A column, or a place inside of the objects and lists in its cells."""

    column: str
    """As the dataset spells it."""
    path: tuple[str | int, ...] = ()
    """Names and indexes below the column; empty for the column itself."""

    def __str__(self) -> str:
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return self.column + "".join(steps)

    def value_in(self, values: Mapping[str, object]) -> object:
        """A row's value at this place, or MISSING. JSON text on the way is parsed: exports to CSV write objects so."""
        value = values.get(self.column, MISSING)
        for step in self.path:
            value = _inside(value, step)
        return value


def _inside(value: object, step: str | int) -> object:
    if isinstance(value, str):
        value = _opened(value)
    if isinstance(step, str):
        return value.get(step, MISSING) if isinstance(value, Mapping) else MISSING
    is_list = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    return value[step] if is_list and step < len(value) else MISSING  # type: ignore[index, arg-type]


def _opened(text: str) -> object:
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def place_of(name: str, columns: Iterable[str]) -> Place | None:
    """The place that a name means: the column of that name; else the only column that differs by outer blanks or by how its
    accents are composed (macOS decomposes them); else a place inside of a column. None where no column fits.
    """
    known = tuple(columns)
    column = _column(name, known)
    if column is not None:
        return Place(column)
    for step in sorted(_STEP.finditer(name), key=lambda step: -step.start()):  # the longest name first
        column = _column(name[: step.start()], known)
        path = _path(name[step.start() :])
        if column is not None and path is not None:
            return Place(column, path)
    return None


def not_there(name: str, columns: Sequence[str], where: str, near: Sequence[str] | None = None) -> str:
    """Why a name means none of the columns. `near`: those that may be meant; None: those that are spelled like it."""
    meant = did_you_mean(nearest(name, columns) if near is None else near)
    return f"column {name!r} is not in {where} (it has: {listed(columns)}){meant}"


def _column(name: str, columns: Sequence[str]) -> str | None:
    if name in columns:
        return name
    alike = [column for column in columns if _plain(column) == _plain(name)]
    return alike[0] if len(alike) == 1 else None


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip())


def _path(text: str) -> tuple[str | int, ...] | None:
    steps = list(_STEP.finditer(text))
    if "".join(step[0] for step in steps) != text:
        return None
    return tuple(step[1] if step[1] is not None else int(step[2]) for step in steps)


def is_in_a_row(place: Place, rows: Iterable[Mapping[str, object]]) -> bool:
    """Whether any of the rows has a value at the place."""
    return any(place.value_in(values) is not MISSING for values in rows)


def where_path_ends(place: Place, values: Mapping[str, object]) -> str:
    """For a message: how far the path leads in a row, and the value where it ends."""
    for length in range(len(place.path), 0, -1):
        before = Place(place.column, place.path[: length - 1])
        found = before.value_in(values)
        if found is not MISSING:
            there = _opened(found) if isinstance(found, str) else found
            size = f" of {len(there)}" if isinstance(there, list) else ""
            return f"{str(before)!r} holds {kind_of(there)}{size}"
    return f"{place.column!r} is missing"


def kind_of(value: object) -> str:
    """What a value of JSON is, for messages."""
    if isinstance(value, Mapping):
        return f"an object with the keys {listed(map(str, value), _SHOWN)}" if value else "an object"
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return "an array"
    return _KINDS.get(type(value), f"a {type(value).__name__}")


_KINDS: dict[type, str] = {
    **{type(None): "null", str: "a string", bool: "a boolean"},
    **dict.fromkeys((int, float, Decimal), "a number"),
}
