"""How verdicts that came after a report changed what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from fieval_tasks.report.record import iso


@dataclass(frozen=True)
class CheckStanding:
    """One check's figures at the time of a report."""

    n: int
    scored: int
    passed: int | None
    pass_rate: float | None
    mean: float | None


@dataclass(frozen=True)
class Standing:
    """A run's figures at the time of a report."""

    items: Mapping[str, int]
    """Status -> items."""
    checks: Mapping[str, CheckStanding]
    requests: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """For the ledger, and for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Standing:
        checks = {name: CheckStanding(**figures) for name, figures in told["checks"].items()}
        return cls(told["items"], checks, told["requests"])


@dataclass(frozen=True)
class Amendment:
    """A report that says something else than the one before it."""

    at: datetime
    before: Standing
    after: Standing

    def to_json(self) -> dict[str, Any]:
        """Only the figures that differ, before and after, in the shape of a standing."""
        before, after = _differing(self.before.to_json(), self.after.to_json())
        return {"at": iso(self.at), "before": before, "after": after}


def amendments(reports: Sequence[tuple[datetime, Standing]]) -> tuple[Amendment, ...]:
    """What changed from each report to the next. Requests alone change nothing that a report says of the items."""
    return tuple(
        Amendment(at, before, after)
        for (_, before), (at, after) in pairwise(reports)
        if (before.items, before.checks) != (after.items, after.checks)
    )


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both without what they have in common."""
    was: dict[str, Any] = {}
    now: dict[str, Any] = {}
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            old, new = _differing(old, new)
        if old != new:
            was[name], now[name] = old, new
    return was, now
