"""How many of a run's items have their verdicts, for displays."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(frozen=True)
class CheckProgress:
    """Counts of one check's items."""

    name: str
    total: int
    scored: int
    failed: int
    not_needed: int = 0
    cost: Fraction | None = None
    """Of the evaluations that were sent so far; None where no price is known."""

    @property
    def settled(self) -> int:
        return self.scored + self.failed + self.not_needed


@dataclass(frozen=True)
class Progress:
    """Counts of one run's items."""

    total: int
    scored: int
    failed: int
    waiting: int
    """Submitted, and no verdict yet."""
    not_needed: int = 0
    """The run's gates were decided without them."""
    paused: bool = False
    """The run's Prefect variable says that nothing is to be submitted."""
    waits: str = ""
    """Why no request is sent at this moment, in words; empty where requests are sent."""
    lag: str = ""
    """Why what `--to` names has not got all verdicts for now, in words; empty where nothing is wrong."""
    # A log is told of counts that have changed, and these two say nothing new of them.
    throttled: int = field(default=0, compare=False)
    """Requests that the server has refused for now, in this process."""
    checks: tuple[CheckProgress, ...] = field(default=(), compare=False)

    @property
    def settled(self) -> int:
        return self.scored + self.failed + self.not_needed

    @property
    def is_settled(self) -> bool:
        """Nothing is left to be waited for."""
        return self.settled >= self.total

    @property
    def fraction(self) -> float:
        return self.settled / self.total if self.total else 1.0
