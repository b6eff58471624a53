"""Who is shown what a run does: nobody, unless the command line (or a caller) asks."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol

from fieval_tasks.core.progress import Progress
from fieval_tasks.runs.conclusion import Outcome


class Display(Protocol):
    """Something that shows a run to somebody."""

    def show(self, progress: Progress) -> None:
        """The counts have changed, or may have."""

    def conclude(self, outcome: Outcome) -> None:
        """The run is over."""


class NoDisplay:
    """Shows nothing: a run of a deployment has the log and the artifacts."""

    def show(self, progress: Progress) -> None:
        return

    def conclude(self, outcome: Outcome) -> None:
        return


display: ContextVar[Display] = ContextVar("display", default=NoDisplay())  # noqa: B039 - it holds no state
