"""What a terminal shows of a run at work: a table of its checks, drawn anew in its place, above one line on the whole run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from time import monotonic
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.control import Control
from rich.live import Live
from rich.progress import Progress as Estimates
from rich.progress import Task
from rich.progress_bar import ProgressBar
from rich.text import Text

from fieval_tasks.core.budget import written
from fieval_tasks.core.progress import CheckProgress, Progress
from fieval_tasks.report.listing import cut_to, spelt, table_of
from fieval_tasks.terminal.progress_lines import LOOK, Look, PlainLines, Terminal, clock_time, held_up, left_out


@contextmanager
def shown(*, quiet: bool = False, stream: TextIO | None = None) -> Iterator[Terminal]:
    """Yields the display that fits the stream (default: standard error), or one that shows nothing; takes it off the screen
    at the end."""
    screen = Terminal() if quiet else _display(stream or sys.stderr)
    screen.begin()
    try:
        yield screen
    finally:
        screen.leave()


def _display(stream: TextIO) -> Terminal:
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    return LiveTable(console) if stream.isatty() and console.is_interactive else PlainLines(stream)


class LiveTable(Terminal):
    """A display that draws on a terminal, at the beat in which it is shown progress."""

    def __init__(self, console: Console, clock: Callable[[], float] = monotonic, *, look: Look = LOOK) -> None:
        super().__init__()
        self._console = console
        self._clock = clock
        self._look = look
        self._began = self._next = clock()
        self._progress: Progress | None = None
        self._estimates = Estimates(auto_refresh=False, get_time=clock)
        self._live, self._width = Live(), console.width
        self._has_left = False

    def begin(self) -> None:
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            get_renderable=self.drawn,
            vertical_overflow="crop",
        )
        self._live.start(refresh=True)

    def leave(self) -> None:
        """Take the lines off the screen, and draw no more."""
        self._has_left = True
        self._live.stop()

    def show(self, progress: Progress) -> None:
        began, before = self._clock(), self._progress
        is_news = progress.is_settled and not (before and before.is_settled)
        if self._has_left or (began < self._next and not is_news):
            return
        self._estimate(progress)
        if self._console.width < self._width:
            self._scroll_away()
        self._width = self._console.width
        self._live.refresh()
        # A run of many checks takes longer to draw: it is drawn less often, so that a hundredth of the time is spent on it.
        self._next = began + max(self._look.draw_every, self._look.draw_share * (self._clock() - began))

    def _scroll_away(self) -> None:
        """Leave all that is on the screen to what one can scroll back to, and begin at its top: a terminal that is made
        narrower breaks the lines that were drawn, and nobody knows where they stand then."""
        self._live.stop()
        self._console.print("\n" * self._console.height, end="")
        self._console.control(Control.home())
        self.begin()

    def _estimate(self, progress: Progress) -> None:
        """Note how far each check is, and all together; another run's counts begin anew."""
        before, self._progress = self._progress, progress
        names = [[check.name for check in one.checks] for one in (before, progress) if one is not None]
        if before is None or names[0] != names[1] or progress.settled < before.settled:
            for task in self._estimates.task_ids:
                self._estimates.remove_task(task)
            for _ in (progress, *progress.checks):
                self._estimates.add_task("", total=None)
        counts: list[Progress | CheckProgress] = [progress, *progress.checks]
        for task, one in zip(self._estimates.task_ids, counts, strict=True):
            self._estimates.update(task, total=one.total, completed=one.settled)

    # -- what is drawn -----------------------------------------------------------------------------------------------

    def drawn(self) -> RenderableType:
        """No higher than the screen, and one line at least: that on the whole run."""
        if self._progress is None:
            return self._fitting(Text("starting"))
        whole, *tasks = self._estimates.tasks
        return Group(*self._table(tasks), self._fitting(self._summary(self._progress, whole)))

    def _table(self, tasks: list[Task]) -> Iterator[RenderableType]:
        assert self._progress is not None
        each, room = [*zip(self._progress.checks, tasks, strict=True)], self._console.height - self._look.other_lines
        if len(each) > room:
            each.sort(key=lambda one: one[1].finished)  # what is still at work first, else in the plan's order
            room -= 1
        shown, others = each[: max(room, 0)], each[max(room, 0) :]
        if not shown:
            return
        rows = [_row(check, task) for check, task in shown]
        for columns in range(len(rows[0]), 1, -1):  # as many as there is room for; what they say last is missed least
            table = table_of([dict([*row.items()][:columns]) for row in rows], self._console, names=["check"])
            if table is not None:
                yield table
                break
        if others:
            open_ = sum(not task.finished for _, task in others)
            yield self._fitting(Text(f"and {len(others)} more checks, {open_} of them with open items"))

    def _summary(self, progress: Progress, task: Task) -> Text:
        bar = ProgressBar(max(progress.total, 1), progress.settled, width=self._look.bar)
        is_wide = self._console.width >= self._look.wide
        parts = [(part.text, part.style or "") for part in self._console.render(bar)] if is_wide else []
        times = clock_time(self._clock() - self._began)
        if (left := task.time_remaining) and not task.finished:
            times += f", about {clock_time(left)} left"
        words = ", ".join(_words(progress))  # the gravest first: the rest may be cut
        counts = f"{progress.settled}/{progress.total} {times} {spelt(words, self._console)}"
        return Text.assemble(*parts, " " if parts else "", counts)

    def _fitting(self, line: Text) -> Text:
        # The terminal itself writes ^C at its end: on a line of its own that would be one more than are taken off the screen.
        return cut_to(max(1, self._console.width - len("^C")), line, self._console)


def _words(progress: Progress) -> Iterator[str]:
    if progress.is_settled:
        yield "the report is being written"
    if progress.failed:
        yield f"{progress.failed:,} failed"
    yield from held_up(progress)
    yield from left_out(progress)
    if progress.throttled:
        yield f"{progress.throttled:,} throttled"
    costs = [check.cost for check in progress.checks if check.cost is not None]
    if costs:
        yield f"cost {written(sum(costs, Fraction()))}"
    if progress.waiting:
        yield f"{progress.waiting:,} waiting"


def _row(check: CheckProgress, task: Task) -> dict[str, str]:
    left = task.time_remaining if task.speed and not task.finished else None
    return {
        "check": check.name,
        "open": f"{check.total - check.settled:,}",
        "scored": f"{check.scored:,}",
        "failed": f"{check.failed:,}",
        "a second": f"{task.speed:.1f}" if task.speed and not task.finished else "",
        "left": "" if left is None else clock_time(left),
        "cost": "" if check.cost is None else written(check.cost),
    }
