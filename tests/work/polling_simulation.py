"""Runs of the polling policy against simulated servers: events and a clock, no network and no waiting.

`python -m tests.work.polling_simulation` prints what the policy reaches for each server and size.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, inf
from random import Random
from statistics import fmean
from time import process_time
from types import MappingProxyType

from fieval_tasks.work.agenda import Agenda, Answer
from fieval_tasks.work.open_items import OpenItem

REPLY = 0.04
"""Seconds from a question to its answer."""
HOURS = 3 * 3600.0

Server = Callable[[Sequence[float], Random], list[float]]
"""Times of submission -> times at which the verdicts are ready."""


# -- servers -----------------------------------------------------------------------------------------------------------


def each(seconds: Callable[[Random], float]) -> Server:
    """Every evaluation takes its own time, whatever the others do."""
    return lambda submitted, random: [at + seconds(random) for at in submitted]


def typical(random: Random) -> float:
    return random.lognormvariate(1.0986, 0.5)  # median 3 s


def bimodal(share_of_slow: float) -> Server:
    return each(lambda random: (20.0 if random.random() < share_of_slow else 1.0) * exp(random.gauss(0, 0.05)))


def changing(factor: Callable[[float], float]) -> Server:
    """`factor` of the part that is submitted already, 0 to 1."""

    def ready(submitted: Sequence[float], random: Random) -> list[float]:
        return [at + typical(random) * factor(i / len(submitted)) for i, at in enumerate(submitted)]

    return ready


def pausing(begin: float, seconds: float = 30.0) -> Server:
    """Nothing finishes for a while."""

    def ready(submitted: Sequence[float], random: Random) -> list[float]:
        undisturbed = [at + typical(random) for at in submitted]
        return [at + seconds if at > begin else at for at in undisturbed]

    return ready


def queueing(workers: int) -> Server:
    """So many at once, in order: the wait grows with each submission."""

    def ready(submitted: Sequence[float], random: Random) -> list[float]:
        free = [0.0] * workers
        done = []
        for at in submitted:
            done.append(max(at, free[0]) + typical(random))
            heapq.heapreplace(free, done[-1])
        return done

    return ready


SERVERS: Mapping[str, Server] = MappingProxyType(
    {
        "constant 3 s": each(lambda random: 3.0),
        "constant 60 s": each(lambda random: 60.0),
        "lognormal, median 3 s": each(typical),
        "uniform 1 to 10 s": each(lambda random: random.uniform(1, 10)),
        "exponential, mean 3 s": each(lambda random: random.expovariate(1 / 3)),
        "half 1 s, half 20 s": bimodal(0.5),
        "1 in 10 takes 20 s": bimodal(0.1),
        "Pareto, exponent 2.5": each(lambda random: 2 * random.paretovariate(2.5)),
        "Pareto, exponent 1.5": each(lambda random: random.paretovariate(1.5)),
        "growing to the double": changing(lambda part: 1 + part),
        "doubling half-way": changing(lambda part: 1 if part < 0.5 else 2),
        "halving half-way": changing(lambda part: 2 if part < 0.5 else 1),
        "30 s pause": pausing(4.0),
        "50 at once, in order": queueing(50),
        "at once (0.05 s)": each(lambda random: 0.05),
    }
)

# -- a run -------------------------------------------------------------------------------------------------------------


@dataclass
class Account:
    """What happened in a run."""

    submitted: list[float]
    ready: list[float]
    questions: dict[int, list[float]] = field(default_factory=dict)
    """seq -> when it was asked about."""
    seen: dict[int, float] = field(default_factory=dict)
    """seq -> when its verdict was seen."""
    given_up: dict[int, float] = field(default_factory=dict)
    cpu: float = 0.0
    """Seconds that the policy (and the simulation) took."""

    @property
    def polls(self) -> float:
        """Questions per evaluation."""
        return sum(map(len, self.questions.values())) / len(self.submitted)

    @property
    def finish(self) -> float:
        """When the last verdict was seen, where 1 is when the last evaluation was ready."""
        return max(self.seen.values()) / max(self.ready)

    @property
    def lateness(self) -> list[float]:
        return [at - self.ready[seq] for seq, at in self.seen.items()]


class Simulation:
    """A run over tickets that come at the times `submitted`, in order; `trouble` may answer in the server's place."""

    def __init__(
        self,
        submitted: Sequence[float],
        ready: Sequence[float],
        *,
        reply: Callable[[], float] = lambda: REPLY,
        trouble: Callable[[], Answer | None] = lambda: None,
        check: Callable[[int], str] = lambda seq: "check",
        age: Callable[[int], float] = lambda seq: 0.0,
        give_up_after: float = HOURS,
        at_once: int = 200,
    ) -> None:
        self.account = Account(list(submitted), list(ready))
        self._reply = reply
        self._trouble = trouble
        self._check = check
        self._age = age
        self._at_once = at_once
        self._agenda = Agenda(give_up_after=give_up_after, to_come=lambda: len(self.account.submitted) - self._come)
        self._under_way: list[tuple[float, int, OpenItem, Answer]] = []
        self._now = 0.0
        self._come = 0
        self._asked = 0

    def run(self) -> Account:
        began = process_time()
        while len(self.account.seen) + len(self.account.given_up) < len(self.account.submitted):
            self._now = self._next_event()
            self._tickets_come()
            self._answers_come()
            self._ask()
        self.account.cpu = process_time() - began
        return self.account

    def _next_event(self) -> float:
        due = self._agenda.next_at() if len(self._under_way) < self._at_once else None
        assert due is None or due > self._now, "a busy loop"
        coming = self.account.submitted[self._come] if self._more_to_come else inf
        answered = self._under_way[0][0] if self._under_way else inf
        return min(coming, answered, inf if due is None else due)

    @property
    def _more_to_come(self) -> bool:
        return self._come < len(self.account.submitted)

    def _tickets_come(self) -> None:
        while self._more_to_come and self.account.submitted[self._come] <= self._now:
            item = OpenItem(self._come, self._check(self._come))
            self._agenda.add(item, now=self._now, age=self._age(self._come))
            self._come += 1

    def _answers_come(self) -> None:
        while self._under_way and self._under_way[0][0] <= self._now:
            _, _, ticket, answer = heapq.heappop(self._under_way)
            if not self._agenda.answered(ticket, answer, now=self._now):
                self.account.given_up[ticket.seq] = self._now
            elif answer in (Answer.DECIDED, Answer.DROPPED):
                self.account.seen[ticket.seq] = self._now

    def _ask(self) -> None:
        while len(self._under_way) < self._at_once:
            ticket = self._agenda.take(self._now, closing=not self._more_to_come)
            if ticket is None:
                return
            self._asked += 1
            self.account.questions.setdefault(ticket.seq, []).append(self._now)
            takes = self._reply()
            done = self.account.ready[ticket.seq] <= self._now + takes / 2
            answer = self._trouble() or (Answer.DECIDED if done else Answer.PENDING)
            heapq.heappush(self._under_way, (self._now + takes, self._asked, ticket, answer))


def run(server: Server, n: int, *, rate: float = 500.0, seed: int = 0, at_once: int = 200) -> Account:
    """n evaluations, submitted at `rate` a second."""
    submitted = [i / rate for i in range(n)]
    return Simulation(submitted, server(submitted, Random(seed)), at_once=at_once).run()


def runs(server: Server, n: int, seeds: int) -> list[Account]:
    return [run(server, n, seed=seed, rate=500 if n < 5000 else 800) for seed in range(seeds)]


def main(sizes: Sequence[int]) -> None:
    """Means over the runs of each server and size; `worst` is that of the run, or the ticket, that fared worst."""
    print("server                      n  polls  worst  finish  worst  late s  worst   µs")
    for name, server in SERVERS.items():
        for n in sizes:
            accounts = runs(server, n, seeds=max(3, min(20, 5000 // n)))
            polls, finish = [a.polls for a in accounts], [a.finish for a in accounts]
            late = [seconds for a in accounts for seconds in a.lateness]
            cpu = fmean(a.cpu for a in accounts) / n * 1e6
            row = f"{fmean(polls):6.2f} {max(polls):6.2f} {fmean(finish):7.3f} {max(finish):6.3f}"
            print(f"{name:22} {n:6} {row} {fmean(late):7.2f} {max(late):6.1f} {cpu:4.0f}", flush=True)


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [1, 2, 5, 50, 1000, 10_000])
