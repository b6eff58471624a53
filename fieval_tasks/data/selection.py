"""Which rows of a dataset are evaluated: those that `--where` chooses, of these the first (`--limit`), of these a sample."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from heapq import nsmallest
from itertools import islice
from math import ceil
from typing import TypeVar

from fieval_tasks.core.errors import PlanError
from fieval_tasks.data.dataset import Dataset, Row
from fieval_tasks.data.places import Place
from fieval_tasks.data.values import text_of
from fieval_tasks.data.where import Incomparable, condition

T = TypeVar("T")
_EXAMPLES = 3
"""Rows that a message names."""
BLANK, UNREADABLE = "(blank)", "(unreadable)"
"""The strata of rows whose cell is blank, and of rows that can't be read."""


@dataclass(frozen=True)
class Selection:
    """How rows are chosen. Fields are the plan's."""

    where: str | None = None
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    stratify: Place | None = None
    """The column whose values are to be in the sample in the same shares as in the rows that it is drawn from."""


ALL = Selection()


@dataclass(frozen=True)
class Chosen:
    """The rows of a dataset that are evaluated."""

    numbers: Sequence[int]
    """Their numbers, ascending: a range, or 4 bytes a row."""
    candidates: Sequence[int]
    """The numbers of the rows that the sample was drawn from, ascending."""
    notices: tuple[str, ...] = ()
    """What was chosen of how many, in sentences."""


def choose(dataset: Dataset, selection: Selection = ALL) -> Chosen:
    """The rows that are evaluated; the same for the same dataset and selection.

    Raises PlanError for a `where` that can't be read, that can't be told of a row, or that chooses no row.
    """
    found, notices = candidates(dataset, selection)
    if selection.sample is None:
        return Chosen(found, found, notices)
    if selection.sample >= len(found):
        rows = "1 row" if len(found) == 1 else f"{len(found):,} rows"
        more = f"--sample {selection.sample}: there are no more than {rows} to draw from, so all are evaluated"
        return Chosen(found, found, (*notices, *([more] if selection.sample > len(found) else [])))
    if selection.stratify is None:
        said = f"{selection.sample:,} of {len(found):,} rows, drawn at random (seed {selection.seed})"
        return Chosen(_ascending(drawn(found, selection.sample, selection.seed)), found, (*notices, said))
    picked, said = _stratified(dataset, found, selection.stratify, selection.sample, selection.seed)
    return Chosen(_ascending(picked), found, (*notices, said))


def candidates(dataset: Dataset, selection: Selection) -> tuple[Sequence[int], tuple[str, ...]]:
    """The numbers of the rows that a sample may be drawn from, ascending, with notices. Raises PlanError, as `choose`."""
    limit, where = selection.limit, selection.where
    if where is None:
        return range(1, min(limit or dataset.size, dataset.size) + 1), ()
    numbers, unreadable = _fitting(dataset, where)
    if len(numbers) == unreadable:
        raise PlanError(f"--where {where!r}: it chooses none of the {dataset.size:,} rows of {dataset.name}")
    notices = [f"--where {where}: {len(numbers):,} of {dataset.size:,} rows are chosen"]
    if unreadable:
        notices.append(f"{unreadable:,} of the chosen rows can't be read, so --where can't be told of them; they fail")
    return numbers[:limit], tuple(notices)


def _fitting(dataset: Dataset, where: str) -> tuple[array[int], int]:
    """The numbers of the rows of which the expression is true or can't be told, for they can't be read; how many the latter are.

    A row that can't be read may belong: left out, it would be missing in silence, and flatter a gate.
    """
    is_chosen = condition(where, dataset.columns)
    numbers, unreadable, untold, examples = array("I"), 0, 0, list[str]()
    for row in dataset.rows():
        try:
            if row.problem is not None or is_chosen(row.values):
                numbers.append(row.number)
                unreadable += row.problem is not None
        except Incomparable as why:
            untold += 1
            examples += [f"row {row.number}: {why}"] * (untold <= _EXAMPLES)
    if untold:
        rows = "1 row" if untold == 1 else f"{untold:,} rows"
        guard = "say what such a row is first, as in `kind == 'number' and score < 0.5`"
        raise PlanError(f"--where {where!r}: it can't be told of {rows}: {'; '.join(examples)}; {guard}")
    return numbers, unreadable


def audited(numbers: Sequence[int], share: Fraction, seed: int) -> frozenset[int]:
    """A random part of these rows, to be judged twice: the share of them, rounded up, so that it is never none."""
    return frozenset(drawn(numbers, ceil(len(numbers) * share), seed, "audit"))


def drawn(numbers: Sequence[int], n: int, seed: int, draw: str = "sample") -> list[int]:
    """`n` of these rows at random, without replacement: those whose hashes, of seed and number, are the smallest.

    So a larger draw holds a smaller one of the same seed, and as much of it as can be is drawn again once the dataset has
    grown: with `--reuse` only the rest is paid. `draw`: what it is for; two draws of one seed don't depend on each other.
    """

    def place(number: int) -> bytes:
        return blake2b(f"{draw} {seed} {number}".encode(), digest_size=8).digest()

    return nsmallest(n, numbers, key=place)


def allocated(sizes: Sequence[int], n: int, chance: random.Random) -> list[int]:
    """How many of `n` rows are drawn from each stratum: in proportion, by the largest remainder (Hamilton's method).

    Each stratum gets a row of its own where there are as many rows as strata. `chance` decides between equal remainders:
    by their order, the first strata of a file would be preferred. `n` is no more than there are rows.
    """
    total = sum(sizes)
    quotas = [Fraction(size * n, total) for size in sizes]
    given = [int(quota) for quota in quotas]
    order = chance.sample(range(len(sizes)), len(sizes))
    for one in sorted(order, key=lambda i: given[i] - quotas[i])[: n - sum(given)]:
        given[one] += 1
    if len(sizes) <= n:
        for one in [i for i in order if not given[i]]:
            # from the stratum that has most above its share
            most = max((i for i in order if given[i] > 1), key=lambda i: given[i] - quotas[i])
            given[one], given[most] = 1, given[most] - 1
    return given


def _stratified(dataset: Dataset, among: Sequence[int], by: Place, n: int, seed: int) -> tuple[Iterable[int], str]:
    strata: dict[str, array[int]] = {}
    for row in rows_of(dataset, among):
        strata.setdefault(_stratum(row, by), array("I")).append(row.number)
    sizes = [len(numbers) for numbers in strata.values()]
    given = allocated(sizes, n, random.Random(seed))
    parts = zip(strata.values(), given, strict=True)
    picked = [number for numbers, k in parts for number in drawn(numbers, k, seed)]
    said = f"--stratify {by}: {n:,} of {len(among):,} rows, in proportion to the {len(sizes):,} values of {by}, so that the "
    said += "pass rate of the sample is the plain share"
    if len(sizes) > n:
        said += f"; {given.count(0):,} values have no row in it, for there are more values than rows"
    elif lifted := sum(k == 1 and size * n < len(among) for k, size in zip(given, sizes, strict=True)):
        values = "1 rare value has one row" if lifted == 1 else f"{lifted:,} rare values have one row each"
        said += f"; {values}, which is more than their share"
    return picked, said


def _stratum(row: Row, by: Place) -> str:
    if row.problem is not None:
        return UNREADABLE
    text = text_of(by.value_in(row.values))
    return text if isinstance(text, str) else BLANK


def rows_of(dataset: Dataset, numbers: Sequence[int]) -> Iterator[Row]:
    """The rows with these numbers, which ascend."""
    return among(dataset.rows(), numbers, lambda row: row.number)


def among(rows: Iterable[T], numbers: Sequence[int], number_of: Callable[[T], int]) -> Iterator[T]:
    """Those of the rows that have one of these numbers, which ascend; no more is read than they need."""
    wanted = iter(numbers)
    number = next(wanted, None)
    for row in islice(rows, numbers[-1] if numbers else 0):
        if number_of(row) == number:
            yield row
            number = next(wanted, None)


def _ascending(numbers: Iterable[int]) -> Sequence[int]:
    return array("I", sorted(numbers))
