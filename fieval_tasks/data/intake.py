"""A dataset's rows as items: each row with its id, put to each check."""

from __future__ import annotations

import hashlib
import json
import random
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.items import Failed, Item
from fieval_tasks.core.spelling import listed
from fieval_tasks.data import parameters
from fieval_tasks.data.binding import Binding
from fieval_tasks.data.dataset import Dataset, Row
from fieval_tasks.data.places import Place, place_of
from fieval_tasks.data.selection import Chosen, among, choose, rows_of
from fieval_tasks.data.values import Flaw, text_of, typed

Evaluations: TypeAlias = Callable[[int, Binding], int]
"""A row's number and a check -> how many evaluations that item has."""
_EXAMPLES = 3
"""Places that a message names."""


def _by_value(value: object) -> str:
    """Text for a value without a JSON form, the same in every process (a default repr holds a memory address)."""
    if type(value).__repr__ is object.__repr__:
        return type(value).__name__
    return repr(sorted(value, key=repr)) if isinstance(value, (set, frozenset)) else repr(value)


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_by_value).encode
# A DataFrame's cells may hold keys of several types, numbers of thousands of digits or lists that hold themselves.
_NO_JSON = (TypeError, ValueError, RecursionError)


def canonical(value: object) -> str:
    """Canonical JSON of a value, the same in every process; for cells without a JSON form their repr, or their type."""
    try:
        return _encode(value)
    except _NO_JSON:
        if not isinstance(value, Mapping):
            raise
        return _encode([(str(column), _shown(cell)) for column, cell in value.items()])


def _shown(cell: object) -> str:
    for shown_by in (_encode, _by_value):
        try:
            return shown_by(cell)
        except _NO_JSON:
            continue
    return type(cell).__name__


def items(
    dataset: Dataset,
    bindings: Sequence[Binding],
    chosen: Chosen | None = None,
    *,
    id_column: str | None = None,
    keep: Sequence[Place] = (),
    traits: Sequence[Place] = (),
    evaluations: Evaluations = lambda row, check: 1,
) -> Iterator[tuple[Item, Failed | None]]:
    """Streams an item for every chosen row and every check, row by row; with a Failed where it can't be sent.

    An item has the same id whatever is chosen around it. Raises PlanError, before the first item, where the ids of a
    column are blank or repeated in the rows that were to choose from. `chosen`: None takes every row. An item that can't be
    sent is there once, however many evaluations it was to have.
    """
    chosen = chosen or choose(dataset)
    id_place = None if id_column is None else place_of(id_column, dataset.columns) or Place(id_column)
    if id_place is not None:
        _require_ids(dataset, id_place, chosen.candidates)
    identified = among(_identified(dataset, id_place), chosen.numbers, lambda found: found[0].number)
    return _items(identified, bindings, keep, traits, evaluations)


def mark_copies(
    rows: Iterable[tuple[Item, Failed | None]], first: dict[bytes, int] | None = None
) -> Iterator[tuple[Item, Failed | None]]:
    """The same items, with `same_as` set on those whose fingerprint an earlier item has. Holds 18 bytes for each.

    Evaluations of one item are never one: each shares only with the same `repeat` of another row's. `first`: the items
    (their seqs) that count as the earliest, from `first_drawn`.
    """
    first = {} if first is None else first
    for item, failed in rows:
        seq = item.seq if failed else first.setdefault(_shared_by(item), item.seq)
        yield (item if seq == item.seq else replace(item, same_as=seq)), failed


def first_drawn(rows: Iterable[tuple[Item, Failed | None]]) -> dict[bytes, int]:
    """For each fingerprint the item (its seq) that was drawn first: a copy that waited for a later one would hold up all."""
    first: dict[bytes, tuple[int, int]] = {}
    for item, failed in rows:
        if failed is None:
            mine = (item.drawn or 0, item.seq)
            first[_shared_by(item)] = min(mine, first.get(_shared_by(item), mine))
    return {shared: seq for shared, (_, seq) in first.items()}


def _shared_by(item: Item) -> bytes:
    return bytes.fromhex(item.fingerprint)[:16] + item.repeat.to_bytes(2, "big")


def in_random_order(
    rows: Iterable[tuple[Item, Failed | None]], numbers: Sequence[int], width: int, seed: int
) -> Iterator[tuple[Item, Failed | None]]:
    """The same items in the same order, with their places in a random order of the rows in `drawn`.

    `numbers`: the rows', ascending; `width`: items of each row, which stay together. Holds 8 bytes a row, and no row.
    """
    places = array("Q", range(len(numbers)))
    random.Random(f"order {seed}").shuffle(places)  # other numbers than those by which a sample is drawn
    row = place = 0
    for item, failed in rows:
        if item.row != row:
            row, place = item.row, places[bisect_left(numbers, item.row)] * width
        yield replace(item, drawn=place), failed
        place += 1


def _items(
    rows: Iterable[tuple[Row, str]],
    bindings: Sequence[Binding],
    keep: Sequence[Place],
    traits: Sequence[Place],
    evaluations: Evaluations,
) -> Iterator[tuple[Item, Failed | None]]:
    seq = 0
    for row, item_id in rows:
        kept, divided = _columns(keep, row), _columns(traits, row)
        for binding in bindings:
            item, failed = _item(seq, item_id, row, binding)
            item = item if kept is divided is None else replace(item, kept=kept, traits=divided)
            yield item, failed
            further = 0 if failed else evaluations(row.number, binding) - 1
            yield from ((replace(item, seq=seq + repeat, repeat=repeat), None) for repeat in range(1, further + 1))
            seq += 1 + further


def _columns(places: Sequence[Place], row: Row) -> dict[str, object] | None:
    return {str(place): typed(place.value_in(row.values)) for place in places} or None


def _item(seq: int, item_id: str, row: Row, binding: Binding) -> tuple[Item, Failed | None]:
    inputs, failed = _inputs(row, binding)
    params, unfit = _params(row, binding)
    failed = failed or unfit
    identity = [binding.template.name, binding.model, {**binding.params, **params}, inputs]
    if failed is not None:
        identity.append(failed.message)  # else it could share the verdict of an item that was sent
    item = Item(
        seq=seq,
        item_id=item_id,
        row=row.number,
        check=binding.check,
        template=binding.template.name,
        model=binding.model,
        inputs=inputs,
        params=params,
        fingerprint=hashlib.sha256(canonical(identity).encode()).hexdigest(),
    )
    return item, failed


def _inputs(row: Row, binding: Binding) -> tuple[dict[str, str], Failed | None]:
    """The item's inputs, and a Failed where one of them can't be sent. A blank optional key is left out."""
    if row.problem is not None:
        return {}, Failed("validate", "unreadable_row", f"row {row.number}: {row.problem}")
    inputs: dict[str, str] = {}
    flaws: list[tuple[str, str, Flaw]] = []
    for key, source in binding.sources.items():
        text = text_of(source.place.value_in(row.values))
        if isinstance(text, str):
            inputs[key] = text
        elif text.kind != "blank" or key in binding.template.required:
            flaws.append((key, source.column, text))
    if not inputs and not flaws:
        flaws = [(key, source.column, Flaw("blank", "is blank")) for key, source in binding.sources.items()]
    return inputs, _failed(row, flaws) if flaws else None


def _params(row: Row, binding: Binding) -> tuple[dict[str, object], Failed | None]:
    """The parameters that the row gives, and a Failed where one of them is invalid."""
    found, problems = {}, []
    for name, source in binding.param_sources.items() if row.problem is None else ():
        try:
            found[name] = parameters.parameter_from_cell(binding.template, name, source.place.value_in(row.values))
        except parameters.Unfit as error:
            problems.append(f"parameter {name!r} (column {source.column!r}) will not do: {error}")
    failed = Failed("validate", "wrong_parameter", f"row {row.number}: {'; '.join(problems)}") if problems else None
    return {name: value for name, value in found.items() if value is not None}, failed


def _failed(row: Row, flaws: Sequence[tuple[str, str, Flaw]]) -> Failed:
    why = "; ".join(f"{key!r} (column {column!r}) {flaw.why}" for key, column, flaw in flaws)
    return Failed("validate", flaws[0][2].kind, f"row {row.number}: {why}")


# Ids


def _identified(dataset: Dataset, ids: Place | None) -> Iterator[tuple[Row, str]]:
    if ids is not None:
        for row in dataset.rows():
            text = _id_text(row, ids)
            yield row, text if isinstance(text, str) else f"row-{row.number}"
    else:
        yield from _by_content(dataset)


def _by_content(dataset: Dataset) -> Iterator[tuple[Row, str]]:
    """Each row with its id: the first 12 hex digits of the content's SHA-256, and for repeated rows -2, -3, ..."""
    seen: dict[bytes, int] = {}
    for row in dataset.rows():
        # The words of a row's problem are in its id: other words would make it another row than in earlier runs.
        content = row.values if row.problem is None else [row.number, row.problem]
        digest = hashlib.sha256(canonical(content).encode()).digest()[:6]
        count = seen[digest] = seen.get(digest, 0) + 1
        yield row, digest.hex() if count == 1 else f"{digest.hex()}-{count}"


def _id_text(row: Row, ids: Place) -> str | Flaw:
    return f"row-{row.number}" if row.problem is not None else text_of(ids.value_in(row.values))


def _require_ids(dataset: Dataset, ids: Place, among: Sequence[int]) -> None:
    """Raises PlanError unless each of these rows has an id of its own."""
    seen: dict[bytes, int] = {}
    """Digest of an id -> the first row that has it."""
    unusable: list[str] = []
    repeated: dict[str, list[int]] = {}
    for row in rows_of(dataset, among):
        text = _id_text(row, ids)
        if isinstance(text, Flaw):
            unusable += [f"row {row.number} {text.why}"] * (len(unusable) <= _EXAMPLES)
            continue
        first = seen.setdefault(hashlib.blake2b(text.encode(), digest_size=16).digest(), row.number)
        if first != row.number and (text in repeated or len(repeated) < _EXAMPLES):
            repeated.setdefault(text, [first]).append(row.number)
    column = f"{str(ids)!r} of {dataset.name}"
    problems = []
    if unusable:
        problems.append(f"column {column} can't give every row an id: {listed(unusable, _EXAMPLES)}; leave out --id")
    if repeated:
        places = ", ".join(
            f"{text!r} in rows {listed(map(str, numbers), _EXAMPLES)}" for text, numbers in repeated.items()
        )
        problems.append(f"ids repeat in column {column}: {places}; make them unique, or leave out --id")
    if problems:
        raise PlanError(*problems)
