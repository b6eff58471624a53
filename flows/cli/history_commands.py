"""The commands on past runs: what they print, and their exit codes. They read the ledger, and Prefect is not imported."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from fractions import Fraction

from rich.console import Console
from rich.text import Text

from fieval_tasks.core.budget import written
from fieval_tasks.core.command_lines import command
from fieval_tasks.core.errors import ExitCode, PlanError
from fieval_tasks.ledger.check_figures import CheckFigures
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.history import History
from fieval_tasks.ledger.pruning import Prunable, give_back, prunable
from fieval_tasks.ledger.pruning import prune as delete
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.listing import COLUMNS, WIDEST, Row, console_of, listing, wrapped
from fieval_tasks.report.text import FIGURE, NONE, clean, count, duration, figure, moment, one_line, share, shown_json
from fieval_tasks.runs.overview import RunOverview, RunPage, meant_end, meant_moment, overviews, page_of
from fieval_tasks.runs.trends import Trend, TrendPoint, count_old
from fieval_tasks.runs.trends import trend as found_in
from fieval_tasks.terminal.door import answered, say

WHEN = "%Y-%m-%d %H:%M"
_LONGEST_LINE = 360
"""Characters of a sentence: a dataset's or a check's name may be a page."""
# Colours say nothing that the words don't.
_STYLES = {"ok": "green", "gate failed": "red", "incomplete": "yellow"}
# `3m` is three minutes, and `90` is 90 seconds: who writes that means months, or days.
_LEAST_AGE = timedelta(hours=1)
_RUNS_NAMED = 10
"""Of those that would be pruned: the oldest."""


# -- runs ----------------------------------------------------------------------------------------------------------


def runs(
    store: str | None, *, as_data: bool, limit: int, dataset: str | None, check: str | None, since: str | None,
    status: str | None,
) -> int:  # fmt: skip
    """The runs, the newest first. Raises PlanError for a filter that can't be read, or a dataset that no run is on."""
    if limit < 1:
        raise PlanError("--limit: show one run at least")
    with Ledger(store_url(store), must_exist=True) as ledger:
        begun = None if since is None else meant_moment(since, ledger.now(), "--since")
        ended = None if status is None else meant_end(status)
        found = overviews(ledger, dataset=dataset, check=check, since=begun, ended=ended, limit=limit, tell=say)
    if as_data:
        print(shown_json([one.to_json() for one in found]))
    elif found:
        _print(listing([row for one in found for row in _rows(one)], console_of(sys.stdout), names=_NAMES))
    elif dataset or check or since or status:
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
    """All that the ledger says of a run as a whole, also of one whose items were pruned. Raises PlanError where there is none."""
    with Ledger(store_url(store), must_exist=True) as ledger:
        page = page_of(ledger, run, store, say)
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
    """How the check went in the `last` runs on the dataset that ended. Raises PlanError where there is none."""
    from fieval_tasks.terminal.trend_plot import plot

    if last < 1:
        raise PlanError("--last: show one run at least")
    with Ledger(store_url(store), must_exist=True) as ledger:
        found = found_in(ledger, dataset, check, last=last, tell=say)
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
    """Delete the items of the runs that were begun before then. Files are never deleted: a run's folder is its user's.

    Raises PlanError for a time that can't be read, or is less than an hour ago.
    """

    def work() -> int:
        with Ledger(store_url(store), must_exist=True) as ledger:
            found = prunable(ledger.database, _long_ago(older_than, ledger.now()))
            if not found.runs:
                print(clean(f"there is nothing to prune that is older than {older_than}"))
                _print(_stays(found))
                return ExitCode.OK
            _say_what(found, older_than)
            if dry_run or not _is_agreed(yes) or not _pruned(ledger, found):
                print("nothing was deleted")
        return ExitCode.OK

    return answered(
        work, if_interrupted="interrupted: each run is pruned as a whole or not at all; the same command goes on"
    )


def _long_ago(older_than: str, now: datetime) -> datetime:
    before = meant_moment(older_than, now, "--older-than")
    if now - before < _LEAST_AGE:
        raise PlanError(
            f"--older-than {older_than}: that is no hour ago (m is minutes, a bare number seconds), and nothing was "
            "deleted: write days, such as 90d, or a date"
        )
    return before


def _is_agreed(yes: bool) -> bool:
    if not yes and not sys.stdin.isatty():
        raise PlanError("nobody can be asked here, and nothing was deleted: add --yes, or see --dry-run")
    if not yes:
        print("delete them? [y/N] ", end="", flush=True)
    return yes or sys.stdin.readline().strip().lower() in ("y", "yes")


def _pruned(ledger: Ledger, found: Prunable) -> bool:
    """Delete the runs' items, and say so; whether there were any to delete."""
    names = [run.run_id for run in found.runs]
    count_old(ledger, names, say)  # what they came to would be lost with their items
    uncounted = History(ledger.database).uncounted(names)
    done = [name for name in names if name not in uncounted and delete(ledger.database, name)]
    freed = give_back(ledger.database)
    if done:
        print(f"pruned {count(len(done), 'run')}; the trends keep what they came to, and their files stay")
        print(f"the ledger is {_megabytes(freed)} smaller" if isinstance(freed, int) else freed)
        _print(f"not pruned, since it came into use or can't be counted: {name}" for name in names if name not in done)
    return bool(done)


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
