"""Sheets for people: a random part of a run's items to be labelled, written without the judge's verdicts, and read back."""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.items import Result
from fieval_tasks.data.dataset import Dataset, Row, read_dataset
from fieval_tasks.data.places import not_there
from fieval_tasks.data.values import text_of
from fieval_tasks.ledger.book import Book
from fieval_tasks.ledger.calibrations import LabelDraw
from fieval_tasks.report.columns import CELL_LIMIT, inert_cell
from fieval_tasks.report.folder import new_file

WORDS = {
    **dict.fromkeys(("pass", "passed", "true", "yes", "1"), True),
    **dict.fromkeys(("fail", "failed", "false", "no", "0"), False),
}
"""What a label may say, in any case."""
_BELONGING = ("check", "run", "policy")
"""Columns that say what a sheet belongs to."""
# More than anybody mends before trying again.
_NAMED = 10
"""Problems of a sheet that are named."""


# -- drawing -------------------------------------------------------------------------------------------------------


def drawable(book: Book, check: str, *, with_inputs: bool = False) -> Iterator[Result]:
    """The items that may be labelled: those that the judge passed or failed. One that is judged several times counts once."""
    results = book.results(with_inputs=with_inputs)
    return (one for one in results if one.check == check and one.passed is not None and not one.repeat)


def draw(book: Book, check: str, *, n: int, seed: int) -> tuple[list[Result], int]:
    """`n` of them with their inputs, in random order, or all; and how many there are.

    The first items of a larger draw by the same seed are those of a smaller one.
    """
    ids = [one.item_id for one in drawable(book, check)]
    random.Random(seed).shuffle(ids)
    place = {item_id: place for place, item_id in enumerate(ids[:n])}
    drawn = (one for one in drawable(book, check, with_inputs=True) if one.item_id in place)
    return sorted(drawn, key=lambda one: place[one.item_id]), len(ids)


# -- writing -------------------------------------------------------------------------------------------------------


def write_sheet(path: Path, drawn: Sequence[Result], made: LabelDraw) -> int:
    """Write a sheet: CSV for a spreadsheet, or JSONL where the file is named so; how many texts a cell was too short for.

    Raises PlanError where the file exists: it may hold somebody's labels.
    """
    if path.exists():
        raise PlanError(f"{path} exists, and may hold labels: name another file with --output, or move it away")
    keys = list(dict.fromkeys(key for one in drawn for key in one.inputs or {}))
    belonging = {"check": made.check_name, "run": made.run_id, "policy": made.policy}
    rows = [
        {
            "item_id": one.item_id,
            **{f"inputs.{key}": (one.inputs or {}).get(key, "") for key in keys},
            **{"label": "", "note": ""},
            **belonging,
        }
        for one in drawn
    ]
    with new_file(path) as file:
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            file.writelines(json.dumps(row) + "\n" for row in rows)
            return 0
        file.write("\ufeff")  # or Excel reads it as the machine's own 8-bit text
        cells = csv.writer(file)
        cells.writerow(rows[0])
        cells.writerows([inert_cell(text) for text in row.values()] for row in rows)
    return sum(len(text) > CELL_LIMIT for row in rows for text in row.values())


# -- reading -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sheet:
    """A sheet that was read back."""

    name: str
    """The file's name."""
    labels: Mapping[str, tuple[bool | None, str]]
    """Item id as it stands there -> passed, by a person, or None for a blank; and its place in the file."""
    belongs_to: Mapping[str, str]
    """Of `check`, `run` and `policy` those that the sheet names."""


def read_sheet(location: str) -> Sheet:
    """A sheet of any format that a dataset may have. Raises PlanError, with the rows and columns, for what can't be read."""
    with read_dataset(location) as dataset:
        _require_columns(dataset)
        labels: dict[str, tuple[bool | None, str]] = {}
        belongs: dict[str, dict[str, None]] = {name: {} for name in _BELONGING}
        problems: list[str] = []
        for row in dataset.rows():
            problems += _added(labels, row, f"{dataset.name}, row {row.number}")
            for name in _BELONGING:
                if text := _text(row, name):
                    belongs[name][text] = None
        problems += [
            f"{dataset.name} has rows of several {name}s ({', '.join(found)}): read one sheet at a time"
            for name, found in belongs.items()
            if len(found) > 1
        ]
        _raise(problems)
        if not any(label is not None for label, _ in labels.values()):
            raise PlanError(f"{dataset.name} has no labels yet: write pass or fail into its column label")
        return Sheet(dataset.name, labels, {name: next(iter(found)) for name, found in belongs.items() if found})


def _require_columns(dataset: Dataset) -> None:
    for name in ("item_id", "label"):
        if name not in dataset.columns:
            raise PlanError(not_there(name, dataset.columns, dataset.name))


def _added(labels: dict[str, tuple[bool | None, str]], row: Row, place: str) -> list[str]:
    """Add the row's label; the problems that it has."""
    if row.problem is not None:
        return [f"{place}: {row.problem}"]
    item_id, said = _text(row, "item_id"), _text(row, "label").strip()
    if not item_id.strip():
        return [f"{place}, column item_id: it is blank"] if said else []
    if said and said.casefold() not in WORDS:
        return [f"{place}, column label: {said!r:.60} is no label; write pass or fail"]
    label = WORDS[said.casefold()] if said else None
    before, there = labels.get(item_id, (None, place))
    if label is not None and before is not None and label is not before:
        return [
            f"{place}: item {item_id!r:.60} has another label in {there.rpartition(', ')[2]}; leave one of them out"
        ]
    labels[item_id] = (before if label is None else label, there)
    return []


def _text(row: Row, column: str) -> str:
    value = row.values.get(column, "")
    text = value if isinstance(value, str) else text_of(value)  # `null` in a cell is a text here, and no blank
    return text if isinstance(text, str) else ""


def matching(sheet: Sheet, draws: Sequence[LabelDraw]) -> LabelDraw:
    """The draw that the sheet was written for: the smallest with all its items. Raises PlanError where there is none."""
    meant = [one for one in draws if _is_meant(sheet, one)]
    if not meant:
        named = ", ".join(f"{name} {text}" for name, text in sheet.belongs_to.items()) or "it names no run"
        raise PlanError(
            f"{sheet.name} ({named}) was not drawn from this ledger, and labels of items that somebody chose can't correct a "
            f"rate: draw a sheet with python -m flows.label RUN, or name the ledger that it was drawn from with --store"
        )
    return min(meant, key=lambda one: (len(_strange(sheet, one)), len(one.items)))


def _is_meant(sheet: Sheet, drawn: LabelDraw) -> bool:
    said = {"check": drawn.check_name, "run": drawn.run_id, "policy": drawn.policy}
    return all(text in (said[name], inert_cell(said[name])) for name, text in sheet.belongs_to.items())


def labels_of(sheet: Sheet, drawn: LabelDraw) -> dict[str, bool]:
    """Item id -> passed, by a person. Raises PlanError for items that were not drawn: only a random part can correct."""
    _raise(
        [
            f"{place}: item {item!r:.60} is not among the {len(drawn.items):,} that were drawn of {drawn.check_name} in run "
            f"{drawn.run_id}; leave it out (or has a spreadsheet changed its id? a sheet named .jsonl keeps it)"
            for item, place in _strange(sheet, drawn).items()
        ]
    )
    ids = _found(sheet, drawn)
    return {ids[item]: label for item, (label, _) in sheet.labels.items() if label is not None}


def _strange(sheet: Sheet, drawn: LabelDraw) -> dict[str, str]:
    """Items of the sheet that were not drawn, and where they stand."""
    known = _found(sheet, drawn)
    return {item: place for item, (_, place) in sheet.labels.items() if item not in known}


def _found(sheet: Sheet, drawn: LabelDraw) -> dict[str, str]:
    """Item id as the sheet has it -> item id: as it is, as `inert_cell` wrote it, or as a spreadsheet shows a number."""
    plain, written = ({of(item): item for item in drawn.items} for of in (str, inert_cell))
    known = {**written, **plain} if sheet.name.endswith((".jsonl", ".ndjson")) else {**plain, **written}
    found = {item: known[item] for item in sheet.labels if item in known}
    taken = {*found.values()}
    left = [item for item in drawn.items if item not in taken and _NUMBER.fullmatch(item)]
    for shown in sheet.labels:
        if shown not in found and len(same := [item for item in left if _is_shown_as(item, shown)]) == 1:
            found[shown] = same[0]
    return found


_NUMBER = re.compile(r"[+-]?\d{1,40}([.,]\d{1,40})?(?P<power>[eE][+-]?\d{1,2})?")


def _is_shown_as(item: str, shown: str) -> bool:
    """Whether a spreadsheet makes `shown` of that id when it takes it for a number: 7 of 007, 8.12346E+11 of 812345678901."""
    number = _NUMBER.fullmatch(shown)
    if number is None:
        return False
    one, other = (float(text.replace(",", ".")) for text in (item, shown))
    if not number["power"]:
        return one == other
    places = len(re.split("[eE]", shown)[0].lstrip("+-")) - 2  # digits after the point
    return f"{one:.{max(places, 0)}e}" == f"{other:.{max(places, 0)}e}"


def _raise(problems: Sequence[str]) -> None:
    if problems:
        more = len(problems) - _NAMED
        raise PlanError(*problems[:_NAMED], *([f"and {more:,} more problems like these"] if more > 0 else []))
