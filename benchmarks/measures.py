"""A measure, its target, and the table that says which were met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FIRST_SECONDS = 2
"""In which a client may still be finding out what a server allows."""


@dataclass(frozen=True)
class Measure:
    """A figure of a run. Without a target it is there to explain the others."""

    name: str
    value: float
    at_most: float | None = None
    at_least: float | None = None
    unit: str = ""
    """`%` is of a share from 0 to 1."""

    @property
    def is_met(self) -> bool | None:
        """None where there is no target."""
        if self.at_most is None and self.at_least is None:
            return None
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    @property
    def cells(self) -> tuple[str, str, str, str]:
        sign, target = ("<=", self.at_most) if self.at_most is not None else (">=", self.at_least)
        met = {None: "", True: "yes", False: "NO"}[self.is_met]
        return self.name, self._shown(self.value), "" if target is None else f"{sign} {self._shown(target)}", met

    def _shown(self, value: float) -> str:
        if self.unit == "%":
            return f"{100 * value:.1f} %"
        digits = 0 if float(value).is_integer() else 1 if value >= 100 else 2
        return f"{value:,.{digits}f} {self.unit}".strip()


@dataclass(frozen=True)
class Table:
    """What one run, or the comparison of several, came to."""

    title: str
    measures: Sequence[Measure]
    notes: Sequence[str] = ()

    @property
    def misses(self) -> int:
        return sum(m.is_met is False for m in self.measures)

    def __str__(self) -> str:
        rows = [("measure", "value", "target", "met"), *(m.cells for m in self.measures)]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip() for row in rows
        ]
        return "\n".join([f"== {self.title}", *lines, *(f"note: {note}" for note in self.notes), ""])
