"""Which row of one run is which row of another."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fieval_tasks.core.errors import PlanError
from fieval_tasks.runs.sides import Side, Table


@dataclass(frozen=True)
class Recognised:
    """The rows of two runs that are the same, by their ids."""

    ids: Mapping[str, str]
    """Id in the run -> id in the baseline."""
    by_inputs: Collection[str] = frozenset()
    """Those in the run that have another id there, and were recognised by their input side."""
    doubtful: tuple[Collection[str], Collection[str]] = (frozenset(), frozenset())
    """On each side the ids of rows that may be there on the other, too, and can't be recognised: another answer has changed
    their ids, and they have no input side, or one that several rows have."""


@dataclass(frozen=True)
class Pairs:
    """One check's items that are the same, as places in both tables, in the order of the run."""

    run: list[int] = field(default_factory=list)
    baseline: list[int] = field(default_factory=list)
    doubtful: int = 0
    """Items that may be pairs, and can't be recognised."""


def recognised(
    run: Side, baseline: Side, columns: Sequence[str] = ()
) -> tuple[dict[str, Table], dict[str, Table], Recognised]:
    """The tables of the checks that both have, and which rows are the same. Raises PlanError where none is."""
    common = [name for name in run.checks if name in baseline.checks]
    keys = {name: [key for key in run.checks[name].keys if key in baseline.checks[name].keys] for name in common}
    mine, theirs = run.tables(keys, columns), baseline.tables(keys)
    only_by_id = run.has_ids and baseline.has_ids
    rows = recognise(mine, theirs, only_by_id=only_by_id)
    if not rows.ids:
        why = "no id is the same" if only_by_id else "no id and no question is the same"
        raise PlanError(
            f"no row of run {run.name} ({run.dataset}) is in the baseline {baseline.name} ({baseline.dataset}): {why}; if "
            "the rows are, evaluate both with the same --id COLUMN"
        )
    return mine, theirs, rows


def recognise(run: Mapping[str, Table], baseline: Mapping[str, Table], *, only_by_id: bool) -> Recognised:
    """The rows with the same id, and of the others those with the same input side in any check: check -> its table.

    An id that was made of a row's content changes with its answer, so another prompt's run has other ids and the same
    questions. `only_by_id`: both have ids from a column, which say themselves what is the same.
    """
    here, there = _ids(run), _ids(baseline)
    found = {item_id: item_id for item_id in here if item_id in there}
    if only_by_id or len(found) == len(here):
        return Recognised(found)
    by_id = set(found)
    free = there.keys() - by_id
    for name in run:
        asked, others = _asked(run[name], by_id), _asked(baseline[name], by_id)
        for digest, item_id in asked.items():
            other = others.get(digest)
            if item_id and other in free and item_id not in found:
                found[item_id] = other
                free.discard(other)
    alone = here.keys() - found.keys()
    doubtful = _doubtful(run, alone, baseline, free), _doubtful(baseline, free, run, alone)
    return Recognised(found, found.keys() - by_id, doubtful)


def _ids(tables: Mapping[str, Table]) -> dict[str, None]:
    return {item_id: None for table in tables.values() for item_id in table.ids}


def _asked(table: Table, known: Collection[str]) -> dict[bytes, str | None]:
    """Input side -> the id of the only row that has it, and is not known; None where several have."""
    found: dict[bytes, str | None] = {}
    for item_id, asked in zip(table.ids, table.asked, strict=True):
        if asked and item_id not in known:
            found[asked] = None if asked in found else item_id
    return found


def _doubtful(
    tables: Mapping[str, Table], alone: Collection[str], others: Mapping[str, Table], free: Collection[str]
) -> set[str]:
    """Of the rows that were not recognised, those of which no check shows that the other side has no such question."""
    left = set(alone)
    for name, table in tables.items():
        there = {asked for item_id, asked in zip(others[name].ids, others[name].asked, strict=True) if item_id in free}
        for item_id, asked in zip(table.ids, table.asked, strict=True):
            if asked and asked not in there:
                left.discard(item_id)
    return left


def paired(run: Table, baseline: Table, rows: Recognised) -> Pairs:
    """One check's pairs."""
    places = {item_id: place for place, item_id in enumerate(baseline.ids)}
    found = list(_places(run, places, rows))
    doubtful = min(
        sum(item_id in ids for item_id in table.ids) for table, ids in zip((run, baseline), rows.doubtful, strict=True)
    )
    return Pairs([mine for mine, _ in found], [other for _, other in found], doubtful)


def _places(run: Table, places: Mapping[str, int], rows: Recognised) -> Iterator[tuple[int, int]]:
    for mine, item_id in enumerate(run.ids):
        other = places.get(rows.ids.get(item_id, ""))
        if other is not None:
            yield mine, other
