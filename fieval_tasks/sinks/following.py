"""Handing verdicts on in threads of their own: a slow or dead sink keeps no run waiting, and the ledger has all that it lacks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from threading import Event, Lock, Thread
from time import monotonic
from typing import TypeAlias

from fieval_tasks.core.batches import batches
from fieval_tasks.core.errors import FievalError, RowsUnwanted, SinkError, in_words
from fieval_tasks.core.items import Result
from fieval_tasks.ledger.book import Book
from fieval_tasks.sinks.sink import Sink
from fieval_tasks.sinks.sink_tuning import TUNING, SinkTuning
from fieval_tasks.sinks.unwanted import Take, Unwanted, parts_taken

_log = logging.getLogger(__name__)
OVER = "the run has ended; whoever concludes it brings the sink up to date"

Open: TypeAlias = "Callable[[], Sink]"


class Follower:
    """Hands one run's verdicts on to one sink while they arrive."""

    def __init__(self, open_sink: Open, book: Book, tuning: SinkTuning = TUNING, *, catches_up: bool = True) -> None:
        """`catches_up`: the sink also takes what the run has from before, now and whenever verdicts are read again."""
        self._open = open_sink
        self._book = book
        self._tuning = tuning
        self._catches_up = catches_up
        self._lock = Lock()
        self._heard: set[int] = set()
        # What an earlier process did not come to, and verdicts that the run began with.
        self._is_behind = catches_up
        """Verdicts may be in the ledger, and neither in the sink nor in `_heard`."""
        self._fault = ""
        """Why the last write failed; empty where it did not."""
        self._unwanted = Unwanted()
        self._rang = Event()
        self._over = Event()
        self._left = Event()
        # The process does not wait for it: a database may never answer.
        self._thread = Thread(target=self._follow, name="sink", daemon=True)

    @property
    def lag(self) -> str:
        """Why the sink lacks verdicts; empty where it lacks none."""
        return self._fault or self._unwanted.said

    def start(self) -> None:
        self._thread.start()

    def hear(self, seqs: Sequence[int]) -> None:
        with self._lock:
            self._heard.update(seqs)
            if self._catches_up and len(self._heard) > self._tuning.most_heard:
                self._heard, self._is_behind = set(), True
        self._rang.set()

    def end(self) -> None:
        """Hand on what was heard, and wait for that for a moment."""
        self._over.set()
        self._rang.set()
        self._thread.join(self._tuning.last_word)
        self._left.set()
        if not self._catches_up and (self._thread.is_alive() or not self._is_even):  # nobody makes up for it
            said = "the last verdicts could not be read again within %g s, and were not handed on; the ledger has them"
            _log.warning(said, self._tuning.last_word)

    def _follow(self) -> None:
        pause = self._tuning.first_pause
        with ExitStack() as stack:
            sink: Sink | None = None
            while not (self._over.is_set() and self._is_even):
                try:
                    sink = sink or stack.enter_context(closing(self._open()))
                    self._hand_on(sink)
                except Exception as error:  # of whichever driver: the run goes on, and this is tried again
                    if self._left.is_set():
                        return
                    if pause == self._tuning.first_pause:
                        _log.warning("%s; the run goes on, and its verdicts are written later", in_words(error))
                    self._fault = in_words(error)
                    if self._over.wait(pause):
                        return  # whoever concludes the run brings the sink up to date
                    pause = min(2 * pause, self._tuning.longest_pause)
                else:
                    pause, self._fault = self._tuning.first_pause, ""
                    if not self._over.is_set():
                        self._rang.wait()
                    self._over.wait(self._tuning.gather)

    @property
    def _is_even(self) -> bool:
        return not (self._heard or self._is_behind)

    def _hand_on(self, sink: Sink) -> None:
        self._rang.clear()
        with self._lock:
            heard, self._heard, behind, self._is_behind = self._heard, set(), self._is_behind, False
        try:
            if behind:
                for batch in _in_batches(self._book.results(with_inputs=True, settled=True), self._left, self._tuning):
                    self._give(sink.bring_up_to_date, batch, set())
            if heard:
                for batch in _in_batches(self._book.results(with_inputs=True, of=[*heard]), self._left, self._tuning):
                    self._give(sink.take, batch, heard)
        except Exception:
            with self._lock:
                self._is_behind = self._is_behind or behind
            self.hear([*heard])
            raise

    def _give(self, take: Take, batch: Sequence[Result], heard: set[int]) -> None:
        """What is taken, or refused, is no longer in `heard`, also where the rest fails."""
        for part, error in parts_taken(take, batch):
            if error is not None and not self._unwanted.said:
                _log.warning("%s; the run goes on, and what else the table takes is written", in_words(error))
            self._unwanted.note(part, error)
            heard.difference_update(result.seq for result in part if result.seq is not None)
            if self._left.is_set():
                raise SinkError(OVER)


class Followers:
    """Those of all sinks of a run, as the `Audience` of its engine."""

    def __init__(self, followers: Sequence[Follower]) -> None:
        self._followers = followers

    def hear(self, seqs: Sequence[int]) -> None:
        for follower in self._followers:
            follower.hear(seqs)

    @property
    def lag(self) -> str:
        """Why sinks lag behind, in words; empty where none does."""
        return "; ".join(follower.lag for follower in self._followers if follower.lag)


@contextmanager
def followed(
    sinks: Iterable[Open], book: Book, tuning: SinkTuning = TUNING, *, events: Open | None = None
) -> Iterator[Followers]:
    """Yields what has the sinks take verdicts, in threads of their own; at the end of the block they get a moment for the rest.

    `events`: a sink that takes only the verdicts of this block.
    """
    followers = [Follower(open_sink, book, tuning) for open_sink in sinks]
    followers += [Follower(events, book, tuning, catches_up=False)] if events else []
    for follower in followers:
        follower.start()

    try:
        yield Followers(followers)
    finally:
        for follower in followers:
            follower.end()


class CatchingUp:
    """Brings a sink up to date with the whole run, in a thread of its own."""

    def __init__(self, open_sink: Open, book: Book, tuning: SinkTuning = TUNING) -> None:
        self._open = open_sink
        self._book = book
        self._tuning = tuning
        self._moved_at = monotonic()
        self._error: str | None = f"it took nothing for {tuning.patience:g} s"
        self._sink: Sink | None = None
        self._given_up = Event()
        self._thread = Thread(target=self._bring_up_to_date, name="sink", daemon=True)

    def fault(self) -> str | None:
        """Why the sink could not be brought up to date; None once it is.

        Tries again after errors, and gives up once the sink has taken nothing for `SinkTuning.patience` seconds.
        """
        self._thread.start()
        while self._thread.is_alive() and (left := self._moved_at + self._tuning.patience - monotonic()) > 0:
            self._thread.join(left)
        self._given_up.set()
        return self._error

    def _bring_up_to_date(self) -> None:
        unwanted = Unwanted()
        with ExitStack() as stack:
            try:
                for batch in _in_batches(self._book.results(with_inputs=True), self._given_up, self._tuning):
                    for part, error in parts_taken(partial(self._persist, stack), batch):
                        unwanted.note(part, error)
                        if error is None:
                            self._moved_at = monotonic()
                        else:
                            self._error = f"{unwanted.said}, and then none was taken any more; alter the table"
            except FievalError as error:  # the ledger is out of reach, or nobody waits any longer
                self._error = in_words(error)
            else:
                self._error = (unwanted.said and f"{unwanted.said}, all else is there; alter the table") or None

    def _persist(self, stack: ExitStack, batch: Sequence[Result]) -> None:
        for pause in _pauses(self._tuning):
            if self._given_up.is_set():
                raise SinkError(OVER)
            try:
                self._sink = self._sink or stack.enter_context(closing(self._open()))
                self._sink.bring_up_to_date(batch)
                return
            except RowsUnwanted:
                raise
            except Exception as error:  # of whichever driver: the run's report says it
                if pause == self._tuning.first_pause:
                    wait = self._tuning.patience
                    _log.warning("%s; it is tried again, for %g s without success at most", in_words(error), wait)
                self._error = in_words(error)
            if self._given_up.wait(pause):
                raise SinkError(self._error)


def _pauses(tuning: SinkTuning) -> Iterator[float]:
    pause = tuning.first_pause
    while True:
        yield pause
        pause = min(2 * pause, tuning.longest_pause)


def _in_batches(results: Iterable[Result], left: Event, tuning: SinkTuning) -> Iterator[list[Result]]:
    """The results, as long as anybody waits for the thread that hands them on."""
    for batch in batches(results, most=tuning.batch, largest=tuning.largest_batch, size=Result.input_length):
        if left.is_set():
            raise SinkError(OVER)
        yield batch
