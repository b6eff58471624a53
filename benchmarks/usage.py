"""What this process, and only this process, has used so far."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True)
class Usage:
    at: float
    """By the monotonic clock, which all processes of a machine share."""
    cpu: float
    """Seconds, user and system."""
    peak: float
    """Megabytes of memory, at the worst moment until now."""

    @classmethod
    def now(cls) -> Usage:
        used = resource.getrusage(resource.RUSAGE_SELF)
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return cls(at=monotonic(), cpu=used.ru_utime + used.ru_stime, peak=used.ru_maxrss / unit)
