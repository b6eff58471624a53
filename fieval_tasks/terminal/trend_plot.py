"""A trend as a plot in the terminal: a line for each stretch of comparable runs, with the ends of its intervals."""

from __future__ import annotations

from itertools import accumulate

from rich.console import Console

from fieval_tasks.report.mermaid import LEAST_SPREAD
from fieval_tasks.runs.trends import Trend

WIDEST = 100
"""Columns: wider plots of a few dozen runs only stretch the line."""
HEIGHT = 14
"""Lines, of which ten are the plot: with the table below it, a page of a terminal."""
NARROWEST = 24
"""Columns below which there is no room for a line beside its figures."""
MOST_MARKED = 30
"""Runs that are marked each, with their intervals: the marks of more would cover the line."""
_ASCII = str.maketrans("┌┐└┘├┤┬┴┼─│┊", "+++++++++-|:")
"""The frame, for terminals that have no other letters."""


def plot(trend: Trend, console: Console) -> list[str]:
    """The lines of the plot, no wider than the console; none where fewer than two runs have a figure, or there is no room."""
    points = [point for line in trend.lines for point in line]
    width = min(console.width, WIDEST)
    if len(points) < 2 or width < NARROWEST:
        return []
    from plotext import figure, uncolorize  # a quarter of a second

    is_ascii = console.options.ascii_only
    figure.clear()
    figure.plot_size(width, HEIGHT)
    figure.theme("colorless")
    places, values = [*range(1, len(points) + 1)], [point.figures.figure for point in points]
    for place, point in zip(places, points, strict=True):
        if point.figures.interval and len(points) <= MOST_MARKED:
            bar = figure.signal([place, place], [*point.figures.interval], marker="|" if is_ascii else "│")
            figure.draw(bar.lines())
    line = figure.signal(places, values, marker="*" if is_ascii else "braille")
    line.lines()
    for start in _starts(trend):
        line.line(start, False)
        figure.line(start + 0.5, "v", style="dotted")
    figure.draw(line)
    if len(points) <= MOST_MARKED:
        figure.draw(figure.signal(places, values, marker="*" if is_ascii else "•"))
    figure.ruler("y").lim(*_limits(trend))
    figure.ruler("x").lim(0.5, len(points) + 0.5)
    when = "%H:%M" if points[0].at.date() == points[-1].at.date() else "%Y-%m-%d"
    shown = sorted({1, (len(points) + 1) // 2, len(points)})
    figure.ruler("x").ticks(shown, [f"{points[place - 1].at:{when}}" for place in shown])
    drawn = uncolorize(figure.build().string())
    return [one.rstrip() for one in (drawn.translate(_ASCII) if is_ascii else drawn).splitlines() if one.strip()]


def _starts(trend: Trend) -> list[int]:
    """The places of points, from 0, at which a new line starts, without the first."""
    return [*accumulate(map(len, trend.lines))][:-1]


def _limits(trend: Trend) -> tuple[float, float]:
    """A little more than what is drawn, and no rate below 0 or above 1."""
    drawn = [one.figures for line in trend.lines for one in line]
    ends = [end for one in drawn for end in one.interval or (one.figure or 0.0,)]
    spread = max(ends) - min(ends)
    room = max(spread / 10, (LEAST_SPREAD - spread) / 2)
    low, high = min(ends) - room, max(ends) + room
    return (max(0.0, low), min(1.0, high)) if all(one.interval for one in drawn) else (low, high)
