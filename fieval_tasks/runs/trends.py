"""How a check went from run to run, and where its figures stop being comparable."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from fieval_tasks.core.errors import FievalError, PlanError
from fieval_tasks.ledger.check_figures import WHOLE, CheckFigures
from fieval_tasks.ledger.history import History
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.past_runs import PastRun, PastRuns
from fieval_tasks.report.record import iso
from fieval_tasks.report.text import count

# As many bars can be told apart in a column of a page, and a month of nightly runs is mostly on it.
SHOWN = 20
"""The latest runs that a page shows."""
NAMED = {"server": "server", "template": "template", "model": "judge model", "good": "good choices"}
"""Figures of different ones are not comparable; a message names both."""
NO_IDS = "; give its rows ids by --id COLUMN, so that new answers are told from other rows"


@dataclass(frozen=True)
class TrendPoint:
    """What a check came to in one run of a trend."""

    at: datetime
    """When the run began."""
    exit_code: int | None
    figures: CheckFigures
    breaks: tuple[str, ...] = ()
    """Why no line leads here from the point before, such as `judge model turing_small, was turing_flash`; empty where one does."""
    change: float | None = None
    """Of the figure since the point before; None where the line is broken, or nothing was measured."""

    @property
    def run_id(self) -> str:
        return self.figures.run_id

    def to_json(self) -> dict[str, Any]:
        run = {"run_id": self.run_id, "at": iso(self.at), "exit_code": self.exit_code}
        return run | self.figures.to_json() | {"change": self.change, "breaks": [*self.breaks]}


@dataclass(frozen=True)
class Trend:
    """How a check went on a dataset: the oldest run first."""

    datasets: Sequence[str]
    check: str
    points: Sequence[TrendPoint]

    @property
    def lines(self) -> list[list[TrendPoint]]:
        """The points with a figure, parted where the line is broken."""
        lines: list[list[TrendPoint]] = []
        for point in self.points:
            if point.figures.figure is None:
                continue
            if point.breaks or not lines:
                lines.append([])
            lines[-1].append(point)
        return lines

    def to_json(self) -> dict[str, Any]:
        points = [point.to_json() for point in self.points]
        return {"datasets": [*self.datasets], "check": self.check, "points": points}


def trend(
    ledger: Ledger,
    dataset: str,
    check: str,
    *,
    last: int | None = SHOWN,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Trend:
    """How the check went in the `last` runs on the dataset that ended; None: in all.

    `dataset`: its name, its path, or a pattern such as `answers-*.csv`. `tell` is told where runs of older versions have to be
    counted first. Raises PlanError, with what there is, where no run is on that dataset or has that check.
    """
    history = History(ledger.database)
    datasets = named(history, dataset, ledger.name)
    if check not in (known := history.checks(datasets)):
        raise PlanError(f"no run on {dataset} has a check {check!r}: there are {', '.join(known)}")
    found = history.past_checks(datasets, check, last)
    if count_old(ledger, [figures.run_id for _, _, figures in found if figures.at is None], tell):
        found = history.past_checks(datasets, check, last)
    return Trend(datasets, check, [*_points(found)])


def past_of(ledger: Ledger, dataset: str, checks: Iterable[str]) -> dict[str, PastRuns]:
    """Check -> its last runs on the dataset of that very name. Counts nothing: runs of older versions have no figures here until
    `trend` was asked."""
    history = History(ledger.database)
    return {check: _past([*_points(history.past_checks([dataset], check, SHOWN))]) for check in checks}


def _past(points: Sequence[TrendPoint]) -> PastRuns:
    is_rate = any(point.figures.pass_rate is not None for point in points)
    return PastRuns("pass rate" if is_rate else "mean", [_run(point) for point in points])


def _run(point: TrendPoint) -> PastRun:
    found = point.figures
    return PastRun(found.run_id, point.at, found.figure, found.interval, found.scored or 0, "; ".join(point.breaks))


def named(history: History, dataset: str, store: str) -> list[str]:
    """The datasets that are meant by a name, a path or a pattern. Raises PlanError where no run is on one."""
    known = history.datasets()
    for wanted in (dataset, Path(dataset).name):
        if found := [name for name in known if name == wanted] or [name for name in known if fnmatchcase(name, wanted)]:
            return found
    there = f"there are {', '.join(known[:10])}" if known else "it has no runs yet"
    raise PlanError(f"no run in {store} is on the dataset {dataset!r}: {there}")


def count_old(ledger: Ledger, run_ids: Collection[str], tell: Callable[[str], None]) -> bool:
    """Count those of these runs that ended before figures were kept, once and for all; whether there were any.

    `tell` is told of those that can't be counted: they stay without figures.
    """
    old = History(ledger.database).uncounted(run_ids)
    if not old:
        return False
    from fieval_tasks.runs.conclusion import count_anew  # with all that a run needs: a trend is read without it
    from fieval_tasks.runs.preparation import kept_run

    tell(f"{count(len(old), 'run')} of an older version must be counted, once: this takes a while")
    for run_id in old:
        try:
            count_anew(kept_run(ledger, ledger.run(run_id)))
        except (FievalError, ValueError) as error:  # its plan is none of today's, for one: the others are still shown
            tell(f"run {run_id} can't be counted: {error}")
    return True


def _points(found: Iterable[tuple[datetime, int | None, CheckFigures]]) -> Iterator[TrendPoint]:
    before: CheckFigures | None = None
    for at, exit_code, one in found:
        # Without a figure it is on no line that could be broken.
        breaks = () if before is None or one.figure is None else tuple(_breaks(before, one))
        change = None
        if before is not None and before.figure is not None and one.figure is not None and not breaks:
            change = one.figure - before.figure
        yield TrendPoint(at, exit_code, one, breaks, change)
        if one.figure is not None:  # else the next run goes on from the one before
            before = one if one.policy is not None or before is None else replace(one, policy=before.policy)


def _breaks(before: CheckFigures, after: CheckFigures) -> Iterator[str]:
    for name, words in NAMED.items():
        was, now = getattr(before, name), getattr(after, name)
        if was != now:
            yield f"{words} {now or 'none'}, was {was or 'none'}"
    if before.params != after.params:
        yield "other parameters"
    if before.asked != after.asked:
        yield "other rows in the dataset" + (NO_IDS if (after.asked or "").startswith(WHOLE) else "")
    # Labels that are new correct the rate, which is shown beside it; only other labels say something else of it.
    if None not in (before.policy, after.policy) and before.policy != after.policy:
        yield f"labelling policy {after.policy or 'none'}, was {before.policy or 'none'}"
