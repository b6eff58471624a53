"""How far a run is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Counts of one run's items."""

    total: int
    scored: int
    failed: int
    waiting: int
    """Submitted, and no verdict yet."""
    paused: bool = False
    """Somebody had it submit nothing."""
    waits: str = ""
    """What holds every request up at this moment, in words."""

    @property
    def settled(self) -> int:
        return self.scored + self.failed

    @property
    def fraction(self) -> float:
        return self.settled / self.total if self.total else 1.0
