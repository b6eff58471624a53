"""Which item of one run is which item of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from fieval_tasks.runs.sides import Table


@dataclass(frozen=True)
class Pairs:
    """The items of two tables that are the same, as places in each."""

    run: list[int]
    baseline: list[int]
    by_inputs: int = 0
    """How many of them were paired by their input side."""
    alike: int = 0
    """Items of the run that are not paired, because several have the same input side."""
    asked_otherwise: int = 0
    """How many have the same id and another input side."""


def paired(run: Table, baseline: Table, *, only_by_id: bool) -> Pairs:
    """The pairs, in the order of the run: those with the same id, then of the others those with the same input side.

    An id that was made of a row's content changes with its answer, so another prompt's run has other ids and the same
    questions. `only_by_id`: both have ids from a column, which say themselves what is the same. Where several items share an
    input side, nobody can tell which is which: they stay unpaired.
    """
    there = {item_id: place for place, item_id in enumerate(baseline.ids)}
    found = {place: there[item_id] for place, item_id in enumerate(run.ids) if item_id in there}
    otherwise = sum(1 for mine, other in found.items() if _differ(run.asked[mine], baseline.asked[other]))
    by_id, alike = len(found), 0
    if not only_by_id and by_id < len(run.ids):
        taken = set(found.values())
        here = _by_inputs(run, (place for place in range(len(run.ids)) if place not in found))
        free = _by_inputs(baseline, (place for place in range(len(baseline.ids)) if place not in taken))
        for asked, place in here.items():
            if (other := free.get(asked)) is not None and place is not None:
                found[place] = other
        counted = Counter(run.asked[place] for place in range(len(run.ids)) if place not in found)
        alike = sum(n for asked, n in counted.items() if asked and asked in free)
    ordered = sorted(found)
    return Pairs(ordered, [found[place] for place in ordered], len(found) - by_id, alike, otherwise)


def _differ(asked: bytes, before: bytes) -> bool:
    return bool(asked and before) and asked != before


def _by_inputs(table: Table, places: Iterable[int]) -> dict[bytes, int | None]:
    """Input side -> the only item that has it; None where several have."""
    found: dict[bytes, int | None] = {}
    for place in places:
        if asked := table.asked[place]:
            found[asked] = None if asked in found else place
    return found
