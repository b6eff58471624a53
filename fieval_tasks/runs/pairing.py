"""Which row of one run is which row of another."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from fieval_tasks.runs.sides import Table


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


def recognise(run: Mapping[str, Table], baseline: Mapping[str, Table], *, only_by_id: bool) -> Recognised:
    """The rows with the same id, and of the others those with the same input side in any check: check -> its table.

    An id that was made of a row's content changes with its answer, so another prompt's run has other ids and the same
    questions. `only_by_id`: both have ids from a column, which say themselves what is the same.
    """
    here, there = _ids(run), _ids(baseline)
    found = {item_id: item_id for item_id in here if item_id in there}
    if only_by_id or len(found) == len(here):
        return Recognised(found)
    known, free = set(found), {item_id for item_id in there if item_id not in found}
    mine, theirs = (dict[str, set[bytes]](), dict[str, set[bytes]]())
    for name in run:
        asked, others = _asked(run[name], known, mine), _asked(baseline[name], known, theirs)
        for digest, item_id in asked.items():
            other = others.get(digest)
            if item_id and other in free and item_id not in found:
                found[item_id] = other
                free.discard(other)
    alone = [item_id for item_id in here if item_id not in found]
    asked_there = {digest for item_id in free for digest in theirs.get(item_id, ())}
    asked_here = {digest for item_id in alone for digest in mine.get(item_id, ())}
    doubtful = (
        {item_id for item_id in alone if not mine.get(item_id) or mine[item_id] & asked_there},
        {item_id for item_id in free if not theirs.get(item_id) or theirs[item_id] & asked_here},
    )
    return Recognised(found, found.keys() - known, doubtful)


def _ids(tables: Mapping[str, Table]) -> dict[str, None]:
    return {item_id: None for table in tables.values() for item_id in table.ids}


def _asked(table: Table, known: Collection[str], noted: dict[str, set[bytes]]) -> dict[bytes, str | None]:
    """Input side -> the id of the only row that has it, None where several have; `noted`: id -> its input sides."""
    found: dict[bytes, str | None] = {}
    for item_id, asked in zip(table.ids, table.asked, strict=True):
        if asked and item_id not in known:
            found[asked] = None if asked in found else item_id
            noted.setdefault(item_id, set()).add(asked)
    return found


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
