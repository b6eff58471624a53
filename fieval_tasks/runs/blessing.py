"""Blessing a run: making it the baseline that later runs are compared with."""

from __future__ import annotations

from pathlib import Path

from fieval_tasks.core.errors import ExitCode, PlanError
from fieval_tasks.core.items import State
from fieval_tasks.ledger.blessings import Blessing, bless
from fieval_tasks.report.folder import new_file
from fieval_tasks.runs.preparation import Kept
from fieval_tasks.runs.sides import RunSide, write_baseline


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
    without = sum(n for state, n in counts.items() if state is not State.SCORED)
    why = ""
    if not kept.is_complete or code is None:
        why = "is not at its end"
    elif code == ExitCode.GATE_FAILED:
        why = "failed a gate"
    elif without and (code != ExitCode.OK or counts[State.NOT_NEEDED]):  # else --allow-failures had them be fine
        why = f"has {without:,} {'item' if without == 1 else 'items'} without a verdict"
    elif code == ExitCode.INCOMPLETE:
        why = "has a gate that is undecided"
    elif code != ExitCode.OK:
        why = f"ended with exit code {code}"
    if why:
        raise PlanError(f"run {kept.run_id} {why}, so it is no good baseline; to bless it all the same, add --anyway")
