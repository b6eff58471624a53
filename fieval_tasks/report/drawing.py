"""Small SVG drawings for the HTML report. They carry no text from outside and no style of their own."""

from __future__ import annotations

from collections.abc import Sequence

from fieval_tasks.decisions.statistics import Interval
from fieval_tasks.report.summary import CheckSummary

_HEIGHT = 36


def interval_bar(check: CheckSummary) -> str:
    """A pass rate on the line from 0 to 1: its 95 % interval as a band, what is unmeasured as an outline."""
    band = _span(check.pass_rate_interval, "band", top=3, height=8)
    outline = _span(check.bounds, "outline", top=0.6, height=12.8) if _is_open(check.bounds) else ""
    mark = _mark(check.pass_rate, bottom=14)
    return _svg(
        14,
        "Pass rate with its 95 % interval",
        f'<rect class="track" y="5" width="100" height="4" rx="1"/>{band}{outline}{mark}',
    )


def histogram(bins: Sequence[int], mean: float | None) -> str:
    """How many scores fall in each tenth of 0..1, and where their mean is."""
    tallest = max(bins)
    bars = "".join(_bar(place, number, tallest) for place, number in enumerate(bins))
    base = f'<rect class="track" y="{_HEIGHT - 0.6}" width="100" height="0.6"/>'
    return _svg(_HEIGHT, "Histogram of scores", base + bars + _mark(mean, bottom=_HEIGHT))


def share_bar(number: int, of: int) -> str:
    """A share of a whole as a bar."""
    bar = f'<rect class="bar" width="{100 * number / of:.2f}" height="6" rx="1"/>'
    return _svg(6, "Share", f'<rect class="track" width="100" height="6" rx="1"/>{bar}')


def _bar(place: int, number: int, tallest: int) -> str:
    height = max(0.8, (_HEIGHT - 2) * number / tallest) if number else 0.0
    title = f"<title>{place / 10:.1f} to {(place + 1) / 10:.1f}: {number}</title>"
    box = f'x="{place * 10 + 0.5}" y="{_HEIGHT - height:.2f}" width="9" height="{height:.2f}"'
    return f'<rect class="bar" {box}>{title}</rect>'


def _span(span: Interval | None, kind: str, *, top: float, height: float) -> str:
    if span is None:
        return ""
    low, high = _place(span[0]), _place(span[1])
    return f'<rect class="{kind}" x="{low:.2f}" y="{top}" width="{max(high - low, 0.4):.2f}" height="{height}" rx="1"/>'


def _mark(value: float | None, *, bottom: float) -> str:
    if value is None:
        return ""
    x = min(max(_place(value), 0.4), 99.6)
    return f'<line class="mark" x1="{x:.2f}" x2="{x:.2f}" y1="0" y2="{bottom}"/>'


def _place(value: float) -> float:
    return 100 * min(max(value, 0.0), 1.0)


def _is_open(bounds: Interval | None) -> bool:
    return bounds is not None and bounds[0] < bounds[1]


def _svg(height: float, label: str, body: str) -> str:
    return f'<svg viewBox="0 0 100 {height}" preserveAspectRatio="none" role="img" aria-label="{label}">{body}</svg>'
