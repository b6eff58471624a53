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

TEMPLATES: Mapping[str, tuple[str, ...]] = {"is_helpful": ("input", "output"), "is_concise": ("output",)}
"""Template -> required keys. Both answer Pass/Fail."""
RATE_LIMITED = "API call not allowed: rate_limited"

Durations: TypeAlias = Callable[[float], float]
"""Seconds since the first evaluation -> seconds that this one takes."""


def digest(inputs: Mapping[str, object]) -> bytes:
    """Eight bytes that stand for an item, so that nobody has to keep it."""
    text = json.dumps(inputs, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def verdict(item: bytes) -> str:
    """`Passed` or `Failed`, decided by the item's digest alone: a verdict given to another item shows."""
    return "Passed" if item[0] & 1 else "Failed"


# -- how long ------------------------------------------------------------------------------------------------------


def durations(text: str, seed: int) -> Durations:
    """Evaluation times, in seconds, by name and numbers.

    `constant:SECONDS`; `lognormal:MEDIAN:SIGMA`; `bimodal:FAST:SLOW:SHARE_OF_SLOW`; `heavy:LEAST:ALPHA:MOST` (Pareto,
    cut at MOST); `drifting:FIRST:LAST:OVER` (lognormal, sigma 0.3, its median going from FIRST to LAST in OVER seconds).
    """
    name, *numbers = text.split(":")
    make = _DISTRIBUTIONS.get(name)
    if make is None:
        raise ValueError(f"evaluation time {text!r}: the names are {', '.join(_DISTRIBUTIONS)}")
    try:
        return make(random.Random(seed), *(float(n) for n in numbers))
    except TypeError as error:
        raise ValueError(f"evaluation time {text!r}: {error}") from error


def _constant(_: random.Random, seconds: float) -> Durations:
    return lambda elapsed: seconds


def _lognormal(chance: random.Random, median: float, sigma: float = 0.5) -> Durations:
    return lambda elapsed: chance.lognormvariate(math.log(median), sigma)


def _bimodal(chance: random.Random, fast: float, slow: float, share_of_slow: float = 0.2) -> Durations:
    return lambda elapsed: chance.lognormvariate(math.log(slow if chance.random() < share_of_slow else fast), 0.1)


def _heavy(chance: random.Random, least: float, alpha: float = 1.5, most: float = 60.0) -> Durations:
    return lambda elapsed: min(most, least * chance.paretovariate(alpha))


def _drifting(chance: random.Random, first: float, last: float, over: float = 60.0) -> Durations:
    def seconds(elapsed: float) -> float:
        median = first + (last - first) * min(1.0, elapsed / over)
        return chance.lognormvariate(math.log(median), 0.3)

    return seconds


_DISTRIBUTIONS: Mapping[str, Callable[..., Durations]] = {
    "constant": _constant,
    "lognormal": _lognormal,
    "bimodal": _bimodal,
    "heavy": _heavy,
    "drifting": _drifting,
}


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
