"""What the benchmark server's judge says, how long it takes, and how much it is allowed. Pure."""

from __future__ import annotations

import json
import math
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeAlias

TEMPLATE, KEYS = "is_helpful", ("input", "output")
"""The one template, which answers Pass/Fail, and its required keys."""
RATE_LIMITED = "API call not allowed: rate_limited"

Durations: TypeAlias = Callable[[], float]
"""Seconds that the next evaluation takes."""


def digest(inputs: Mapping[str, object]) -> bytes:
    """Eight bytes that stand for an item, so that nobody has to keep it."""
    text = json.dumps(inputs, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def verdict(item: bytes) -> str:
    """`Passed` or `Failed`, decided by the item's digest alone: a verdict given to another item shows."""
    return "Passed" if item[0] & 1 else "Failed"


# -- how long ------------------------------------------------------------------------------------------------------


def durations(text: str, seed: int) -> Durations:
    """Evaluation times, in seconds: `constant:SECONDS`, or `lognormal:MEDIAN:SIGMA`. Raises ValueError for others."""
    name, *numbers = text.split(":")
    if len(numbers) != {"constant": 1, "lognormal": 2}.get(name):
        raise ValueError(f"evaluation time {text!r}: write constant:SECONDS or lognormal:MEDIAN:SIGMA")
    median, sigma = [*map(float, numbers), 0.0][:2]
    chance = random.Random(seed)
    return lambda: chance.lognormvariate(math.log(median), sigma)


# -- how much ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limit:
    """So many within any window of so many seconds."""

    most: int
    window: float

    @classmethod
    def parse(cls, text: str) -> Limit:
        """`100/s` or `600/min`."""
        most, _, unit = text.partition("/")
        if unit not in _WINDOWS or not most.isdecimal():
            raise ValueError(f"{text!r} is not a limit: write it as 100/s or 600/min")
        return cls(int(most), _WINDOWS[unit])

    @property
    def per_second(self) -> float:
        return self.most / self.window

    def least_seconds(self, n: int) -> float:
        """The earliest that the last of `n` can be allowed, after the first."""
        return (n - 1) // self.most * self.window


_WINDOWS = {"s": 1.0, "min": 60.0}


class SlidingWindow:
    """Says which comers a limit allows. Those it refuses don't count."""

    def __init__(self, limit: Limit | None) -> None:
        self._limit = limit
        self._allowed: deque[float] = deque()

    def allows(self, now: float) -> bool:
        if self._limit is None:
            return True
        while self._allowed and self._allowed[0] <= now - self._limit.window:
            self._allowed.popleft()
        if len(self._allowed) >= self._limit.most:
            return False
        self._allowed.append(now)
        return True
