"""The polling policy: what it costs and how late it is, by simulation; its laws; and the loop, in virtual time."""

from __future__ import annotations

import asyncio
import heapq
import selectors
import tracemalloc
from collections.abc import Awaitable, Callable
from itertools import pairwise
from math import inf, log
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.work.agenda import Agenda, Answer
from fieval_tasks.work.open_items import OpenItem
from fieval_tasks.work.poller import Poller
from fieval_tasks.work.waits import Waits
from fieval_tasks.work.work_tuning import TUNING, WorkTuning
from tests.work.polling_simulation import REPLY, SERVERS, Simulation, each, run, runs, typical

LOGNORMAL = SERVERS["lognormal, median 3 s"]
NO_SCOUTS = WorkTuning(scout_every=0)
EVER_PENDING = each(lambda random: inf)

# -- what it costs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "rate", "seed"),
    [(1000, 300, 0), (1000, 300, 1), (1000, 300, 2), (1000, 1000, 3), (1000, 1000, 4), (10_000, 1000, 5)],
)
def test_many_evaluations_cost_few_questions_and_end_on_time(n: int, rate: float, seed: int) -> None:
    account = run(LOGNORMAL, n, rate=rate, seed=seed)
    assert account.polls <= 1.3
    assert account.finish <= 1.05


def test_fifty_evaluations_cost_few_questions_and_end_on_time() -> None:
    accounts = runs(LOGNORMAL, 50, seeds=12)
    assert fmean(a.polls for a in accounts) <= 1.6
    assert fmean(a.finish for a in accounts) <= 1.1


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_handful_is_asked_promptly(n: int) -> None:
    accounts = runs(LOGNORMAL, n, seeds=12)
    assert fmean(a.polls * n for a in accounts) <= 35
    assert fmean(a.finish for a in accounts) <= 1.15


@pytest.mark.parametrize("name", SERVERS)
def test_no_server_is_asked_much_more_often_than_it_has_verdicts(name: str) -> None:
    account = run(SERVERS[name], 1000)
    assert account.polls <= 1.5
    assert account.finish <= (1.08 if max(account.ready) > 5 else 1.25)


@pytest.mark.parametrize("name", [name for name in SERVERS if name != "at once (0.05 s)"])
def test_a_short_run_ends_on_time_whatever_the_server(name: str) -> None:
    accounts = runs(SERVERS[name], 50, seeds=6)
    assert fmean(a.polls for a in accounts) <= 2.0
    assert fmean(a.finish for a in accounts) <= 1.25


def test_what_comes_before_the_first_question_is_seen_with_it() -> None:
    account = run(SERVERS["at once (0.05 s)"], 1)
    assert account.seen[0] == pytest.approx(TUNING.first_guess + REPLY)


def test_a_fast_check_does_not_wait_for_a_slow_one() -> None:
    submitted = [i / 500 for i in range(1000)]
    random = Random(0)
    ready = [at + typical(random) * (0.3, 5)[i % 2] for i, at in enumerate(submitted)]
    account = Simulation(submitted, ready, check=lambda seq: f"check {seq % 2}").run()
    assert account.polls <= 1.4
    assert account.finish <= 1.05
    assert max(account.seen[seq] for seq in range(0, 1000, 2)) < 15


def test_a_check_that_comes_late_is_heard_of_soon() -> None:
    firsts = []
    for seed in range(5):
        random = Random(seed)
        submitted = [i / 10 for i in range(600)] + [60 + i / 300 for i in range(100)]
        ready = [at + typical(random) for at in submitted]
        account = Simulation(submitted, ready, check=lambda seq: "late" if seq >= 600 else "first").run()
        firsts.append(min(account.seen[seq] for seq in range(600, 700)) - min(ready[600:]))
        assert account.polls <= 1.5
    assert fmean(firsts) <= 3.0, "verdicts of a check let more of it go"


def test_many_checks_cost_few_questions_and_end_on_time() -> None:
    random = Random(0)
    submitted = [i / 300 for i in range(1000)]
    ready = [at + typical(random) * (0.1, 1, 3, 10)[i % 4] for i, at in enumerate(submitted)]
    account = Simulation(submitted, ready, check=lambda seq: f"check {seq % 4}").run()
    assert account.polls <= 1.35
    assert account.finish <= 1.05


def test_a_cold_start_asks_few_of_many() -> None:
    submitted = [i / 1000 for i in range(10_000)]
    account = Simulation(submitted, [10.0] * 10_000).run()
    blind = sum(at < 9.9 for questions in account.questions.values() for at in questions)
    assert blind <= 30 + 28 * log(10 / TUNING.first_guess), "the scouts, and the ladder"
    assert account.polls <= 1.1


def first_heard(ready: list[float], *, to_come: int) -> tuple[float, int]:
    """When the first verdict of tickets given at 0 is heard, and how many questions that took."""
    agenda, now, asked = Agenda(give_up_after=600, to_come=lambda: to_come), 0.0, 0
    for seq in range(len(ready)):
        agenda.add(OpenItem(seq, "check"), now=0.0)
    while True:
        while ticket := agenda.take(now, closing=False):
            asked += 1
            if ready[ticket.seq] <= now:
                return now, asked
            agenda.answered(ticket, Answer.PENDING, now=now)
        now = agenda.next_at() or inf


def test_the_first_verdict_is_heard_sooner_where_thousands_may_be_waiting_for_it() -> None:
    servers = [LOGNORMAL([0.0] * 100, Random(seed)) for seed in range(12)]
    alone = [first_heard(ready, to_come=0) for ready in servers]
    awaited = [first_heard(ready, to_come=10_000) for ready in servers]
    assert fmean(at for at, _ in awaited) < 0.75 * fmean(at for at, _ in alone)
    assert all(asked <= 28 * log(at / TUNING.first_guess) + 5 for at, asked in awaited), "the ladder of ten thousand"


def test_slow_replies_and_few_places_cost_no_more_questions() -> None:
    submitted = [i / 500 for i in range(1000)]
    random = Random(1)
    ready = LOGNORMAL(submitted, random)
    account = Simulation(submitted, ready, reply=lambda: random.uniform(0.05, 0.5), at_once=32).run()
    assert account.polls <= 1.4
    assert account.finish <= 1.2


def test_scouts_are_asked_early_and_are_few() -> None:
    account = run(each(lambda random: 5.0), 5000, rate=1000)
    ages = [questions[0] - seq / 1000 for seq, questions in account.questions.items()]
    assert 10 <= sum(age == pytest.approx(TUNING.first_guess, abs=0.001) for age in ages) <= 3 * 5 + 3


def test_an_open_ticket_takes_little_memory() -> None:
    agenda, n = Agenda(give_up_after=600), 20_000
    seqs = list(range(n))
    tracemalloc.start()
    for seq in seqs:
        agenda.add(OpenItem(seq, "check"), now=seq / 1000)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / n < 300, "all that is known of it; 85 more are the eval_id's"


# -- laws --------------------------------------------------------------------------------------------------------------

seconds = st.floats(0.0, 30.0)


@given(
    tickets=st.lists(st.tuples(st.floats(0.0, 2.0), seconds | st.just(inf), st.sampled_from("ab")), max_size=30),
    found=st.lists(st.tuples(st.floats(0.001, 100.0), seconds | st.just(inf)), max_size=30),
    give_up_after=st.floats(0.05, 60.0),
    chance=st.randoms(use_true_random=False),
    troubled=st.booleans(),
)
def test_every_ticket_is_settled_or_given_up_at_its_deadline(
    tickets: list[tuple[float, float, str]],
    found: list[tuple[float, float]],
    give_up_after: float,
    chance: Random,
    troubled: bool,
) -> None:
    submitted, ready, checks, ages = (
        [0.0] * len(found),
        [at for _, at in found],
        ["a"] * len(found),
        [a for a, _ in found],
    )
    now = 0.0
    for pause, takes, check in tickets:
        now += pause
        submitted.append(now)
        ready.append(now + takes)
        checks.append(check)
        ages.append(0.0)
    replies: list[float] = []

    def reply() -> float:
        replies.append(chance.choice([0.0, 0.04, 0.5, 3.0]))
        return replies[-1]

    account = Simulation(
        submitted,
        ready,
        reply=reply,
        trouble=lambda: chance.choice([None, None, Answer.UNHEARD, Answer.DROPPED]) if troubled else None,
        check=checks.__getitem__,
        age=ages.__getitem__,
        give_up_after=give_up_after,
    ).run()
    assert account.seen.keys() | account.given_up.keys() == set(range(len(submitted)))
    assert not account.seen.keys() & account.given_up.keys()
    for seq, questions in account.questions.items():
        deadline = submitted[seq] - ages[seq] + give_up_after
        assert questions[0] >= submitted[seq]
        assert all(later - earlier >= TUNING.shortest_gap - 1e-9 for earlier, later in pairwise(questions))
        if deadline <= submitted[seq]:  # found open after its time: one question that is heard
            assert len(questions) == 1 or troubled
            assert questions[0] <= submitted[seq] + 0.001 * len(found)
        else:
            assert questions[-1] <= deadline + (TUNING.last_word + TUNING.last_gap) * troubled + 1e-9
        if seq in account.given_up and deadline > submitted[seq]:
            asked_then = any(at == pytest.approx(deadline) for at in questions)
            assert asked_then or account.given_up[seq] >= deadline, "the last answer came after it"


@given(st.lists(st.tuples(st.floats(0.001, 1e5), st.floats(0.001, 1e5), st.booleans()), max_size=50), st.floats(0, 1e5))
def test_what_is_learned_is_a_distribution(seen: list[tuple[float, float, bool]], pending_at: float) -> None:
    waits = Waits(TUNING.first_guess)
    for one, other, decided in seen:
        (waits.decided if decided else waits.pending)(min(one, other), max(one, other))
    ages = [pending_at * (1 + i / 3) + i / 7 for i in range(40)]
    chances = [waits.chance(age, pending_at) for age in ages]
    assert chances[0] == 0.0
    assert chances == sorted(chances)
    assert chances[-1] <= 1.0
    for wanted in (0.1, 0.5, 0.9):
        age = waits.age(wanted, pending_at)
        assert age == inf or waits.chance(age, pending_at) == pytest.approx(wanted, abs=1e-6)


def learn(waits: Waits, takes: Callable[[], float], question_at: Callable[[], float], n: int = 2000) -> None:
    """Each of n evaluations is asked about once; the pending ones for a second time, long after."""
    for _ in range(n):
        age, duration = question_at(), takes()
        if duration > age:
            waits.pending(0.0, age)
            waits.decided(age, 10 * duration)
        else:
            waits.decided(0.0, age)


@pytest.mark.parametrize("q", [0.5, 0.9])
def test_quantiles_are_learned_from_intervals_alone(q: float) -> None:
    waits, random = Waits(TUNING.first_guess), Random(0)
    learn(waits, lambda: typical(random), lambda: random.uniform(0.5, 12))
    truth = sorted(typical(random) for _ in range(10_000))[int(q * 10_000)]
    assert waits.age(q, 0.0) == pytest.approx(truth, rel=0.2)


def test_asking_late_does_not_make_it_ask_later_and_later() -> None:
    waits = Waits(TUNING.first_guess)
    learn(waits, lambda: 3.0, lambda: 1.3 * waits.age(0.9, 0.0), n=100)
    then = waits.age(0.9, 0.0)
    learn(waits, lambda: 3.0, lambda: 1.3 * waits.age(0.9, 0.0))
    assert waits.age(0.9, 0.0) <= 1.01 * then


def test_it_forgets_what_is_no_longer_so() -> None:
    waits, random = Waits(TUNING.first_guess), Random(0)
    learn(waits, lambda: typical(random), lambda: random.uniform(0.5, 12))
    learn(waits, lambda: 2 * typical(random), lambda: random.uniform(0.5, 24), n=1500)
    assert waits.age(0.5, 0.0) == pytest.approx(6, rel=0.25)


def take_all(agenda: Agenda, now: float) -> list[OpenItem]:
    taken = []
    while ticket := agenda.take(now, closing=True):
        taken.append(ticket)
    return taken


def test_tickets_found_open_are_asked_at_once_but_in_turn() -> None:
    agenda = Agenda(give_up_after=600)
    for seq in range(1000):
        agenda.add(OpenItem(seq, "check"), now=50.0, age=100.0)
    assert len(take_all(agenda, 50.0)) <= 2
    assert 90 <= len(take_all(agenda, 50.1)) <= 100


def test_of_many_found_open_and_all_pending_not_all_are_asked_again_and_again() -> None:
    account = Simulation([0.0] * 1000, [60.0] * 1000, age=lambda seq: 100.0).run()
    assert account.polls <= 1.4
    assert account.finish <= 1.15


def test_what_a_hidden_limit_refuses_says_nothing_about_how_long_evaluations_take() -> None:
    submitted = [i / 500 for i in range(200)]
    refused = [Answer.DROPPED] * 5
    account = Simulation(
        submitted, [at + 5.0 for at in submitted], trouble=lambda: refused.pop() if refused else None
    ).run()
    assert len(account.seen) == 200
    assert account.polls <= 1.3


def test_a_sentinel_is_asked_early_and_before_those_that_are_overdue() -> None:
    agenda = Agenda(give_up_after=600, tuning=NO_SCOUTS)
    for seq in range(100):
        agenda.add(OpenItem(seq, "found"), now=0.0, age=60.0)
    for seq in range(100, 200):
        agenda.add(OpenItem(seq, "check"), now=0.0, is_sentinel=seq == 150)
    assert all(ticket.check == "found" for ticket in take_all(agenda, 0.9 * TUNING.sentinel_age))
    sentinel = agenda.take(TUNING.sentinel_age, closing=False)
    assert sentinel is not None
    assert (sentinel.seq, sentinel.is_urgent) == (150, True)


def test_a_sentinel_still_pending_is_an_ordinary_ticket_from_then_on() -> None:
    agenda = Agenda(give_up_after=600, tuning=NO_SCOUTS)
    agenda.add(OpenItem(0, "check"), now=0.0, is_sentinel=True)
    ticket = agenda.take(TUNING.sentinel_age, closing=False)
    assert ticket is not None
    assert len(agenda) == 0
    assert agenda.answered(ticket, Answer.PENDING, now=TUNING.sentinel_age + REPLY)
    assert len(agenda) == 1
    assert not ticket.is_urgent
    assert agenda.take(TUNING.sentinel_age + 2 * REPLY, closing=False) is None


def test_a_last_question_that_failed_is_asked_again_for_a_moment() -> None:
    agenda = Agenda(give_up_after=10, tuning=NO_SCOUTS)
    agenda.add(OpenItem(0, "check"), now=0.0)
    ticket = agenda.take(10.0, closing=True)
    assert ticket is not None
    assert agenda.answered(ticket, Answer.UNHEARD, now=10.1)
    assert agenda.take(10.1 + TUNING.last_gap / 2, closing=True) is None
    assert agenda.take(10.2 + TUNING.last_gap, closing=True) is ticket
    assert not agenda.answered(ticket, Answer.UNHEARD, now=10.0 + TUNING.last_word), "but not for long"


def test_a_verdict_of_another_does_not_hasten_a_question_after_the_deadline() -> None:
    agenda = Agenda(give_up_after=10, tuning=NO_SCOUTS)
    for seq in range(2):
        agenda.add(OpenItem(seq, "check"), now=0.0)
    late, other = take_all(agenda, 10.0)
    assert agenda.answered(late, Answer.UNHEARD, now=10.1)
    assert agenda.answered(other, Answer.DECIDED, now=10.1)
    assert agenda.take(10.1 + TUNING.last_gap / 2, closing=True) is None
    assert agenda.take(10.1 + TUNING.last_gap, closing=True) is late


def test_the_last_question_at_the_deadline_is_urgent() -> None:
    agenda = Agenda(give_up_after=5, tuning=NO_SCOUTS)
    agenda.add(OpenItem(0, "check"), now=0.0)
    ticket = agenda.take(5.0, closing=False)
    assert ticket is not None
    assert ticket.is_urgent


@given(dues=st.lists(st.integers(0, 50), min_size=1, max_size=60), place=st.integers(0, 14))
def test_a_ticket_taken_out_of_the_heap_leaves_a_heap(dues: list[int], place: int) -> None:
    agenda = Agenda(give_up_after=600)
    for seq, due in enumerate(dues):
        heapq.heappush(agenda._waiting, OpenItem(seq, "", due=float(due)))
    place = min(place, len(dues) - 1)
    agenda._taken_out(place)
    left = [heapq.heappop(agenda._waiting).due for _ in range(len(dues) - 1)]
    assert left == sorted(left)
    assert len(left) == len(dues) - 1


def test_a_server_that_cannot_be_reached_is_asked_ever_less_often() -> None:
    submitted = [i / 500 for i in range(100)]
    account = Simulation(
        submitted, EVER_PENDING(submitted, Random()), trouble=lambda: Answer.UNHEARD, give_up_after=300
    ).run()
    assert len(account.given_up) == 100
    assert account.polls <= 20


def test_a_ticket_that_seems_done_and_is_never_told_of_is_asked_every_three_seconds_at_most() -> None:
    agenda, now, failed = Agenda(give_up_after=300), 0.0, 0
    for seq in range(60):
        agenda.add(OpenItem(seq, "check"), now=0.0)
    while len(agenda):
        ticket = agenda.take(now, closing=True)
        if ticket is None:
            now = agenda.next_at() or inf
            continue
        is_heard = ticket.seq != 7 and now >= 2.0
        failed += ticket.seq == 7
        agenda.answered(ticket, Answer.DECIDED if is_heard else Answer.UNHEARD, now=now)
    assert failed <= 110


# -- the loop ----------------------------------------------------------------------------------------------------------


class VirtualTime(selectors.DefaultSelector):
    """Instead of waiting, lets the clock jump."""

    now = 0.0
    turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "the loop waits for nothing"
        self.now += timeout
        self.turns += 1
        return super().select(0)


def in_virtual_time(work: Callable[[VirtualTime], Awaitable[None]]) -> None:
    time = VirtualTime()
    loop = asyncio.SelectorEventLoop(time)
    loop.time = lambda: time.now  # type: ignore[method-assign]
    try:
        loop.run_until_complete(work(time))
    finally:
        loop.close()


class Server:
    """Each evaluation takes so many seconds from the beginning on; a question 40 ms."""

    def __init__(self, time: VirtualTime, ready: list[float]) -> None:
        self.time = time
        self.ready = ready
        self.under_way = self.most_under_way = self.polls = 0

    async def ask(self, item: OpenItem) -> Answer:
        self.polls += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(REPLY)
        self.under_way -= 1
        return Answer.DECIDED if self.time.now >= self.ready[item.seq] else Answer.PENDING


def poller(server: Server, *, more: Callable[[], bool] = lambda: False, give_up_after: float = 600) -> Poller:
    agenda = Agenda(give_up_after=give_up_after)
    return Poller(agenda, server.ask, more_to_come=more, clock=lambda: server.time.now, at_once=20)


def test_the_loop_ends_soon_after_the_last_verdict() -> None:
    async def work(time: VirtualTime) -> None:
        server = Server(time, LOGNORMAL([0.0] * 300, Random(0)))
        polling = poller(server)
        for seq in range(300):
            polling.add(OpenItem(seq, "check"))
        await polling.run()
        assert polling.open == polling.given_up == 0
        assert server.polls <= 1.4 * 300
        assert time.now <= 1.1 * max(server.ready)
        assert server.most_under_way <= 20
        assert time.turns <= 10 * server.polls, "a busy loop"

    in_virtual_time(work)


def test_thousands_that_are_due_at_once_wait_for_a_place() -> None:
    async def work(time: VirtualTime) -> None:
        server = Server(time, [0.0] * 2000)
        polling = poller(server)
        for seq in range(2000):
            polling.add(OpenItem(seq, "check"), age=100.0)
        await polling.run()
        assert server.most_under_way == 20
        assert server.polls == 2000

    in_virtual_time(work)


def test_the_loop_waits_for_what_is_still_to_come() -> None:
    async def work(time: VirtualTime) -> None:
        more = [True]
        server = Server(time, [1.0, 6.0])
        polling = poller(server, more=lambda: bool(more))
        polling.add(OpenItem(0, "check"))
        running = asyncio.ensure_future(polling.run())
        await asyncio.sleep(5)
        assert polling.open == 0
        assert not running.done()
        polling.add(OpenItem(1, "check"))
        more.clear()
        polling.wake()
        await running
        assert time.now == pytest.approx(6, rel=0.2)

    in_virtual_time(work)


def test_the_loop_ends_when_told_that_nothing_comes() -> None:
    async def work(time: VirtualTime) -> None:
        more = [True]
        polling = poller(Server(time, []), more=lambda: bool(more))
        running = asyncio.ensure_future(polling.run())
        await asyncio.sleep(1)
        more.clear()
        polling.wake()
        await running
        assert time.now == pytest.approx(1)

    in_virtual_time(work)


def test_the_loop_asks_a_last_time_at_the_deadline_and_gives_up() -> None:
    async def work(time: VirtualTime) -> None:
        asked: list[float] = []
        server = Server(time, [inf] * 3)

        async def ask(item: OpenItem) -> Answer:
            asked.append(time.now - item.since)
            return await server.ask(item)

        polling = Poller(Agenda(give_up_after=20), ask, more_to_come=lambda: False, at_once=20, clock=lambda: time.now)
        for seq in range(3):
            polling.add(OpenItem(seq, "check"))
        await polling.run()
        assert polling.given_up == 3
        assert asked[-3:] == [pytest.approx(20)] * 3
        assert time.now == pytest.approx(20 + REPLY)

    in_virtual_time(work)


def test_sentinels_are_asked_about_urgently() -> None:
    async def work(time: VirtualTime) -> None:
        server, urgent = Server(time, LOGNORMAL([0.0] * 100, Random(0))), []

        async def ask(item: OpenItem) -> Answer:
            if item.is_urgent:
                urgent.append((item.seq, time.now - item.since))
            return await server.ask(item)

        polling = Poller(
            Agenda(give_up_after=600), ask, more_to_come=lambda: False, at_once=200, clock=lambda: time.now
        )
        for seq in range(100):
            polling.add(OpenItem(seq, "check"), is_sentinel=seq % 50 == 0)
        await polling.run()
        assert urgent == [(0, pytest.approx(TUNING.sentinel_age)), (50, pytest.approx(TUNING.sentinel_age))]

    in_virtual_time(work)


class Broken(Exception):
    pass


@pytest.mark.parametrize("error", [Broken, asyncio.CancelledError])
def test_the_loop_ends_with_what_a_question_raised_and_cancels_the_others(error: type[BaseException]) -> None:
    async def work(time: VirtualTime) -> None:
        cancelled: list[int] = []

        async def ask(item: OpenItem) -> Answer:
            if item.seq == 2:
                raise error
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                cancelled.append(item.seq)
                raise
            return Answer.DECIDED

        polling = Poller(Agenda(give_up_after=600), ask, more_to_come=lambda: False, at_once=20, clock=lambda: time.now)
        for seq in range(3):
            polling.add(OpenItem(seq, "check"), age=60.0)
        with pytest.raises(error):
            await polling.run()
        assert sorted(cancelled) == [0, 1]

    in_virtual_time(work)
