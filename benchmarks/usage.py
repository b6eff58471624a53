"""What this process, and only this process, has used."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True)
class Usage:
    """So far; or, as the difference of two, in between."""

    at: float
    """By the monotonic clock, which all processes of a machine share, in seconds."""
    cpu: float
    """Seconds, user and system."""
    peak: float
    """Megabytes of memory, at the worst moment until now."""

    @classmethod
    def now(cls) -> Usage:
        used = resource.getrusage(resource.RUSAGE_SELF)
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return cls(at=monotonic(), cpu=used.ru_utime + used.ru_stime, peak=used.ru_maxrss / unit)

    def __sub__(self, began: Usage) -> Usage:
        return Usage(self.at - began.at, self.cpu - began.cpu, self.peak - began.peak)


def spent(work: Callable[[], object]) -> Usage:
    """What the work takes."""
    began = Usage.now()
    work()
    return Usage.now() - began
