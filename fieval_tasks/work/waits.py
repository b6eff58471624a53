"""An estimate of how long the evaluations of one check take in this run, learned from the answers to questions."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import ceil, exp, expm1, inf, log, log1p

MEMORY = 100.0
"""Tickets seen in a step of age: the estimate there is a mean over about so many, the latest counting most."""
PRIOR_WEIGHT = 0.5
"""Tickets that the first guess counts for, in each step."""
FINE = 0.1
"""Seconds below which steps of age are even; above, they are proportional to the age."""
STEP = log(1.08)
STEPS = ceil(log1p(30 * 86_400 / FINE) / STEP)
FIRST_RATE = STEP * log(2) / log(1.5)
"""Hazard of a step while nothing is known: P(T > t) = (first guess/t)^1.7, so half are done at 1.5 times the age."""
NEARLY_NONE = 1e-9


class Waits:
    """How long evaluations of one check take in this run, estimated from "pending at this age" and "done by that age".

    A question shows no duration, only an interval that holds it: (age when last seen pending, age when seen done].
    To take its end for the duration would make each estimate later than the last. So we estimate hazards: the rate at
    which what is still pending becomes done, in each of STEPS steps of age. A pending answer has been at risk in every
    step of its interval, with no event. A verdict is one event, spread over the interval as the present estimate has it
    (a step of EM), with the time at risk that goes with it. Each step's rate is a mean of its last MEMORY tickets, so
    that it follows a server that changes. With H the sum of rates up to an age, P(T > t | T > a) = exp(H(a) - H(t)).
    """

    def __init__(self, first_guess: float) -> None:
        """`first_guess`: seconds within which no evaluation is done, before the first verdict."""
        guess = _place(first_guess)
        self._rate = [FIRST_RATE if step + 1 > guess else 0.0 for step in range(STEPS)]
        self._seen = [PRIOR_WEIGHT] * STEPS
        self._sums: list[float] | None = None
        self.known = False
        """Whether there was any verdict."""

    def chance(self, age: float, pending_at: float) -> float:
        """P(T <= age | T > pending_at)."""
        return -expm1(self._hazard(pending_at) - self._hazard(age))

    def age(self, chance: float, pending_at: float) -> float:
        """The age at which P(T <= age | T > pending_at) is `chance`; inf beyond what can be estimated."""
        wanted = self._hazard(pending_at) - log1p(-chance)
        sums = self._cumulated()
        if wanted >= sums[-1]:
            return inf
        step = bisect_right(sums, wanted) - 1
        return _age(step + (wanted - sums[step]) / self._rate[step])

    def pending(self, after: float, at: float) -> None:
        """A ticket that was pending at the age `after` is still pending at the age `at`."""
        rate, seen = self._rate, self._seen
        for step, part in _steps(_place(after), _place(at)):
            weight = seen[step] = min(seen[step] + part, MEMORY)
            rate[step] -= part * rate[step] / weight
        self._sums = None

    def decided(self, after: float, by: float) -> None:
        """An evaluation took longer than `after` and at most `by` seconds."""
        self.known = True
        start, end = _place(after), _place(by)
        if start == end:
            return
        left_at_end = exp(self._hazard(after) - self._hazard(by))
        if 1.0 - left_at_end > NEARLY_NONE:
            self._likely(start, end, left_at_end)
        else:
            self._unheard_of(start, end)
        self._sums = None

    def _likely(self, start: float, end: float, left_at_end: float) -> None:
        """Spread the verdict over the interval in proportion to the estimate. Runs for each verdict over dozens of steps."""
        rate, seen = self._rate, self._seen
        done = 1.0 - left_at_end
        left = 1.0
        for step, part in _steps(start, end):
            hazard = rate[step]
            still_left = left * exp(-hazard * part)
            at_risk = part * ((left + still_left) / 2 - left_at_end) / done
            if at_risk < 0.0:  # rounding of a difference of nearly equal numbers
                at_risk = 0.0
            weight = seen[step] + at_risk
            if weight > MEMORY:
                weight = MEMORY
            seen[step] = weight
            rate[step] = hazard + ((left - still_left) / done - at_risk * hazard) / weight
            left = still_left

    def _unheard_of(self, start: float, end: float) -> None:
        """Spread the verdict evenly over the interval, where the estimate had it as next to impossible."""
        rate, seen = self._rate, self._seen
        for step, part in _steps(start, end):
            weight = seen[step] = min(seen[step] + part / 2, MEMORY)
            rate[step] += (part / (end - start) - part / 2 * rate[step]) / weight

    def _hazard(self, age: float) -> float:
        place = _place(age)
        step = int(place)
        return self._cumulated()[step] + (place - step) * self._rate[step]

    def _cumulated(self) -> list[float]:
        if self._sums is None:
            self._sums = list(accumulate(self._rate, initial=0.0))
        return self._sums


def _place(age: float) -> float:
    """Where an age lies on the scale of steps."""
    return min(log1p(age / FINE) / STEP, STEPS - 0.5)


def _age(place: float) -> float:
    return FINE * expm1(place * STEP)


def _steps(start: float, end: float) -> list[tuple[int, float]]:
    """The steps between two places, each with the part of it that lies between them."""
    first, last = int(start), int(end)
    if first == last:
        return [(first, end - start)]
    whole = [(step, 1.0) for step in range(first + 1, last)]
    return [(first, first + 1 - start), *whole, (last, end - last)]
