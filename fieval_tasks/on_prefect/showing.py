"""Showing a run's progress on the page of its flow run: a live artifact, and lines in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from prefect import get_run_logger

from fieval_tasks.core.progress import Progress
from fieval_tasks.on_prefect.artifacts import progress_started, progress_updated
from fieval_tasks.on_prefect.times import TIMES
from fieval_tasks.on_prefect.watching import Rhythm, Watch, without_retries
from fieval_tasks.report.text import count, duration
from fieval_tasks.runs.conclusion import Outcome
from fieval_tasks.runs.display import Display, display


@contextmanager
def shown_in_prefect(
    total: int, *, series: str | None, watch: Watch | None = None
) -> Iterator[Callable[[Progress], None]]:
    """Meanwhile, what is shown of a run of so many items is shown on the page of this flow run, too; yields what shows it.

    `series`: what its progress artifact is a version of; None: it has no key. `watch` has a look whenever something is
    shown, and one before: a run that is to be paused buys nothing first.
    """
    shown = InPrefect(display.get(), total, series, watch)
    token = display.set(shown)
    try:
        if watch is not None:
            watch.look(at_once=True)
        yield shown.show
    finally:
        display.reset(token)
        shown.finish()


class InPrefect:
    """A display that shows a run in Prefect, and passes everything on to the display that was set before."""

    def __init__(self, inner: Display, total: int, series: str | None, watch: Watch | None = None) -> None:
        self._inner = inner
        self._watch = watch
        self._artifact = progress_started(total, series=series)
        self._moves = Rhythm()
        self._lines = ProgressLog(get_run_logger().info)  # of this flow run, though its subflow shows the most
        self._last: Progress | None = None

    def show(self, progress: Progress) -> None:
        self._inner.show(progress)
        self._lines.note(progress)
        self._last = progress
        if self._moves.due():
            self.finish()
        if self._watch is not None:
            self._watch.look()

    def conclude(self, outcome: Outcome) -> None:
        self._inner.conclude(outcome)

    def finish(self) -> None:
        """Update the artifact to the last progress."""
        if self._last is not None:
            with without_retries():
                progress_updated(self._artifact, self._last.fraction)


class ProgressLog:
    """A line a minute, where something has changed since the one before."""

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float] = monotonic) -> None:
        self._write = write
        self._clock = clock
        self._rhythm = Rhythm(TIMES.line_every, clock)
        self._last: Progress | None = None
        self._last_at = clock()

    def note(self, progress: Progress) -> None:
        if self._last is None:
            self._last = progress  # as it began, which the log has said
        if progress == self._last or not self._rhythm.due():
            return
        now = self._clock()
        self._write(line(progress, self._last, now - self._last_at))
        self._last, self._last_at = progress, now


def line(now: Progress, before: Progress, seconds: float) -> str:
    """`412 of 500 items settled, 3 of them failed; 60 wait for their verdicts; 4.1 a second, about 21.5 s left`.

    The rate is that of the seconds since `before`.
    """
    settled = f"{now.settled:,} of {count(now.total, 'item')} settled"
    settled += f", {now.failed:,} of them failed" if now.failed else ""
    waiting = f"{count(now.waiting, 'waits', 'wait')} for a verdict" if now.waiting else ""
    rate = (now.settled - before.settled) / seconds
    left = f"{rate:.2g} a second, about {duration((now.total - now.settled) / rate)} left" if rate > 0 else ""
    paused = "nothing more is submitted, as the variable fieval_control has it" if now.paused else ""
    return "; ".join(filter(None, (settled, waiting, left if now.settled < now.total else "", paused)))
