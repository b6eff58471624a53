"""Which open ticket to ask the server about, and when. No clock and no network here: time is passed in, and `poller` asks.

A question costs a request whether or not it brings a verdict, and no API call asks about several. A verdict that is seen
late costs nothing while others are still open: only the end of the run is waited for. Hence three rules.

1. *Ask when a verdict is likely.* `Waits` estimates how long a check's evaluations (template and model) take in this run.
   A ticket last seen pending at age a is due at the age t where P(T <= t | T > a) = RIPE, which costs about 1/RIPE
   questions per evaluation. A due time is recomputed when it is reached (that costs no request), and the ticket is asked
   about only if it is still due. Each verdict recomputes the next two due times, so that a shorter estimate spreads quickly.
2. *A budget for early questions.* The estimate is unknown at first, and wrong when the server pauses or changes. So a
   budget, the *purse*, gains share/elapsed a second (elapsed since the newest check began) and pays for asking the likeliest
   ticket early. The price is the expected waste, 1 - P(done); a verdict refunds it. Whatever the server does, from t1 to
   t2 this wastes about share * ln(t2/t1) questions. With n tickets, those to come included, and k of them open, the share
   is LADDER for each check + sqrt(n)/4 and, once each check has a verdict, k/CURIOSITY more. (Tickets to come may be
   waiting for a first verdict.)
3. *Be prompt at the end.* Once no more tickets come, n / (sqrt(n) + 2k) replaces LADDER: next to nothing while many are
   open and about sqrt(n) for the last few. So the end costs about sqrt(n) questions, and the last verdict is seen within
   about 1/sqrt(n) of the run's length.

Besides, one ticket in 32 (at most three a second) is a *scout*, asked about at FIRST_GUESS and then at medians, to notice
evaluations that have become faster. And a submission may order a *sentinel*, asked about first at SENTINEL_AGE and before
all others: an evaluation that the platform's hidden limit refuses has failed by then, and the sooner that is known, the
fewer are refused.

The numbers in capitals are `WorkTuning`'s. `python -m tests.work.polling_simulation` shows what this reaches, server by server.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from enum import Enum
from math import inf, sqrt

from fieval_tasks.work.open_items import OpenItem
from fieval_tasks.work.waits import Waits
from fieval_tasks.work.work_tuning import TUNING, WorkTuning


class Answer(Enum):
    """The result of a question about a ticket, as far as the agenda needs it."""

    DECIDED = "decided"
    """The ticket has its verdict, or its evaluation failed; its age counts for the estimate."""
    PENDING = "pending"
    """The server has no verdict yet."""
    DROPPED = "dropped"
    """The ticket is closed without an evaluation (refused, unknown to the server); its age says nothing."""
    UNHEARD = "unheard"
    """The question itself failed, so nothing is known about the ticket."""


class Agenda:
    """The open tickets of a run, and which of them to ask about now. Not thread-safe."""

    def __init__(
        self, *, give_up_after: float, to_come: Callable[[], int] = lambda: 0, tuning: WorkTuning = TUNING
    ) -> None:
        """`give_up_after`: seconds from a ticket's submission; `to_come`: how many more tickets are expected."""
        self._give_up_after = give_up_after
        self._to_come = to_come
        self._tuning = tuning
        self._waits: defaultdict[str, Waits] = defaultdict(lambda: Waits(tuning.first_guess))
        self._waiting: list[OpenItem] = []
        """A heap, ordered by `OpenItem.due`."""
        self._early: deque[OpenItem] = deque()
        """Sentinels that were not asked about yet, in the order of submission."""
        self._added: Counter[str] = Counter()
        self._scouted_at: dict[str, float] = {}
        self._open = 0
        self._began = inf
        self._newest_at = inf
        """When the newest check began: the purse's income falls with the time since then."""
        self._found_at = -inf
        self._look_at = self._filled_at = inf
        """When to check next whether the purse pays for a question, and up to when its income was added."""
        self._purse = 1.0
        self._is_closing = False

    def __len__(self) -> int:
        """Tickets that no question is under way about."""
        return len(self._waiting) + len(self._early)

    def add(self, item: OpenItem, *, now: float, age: float = 0.0, is_sentinel: bool = False) -> None:
        """Add an item whose ticket was given `age` seconds ago. Tickets from before this process are due at once, in turn.

        `is_sentinel`: ask early whether a hidden limit refused it.
        """
        if not self._added:  # the purse gains nothing before the first guess: it would all be spent at one moment
            self._began, self._filled_at = now, now + self._tuning.first_guess
        if item.check not in self._added:
            self._newest_at = now
            self._look_soon(now)
        item.since, item.due = now - age, now
        item.is_scout = not age and self._wants_scout(item.check, now)
        self._added[item.check] += 1
        self._open += 1
        if is_sentinel and not age:
            item.due = self._before_deadline(item, now + self._tuning.sentinel_age)
            return self._early.append(item)
        if age:
            self._found_at = max(now, self._found_at + self._tuning.spread)
            deadline = self._deadline(item)
            item.due = min(self._found_at, deadline) if deadline > now else self._found_at
        else:
            self._plan(item, now)
        heapq.heappush(self._waiting, item)

    def _wants_scout(self, check: str, now: float) -> bool:
        every, gap = self._tuning.scout_every, 1 / self._tuning.scouts_per_second
        if not every or self._added[check] % every or now < self._scouted_at.get(check, -inf) + gap:
            return False
        self._scouted_at[check] = now
        return True

    def take(self, now: float, *, closing: bool) -> OpenItem | None:
        """Take out an item to ask about now; None where none is due or likely. `closing`: no more tickets will be added."""
        if item := self._take_early(now) or self._take_ripe(now):
            return item
        if closing != self._is_closing:
            self._is_closing = closing
            self._look_soon(now)
        return self._take_likely(now)

    def next_at(self) -> float | None:
        """When to `take` again, unless an answer or a ticket comes before; None where nothing waits."""
        times = [self._waiting[0].due, self._look_at] if self._waiting else []
        return min([*times, self._early[0].due] if self._early else times, default=None)

    def answered(self, item: OpenItem, answer: Answer, *, now: float) -> bool:
        """Learn from an answer, and put a ticket that is pending back. False: its time is over and it was given up."""
        asked_at = item.asked_at - item.since
        if answer is Answer.DECIDED:
            self._waits[item.check].decided(item.pending_at, now - item.since)
        elif answer is Answer.PENDING:
            self._waits[item.check].pending(item.pending_at, asked_at)
            item.pending_at = asked_at
        if answer in (Answer.DECIDED, Answer.DROPPED):
            self._close(item, now)
            return True
        return self._put_back(item, now, is_unheard=answer is Answer.UNHEARD)

    # -- when a ticket is asked about ----------------------------------------------------------------------------

    def _deadline(self, item: OpenItem) -> float:
        return item.since + self._give_up_after

    def _before_deadline(self, item: OpenItem, due: float) -> float:
        """The due time, moved to the deadline where it is shortly before it: the last question is asked at the deadline."""
        deadline = self._deadline(item)
        return due if due <= deadline - self._tuning.shortest_gap else deadline

    def _plan(self, item: OpenItem, now: float, *, earliest: float = -inf) -> None:
        """Set the due time: when a verdict is likely, and at the deadline at the latest."""
        if item.due > now >= self._deadline(item):
            return
        again = now + max(self._tuning.look_again, (now - item.since) / 2)
        due = max(min(self._ripe_at(item, now), again), item.asked_at + self._tuning.shortest_gap, earliest, now)
        item.due = self._before_deadline(item, due)

    def _ripe_at(self, item: OpenItem, now: float) -> float:
        first_guess, waits = self._tuning.first_guess, self._waits[item.check]
        if _is_to_scout(item):
            return item.since + first_guess
        if not waits.known:
            return item.since + max((1 + self._tuning.put_off) * (now - item.since), 2 * first_guess)
        return item.since + waits.age(self._wanted(item), item.pending_at)

    def _wanted(self, item: OpenItem) -> float:
        """The probability of a verdict at which the ticket is due."""
        return self._tuning.half_ripe if item.is_scout else self._tuning.ripe

    def _take_early(self, now: float) -> OpenItem | None:
        """The first sentinel that is due."""
        if not self._early or self._early[0].due > now:
            return None
        item = self._early.popleft()
        item.asked_at, item.is_urgent = now, True
        return item

    def _take_ripe(self, now: float) -> OpenItem | None:
        """The first ticket that is due by the present estimate; the due times of the others are recomputed."""
        while self._waiting and self._waiting[0].due <= now:
            item = self._waiting[0]
            if self._is_ripe(item, now):
                heapq.heappop(self._waiting)
                item.asked_at, item.is_urgent = now, now >= self._deadline(item)
                return item
            self._plan(item, now, earliest=now + self._tuning.slack * (now - item.since + self._tuning.first_guess))
            heapq.heapreplace(self._waiting, item)
        return None

    def _is_ripe(self, item: OpenItem, now: float) -> bool:
        deadline = self._deadline(item)
        if now > deadline - self._tuning.shortest_gap:  # the last question is kept for the deadline
            return now >= deadline
        if _is_to_scout(item):
            return True
        can_say = self._waits[item.check].known or item.since < self._began
        return can_say and self._chance(item, now) >= self._wanted(item) - self._tuning.slack

    def _chance(self, item: OpenItem, now: float) -> float:
        return self._waits[item.check].chance(now - item.since, item.pending_at)

    # -- early questions, paid by the purse ----------------------------------------------------------------------

    def _look_soon(self, now: float) -> None:
        self._look_at = max(now, self._newest_at + self._tuning.first_guess)

    def _take_likely(self, now: float) -> OpenItem | None:
        """The ticket that is likeliest done, if the purse holds its price: the probability that it is not."""
        if now < self._look_at or not self._waiting:
            return None
        income = self._fill(now)
        price, place = 1 - self._tuning.ripe, None  # a ticket with a lower price is due anyway
        if self._purse >= price:
            place = self._likeliest(now)
            if place is None:
                self._look_at = now + self._tuning.shortest_gap
                return None
            item = self._waiting[place]
            price = 1.0 - self._chance(item, now) if self._waits[item.check].known else 1.0
        if place is None or price > self._purse:
            self._look_at = now + max(self._tuning.soon, (price - self._purse) / income)
            return None
        item = self._taken_out(place)
        self._purse -= price
        item.price, item.asked_at = price, now
        return item

    def _fill(self, now: float) -> float:
        """Add the purse's income since the last call; the income in a second."""
        # An income of share/elapsed pays for share * ln(t2/t1) questions from t1 to t2, whatever the server does.
        income = self._share() / max(now - self._newest_at, self._tuning.first_guess)
        most = 1.0 + income * self._tuning.shortest_gap
        self._purse = min(self._purse + income * (now - self._filled_at), most)
        self._filled_at = now
        return income

    def _share(self) -> float:
        n, k, is_known = self._added.total(), self._open, all(waits.known for waits in self._waits.values())
        share = self._tuning.ladder * len(self._added) + sqrt(n + self._to_come()) / 4
        if self._is_closing and is_known:
            share = n / (sqrt(n) + 2 * k)
        if self._is_closing:
            share = max(share, self._tuning.last_few * len(self._added) / k)
        return share + k / self._tuning.curiosity if is_known else share

    def _likeliest(self, now: float) -> int | None:
        """The likeliest candidate's index in the heap; None where each was asked about, or has its last question, within the
        shortest gap."""
        places = range(min(self._tuning.candidates, len(self._waiting)))
        able = (place for place in places if self._keeps_gap(self._waiting[place], now))
        return max(able, key=lambda place: self._chance(self._waiting[place], now), default=None)

    def _taken_out(self, place: int) -> OpenItem:
        """Remove an item from the middle of the heap by sifting it to the top; a new heapify would take milliseconds."""
        item = self._waiting[place]
        while place:
            above = (place - 1) // 2
            self._waiting[place] = self._waiting[above]
            place = above
        self._waiting[0] = item
        return heapq.heappop(self._waiting)

    def _keeps_gap(self, item: OpenItem, now: float) -> bool:
        """Whether the shortest gap since the last question is over. The gap doubles after each question that fails."""
        shortest, doublings = self._tuning.shortest_gap, min(item.unheard, self._tuning.most_doublings)
        put_off = max(shortest, self._tuning.put_off * (item.asked_at - item.since))
        gap = min(shortest * 2.0**doublings, put_off)
        return item.asked_at + gap <= now <= self._deadline(item) - shortest

    # -- answers -------------------------------------------------------------------------------------------------

    def _close(self, item: OpenItem, now: float) -> None:
        """Close a ticket: refund its price, and recompute the next due times with the new estimate."""
        self._open -= 1
        self._purse += item.price
        self._look_soon(now)
        for _ in range(self._tuning.renewed_plans):
            if self._waiting and self._waiting[0].due > now:
                self._plan(self._waiting[0], now)
                heapq.heapreplace(self._waiting, self._waiting[0])

    def _put_back(self, item: OpenItem, now: float, *, is_unheard: bool) -> bool:
        """Put a pending ticket back into the heap; False where its time is over."""
        item.price, item.is_urgent = 0.0, False
        item.unheard = item.unheard + 1 if is_unheard else 0
        over_for = now - self._deadline(item)
        if over_for >= 0.0:
            if not is_unheard or over_for >= self._tuning.last_word:
                self._open -= 1
                return False
            item.due = now + self._tuning.last_gap
        else:
            pause = self._tuning.put_off * (now - item.since) if is_unheard else 0.0
            self._plan(item, now, earliest=now + pause)
        heapq.heappush(self._waiting, item)
        return True


def _is_to_scout(item: OpenItem) -> bool:
    return item.is_scout and item.asked_at == -inf
