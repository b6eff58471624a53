"""Which eval_id to ask about, and when. Pure: time is passed in, and `poller` does the asking.

A question costs a request whether or not it brings a verdict, and no call asks about many. A verdict seen late costs
nothing while others are still open: only the end of the run is waited for. Hence three rules.

1. *Wait until it is ripe.* `Waits` learns how long a check's evaluations (template and model) take in this run. A ticket
   last seen pending at age a is due at the age t where P(T <= t | T > a) = RIPE, which costs about 1/RIPE questions per
   evaluation. Plans are lazy: when one falls due it is made again with what is known by then, and only what is still
   ripe is asked (looking is free); each verdict renews the next two plans, so good news spreads as fast as replies come.
2. *Pay for impatience.* Ripeness is unknown at first, and wrong when the server pauses or changes. So each check has a
   purse that gains share/elapsed a second and pays for asking the likeliest ticket early. The price is the waste to be
   expected, 1 - P(done); a verdict gives it back. Such a purse makes a ladder: whatever the server does, it wastes about
   share * ln(t2/t1) questions from t1 to t2. With n tickets, those to come included, and k of them open, the share is
   LADDER + sqrt(n)/4 and, once anything is known, k/CURIOSITY more. (Those to come may be waiting for a first verdict.)
3. *Be prompt at the end.* Once nothing more comes, n / (sqrt(n) + 2k) stands in the ladder's place: next to nothing
   while many are open and about sqrt(n) for the last few. So the end costs some sqrt(n) questions, and the last verdict
   is seen within some 1/sqrt(n) of the run's length.

Besides, one ticket in 32 (at most three a second) is a *scout*, asked at FIRST_GUESS and then at medians, so that
evaluations that have become faster are noticed. And whoever submits may order a *sentinel*, asked first at SENTINEL_AGE
and before all others: what a platform's hidden limit refuses has failed by then, and the sooner that is known the less
is refused.

`python -m tests.work.polling_simulation` shows what this reaches, server by server.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import inf, sqrt

from fieval_tasks.work.waits import FIRST_GUESS, Waits

SENTINEL_AGE = 0.15
"""Seconds until a sentinel's first question: its evaluation has begun, or been refused, by then."""
SHORTEST_GAP = 0.2
"""Seconds between two questions about one ticket, at least."""
RIPE = 0.9
"""Probability of a verdict at which a ticket is asked about."""
HALF_RIPE = 0.5
"""The same for a scout."""
SLACK = 0.05
"""An estimate that has fallen by less than this since the plan was made does not change the plan."""
LADDER = 3.0
"""The purse's share before the end, in a small run: a question whenever it is a third older, while all is pending."""
CURIOSITY = 50.0
"""With many open, one question for so many of them is a small price for noticing how the server changes."""
LAST_FEW = 8.0
"""At the end the share is at least this, divided by the tickets still open: it matters in runs of a few items."""
MOST_DOUBLINGS = 4
"""Of the shortest gap, after questions that fail: to 3.2 s, within which a server that answers again is noticed."""


class Answer(Enum):
    """What a question brought."""

    DECIDED = "decided"
    """The ticket has its verdict, or its evaluation failed: tells how long one takes."""
    PENDING = "pending"
    DROPPED = "dropped"
    """The ticket is closed and was not judged (refused, unknown to the server): says nothing about how long it takes."""
    UNHEARD = "unheard"
    """The question itself failed: says nothing about the ticket."""


@dataclass(eq=False)
class OpenTicket:
    """A ticket that has no verdict yet. Ordered by `due`."""

    __slots__ = (
        "asked_at", "check", "due", "eval_id", "pending_at", "price", "scout", "seq", "since", "unheard", "urgent",
    )  # fmt: skip

    seq: int
    eval_id: str
    check: str
    since: float
    """When it was submitted, by the loop's clock."""
    due: float
    """When its plan is looked at, by the loop's clock."""
    scout: bool
    asked_at: float
    """When it was last asked about, by the loop's clock; -inf before."""
    pending_at: float
    """The age at which it was last seen pending."""
    price: float
    """What the purse paid for the question under way."""
    urgent: bool
    """The question under way is not to wait for others: a sentinel's first, or the last at the deadline."""
    unheard: int
    """Its latest questions in a row that failed."""

    def __lt__(self, other: OpenTicket) -> bool:
        return self.due < other.due


class Agenda:
    """The open tickets of a run, and which of them to ask about now. Time is passed in."""

    def __init__(
        self,
        *,
        give_up_after: float,
        to_come: Callable[[], int] = lambda: 0,
        scouts: float = 1 / 32,
        scouts_per_second: float = 3.0,
    ) -> None:
        """`give_up_after`: seconds; `to_come`: how many more tickets there will be, as far as is known."""
        self._give_up_after = give_up_after
        self._to_come = to_come
        self._scout_every = round(1 / scouts) if scouts else 0
        self._scout_gap = 1 / scouts_per_second
        self._lanes: dict[str, CheckAgenda] = {}
        self._free_at = -inf
        self._closing = False

    def __len__(self) -> int:
        """Those that no question is under way about."""
        return sum(len(lane) for lane in self._lanes.values())

    def add(self, seq: int, eval_id: str, check: str, *, now: float, age: float = 0.0, scout: bool = False) -> None:
        """A ticket that was given `age` seconds ago. Those found open on resuming are looked at at once, in turn.

        `scout`: its submitter wants to know soon whether it was refused, so it is asked about at SENTINEL_AGE.
        """
        lane = self._lanes.get(check)
        if lane is None:
            lane = self._lanes[check] = CheckAgenda(now, self._give_up_after, self._to_come)
        ticket = OpenTicket(seq, eval_id, check, now - age, now, False, -inf, 0.0, 0.0, False, 0)
        if age:
            self._free_at = max(now, self._free_at + SPREAD)
            lane.look(ticket, at=self._free_at, now=now)
        else:
            ticket.scout = self._is_scout(lane, now)
            lane.plan(ticket, now)
        lane.add(ticket, early=scout and not age)

    def take(self, now: float, *, closing: bool) -> OpenTicket | None:
        """Take out a ticket to ask about now, None where none is worth it. `closing`: no more will be added."""
        lanes = [lane for lane in self._lanes.values() if lane]
        for lane in lanes:
            if ticket := lane.take_early(now):
                return ticket
        for lane in sorted(lanes, key=CheckAgenda.first_due) if len(lanes) > 1 else lanes:
            if ticket := lane.take_ripe(now):
                return ticket
        if closing != self._closing:
            self._closing = closing
            for lane in lanes:
                lane.look_soon(now)
        for lane in lanes:
            if ticket := lane.take_likely(now, closing=closing):
                return ticket
        return None

    def next_at(self) -> float | None:
        """When to `take` again, unless something happens before. Later than the last `take` that gave None."""
        return min((lane.next_at() for lane in self._lanes.values() if lane), default=None)

    def answered(self, ticket: OpenTicket, answer: Answer, *, now: float) -> bool:
        """Learn from an answer. False where the ticket has waited too long: it is given up, not put back."""
        lane = self._lanes[ticket.check]
        lane.learn(ticket, answer, now)
        if answer in (Answer.DECIDED, Answer.DROPPED):
            lane.close(ticket, now)
            return True
        return lane.put_back(ticket, answer, now)

    def _is_scout(self, lane: CheckAgenda, now: float) -> bool:
        if not self._scout_every or lane.added % self._scout_every or now < lane.scouted_at + self._scout_gap:
            return False
        lane.scouted_at = now
        return True


SPREAD = 0.001
"""Seconds between the looks at two tickets that were found open."""
CANDIDATES = 7
"""Tickets among which the likeliest is sought: the top of the heap, so those with the earliest plans or nearly so."""
BROUGHT_UP_TO_DATE = 2
"""Plans that are made again at each verdict. More than one, so that news spreads exponentially."""
LOOK_AGAIN = 5.0
"""Seconds for which a plan is good at least; and half the ticket's age."""
PUT_OFF = 0.25
"""Put off by this part of its age: a ticket of which nothing can be said."""


class CheckAgenda:
    """The open tickets of one check, with what is known of them and the purse that pays for impatience."""

    def __init__(self, now: float, give_up_after: float, to_come: Callable[[], int]) -> None:
        self.waiting: list[OpenTicket] = []
        """A heap."""
        self.early: deque[OpenTicket] = deque()
        """Sentinels that were not asked about yet, in order."""
        self.added = 0
        self.scouted_at = -inf
        self.look_at = now + FIRST_GUESS
        """When to see next whether the purse pays for a question."""
        self._waits = Waits()
        self._open = 0
        self._began = now
        self._give_up_after = give_up_after
        self._to_come = to_come
        self._purse = 1.0
        self._filled_at = now + FIRST_GUESS  # the purse gains nothing before: it would all be spent at that moment

    def __len__(self) -> int:
        return len(self.waiting) + len(self.early)

    def first_due(self) -> float:
        return self.waiting[0].due if self.waiting else inf

    def next_at(self) -> float:
        early = self.early[0].due if self.early else inf
        return min(early, self.waiting[0].due, self.look_at) if self.waiting else early

    def look_soon(self, now: float) -> None:
        self.look_at = max(now, self._began + FIRST_GUESS)

    def add(self, ticket: OpenTicket, *, early: bool) -> None:
        self.added += 1
        self._open += 1
        if early:
            due, deadline = ticket.since + SENTINEL_AGE, self._deadline(ticket)
            ticket.due = due if due <= deadline - SHORTEST_GAP else deadline
            self.early.append(ticket)
        else:
            heapq.heappush(self.waiting, ticket)

    # -- when a ticket is asked about ----------------------------------------------------------------------------

    def plan(self, ticket: OpenTicket, now: float, *, earliest: float = -inf) -> None:
        """Set when it is looked at next: when it is ripe, and at its deadline at the latest. What is over keeps its turn."""
        if ticket.due > now >= self._deadline(ticket):
            return
        again = now + max(LOOK_AGAIN, (now - ticket.since) / 2)
        due = max(min(self._ripe_at(ticket, now), again), ticket.asked_at + SHORTEST_GAP, earliest, now)
        deadline = self._deadline(ticket)
        ticket.due = due if due <= deadline - SHORTEST_GAP else deadline

    def look(self, ticket: OpenTicket, *, at: float, now: float) -> None:
        """Look at it then, and before its deadline where that is still to come."""
        deadline = self._deadline(ticket)
        ticket.due = min(at, deadline) if deadline > now else at

    def _deadline(self, ticket: OpenTicket) -> float:
        return ticket.since + self._give_up_after

    def _ripe_at(self, ticket: OpenTicket, now: float) -> float:
        if _to_scout(ticket):
            return ticket.since + FIRST_GUESS
        if not self._waits.known:
            return ticket.since + max((1 + PUT_OFF) * (now - ticket.since), 2 * FIRST_GUESS)
        return ticket.since + self._waits.age(_wanted(ticket), ticket.pending_at)

    def take_early(self, now: float) -> OpenTicket | None:
        """The first sentinel that is due."""
        if not self.early or self.early[0].due > now:
            return None
        ticket = self.early.popleft()
        ticket.asked_at, ticket.urgent = now, True
        return ticket

    def take_ripe(self, now: float) -> OpenTicket | None:
        """The first ticket that is due and still worth its question; the plans of the others are made again."""
        while self.waiting and self.waiting[0].due <= now:
            ticket = self.waiting[0]
            if self._is_ripe(ticket, now):
                heapq.heappop(self.waiting)
                ticket.asked_at, ticket.urgent = now, now >= self._deadline(ticket)
                return ticket
            self.plan(ticket, now, earliest=now + SLACK * (now - ticket.since + FIRST_GUESS))
            heapq.heapreplace(self.waiting, ticket)
        return None

    def _is_ripe(self, ticket: OpenTicket, now: float) -> bool:
        deadline = self._deadline(ticket)
        if now > deadline - SHORTEST_GAP:  # the last question is kept for the deadline
            return now >= deadline
        if _to_scout(ticket):
            return True
        found_open = ticket.since < self._began
        if not (self._waits.known or found_open):
            return False
        return self._chance(ticket, now) >= _wanted(ticket) - SLACK

    def _chance(self, ticket: OpenTicket, now: float) -> float:
        return self._waits.chance(now - ticket.since, ticket.pending_at)

    # -- impatience ----------------------------------------------------------------------------------------------

    def take_likely(self, now: float, *, closing: bool) -> OpenTicket | None:
        """The ticket likeliest to be done, where the purse holds its price: the probability that it is not."""
        if now < self.look_at or not self.waiting:
            return None
        income = self._fill(now, closing=closing)
        if self._purse < CHEAPEST:
            self.look_at = now + max(SOON, (CHEAPEST - self._purse) / income)
            return None
        place = self._likeliest(now)
        if place is None:
            self.look_at = now + SHORTEST_GAP
            return None
        price = 1.0 - self._chance(self.waiting[place], now) if self._waits.known else 1.0
        if price > self._purse:
            self.look_at = now + max(SOON, (price - self._purse) / income)
            return None
        ticket = self._taken_out(place)
        self._purse -= price
        ticket.price = price
        ticket.asked_at = now
        return ticket

    def _fill(self, now: float, *, closing: bool) -> float:
        """Put into the purse what has come in since the last time; what comes in a second."""
        income = self._share(closing=closing) / max(now - self._began, FIRST_GUESS)
        self._purse = min(self._purse + income * (now - self._filled_at), 1.0 + income * SHORTEST_GAP)
        self._filled_at = now
        return income

    def _share(self, *, closing: bool) -> float:
        n, k = self.added, self._open
        share = LADDER + sqrt(n + self._to_come()) / 4
        if closing and self._waits.known:
            share = n / (sqrt(n) + 2 * k)
        if closing:
            share = max(share, LAST_FEW / k)
        return share + k / CURIOSITY if self._waits.known else share

    def _likeliest(self, now: float) -> int | None:
        """Its place in the heap. None where each was asked, or is to be asked for the last time, within the gap."""
        likeliest, highest = None, -1.0
        for place, ticket in enumerate(self.waiting[:CANDIDATES]):
            if self._gap_is_kept(ticket, now) and (chance := self._chance(ticket, now)) > highest:
                likeliest, highest = place, chance
        return likeliest

    def _taken_out(self, place: int) -> OpenTicket:
        """Moved to the top, each above it a step down, and popped."""
        ticket = self.waiting[place]
        while place:
            above = (place - 1) // 2
            self.waiting[place] = self.waiting[above]
            place = above
        self.waiting[0] = ticket
        return heapq.heappop(self.waiting)

    def _gap_is_kept(self, ticket: OpenTicket, now: float) -> bool:
        return ticket.asked_at + self._gap(ticket) <= now <= self._deadline(ticket) - SHORTEST_GAP

    def _gap(self, ticket: OpenTicket) -> float:
        """Twice as long after each question that fails, as far as its plan is put off: it seems done, and isn't told."""
        put_off = max(SHORTEST_GAP, PUT_OFF * (ticket.asked_at - ticket.since))
        return min(SHORTEST_GAP * 2.0 ** min(ticket.unheard, MOST_DOUBLINGS), put_off)

    # -- answers -------------------------------------------------------------------------------------------------

    def learn(self, ticket: OpenTicket, answer: Answer, now: float) -> None:
        asked_at = ticket.asked_at - ticket.since
        if answer is Answer.DECIDED:
            self._waits.decided(ticket.pending_at, now - ticket.since)
        elif answer is Answer.PENDING:
            self._waits.pending(ticket.pending_at, asked_at)
            ticket.pending_at = asked_at

    def close(self, ticket: OpenTicket, now: float) -> None:
        """Without this ticket: its price is paid back, and the next plans are made with what is known now."""
        self._open -= 1
        self._purse += ticket.price
        self.look_soon(now)
        for _ in range(BROUGHT_UP_TO_DATE):
            if self.waiting and self.waiting[0].due > now:
                self.plan(self.waiting[0], now)
                heapq.heapreplace(self.waiting, self.waiting[0])

    def put_back(self, ticket: OpenTicket, answer: Answer, now: float) -> bool:
        """False where its time is over."""
        ticket.price, ticket.urgent = 0.0, False
        ticket.unheard = ticket.unheard + 1 if answer is Answer.UNHEARD else 0
        over_for = now - self._deadline(ticket)
        if over_for >= 0.0 and (answer is not Answer.UNHEARD or over_for >= LAST_WORD):
            self._open -= 1
            return False
        if over_for >= 0.0:
            ticket.due = now + LAST_GAP
            heapq.heappush(self.waiting, ticket)
            return True
        pause = PUT_OFF * (now - ticket.since) if answer is Answer.UNHEARD else 0.0
        self.plan(ticket, now, earliest=now + pause)
        heapq.heappush(self.waiting, ticket)
        return True


CHEAPEST = 1 - RIPE
"""What costs less is ripe, and taken without payment."""
SOON = 0.001
"""Seconds: the purse is not looked at again before."""


LAST_WORD = 3.0
"""Seconds past the deadline for which a last question that failed is asked again: the verdict may have been there."""
LAST_GAP = 0.5


def _to_scout(ticket: OpenTicket) -> bool:
    return ticket.scout and ticket.asked_at == -inf


def _wanted(ticket: OpenTicket) -> float:
    return HALF_RIPE if ticket.scout else RIPE
