"""Rows in batches: few enough at a time that neither a transaction nor the memory grows with a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def batches(rows: Iterable[T], *, most: int, largest: int, size: Callable[[T], int]) -> Iterator[list[T]]:
    """`most` rows at a time, or fewer, once their sizes come to `largest`."""
    batch: list[T] = []
    total = 0
    for row in rows:
        batch.append(row)
        total += size(row)
        if len(batch) >= most or total >= largest:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
