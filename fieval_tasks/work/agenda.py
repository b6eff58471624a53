"""Which eval_id to ask about, and when. Pure: time is passed in, and `poller` does the asking.

A question costs a request whether or not it brings a verdict, and no call asks about many. A verdict seen late costs
nothing while others are still open: only the end of the run is waited for. Hence three rules.

1. *Wait until it is ripe.* `Waits` learns how long a check's evaluations (template and model) take in this run. A ticket
   last seen pending at age a is due at the age t where P(T <= t | T > a) = RIPE, which costs about 1/RIPE questions per
   evaluation. Plans are lazy: when one falls due it is made again with what is known by then, and only what is still
   ripe is asked (looking is free); each verdict renews the next two plans, so good news spreads as fast as replies come.
2. *Pay for impatience.* Ripeness is unknown at first, and wrong when the server pauses or changes. So a purse gains
   share/elapsed a second, elapsed since the newest check began, and pays for asking the likeliest ticket early. The price
   is the waste to be expected, 1 - P(done); a verdict gives it back. Such a purse makes a ladder: whatever the server
   does, it wastes about share * ln(t2/t1) questions from t1 to t2. With n tickets, those to come included, and k of them
   open, the share is LADDER for each check + sqrt(n)/4 and, once something is known of each, k/CURIOSITY more. (Those to
   come may be waiting for a first verdict.)
3. *Be prompt at the end.* Once nothing more comes, n / (sqrt(n) + 2k) stands in the ladder's place: next to nothing
   while many are open and about sqrt(n) for the last few. So the end costs some sqrt(n) questions, and the last verdict
   is seen within some 1/sqrt(n) of the run's length.

Besides, one ticket in 32 (at most three a second) is a *scout*, asked at FIRST_GUESS and then at medians, so that
evaluations that have become faster are noticed. And whoever submits may order a *sentinel*, asked first at SENTINEL_AGE
and before all others: what a platform's hidden limit refuses has failed by then, and the sooner that is known the less
is refused.

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
    """What a question brought."""

    DECIDED = "decided"
    """The ticket has its verdict, or its evaluation failed: tells how long one takes."""
    PENDING = "pending"
    DROPPED = "dropped"
    """The ticket is closed and was not judged (refused, unknown to the server): says nothing about how long it takes."""
    UNHEARD = "unheard"
    """The question itself failed: says nothing about the ticket."""


class Agenda:
    """The open tickets of a run, and which of them to ask about now. Time is passed in."""

    def __init__(
        self, *, give_up_after: float, to_come: Callable[[], int] = lambda: 0, tuning: WorkTuning = TUNING
    ) -> None:
        """`give_up_after`: seconds; `to_come`: how many more tickets there will be, as far as is known."""
        self._give_up_after = give_up_after
        self._to_come = to_come
        self._tuning = tuning
        self._waits: defaultdict[str, Waits] = defaultdict(lambda: Waits(tuning.first_guess))
        self._waiting: list[OpenItem] = []
        """A heap."""
        self._early: deque[OpenItem] = deque()
        """Sentinels that were not asked about yet, in order."""
        self._added: Counter[str] = Counter()
        self._scouted_at: dict[str, float] = {}
        self._open = 0
        self._began = inf
        self._newest_at = inf
        """When the check came of which the least is known: as if all had begun then, the purse gains."""
        self._found_at = -inf
        self._look_at = self._filled_at = inf
        """When to see next whether the purse pays for a question, and until when it was filled."""
        self._purse = 1.0
        self._is_closing = False

    def __len__(self) -> int:
        """Those that no question is under way about."""
        return len(self._waiting) + len(self._early)

    def add(self, item: OpenItem, *, now: float, age: float = 0.0, is_sentinel: bool = False) -> None:
        """An item whose ticket was given `age` seconds ago. Those found open on resuming are looked at at once, in turn.

        `is_sentinel`: whether it was refused is to be known soon.
        """
        if not self._added:  # the purse gains nothing at first: all of that would be spent at one moment
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
        """Take out an item to ask about now, None where none is worth it. `closing`: no more will be added."""
        if item := self._take_early(now) or self._take_ripe(now):
            return item
        if closing != self._is_closing:
            self._is_closing = closing
            self._look_soon(now)
        return self._take_likely(now)

    def next_at(self) -> float | None:
        """When to `take` again, unless something happens before. Later than the last `take` that gave None."""
        times = [self._waiting[0].due, self._look_at] if self._waiting else []
        return min([*times, self._early[0].due] if self._early else times, default=None)

    def answered(self, item: OpenItem, answer: Answer, *, now: float) -> bool:
        """Learn from an answer. False where the ticket has waited too long: it is given up, not put back."""
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
        """Then, or at the deadline itself, for which a question is kept: none comes shortly before it."""
        deadline = self._deadline(item)
        return due if due <= deadline - self._tuning.shortest_gap else deadline

    def _plan(self, item: OpenItem, now: float, *, earliest: float = -inf) -> None:
        """Set when it is looked at next: when it is ripe, and at its deadline at the latest. What is over keeps its turn."""
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
        """The probability of a verdict at which it is asked about."""
        return self._tuning.half_ripe if item.is_scout else self._tuning.ripe

    def _take_early(self, now: float) -> OpenItem | None:
        """The first sentinel that is due."""
        if not self._early or self._early[0].due > now:
            return None
        item = self._early.popleft()
        item.asked_at, item.is_urgent = now, True
        return item

    def _take_ripe(self, now: float) -> OpenItem | None:
        """The first ticket that is due and still worth its question; the plans of the others are made again."""
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

    # -- impatience ----------------------------------------------------------------------------------------------

    def _look_soon(self, now: float) -> None:
        self._look_at = max(now, self._newest_at + self._tuning.first_guess)

    def _take_likely(self, now: float) -> OpenItem | None:
        """The ticket likeliest to be done, where the purse holds its price: the probability that it is not."""
        if now < self._look_at or not self._waiting:
            return None
        income = self._fill(now)
        price, place = 1 - self._tuning.ripe, None  # what costs less is ripe, and taken without payment
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
        """Put into the purse what has come in since the last time; what comes in a second."""
        # share/elapsed: what it pays for from t1 to t2 is then share * ln(t2/t1), whatever the server does
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
        """Its place in the heap. None where each was asked, or is to be asked for the last time, within the gap."""
        places = range(min(self._tuning.candidates, len(self._waiting)))
        able = (place for place in places if self._keeps_gap(self._waiting[place], now))
        return max(able, key=lambda place: self._chance(self._waiting[place], now), default=None)

    def _taken_out(self, place: int) -> OpenItem:
        """Moved to the top, each above it a step down, and popped: to make the whole heap anew would cost milliseconds."""
        item = self._waiting[place]
        while place:
            above = (place - 1) // 2
            self._waiting[place] = self._waiting[above]
            place = above
        self._waiting[0] = item
        return heapq.heappop(self._waiting)

    def _keeps_gap(self, item: OpenItem, now: float) -> bool:
        """The gap is twice as long after each question that fails, as far as its plan is put off: it seems done, and nobody says so."""
        shortest, doublings = self._tuning.shortest_gap, min(item.unheard, self._tuning.most_doublings)
        put_off = max(shortest, self._tuning.put_off * (item.asked_at - item.since))
        gap = min(shortest * 2.0**doublings, put_off)
        return item.asked_at + gap <= now <= self._deadline(item) - shortest

    # -- answers -------------------------------------------------------------------------------------------------

    def _close(self, item: OpenItem, now: float) -> None:
        """Without this ticket: its price is paid back, and the next plans are made with what is known now."""
        self._open -= 1
        self._purse += item.price
        self._look_soon(now)
        for _ in range(self._tuning.renewed_plans):
            if self._waiting and self._waiting[0].due > now:
                self._plan(self._waiting[0], now)
                heapq.heapreplace(self._waiting, self._waiting[0])

    def _put_back(self, item: OpenItem, now: float, *, is_unheard: bool) -> bool:
        """False where its time is over."""
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
