"""What a run's checks came to in the last runs on its dataset, for the pages that show it."""

from __future__ import annotations

from collections.abc import Iterable

from fieval_tasks.report.past_runs import PastRun, PastRuns
from fieval_tasks.runs.preparation import Kept
from fieval_tasks.runs.trends import TrendPoint, recent

# As many bars can be told apart in a column of a page, and a month of nightly runs is mostly on it.
LAST = 20


def past_of(kept: Kept, checks: Iterable[str]) -> dict[str, PastRuns]:
    """Check -> its last runs on this dataset, this one among them."""
    return {check: _past(recent(kept.ledger, kept.run.dataset, check, last=LAST)) for check in checks}


def _past(points: list[TrendPoint]) -> PastRuns:
    is_rate = any(point.figures.pass_rate is not None for point in points)
    return PastRuns("pass rate" if is_rate else "mean", [_run(point) for point in points])


def _run(point: TrendPoint) -> PastRun:
    found = point.figures
    changed = "; ".join(point.breaks)
    return PastRun(found.run_id, point.at, found.figure, found.interval, found.scored or 0, changed)
