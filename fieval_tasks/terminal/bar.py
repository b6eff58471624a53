"""What a run shows on standard error: a bar in a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

LINE_EVERY = 5.0
"""Seconds between two plain lines, where anything has changed."""
BAR = 20
WIDE = 72
"""Columns of the bar, and of a terminal in which there is room for it beside the counts, the times and some words."""


@contextmanager
def shown(stream: TextIO | None = None) -> Iterator[Terminal]:
    """The display that fits the stream (standard error); a bar is gone from the screen on leaving."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield Lines(stream)
        return
    with bars_of(Console(file=stream)) as bars:
        yield Bar(bars)


def bars_of(console: Console, clock: Callable[[], float] = monotonic) -> Bars:
    """One line of counts, times and words, of which a narrow terminal shows the beginning; a wide one has a bar, too."""
    is_wide = console.width >= WIDE
    cut: OverflowMethod = "ellipsis" if console.encoding.startswith("utf") else "crop"
    words = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow=cut, ratio=1))
    return Bars(
        *([BarColumn(BAR)] if is_wide else []),
        MofNCompleteColumn(),
        Times(table_column=Column(no_wrap=True)),
        words,
        console=console,
        transient=True,
        expand=True,
        get_time=clock,
    )


class Times(ProgressColumn):
    """`0:45, about 1:10 left`; only the first while nobody knows the rest."""

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
    """Keeps each run's outcome until the screen is free for it."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def show(self, progress: Progress) -> None:
        raise NotImplementedError

    def conclude(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def _held_up(progress: Progress) -> str:
    paused = ", paused by its variable in Prefect (flows.control RUN --unpause)" if progress.paused else ""
    return f"{paused}, {progress.waits}" if progress.waits else paused


class Bar(Terminal):
    """A progress bar with counts and the time left."""

    def __init__(self, bars: Bars) -> None:
        super().__init__()
        self._bars = bars
        self._task = bars.add_task("starting", total=None)

    def show(self, progress: Progress) -> None:
        failed = f"{progress.failed:,} failed" if progress.failed else ""
        waiting = f"{progress.waiting:,} waiting" if progress.waiting else ""
        words = ", ".join(filter(None, (failed, _held_up(progress).removeprefix(", "), waiting)))  # the gravest first
        self._bars.update(self._task, description=escape(words), total=progress.total, completed=progress.settled)


class Lines(Terminal):
    """A line at the start, one now and then while counts change, and one when all is settled."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._started = monotonic()
        self._last: Progress | None = None
        self._next = 0.0

    def show(self, progress: Progress) -> None:
        done = progress.settled == progress.total
        if progress == self._last or not (done or monotonic() >= self._next):
            return
        self._last, self._next = progress, monotonic() + LINE_EVERY
        failed = f", {progress.failed:,} failed" if progress.failed else ""
        print(
            f"{progress.settled:,} of {progress.total:,} settled{failed}, {progress.waiting:,} waiting{_held_up(progress)} "
            f"({monotonic() - self._started:.0f} s)",
            file=self._stream,
            flush=True,
        )
