"""How a run, or a command, ended: the words that each reader is told for its exit code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from fieval_tasks.core.errors import ExitCode
from fieval_tasks.core.gates import GateVerdict

if TYPE_CHECKING:  # a list of runs needs none
    from fieval_tasks.report.summary import Report


class Ending(NamedTuple):
    """The words for one exit code."""

    headline: str
    """The title of a report."""
    listed: str
    """In a list of runs."""
    github: str
    """What a workflow's next step reads."""
    event: str
    """The end of the name of Prefect's event."""


ENDINGS: Mapping[int, Ending] = {
    ExitCode.OK: Ending("Finished", "ok", "PASS", "completed"),
    ExitCode.GATE_FAILED: Ending("A gate failed", "gate failed", "FAIL", "completed"),
    ExitCode.BAD_INPUT: Ending("Bad input: nothing was sent", "refused", "REFUSED", "completed"),
    ExitCode.INCOMPLETE: Ending("Finished, with verdicts missing", "incomplete", "UNDECIDED", "completed"),
    ExitCode.STOPPED: Ending("Stopped before the end", "stopped", "STOPPED", "stopped"),
    ExitCode.UNEXPECTED: Ending("Stopped by an unexpected error", "unexpected error", "ERROR", "stopped"),
    ExitCode.INTERRUPTED: Ending("Interrupted", "interrupted", "INTERRUPTED", "cancelled"),
}
PENDING = "PENDING"
"""The word of a run that was only submitted."""
INCOMPLETE = "INCOMPLETE"
"""That of a run of which nothing is open, but that a table of the user's lacks verdicts."""


def headline(report: Report) -> str:
    """How the run ended, in a few words."""
    code, items = report.facts.exit_code, report.items
    if code is None:
        return "Waiting for verdicts" if items.pending else "Finished"
    if code == ExitCode.OK and items.pending:  # of --mode submit, or within --allow-failures
        return "Submitted, verdicts still to come"
    if code == ExitCode.OK and items.not_needed:
        return "Finished early: every gate is decided"
    if code == ExitCode.INCOMPLETE and not _lacks_verdicts(report):
        return (
            "Finished, with a gate undecided"
            if _is_undecided(report)
            else "Finished, and a table of yours lacks verdicts"
        )
    return ENDINGS[code].headline


def verdict(code: int, report: Report | None = None) -> str:
    """PASS, FAIL, … of a command that ended with that exit code."""
    if report is not None:
        if code == ExitCode.OK and report.facts.mode == "submit" and report.items.pending:
            return PENDING
        if code == ExitCode.INCOMPLETE and not _lacks_verdicts(report) and not _is_undecided(report):
            return INCOMPLETE
    return ENDINGS[code].github


def _lacks_verdicts(report: Report) -> bool:
    return report.items.scored + report.items.not_needed < report.items.total


def _is_undecided(report: Report) -> bool:
    return any(gate.verdict == GateVerdict.UNDECIDED.value for gate in report.gates)
