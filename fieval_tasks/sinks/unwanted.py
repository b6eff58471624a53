"""Rows that a table of the user's does not take, such as an id that is too long for it: they keep no other out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from fieval_tasks.core.errors import RowsUnwanted, in_words
from fieval_tasks.core.items import Result
from fieval_tasks.report.text import count, one_line

LONGEST_NAME = 80
"""Characters of an item's id or a check's name in one sentence."""

Take: TypeAlias = Callable[[Sequence[Result]], None]


class Unwanted:
    """The items that a sink has refused, in one sentence."""

    def __init__(self) -> None:
        self._why: dict[int | None, str] = {}
        """Seq -> what the database said, and which item it is."""
        # Made here, for another thread asks for it meanwhile.
        self.said = ""
        """Empty where there are none."""

    def note(self, results: Sequence[Result], error: RowsUnwanted | None) -> None:
        """`error`: why the results are refused; None where they are taken."""
        for result in results:
            self._why.pop(result.seq, None)
            if error is not None:
                item, check = one_line(result.item_id, LONGEST_NAME), one_line(result.check, LONGEST_NAME)
                self._why[result.seq] = f"{in_words(error)} (item {item}, check {check})"
        more = f", and {count(len(self._why) - 1, 'other')} like it" if len(self._why) > 1 else ""
        first = next(iter(self._why.values()), "")
        self.said = first and f"{first}{more}: refused as they are"


def parts_taken(take: Take, batch: Sequence[Result]) -> Iterator[tuple[Sequence[Result], RowsUnwanted | None]]:
    """Hands the batch on, in halves where a row of it is refused: what was taken, and each refused row alone, with why.

    A refused row in a thousand costs twenty transactions.
    """
    try:
        take(batch)
    except RowsUnwanted as error:
        if len(batch) == 1:
            yield batch, error
            return
        half = len(batch) // 2
        yield from parts_taken(take, batch[:half])
        yield from parts_taken(take, batch[half:])
    else:
        yield batch, None
