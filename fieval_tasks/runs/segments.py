"""The segments that gates are about: rows of which a column has one value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.gates import Gate, Segment
from fieval_tasks.core.items import Failed, Item
from fieval_tasks.core.spelling import did_you_mean, nearest
from fieval_tasks.report.figures import segment_of
from fieval_tasks.report.tally import Wanted

# As many outcomes stand in a report before nobody reads them; they are counted apart, each in memory of its own; and of more
# comparisons Holm's correction leaves nothing to be seen.
MOST_VALUES = 50
"""Values of a column that a gate on each of them takes, and a comparison of each."""
_MOST_COUNTED = 5_000
"""Values of a column that are counted; one that has more is no column of segments, whatever they are."""


def segments_in(gates: Iterable[str]) -> list[tuple[str, Segment]]:
    """The gates on segments, as text, each with its segment."""
    return [(text, segment) for text in gates if (segment := Gate.parse(text).segment) is not None]


def wanted(gates: Iterable[str]) -> Wanted:
    """The columns of the gates' segments, each with the values that are named, or None for every one."""
    columns: dict[str, frozenset[str] | None] = {}
    for _, segment in segments_in(gates):
        named = columns.get(segment.column, frozenset())
        is_each = segment.value is None or named is None
        columns[segment.column] = None if is_each else (named or frozenset()) | {segment.value or ""}
    return columns


def segmented(
    rows: Iterable[tuple[Item, Failed | None]], gates: Sequence[str], dataset: str
) -> Iterator[tuple[Item, Failed | None]]:
    """The same items. Raises PlanError after the last one, for gates on values that no row has, or that are too many."""
    values = Values(gates)
    for item, failed in rows:
        values.add(item.traits)
        yield item, failed
    values.require(dataset)


def require_recorded(rows: Iterable[Mapping[str, Any]], gates: Sequence[str], run_id: str) -> None:
    """Raises PlanError for gates on columns that the run did not record, or on values as `segmented`. `rows`: their traits."""
    values, recorded = Values(gates), set[str]()
    for traits in rows:
        recorded |= traits.keys()
        values.add(traits)
    problems = [
        f"gate {text!r}: run {run_id} was begun without a gate on {segment.column}, so it is not known which rows have which: "
        f"begin anew with this gate"
        for text, segment in segments_in(gates)
        if segment.column not in recorded
    ]
    if problems:
        raise PlanError(*problems)
    values.require(f"run {run_id}")


class Values:
    """The values that rows have in the columns of the gates' segments."""

    def __init__(self, gates: Sequence[str]) -> None:
        self._gates = segments_in(gates)
        self._wanted = wanted(gates)
        self._found: dict[str, Counter[str]] = {column: Counter() for column in self._wanted}

    def add(self, traits: Mapping[str, Any] | None) -> None:
        for column, values in self._found.items():
            value = segment_of(traits, column)
            is_named = any(one.column == column and one.value == value for _, one in self._gates)
            if is_named or value in values or len(values) <= _MOST_COUNTED:
                values[value] += 1

    def require(self, where: str) -> None:
        """Raises PlanError for gates on values that no row has, or on each value where there are too many."""
        if problems := [fault for text, segment in self._gates if (fault := self._fault(text, segment, where))]:
            raise PlanError(*problems)

    def _fault(self, text: str, segment: Segment, where: str) -> str | None:
        values, column = self._found[segment.column], segment.column
        if segment.value is None:
            if len(values) <= MOST_VALUES:
                return None
            many = f"more than {_MOST_COUNTED:,}" if len(values) > _MOST_COUNTED else f"{len(values):,}"
            return (
                f"gate {text!r}: {column} has {many} values, and a gate on each takes {MOST_VALUES} at most: name one, as in "
                f"[{column}={min(filter(None, values))}], or a column that has fewer"
            )
        if segment.value in values:
            return None
        what = f"has {segment.value!r} in {column}" if segment.value else f"is without a value in {column}"
        known = ", ".join(value or "(nothing)" for value, _ in values.most_common(10))
        return (
            f"gate {text!r}: no row of {where} {what} (it has: {known}){did_you_mean(nearest(segment.value, values))}"
        )
