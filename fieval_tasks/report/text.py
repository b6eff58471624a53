"""Texts and numbers for display: without control characters, and rounded so that they stay true."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from fractions import Fraction
from math import isinf
from typing import Any

from fieval_tasks.core.gates import Number
from fieval_tasks.decisions.statistics import Interval
from fieval_tasks.report.record import finite, utc

# Stands where there is no number.
NONE = "\u2013"
FIGURE = "pass rate [95 %]"
"""The heading of `figure`."""

# Characters that would steer a terminal, reorder what is read, or be no text at all.
INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # terminal escapes and other controls; not tab and newline
    "\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # these reorder or hide text
    "\ud800-\udfff\ufffe\uffff\U000e0000-\U000e007f]"  # lone surrogates, non-characters, tags
)
# Of those, what is no letter or sign of any language, nor says which way one reads or where a word may break.
_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def clean(text: str, *, apart: bool = False) -> str:
    """The text with its lines, and a visible sign for each character that would steer a terminal or hide something.

    `apart`: for a file, or a page that keeps each text's direction to itself: every character of a language stays.
    """
    if text.isascii() and text.isprintable():
        return text  # as most are
    return (_NO_TEXT if apart else INVISIBLE).sub("\ufffd", text.replace("\r\n", "\n"))


def shown_text(text: str) -> str:
    """The text as report.html shows it and as its links name it: with a sign for what is no text, and in its own lines."""
    return clean(text, apart=True)


def one_line(text: str, limit: int, *, apart: bool = False) -> str:
    """The text cleaned, on one line, of at most `limit` characters."""
    return clip(clean(" ".join(text[: 8 * limit].split()), apart=apart), limit)


def clip(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def share(value: float | None) -> str:
    """A rate or score to three places. One that isn't quite 0 or 1 never reads as if it were."""
    if value is None:
        return NONE
    if 0 < value < 0.0005:
        return "<0.001"
    if 0.9995 <= value < 1:
        return ">0.999"
    return f"{value:.3f}"


def figure(pass_rate: float | None, interval: Interval | None, mean: float | None) -> str:
    """`0.600 [0.47, 0.72]`, or `0.772 mean`: what a check came to, for a cell of a terminal's table."""
    if pass_rate is not None and interval is not None:
        return f"{share(pass_rate)} [{', '.join(outwards(interval, 2))}]"
    return NONE if mean is None else f"{share(mean)} mean"


def beside(value: Number, threshold: Fraction) -> str:
    """The value in four digits, or in as many as tell it from 0, from 1 and from a threshold that it isn't."""
    if isinf(value):
        return "any number"
    value = Fraction(value)
    marks = (threshold, Fraction(0), Fraction(1))
    texts = [f"{float(value):.{digits}g}" for digits in range(4, 18)]
    return next((text for text in texts if _sides(Fraction(text), marks) == _sides(value, marks)), texts[-1])


def _sides(value: Fraction, marks: tuple[Fraction, ...]) -> list[tuple[bool, bool]]:
    return [(value < mark, value > mark) for mark in marks]


def between(bounds: Interval, word: str = "and") -> str:
    """`0.716 and 0.767`: rounded outwards to three places, so that the sentence stays true."""
    return f" {word} ".join(outwards(bounds))


def outwards(bounds: Interval, places: int = 3) -> tuple[str, str]:
    """The bounds to so many places, the lower rounded down and the upper up."""
    unit = 10**places
    low, high = (math.floor(round(bounds[0] * unit, 6)) / unit, math.ceil(round(bounds[1] * unit, 6)) / unit)
    return f"{low:.{places}f}", f"{high:.{places}f}"


def plain_json(value: Any, *, indent: int | None = None, separators: tuple[str, str] | None = None) -> str:
    """Strict JSON that can be shown in a terminal: what would steer it, or end a line, or can't be UTF-8, is escaped."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)
    if text.isascii() and text.isprintable():
        return text  # as most are: the search takes longer than all the rest
    return INVISIBLE.sub(lambda found: json.dumps(found[0])[1:-1], text)


def shown_json(value: Any) -> str:
    """As a command prints it: strict JSON in ASCII, so that no character in it steers a terminal, nor a text GitHub Actions,
    where `##[` in a line of the log begins a command."""
    written = json.dumps(finite(value), indent=2, allow_nan=False)
    return written.replace("\x7f", "\\u007f").replace("##", "#\\u0023")


def count(number: int, singular: str, plural: str | None = None) -> str:
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def duration(seconds: float | None) -> str:
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment(when: datetime | None) -> str:
    return NONE if when is None else f"{utc(when):%Y-%m-%d %H:%M:%S} UTC"
