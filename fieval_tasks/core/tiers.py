"""The platform's rate-limit tiers: how many evaluations by one judge model an account may run within which windows."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from fieval_tasks.core.quantities import checked

DAY = 86_400.0
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "day": DAY}
_WINDOW = re.compile(r"([1-9][0-9]{0,8})/(s|min|h|day)")


@dataclass(frozen=True)
class Tier:
    """Limits that all hold at once, each counted in a sliding window. A refused evaluation does not count."""

    name: str
    """As `--tier` takes it."""
    windows: tuple[tuple[int, float], ...]
    """(evaluations, seconds): so many evaluations run within any span of so many seconds; the shortest window first."""

    @property
    def most(self) -> int:
        """Evaluations that the longest window allows; 0 without windows."""
        return self.windows[-1][0] if self.windows else 0

    def schedule(self, n: int, earlier: Iterable[float] = ()) -> Sequence[float]:
        """When each of `n` evaluations may be sent at the earliest, in seconds from now, ascending.

        `earlier`: how many seconds ago each evaluation before them was sent.
        """
        sent = array("d", sorted(-ago for ago in earlier))
        before, now = len(sent), 0.0
        for place in range(before, before + n):
            # A window has room once the evaluation that is its whole count back has left it.
            now = max([now, *(sent[place - count] + seconds for count, seconds in self.windows if count <= place)])
            sent.append(now)
        return sent[before:]

    def divided(self, processes: int) -> Tier:
        """The limits of one process where so many share the account's; at least one evaluation in each window."""
        return Tier(self.name, tuple((max(1, count // processes), seconds) for count, seconds in self.windows))

    @classmethod
    def parse(cls, text: str) -> Tier:
        """`default`, `custom`, `none`, or limits such as `50/min,300/h`. Raises ValueError."""
        name = text.strip().lower()
        if name in TIERS:
            return TIERS[name]
        found = [_WINDOW.fullmatch(part.strip()) for part in name.split(",")]
        if not all(found):
            raise ValueError(
                f"{text!r} is not a tier: write {', '.join(TIERS)}, or limits such as 50/min,300/h,1000/day"
            )
        windows = ((int(match[1]), _SECONDS[match[2]]) for match in found if match)
        return cls(name, tuple(sorted(windows, key=lambda window: window[1])))


# Read in the platform's source (August 2026). The source also limits 30 days, to 30 times the day's limit: a run that keeps
# to the day's limit can't exceed it, so it is left out.
DEFAULT = Tier("default", ((50, 60.0), (300, 3600.0), (1_000, DAY)))
CUSTOM = Tier("custom", ((5_000, 60.0), (30_000, 3600.0), (100_000, DAY)))
NO_TIER = Tier("none", ())
TIERS = {tier.name: tier for tier in (DEFAULT, CUSTOM, NO_TIER)}


TierName = Annotated[str, checked(Tier.parse)]
"""Text that `Tier.parse` reads."""
