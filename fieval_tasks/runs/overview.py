"""The runs of a ledger as lists and single pages show them: how each ended, and what its checks came to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieval_tasks.core.errors import ExitCode, PlanError
from fieval_tasks.core.quantities import parse_duration
from fieval_tasks.ledger.check_figures import CheckFigures
from fieval_tasks.ledger.history import History
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.amendments import Amendment, amendments
from fieval_tasks.report.endings import ENDINGS
from fieval_tasks.report.figures import STATUSES
from fieval_tasks.report.folder import FILES
from fieval_tasks.report.record import iso, utc
from fieval_tasks.runs.trends import count_old, named

if TYPE_CHECKING:
    from fieval_tasks.report.summary import Requests

AT_WORK, UNFINISHED = "at work", "unfinished"
"""Of runs that have not been concluded: a process works on it, or none does."""
PENDING = "pending"
"""Of runs that were only submitted, as they should be (`--mode submit`), and whose verdicts nobody has fetched yet."""


@dataclass(frozen=True)
class RunOverview:
    """A run and what it came to."""

    run: Run
    figures: Mapping[str, CheckFigures]
    """By check, in the order of the plan."""
    ended: str
    """How it ended, in a word."""

    @property
    def cost(self) -> float | None:
        """Of all checks whose judges have a price; None where none has."""
        costs = [one.cost for one in self.figures.values() if one.cost is not None]
        return sum(costs) if costs else None

    @property
    def gates(self) -> list[Mapping[str, str]]:
        """Each gate once, with its verdict."""
        return list({one["gate"]: one for check in self.figures.values() for one in check.gates or ()}.values())

    def to_json(self) -> dict[str, Any]:
        run = self.run
        return {
            **{name: getattr(run, name) for name in ("run_id", "dataset", "mode", "connection", "total", "exit_code")},
            **{name: iso(getattr(run, name)) for name in ("created_at", "started_at", "finished_at", "pruned_at")},
            "wall_seconds": run.wall_seconds,
            "ended": self.ended,
            "cost": self.cost,
            "gates": self.gates,
            "checks": {name: one.to_json() for name, one in self.figures.items()},
        }


def overviews(
    ledger: Ledger,
    *,
    dataset: str | None = None,
    check: str | None = None,
    since: datetime | None = None,
    ended: str | None = None,
    limit: int | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> list[RunOverview]:
    """The runs, the newest first. `ended`: only those that ended so. Raises PlanError where no run is on that dataset."""
    history = History(ledger.database)
    datasets = None if dataset is None else named(history, dataset, ledger.name)
    found = [
        (run, how)
        for run in history.runs(datasets=datasets, check=check, since=since)
        if (how := how_ended(ledger, run)) == ended or ended is None
    ][:limit]
    count_old(ledger, [run.run_id for run, _ in found], tell)
    figures = history.of_runs([run.run_id for run, _ in found])
    return [RunOverview(run, _in_order(run, figures[run.run_id]), how) for run, how in found]


def _in_order(run: Run, figures: Mapping[str, CheckFigures]) -> dict[str, CheckFigures]:
    return {check.name: figures[check.name] for check in run.checks if check.name in figures}


def how_ended(ledger: Ledger, run: Run) -> str:
    """In a word."""
    if run.exit_code == ExitCode.OK and run.mode == "submit" and ledger.book(run.run_id).open_chunks():
        return PENDING
    if run.exit_code is not None:
        return ENDINGS[run.exit_code].listed
    return UNFINISHED if ledger.book(run.run_id).claims.holder() is None else AT_WORK


def meant_end(text: str) -> str:
    """`gate-failed` or `1` -> `gate failed`. Raises PlanError, with what there is."""
    words = {key: one.listed for code, one in ENDINGS.items() for key in (str(int(code)), one.listed)}
    words |= {one: one for one in (PENDING, AT_WORK, UNFINISHED)}
    if (wanted := text.strip().lower().replace("-", " ").replace("_", " ")) not in words:
        known = ", ".join(dict.fromkeys(how.replace(" ", "-") for how in words.values()))
        raise PlanError(f"--status {text}: no run ends so; write one of {known}, or an exit code")
    return words[wanted]


def meant_moment(text: str, now: datetime, option: str) -> datetime:
    """`7d` -> seven days before now; `2026-11-01` -> that day in UTC. Raises PlanError."""
    try:
        return now - timedelta(seconds=parse_duration(text))
    except (ValueError, OverflowError):
        pass
    try:
        return utc(datetime.fromisoformat(text))
    except ValueError:
        raise PlanError(f"{option} {text}: write a time such as 7d or 12h, or a date such as 2026-11-01") from None


@dataclass(frozen=True)
class RunPage:
    """A run with all that is said of it on a page of its own."""

    overview: RunOverview
    counts: Mapping[str, int]
    """Status -> how many items."""
    requests: Requests
    amendments: Sequence[Amendment]
    folder: Path
    files: Sequence[str]
    """Those of the folder that are there."""
    next_command: str | None
    """What brings the verdicts that are missing; None: none are."""

    def to_json(self) -> dict[str, Any]:
        run = self.overview.run
        return {
            **self.overview.to_json(),
            "items": dict(self.counts),
            "requests": asdict(self.requests),
            "notices": [*run.notices],
            "amendments": [one.to_json() for one in self.amendments],
            "folder": str(self.folder),
            "files": [*self.files],
            "next_command": self.next_command,
        }


def page_of(
    ledger: Ledger, name: str, store: str | None, tell: Callable[[str], None] = lambda sentence: None
) -> RunPage:
    """The run of that name, or the newest for `last`. `store`: as it was given. Raises PlanError where there is none."""
    from fieval_tasks.report.summary import Requests
    from fieval_tasks.runs.preparation import kept_run  # with all that a run needs: a list is read without it

    history = History(ledger.database)
    pruned = history.run(name)
    run = pruned if pruned is not None and pruned.pruned_at is not None else ledger.run(name)
    count_old(ledger, [run.run_id], tell)
    overview = RunOverview(run, _in_order(run, history.of_runs([run.run_id])[run.run_id]), how_ended(ledger, run))
    kept = kept_run(ledger, run, store)
    reports = [(one.at, one.standing) for one in ledger.conclusions(run.run_id)]
    counts = dict.fromkeys(STATUSES, 0)
    if run.pruned_at is None:
        for state, n in kept.book.counts().items():
            counts[state.status] += n
    else:
        counts = {name: sum(getattr(one, name) or 0 for one in overview.figures.values()) for name in STATUSES}
    files = [name for name in FILES if (kept.folder / name).is_file()]
    return RunPage(overview, counts, Requests.of(run), amendments(reports), kept.folder, files, kept.next_command)
