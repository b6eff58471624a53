"""An even rate. No clock here: time is passed in."""

from __future__ import annotations

from math import inf


class Metronome:
    """An even rate by the generic cell rate algorithm (ITU-T I.371): in any time span at most rate x time + burst."""

    def __init__(self) -> None:
        self._interval = 0.0
        self._slack = 0.0
        self._latest = -inf
        self._due = -inf

    def set(self, rate: float, *, burst: float) -> None:
        self._interval = 1.0 / rate
        self._slack = (burst - 1.0) * self._interval
        self._due = max(self._due, self._latest + self._interval)

    def wait(self, now: float) -> float:
        return max(0.0, self._due - self._slack - now)

    def begin(self, now: float, n: int = 1) -> None:
        self._latest = now
        self._due = max(self._due, now) + n * self._interval
