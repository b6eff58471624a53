"""Durations, rates and allowances as text that users write, and their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from fieval_tasks.core.gates import NUMBER

_SECOND, _MINUTE, _HOUR, _DAY = 1.0, 60.0, 3600.0, 86400.0
_UNITS = {"ms": 0.001, "s": _SECOND, "": _SECOND, "m": _MINUTE, "min": _MINUTE, "h": _HOUR, "d": _DAY}
_PER = {
    "s": _SECOND, "sec": _SECOND, "second": _SECOND, "m": _MINUTE, "min": _MINUTE, "minute": _MINUTE, "h": _HOUR, "hour": _HOUR,
}  # fmt: skip
_ALLOWANCE = re.compile(rf"([0-9]{{1,15}})|({NUMBER})\s*%")


def parse_duration(text: str) -> float:
    """`90`, `90s`, `10m`, `2h`, `7d` -> seconds. Raises ValueError."""
    number, unit = _parsed(text, "", _UNITS, "duration: write 90s, 10m, 2h or 7d")
    return number * unit


def written_duration(seconds: float) -> str:
    """604800 -> `7d`: in the largest unit of which it is a whole number, as a user would write it."""
    unit = next((unit for unit in ("d", "h", "m") if seconds % _UNITS[unit] == 0), "s")
    return f"{seconds / _UNITS[unit]:g}{unit}"


def parse_rate(text: str) -> float:
    """`20/s`, `600/min` -> requests a second. Raises ValueError."""
    number, unit = _parsed(text, r"\s*/\s*", _PER, "rate: write 20/s or 600/min")
    return number / unit


def _parsed(text: str, between: str, units: Mapping[str, float], form: str) -> tuple[float, float]:
    """A number above 0, and its unit in seconds. Raises ValueError, with `form` as what to write."""
    match = re.fullmatch(rf"({NUMBER}){between}({'|'.join(units)})", text.strip().lower())
    if not match or float(match[1]) <= 0:
        raise ValueError(f"{text!r} is not a {form}")
    return float(match[1]), units[match[2]]


def allowed_failures(text: str | None, *, total: int) -> int:
    """`5` or `2%` -> how many of `total` items may lack a verdict; None: 0. Raises ValueError."""
    if text is None:
        return 0
    match = _ALLOWANCE.fullmatch(text.strip())
    if not match or (match[2] and Fraction(match[2]) > 100):
        raise ValueError(f"{text!r} is not an allowance: write a count such as 5, or a share such as 2%")
    return int(match[1]) if match[1] else int(total * Fraction(match[2]) / 100)


def parse_share(text: str) -> Fraction:
    """`5%` -> 1/20. Raises ValueError for a share of nothing, of more than all, or without its sign."""
    match = re.fullmatch(rf"({NUMBER})\s*%", text.strip())
    if not match or not 0 < Fraction(match[1]) <= 100:
        raise ValueError(f"{text!r} is not a share: write a percentage such as 5%")
    return Fraction(match[1]) / 100


def parse_precision(text: str) -> Fraction:
    """`0.02`, `2%` -> a share above 0 and below 1/2. Raises ValueError."""
    match = re.fullmatch(rf"({NUMBER})\s*(%)?", text.strip())
    if not match or not 0 < (share := Fraction(match[1]) / (100 if match[2] else 1)) < Fraction(1, 2):
        raise ValueError(f"{text!r} is not a precision: write a share between 0 and 0.5, such as 0.02 or 2%")
    return share


def percent(share: float) -> str:
    """0.95 -> `95 %`."""
    return f"{100 * share:g} %"


def plus_minus(text: str) -> str:
    """`0.02` -> `±2 points`, in percentage points."""
    return f"±{float(parse_precision(text) * 100):g} points"


def checked(parse: Callable[[str], object]) -> AfterValidator:
    """For a field that is kept as it was written: refuses what can't be parsed."""

    def read(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(read)


def _in_seconds(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def as_written(value: object) -> object:
    """A number of JSON or YAML as the text that was written: 0.002 and not its neighbour among the floats."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return format(Decimal(str(value)), "f")
    return value


def _with_digits_that_are_read(value: object) -> object:
    """A number as text, and 1 / 30, which a program may compute, with as many digits as `NUMBER` reads."""
    return as_written(round(value, 15) if isinstance(value, float) else value)


Precision = Annotated[str, BeforeValidator(_with_digits_that_are_read), checked(parse_precision)]
"""Text such as 0.02 or 2%, kept as it was written."""
Seconds = Annotated[float, BeforeValidator(_in_seconds)]
"""A number, or text such as 10m."""
Rate = Annotated[str, checked(parse_rate)]
"""Text such as 600/min, kept as it was written."""
Allowance = Annotated[str, checked(partial(allowed_failures, total=100))]
"""Text such as 5 or 2%, kept as it was written."""
Share = Annotated[str, checked(parse_share)]
"""Text such as 5%, kept as it was written."""
