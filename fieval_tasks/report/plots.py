"""Plots as inline SVG, drawn by pygal. The page's style gives them their colours, and its policy allows no other."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from fieval_tasks.report.text import count, duration
from fieval_tasks.report.timeline import Part, Timeline

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Small, so that a phone does not make the labels smaller still.
WIDTH, HEIGHT = 440, 180
_TAGS = ("svg", "g", "path", "rect", "circle", "line", "text")
_PLACES = ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "d", "transform", "viewBox")
_CLASSES = ("background", "line", "guide", "major", "axis", "rect", "dot", "serie-0", "serie-1", "nofill", "x", "y")
_LEFT_OUT = ("tooltip-overlay", "text-overlay", "titles", "legends")
"""Groups of pygal's that its script would fill, and the legend, which stands above the plot as text."""
_MOST_LABELS = 6
"""Labels of an axis of time, so that they don't touch on a phone."""


def histogram(bins: Sequence[int]) -> Markup:
    """Of scores from 0 to 1."""
    edges = [f"{place / len(bins):.1f}" for place in range(len(bins) + 1)]
    parts = [f"{n:,} from {low} to {high}" for n, low, high in zip(bins, edges, edges[1:], strict=False) if n]
    return _drawn("Bar", {"scores": bins}, edges[:-1], f"Histogram of scores: {', '.join(parts) or 'none'}.")


def throughput(timeline: Timeline) -> Markup:
    """Verdicts, and items that ended without one, in each minute of the run."""
    moments, parts = _over_time(timeline)
    per_minute = 60 / timeline.width
    rates = {
        "verdicts": [None if part is None else part.verdicts * per_minute for part in parts],
        "without a verdict": [None if part is None else part.errors * per_minute for part in parts],
    }
    most = max((rate for rate in rates["verdicts"] if rate is not None), default=0.0)
    whole = timeline.whole
    said = f"Verdicts a minute over the run: {count(whole.verdicts, 'verdict')}, {most:,.0f} a minute at most."
    return _drawn("StackedBar", rates if whole.errors else {"verdicts": rates["verdicts"]}, moments, said)


def evaluation_times(timeline: Timeline) -> Markup:
    """The median and the 95th percentile of the evaluations' seconds, over the run."""
    moments, parts = _over_time(timeline)
    lines = {name: [None if part is None else part.seconds(share) for part in parts] for name, share in SHARES.items()}
    said = ", ".join(f"{name} {took(timeline.whole.seconds(share))}" for name, share in SHARES.items())
    return _drawn("Line", lines, moments, f"Seconds of an evaluation at the server, over the run: {said}.")


SHARES: Mapping[str, Fraction] = {"median": Fraction(1, 2), "95th percentile": Fraction(19, 20)}
"""Name -> the share of the evaluations that took no longer."""


def took(seconds: float | None) -> str:
    """`12 ms`, or as any duration."""
    return duration(seconds) if seconds is None or seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _over_time(timeline: Timeline) -> tuple[list[str], list[Part | None]]:
    """Labels and parts, with None where the run stood still."""
    drawn = [*timeline.drawn()]
    first = drawn[0][0] if drawn else None
    every = max(1, len(drawn) // _MOST_LABELS)
    labels = [
        "" if first is None or place % every else _after((moment - first).total_seconds())
        for place, (moment, _) in enumerate(drawn)
    ]
    return labels, [part for _, part in drawn]


def _after(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def _drawn(kind: str, series: Mapping[str, Sequence[float | None]], labels: Iterable[str], said: str) -> Markup:
    """`said`: the plot in words, for those who don't see it."""
    chart = getattr(_pygal(), kind)(
        width=WIDTH, height=HEIGHT, css=[], js=[], show_legend=False, show_dots=kind == "Line", dots_size=2,
        margin=8, margin_bottom=12, margin_right=24, spacing=4, max_scale=5, min_scale=2, include_x_axis=True,
        value_formatter="{:,.10g}".format,
    )  # fmt: skip
    chart.x_labels = [*labels]
    for name, values in series.items():
        chart.add(name, [*values])
    svg = chart.render_tree()
    return Markup('<svg viewBox="0 0 {} {}" class="plot" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, said, Markup("".join(map(_inert, svg)))
    )


@cache
def _pygal() -> Any:
    import pygal  # type: ignore[import-untyped]  # it takes 0.15 s

    # It puts a finder of modules before all others that has no `find_spec`: every later import would warn of that.
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]
    return pygal


def _inert(element: Element) -> str:
    """The element without all that a strict page does not allow, or has no use for: styles, scripts, ids, addresses, notes."""
    tag = element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
    classes = element.get("class", "").split()
    if tag not in _TAGS or any(name in classes for name in _LEFT_OUT):
        return ""
    kept = [name for name in classes if name in _CLASSES]
    said: dict[str, Any] = {name: element.get(name) for name in _PLACES if element.get(name) is not None}
    said |= {"class": " ".join(kept)} if kept else {}
    attributes = "".join(f' {name}="{escape(_rounded(value))}"' for name, value in said.items())
    inside = "".join(map(_inert, element))
    return f"<{tag}{attributes}>{escape(element.text or '') if tag == 'text' else ''}{inside}</{tag}>"


def _rounded(value: str) -> str:
    """A tenth of a unit is a tenth of a pixel."""
    return re.sub(r"\d+\.\d{2,}", lambda found: f"{float(found[0]):.1f}", value)
