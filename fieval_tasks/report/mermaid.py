"""A trend as a bar chart in Mermaid, which Prefect's new UI and GitHub draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10

# The theme's own colours are cream on white. One blue that is told from Prefect's light and dark page alike.
_LOOK = '%%{init: {"xyChart": {"width": 720, "height": 260}, "themeVariables": {"xyChart": {"plotColorPalette": "#3b82f6"}}}}%%'
# Mermaid knows no missing value (mermaid-js/mermaid#5293), and a bar that ends where the axis begins is still drawn some 7 px
# high, so that it would pass for a low value: this part of the axis below it is 6 px.
_BELOW = 0.03
LEAST_SPREAD = 0.05
"""Where figures hardly differ, the axis spans so much, so that noise does not look like news."""


def trend_chart(values: Sequence[float | None], breaks: Mapping[int, str], *, figure: str) -> str:
    """A bar for each run, the oldest first and numbered from 1. Nothing of the data but numbers gets into it.

    `breaks`: the place of a run that is not comparable with the one before -> the letter that marks the gap before it. A run
    without a value has an empty place. `figure` names the axis. Raises ValueError where no run has a value.
    """
    low, high = axis([value for value in values if value is not None])
    nothing = low - _BELOW * (high - low)
    labels, bars = [], []
    for place, value in enumerate(values):
        gap = [breaks[place]] if place in breaks else []
        labels += [*gap, str(place + 1)]
        bars += [nothing] * len(gap) + [nothing if value is None else value]
    return "\n".join(
        (
            _LOOK,
            "xychart-beta",
            f"    x-axis [{', '.join(map(_quoted, labels))}]",
            f"    y-axis {_quoted(figure)} {_number(low)} --> {_number(high)}",
            f"    bar [{', '.join(map(_number, bars))}]",
        )
    )


def axis(values: Sequence[float]) -> tuple[float, float]:
    """Where the axis begins and ends: round numbers a little beyond the values; within 0..1 where all values are."""
    least, most = min(values), max(values)
    spread = max(most - least, LEAST_SPREAD * abs(most), LEAST_SPREAD)
    step = 10.0 ** floor(log10(spread))
    low, high = floor((least - spread / 2) / step) * step, ceil((most + spread / 2) / step) * step
    return (max(low, 0.0), min(high, 1.0)) if least >= 0 and most <= 1 else (low, high)


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _quoted(word: str) -> str:
    return f'"{word}"'
