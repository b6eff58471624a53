"""The commands on past runs: what they print, and their exit codes. They read the ledger, and Prefect is not imported."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from fieval_tasks.core.budget import written
from fieval_tasks.core.commands import command
from fieval_tasks.core.errors import ExitCode, PlanError
from fieval_tasks.ledger.check_figures import CheckFigures
from fieval_tasks.report.listing import COLUMNS, WIDEST, Row, console_of, listing, wrapped
from fieval_tasks.report.text import FIGURE, NONE, clean, count, duration, figure, moment, one_line, share, shown_json
from fieval_tasks.terminal.door import answered, say

if TYPE_CHECKING:
    from fieval_tasks.ledger.pruning import Prunable
    from fieval_tasks.runs.overview import RunOverview, RunPage
    from fieval_tasks.runs.trends import Trend, TrendPoint
    from flows.prune import Pruned

WHEN = "%Y-%m-%d %H:%M"
_LONGEST_LINE = 360
"""Characters of a sentence: a dataset's or a check's name may be a page."""
# Colours say nothing that the words don't.
_STYLES = {"ok": "green", "gate failed": "red", "incomplete": "yellow"}
_RUNS_NAMED = 10
"""Of those that would be pruned: the oldest."""


# -- runs ----------------------------------------------------------------------------------------------------------


def runs(store: str | None, *, as_data: bool, limit: int, **filters: str | None) -> int:
    from flows.runs import runs as listed

    if limit < 1:
        raise PlanError("--limit: show one run at least")
    found = listed(store, limit=limit, tell=say, **filters)
    if as_data:
        print(shown_json([one.to_json() for one in found]))
    elif found:
        _print(listing([row for one in found for row in _rows(one)], console_of(sys.stdout), names=_NAMES))
    elif any(filters.values()):
        print("no run is like that")
    else:
        print(f"there are no runs yet: {command('evaluate', store=store)} begins one")
    return ExitCode.OK


_NAMES = ("run", "dataset", "check")


def _rows(one: RunOverview) -> Iterator[Row]:
    """A row for each check of the run."""
    run = one.run
    for name, figures in one.figures.items():
        yield {
            "run": run.run_id,
            "dataset": run.dataset,
            "when (UTC)": f"{run.created_at:{WHEN}}",
            "ended": _ended(one),
            "check": name,
            FIGURE: _figure(figures),
            "cost": NONE if figures.cost is None else _amount(figures.cost),
        }


def _amount(cost: float) -> str:
    return written(Fraction(f"{cost:.12g}"))  # prices are short decimal numbers, whose sum a float has nearly


def _ended(one: RunOverview) -> Text:
    return Text(one.ended + (", pruned" if one.run.pruned_at else ""), style=_STYLES.get(one.ended, ""))


def _figure(one: CheckFigures) -> str:
    return figure(one.pass_rate, one.interval, one.mean)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


# -- show ----------------------------------------------------------------------------------------------------------


def show(run: str, store: str | None, *, as_data: bool) -> int:
    from flows.show import show as shown

    page = shown(run, store, tell=say)
    if as_data:
        print(shown_json(page.to_json()))
        return ExitCode.OK
    console = _console()
    _said(_about(page), console)
    _print(
        listing(
            [_check_row(name, one) for name, one in page.overview.figures.items()], console, names=("check", "model")
        )
    )
    _said(_found(page), console)
    if page.next_command:
        print(f"to bring the missing verdicts: {clean(page.next_command)}")  # whole, so that it can be copied
    return ExitCode.OK


def _console() -> Console:
    console = console_of(sys.stdout)
    console.width = min(console.width, WIDEST)
    return console


def _said(lines: Iterator[str], console: Console) -> None:
    for line in lines:
        for part in wrapped(Text(one_line(line, _LONGEST_LINE)), console):
            print(part)


def _about(page: RunPage) -> Iterator[str]:
    from fieval_tasks.runs.preparation import described_check

    run = page.overview.run
    yield f"run {run.run_id}: {count(run.total, 'item')} from {run.dataset}, on {run.connection}, mode {run.mode}"
    ended = "" if run.finished_at is None else f", ended {moment(run.finished_at)}"
    yield f"begun {moment(run.created_at)}{ended}, worked on for {duration(run.wall_seconds)}: {page.overview.ended}"
    yield from map(described_check, run.checks)
    yield from (f"note: {notice}" for notice in run.notices)
    if run.pruned_at is not None:
        yield f"its rows and verdicts were pruned on {moment(run.pruned_at)}; what it came to is kept"


def _check_row(name: str, one: CheckFigures) -> Row:
    counts = {status: _count(getattr(one, status)) for status in ("scored", "failed", "pending")}
    corrected = "" if one.corrected_rate is None else share(one.corrected_rate)
    return {
        **{"check": name, "model": one.model or "", "n": _count(one.total), **counts},
        **{"not needed": str(one.not_needed or ""), "reused": str(one.reused or "")},
        **{FIGURE: _figure(one), "corrected": corrected},
    }


def _count(n: int | None) -> str:
    return NONE if n is None else f"{n:,}"


def _found(page: RunPage) -> Iterator[str]:
    from fieval_tasks.report.words import amendment, requests

    one, run = page.overview, page.overview.run
    counted = (f"{n:,} {status.replace('_', ' ')}" for status, n in page.counts.items() if n)
    yield f"items: {', '.join(counted) or 'none'}"
    yield from (gate["sentence"] for gate in one.gates)
    yield from (f"amended {moment(each.at)}: {amendment(each)}" for each in page.amendments)
    yield f"requests: {requests(page.requests)}"
    if run.possible_duplicates:
        yield f"{count(run.possible_duplicates, 'evaluation')} may have been paid twice"
    if one.cost is not None:
        yield f"cost: {_amount(one.cost)} at most"
    if page.files:
        yield f"files: {', '.join(page.files)} in {page.folder}"
    else:
        yield f"files: none in {page.folder}, seen from this folder"


# -- trend ---------------------------------------------------------------------------------------------------------


def trend(dataset: str, check: str, store: str | None, *, as_data: bool, last: int) -> int:
    from fieval_tasks.terminal.trend_plot import plot
    from flows.trend import trend as found_in

    if last < 1:
        raise PlanError("--last: show one run at least")
    found = found_in(dataset, check, store, last=last, tell=say)
    if as_data:
        print(shown_json(found.to_json()))
    elif not found.points:
        print(f"no run on {clean(dataset)} with the check {clean(check)} has ended yet")
    else:
        terminal = console_of(sys.stdout, columns=None if sys.stdout.isatty() else COLUMNS)
        _print(plot(found, terminal))
        _print(listing([_point(point) for point in found.points], console_of(sys.stdout), names=("run",)))
        _said(_broken(found), _console())
    return ExitCode.OK


def _point(point: TrendPoint) -> Row:
    one = point.figures
    change = NONE if point.change is None else f"{point.change:+.3f}"
    return {
        "run": point.run_id,
        "when (UTC)": f"{point.at:{WHEN}}",
        "scored": f"{_count(one.scored)}/{_count(one.total)}",
        FIGURE: _figure(one),
        "change": "broken" if point.breaks else change,
        "corrected": "" if one.corrected_rate is None else share(one.corrected_rate),
    }


def _broken(found: Trend) -> Iterator[str]:
    for point in found.points:
        if point.breaks:
            yield f"the line is broken before {point.run_id}: {'; '.join(point.breaks)}"


# -- prune ---------------------------------------------------------------------------------------------------------


def prune(older_than: str, store: str | None, *, yes: bool, dry_run: bool) -> int:
    from flows.prune import prune as pruned

    def agreed(found: Prunable) -> bool:
        _say_what(found, older_than)
        if dry_run or yes:
            return yes and not dry_run
        if not sys.stdin.isatty():
            raise PlanError("nobody can be asked here, and nothing was deleted: add --yes, or see --dry-run")
        print("delete them? [y/N] ", end="", flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def work() -> int:
        _say_end(pruned(older_than, agreed, store, tell=say), older_than)
        return ExitCode.OK

    return answered(
        work, if_interrupted="interrupted: each run is pruned as a whole or not at all; the same command goes on"
    )


def _say_end(done: Pruned, older_than: str) -> None:
    if not done.found.runs:
        print(clean(f"there is nothing to prune that is older than {older_than}"))
        _print(_stays(done.found))
    elif not done.runs:
        print("nothing was deleted")
    else:
        print(f"pruned {count(len(done.runs), 'run')}; the trends keep what they came to, and their files stay")
        print(f"the ledger is {_megabytes(done.freed)} smaller" if isinstance(done.freed, int) else done.freed)
        left = (run.run_id for run in done.found.runs if run.run_id not in done.runs)
        _print(f"not pruned, since it came into use or can't be counted: {run_id}" for run_id in left)


def _say_what(found: Prunable, older_than: str) -> None:
    runs = [run.run_id for run in found.runs]
    print(
        clean(
            f"{count(len(runs), 'run')} older than {older_than}, with {count(found.verdicts, 'row')} and verdicts, about "
            f"{_megabytes(found.size)}: {', '.join(runs[:_RUNS_NAMED])}{', …' if len(runs) > _RUNS_NAMED else ''}"
        )
    )
    _print(_stays(found))


def _stays(found: Prunable) -> Iterator[str]:
    """A line for each reason, with all runs that stay for it."""
    reasons: dict[str, list[str]] = {}
    for run_id, why in found.kept.items():
        reasons.setdefault(why, []).append(run_id)
    yield from (clean(f"kept, since {why}: {', '.join(names)}") for why, names in reasons.items())


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"
