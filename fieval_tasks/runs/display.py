"""The display of a run's progress and outcome, set by the command line or another caller; by default there is none."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol

from fieval_tasks.core.progress import Progress
from fieval_tasks.runs.conclusion import Outcome


class Display(Protocol):
    """Shows a run's progress and outcome."""

    def show(self, progress: Progress) -> None:
        """Called whenever the counts may have changed."""
        return

    def conclude(self, outcome: Outcome) -> None:
        """Called once at the end of the run."""
        return


class NoDisplay(Display):
    """Shows nothing. A deployment's run has its log and its artifacts."""


display: ContextVar[Display] = ContextVar("display", default=NoDisplay())  # noqa: B039 - it holds no state
