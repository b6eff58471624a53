"""Baselines: what a run is compared with, chosen on purpose."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from pathlib import Path

from fieval_tasks.core.commands import command
from fieval_tasks.core.errors import ExitCode, PlanError
from fieval_tasks.ledger.blessings import Blessing, bless, blessings
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.folder import new_file
from fieval_tasks.report.text import duration
from fieval_tasks.runs.preparation import Kept
from fieval_tasks.runs.sides import FileSide, RunSide, Side, write_baseline

_PINNED = re.compile(r"(?P<path>.+)@sha256:(?P<digest>[0-9a-f]{64})")
BLESSED, LAST = "blessed", "last"


def baseline_of(named: str, ledger: Ledger, run: Run) -> tuple[Side, str]:
    """The baseline that is meant for a run, and the text that names the very same one later.

    `named`: blessed, last (the last concluded run of the same dataset and checks before this one), a run's name, or a file,
    whose content is held to a digest where the text has one. Raises PlanError where there is none.
    """
    if named == BLESSED:
        found = ledger.run(_blessed(ledger, run).run_id)
    elif named == LAST:
        found = _last(ledger, run)
    elif (path := file_named(named)) is not None and named not in ledger.names(named):
        return _of_file(named, path)
    else:
        found = ledger.run(named)
    if found.run_id == run.run_id:
        raise PlanError(f"run {run.run_id} can't be its own baseline: name another run")
    return RunSide(ledger, found), found.run_id


def file_named(named: str) -> Path | None:
    """The file that a baseline's text names; None where it can only be a run's name."""
    match = _PINNED.fullmatch(named)
    path = Path(match["path"] if match else named).expanduser()
    return path if match or "/" in named or path.suffix == ".json" or path.is_file() else None


def _of_file(named: str, path: Path) -> tuple[Side, str]:
    side = FileSide(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    match = _PINNED.fullmatch(named)
    if match and match["digest"] != digest:
        raise PlanError(
            f"the baseline file {path} is not the one that the run began with: put that back, or name another"
        )
    return side, f"{path.absolute()}@sha256:{digest}"


def _blessed(ledger: Ledger, run: Run) -> Blessing:
    of_dataset = blessings(ledger.database, run.dataset)
    if of_dataset:
        return of_dataset[0]
    others = ", ".join(f"{one.run_id} ({one.dataset})" for one in blessings(ledger.database)[:5])
    there = f"blessed are {others}: name one of them" if others else f"choose one by {command('bless', 'RUN')}"
    raise PlanError(
        f"no run on {run.dataset} is blessed in {ledger.name}; {there}, or name a run or last as the baseline"
    )


def _last(ledger: Ledger, run: Run) -> Run:
    from fieval_tasks.runs.comparing import problems  # which imports scipy

    mine = RunSide(ledger, run)
    for found in ledger.concluded(run.dataset, before=run.created_at):
        if found.run_id != run.run_id and not [*problems(mine, RunSide(ledger, found))]:
            return found
    raise PlanError(
        f"there is no earlier concluded run on {run.dataset} with the same checks and judges in {ledger.name}"
    )


def too_old(side: Side, most: float | None, now: datetime) -> str | None:
    """A notice where the baseline is older than `most` seconds."""
    age = (now - side.at).total_seconds()
    if most is None or age <= most:
        return None
    return f"the baseline {side.name} is {duration(age)} old, and {duration(most)} are allowed: bless a newer run"


# -- blessing ------------------------------------------------------------------------------------------------------


def blessed_run(kept: Kept, note: str, *, anyway: bool = False) -> Blessing:
    """Mark the run as the baseline of its dataset. Raises PlanError where it is unfit (see `require_fit`)."""
    if not anyway:
        require_fit(kept)
    blessing = Blessing(kept.run_id, kept.run.dataset, kept.ledger.now(), note)
    bless(kept.ledger.database, blessing)
    return blessing


def written_baseline(kept: Kept, path: Path, *, anyway: bool = False) -> int:
    """Write the run to a file that can be committed; how many items it holds. Raises PlanError where it is unfit."""
    if not anyway:
        require_fit(kept)
    try:
        with new_file(path) as file:
            return write_baseline(file, RunSide(kept.ledger, kept.run))
    except OSError as error:
        raise PlanError(f"--file {path}: it can't be written ({error.strerror}); name another place") from error


def require_fit(kept: Kept) -> None:
    """Raises PlanError for a run that is not concluded, lacks verdicts, or failed a gate."""
    code, counts = kept.run.exit_code, kept.book.counts()
    without = sum(n for state, n in counts.items() if state.value != "scored")
    why = ""
    if not kept.is_complete or code is None:
        why = "is not at its end"
    elif code == ExitCode.GATE_FAILED:
        why = "failed a gate"
    elif code != ExitCode.OK:
        why = f"ended with exit code {code}"
    elif without:
        why = f"has {without:,} items without a verdict"
    if why:
        raise PlanError(f"run {kept.run_id} {why}, so it is no good baseline; to bless it all the same, add --anyway")
