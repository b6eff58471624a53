"""What a run shows on standard error: a bar in a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from fieval_tasks.conclusion import Outcome
from fieval_tasks.progress import Progress

LINE_EVERY = 5.0
"""Seconds between two plain lines, where anything has changed."""


@contextmanager
def shown(stream: TextIO | None = None) -> Iterator[Terminal]:
    """The display that fits the stream (standard error); a bar is gone from the screen on leaving."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield Lines(stream)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("so far, left:"),  # "0:00:07 left" is what an unknown rest would leave of other words
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(file=stream), transient=True) as bars:
        yield Bar(bars)


class Terminal:
    """Keeps each run's outcome until the screen is free for it."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def show(self, progress: Progress) -> None:
        raise NotImplementedError

    def conclude(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def _held_up(progress: Progress) -> str:
    paused = ", paused by its variable in Prefect (flows.control --go)" if progress.paused else ""
    return f"{paused}, {progress.waits}" if progress.waits else paused


class Bar(Terminal):
    """A progress bar with counts and the time left."""

    def __init__(self, bars: Bars) -> None:
        super().__init__()
        self._bars = bars
        self._task = bars.add_task("starting", total=None)

    def show(self, progress: Progress) -> None:
        waiting = f", {progress.waiting:,} waiting" if progress.waiting else ""
        failed = f", {progress.failed:,} failed" if progress.failed else ""
        words = f"{progress.scored:,} scored{failed}{waiting}{_held_up(progress)}"
        self._bars.update(self._task, description=words, total=progress.total, completed=progress.settled)


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
