"""What is shown of a run on standard error where that is no terminal: a plain line from time to time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TextIO

from fieval_tasks.core.progress import Progress
from fieval_tasks.runs.conclusion import Outcome


@dataclass(frozen=True)
class Look:
    """How often progress is shown, and in how much room."""

    # A log of ten minutes stays on one or two screens.
    line_every: float = 5.0
    """Seconds between two plain lines; none is printed where no count has changed."""
    bar: int = 20
    """Columns of the bar."""
    # In fewer columns the bar would push out the counts, the times and the words beside it.
    wide: int = 72
    """Columns of a terminal from which the bar is drawn."""
    other_lines: int = 3
    """Lines of the screen beside those of the checks: the heading, that on the whole run, and the cursor's."""
    # Once takes 1 ms: a hundredth of the CPU of a run of 150 items a second (`python -m benchmarks cpu`).
    draw_every: float = 1.0
    """Seconds between two drawings at least,"""
    # A table of 40 checks takes some 20 ms.
    draw_share: float = 100.0
    """and this many times as long as the last one took: showing a run takes a hundredth of the time at most."""


LOOK = Look()


def clock_time(seconds: float) -> str:
    """`0:45`, `12:00`, `1:02:03`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minutes}:{second:02}"


class Terminal:
    """A display that keeps each run's outcome, to be printed once the progress is gone from the screen. By itself it shows
    no progress."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def begin(self) -> None:
        """Called before anything is shown."""

    def show(self, progress: Progress) -> None:
        """See `Display.show`."""

    def leave(self) -> None:
        """Take what is drawn off the screen, and draw no more; from a signal's handler, too."""

    def conclude(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def held_up(progress: Progress) -> list[str]:
    paused = ["paused by its variable in Prefect (flows.control RUN --unpause)"] if progress.paused else []
    return [*paused, *filter(None, (progress.waits, progress.lag))]


def left_out(progress: Progress) -> list[str]:
    return [f"{progress.not_needed:,} of them not needed"] if progress.not_needed else []


class PlainLines(Terminal):
    """A line at the start, one from time to time while counts change, and one when all is settled."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = monotonic, *, look: Look = LOOK) -> None:
        super().__init__()
        self._stream = stream
        self._clock = clock
        self._look = look
        self._began = clock()
        self._last: Progress | None = None
        self._next = self._began

    def show(self, progress: Progress) -> None:
        now = self._clock()
        if progress == self._last or (not progress.is_settled and now < self._next):
            return
        self._last, self._next = progress, now + self._look.line_every
        failed = f", {progress.failed:,} failed" if progress.failed else ""
        counts = f"{progress.settled:,} of {progress.total:,} settled{failed}, {progress.waiting:,} waiting"
        words = ", ".join((counts, *left_out(progress), *held_up(progress)))
        print(f"{words} ({now - self._began:.0f} s)", file=self._stream, flush=True)
