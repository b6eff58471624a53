"""What takes a run's verdicts while they arrive. One more kind of it: a subclass of `Sink`, opened by `opening.opened`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fieval_tasks.core.items import Result
from fieval_tasks.work.options import Within, nothing_around


class Sink:
    """Takes one run's verdicts; by itself it does nothing with them.

    Called from a thread that the run does not wait for, so every method may block. Raises SinkError where it can't at the
    moment; then it is called again, later. Raises RowsUnwanted where it would take none of these results because of one of
    them; then it is called with fewer. The same results may come several times: from a process that carries the run on, and
    after an error.
    """

    def check(self, *, is_new: bool) -> None:
        """Raises SinkError where it could not take any. Leaves nothing behind: the run may never begin.

        `is_new`: the run is a new one, and not carried on.
        """

    def take(self, results: Sequence[Result]) -> None:
        """Items that have just got their verdicts."""

    def bring_up_to_date(self, results: Sequence[Result]) -> None:
        """Part of the run as the ledger has it, whether or not it was taken before. At the beginning of the work all that is
        settled comes so, and at the end of the run all of it, pending items too."""

    def close(self) -> None:
        """Called once, after the last of the others."""


@dataclass(frozen=True)
class Telemetry:
    """Where a run's spans and events go."""

    within: Within
    """Opens a span below the run's."""
    events: Callable[[], Sink] | None
    """What opens the sink of events; None where none are emitted."""


SILENT = Telemetry(nothing_around, None)
