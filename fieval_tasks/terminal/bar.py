"""A run's progress on standard error: a bar in a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TextIO

from rich.console import Console, OverflowMethod
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from fieval_tasks.core.progress import Progress
from fieval_tasks.runs.conclusion import Outcome


@dataclass(frozen=True)
class Look:
    """How often progress is shown, and in how many columns."""

    # A log of ten minutes stays on one or two screens.
    line_every: float = 5.0
    """Seconds between two plain lines; none is printed where no count has changed."""
    bar: int = 20
    """Columns of the bar."""
    # In fewer columns the bar would push out the counts, the times and the words beside it.
    wide: int = 72
    """Columns of a terminal from which the bar is drawn."""


LOOK = Look()


@contextmanager
def shown(stream: TextIO | None = None) -> Iterator[Terminal]:
    """Yields the display that fits the stream (default: standard error); removes a bar from the screen at the end."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield PlainLines(stream)
        return
    with bars_of(Console(file=stream)) as bars:
        yield Bar(bars)


def bars_of(console: Console, clock: Callable[[], float] = monotonic) -> Bars:
    """rich's progress with one line of counts, times and words, which a narrow terminal cuts; a wide one has a bar."""
    cut: OverflowMethod = "ellipsis" if console.encoding.startswith("utf") else "crop"
    words = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow=cut, ratio=1))
    return Bars(
        *([BarColumn(LOOK.bar)] if console.width >= LOOK.wide else []),
        MofNCompleteColumn(),
        Times(table_column=Column(no_wrap=True)),
        words,
        console=console,
        transient=True,
        expand=True,
        get_time=clock,
    )


class Times(ProgressColumn):
    """`0:45, about 1:10 left`; only the elapsed time while the rest can't be estimated."""

    def render(self, task: Task) -> Text:
        left = task.time_remaining
        rest = f", about {clock_time(left)} left" if left and not task.finished else ""
        return Text(f"{clock_time(task.elapsed or 0)}{rest}")


def clock_time(seconds: float) -> str:
    """`0:45`, `12:00`, `1:02:03`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minutes}:{second:02}"


class Terminal:
    """A display that keeps each run's outcome, to be printed once the progress is gone from the screen."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def show(self, progress: Progress) -> None:
        raise NotImplementedError

    def conclude(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def _held_up(progress: Progress) -> list[str]:
    paused = ["paused by its variable in Prefect (flows.control RUN --unpause)"] if progress.paused else []
    return [*paused, progress.waits] if progress.waits else paused


def _left_out(progress: Progress) -> list[str]:
    return [f"{progress.not_needed:,} of them not needed"] if progress.not_needed else []


class Bar(Terminal):
    """A progress bar with counts and the time left."""

    def __init__(self, bars: Bars) -> None:
        super().__init__()
        self._bars = bars
        self._task = bars.add_task("starting", total=None)

    def show(self, progress: Progress) -> None:
        failed = [f"{progress.failed:,} failed"] if progress.failed else []
        waiting = [f"{progress.waiting:,} waiting"] if progress.waiting else []
        words = escape(
            ", ".join((*failed, *_held_up(progress), *_left_out(progress), *waiting))
        )  # the gravest first: the rest may be cut
        self._bars.update(self._task, description=words, total=progress.total, completed=progress.settled)


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
        if progress == self._last or (progress.settled < progress.total and now < self._next):
            return
        self._last, self._next = progress, now + self._look.line_every
        failed = f", {progress.failed:,} failed" if progress.failed else ""
        counts = f"{progress.settled:,} of {progress.total:,} settled{failed}, {progress.waiting:,} waiting"
        words = ", ".join((counts, *_left_out(progress), *_held_up(progress)))
        print(f"{words} ({now - self._began:.0f} s)", file=self._stream, flush=True)
