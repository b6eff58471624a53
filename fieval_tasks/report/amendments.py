"""Amendments: how verdicts that came after a report changed its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, TypeAlias

from fieval_tasks.report.record import iso

# As the ledger keeps them in JSON: `items` (status -> how many), `requests`, and `checks` (check -> n, scored, passed,
# pass_rate, mean).
Standing: TypeAlias = Mapping[str, Mapping[str, Any]]
# Statuses of which older programs recorded that no item had them.
_NEW = "not_needed"
"""A status that older programs did not know."""
_NEVER_SET = ("skipped", "reused")


@dataclass(frozen=True)
class Amendment:
    """A report whose figures differ from those of the report before it."""

    at: datetime
    before: Standing
    """The earlier report's figures."""
    after: Standing
    """This report's figures."""

    def to_json(self) -> dict[str, Any]:
        """Only the figures that differ, before and after."""
        before, after = _differing(self.before, self.after)
        return {"at": iso(self.at), "before": before, "after": after}


def amendments(reports: Sequence[tuple[datetime, Standing]]) -> tuple[Amendment, ...]:
    """The amendments from each report to the next. A change of requests alone is none."""
    return tuple(
        Amendment(at, before, after)
        for (_, before), (at, after) in pairwise((at, _in_todays_words(standing)) for at, standing in reports)
        if (before["items"], before["checks"]) != (after["items"], after["checks"])
    )


def _in_todays_words(standing: Standing) -> Standing:
    counts = standing["items"].items()
    return {**standing, "items": {name: n for name, n in counts if name not in _NEVER_SET and (n or name != _NEW)}}


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
