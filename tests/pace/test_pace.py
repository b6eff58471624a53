"""The pace: simulated against servers with limits, then on asyncio with a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from time import perf_counter
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.tiers import NO_TIER
from fieval_tasks.pace.limits import Limits, Metronome, Places, backoff
from fieval_tasks.pace.pace import Pace
from fieval_tasks.pace.pace_tuning import TUNING, PaceTuning
from fieval_tasks.pace.quota import Quota
from fieval_tasks.pace.waiting_line import FairQueue
from tests.pace.pace_simulation import (
    Bucket,
    Busy,
    Chance,
    Credit,
    Fixed,
    JumpingLoop,
    Limiter,
    RetryAfter,
    Sliding,
    at_once,
    evaluations,
    exactly,
    one_second,
    requests,
    untold,
)

T = TypeVar("T")
SEEDS = [101, 102]
A_LITTLE = 1e-6
MANY = TUNING.carries * int(TUNING.unheard)
"""As many evaluations in one request as may be out without a word about them."""


def found(pace: Pace) -> tuple[Any, float | None]:
    """What is kept to in the window that was found: requests, and its seconds."""
    limits = pace.limits
    return (limits.rate or 0.0) * (limits.window or 0.0), limits.window


# -- a limit that answers 429 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("items", [900, 2500])
def test_a_limit_a_second_is_found_and_used(seed: int, items: int) -> None:
    account = requests(Sliding(100, 1.0), items=items, seed=seed, concurrency=64)
    assert account.used(0, account.last_submitted) >= 92
    assert account.refused_share(2.0) < 0.02
    assert found(account.pace) == (pytest.approx(100, abs=4), 1.0)


@pytest.mark.parametrize("seed", SEEDS[:1])
@pytest.mark.parametrize("concurrency", [16, 256])
@pytest.mark.parametrize("retry_after", [one_second, untold, exactly])
def test_it_is_found_from_few_places_or_many_and_without_retry_after(
    seed: int, concurrency: int, retry_after: RetryAfter
) -> None:
    account = requests(
        Sliding(100, 1.0), items=1500, seed=seed, concurrency=concurrency, retry_after=retry_after
    )  # fmt: skip
    assert account.used(0, account.last_submitted) >= 92
    assert account.refused_share(2.0) < 0.02


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("offset", [0.0, 0.37, 0.9])
def test_calendar_seconds(seed: int, offset: float) -> None:
    account = requests(Fixed(100, 1.0, offset=offset), items=1500, seed=seed)
    assert account.used(0, account.last_submitted) >= 90
    assert account.refused_share(2.0) < 0.02


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("rate", "burst", "least"), [(100, 100, 0.92), (20, 100, 0.85)])
def test_a_token_bucket(seed: int, rate: int, burst: int, least: float) -> None:
    account = requests(Bucket(rate, burst), items=1500, seed=seed)
    assert account.used(0, account.last_submitted) >= least * rate
    assert account.refused_share(2.0) < 0.02


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("limiter", "least"), [(lambda: Bucket(100, 20), 75), (lambda: Busy(10, 0.02), 60)])
def test_what_looks_low_after_a_short_burst_rises_within_a_quarter_of_a_minute(
    seed: int, limiter: Callable[[], Limiter], least: float
) -> None:
    account = requests(limiter(), items=5000, seed=seed)
    assert account.used(15.0, 20.0) >= least
    assert account.refused_share(2.0) < 0.02


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("halts", "least"), [(0.1, 82), (0.3, 73), (0.5, 61)])
def test_a_client_that_stands_still_for_moments_makes_up_for_most_of_it(seed: int, halts: float, least: float) -> None:
    account = requests(Sliding(100, 1.0), items=2000, seed=seed, concurrency=64, halts=halts)
    assert account.used(0, account.last_submitted) >= least
    assert account.refused_share(2.0) < 0.02


@pytest.mark.parametrize("retry_after", [one_second, exactly, untold])
@pytest.mark.parametrize("limiter", [lambda: Sliding(1000, 60.0), lambda: Fixed(1000, 60.0, offset=25.0)])
def test_a_limit_a_minute_is_told_from_one_a_second(limiter: Callable[[], Limiter], retry_after: RetryAfter) -> None:
    account = requests(limiter(), items=2500, seed=7, retry_after=retry_after, concurrency=64)
    assert account.used(0, account.last_submitted) * 60 >= 920
    assert account.refused_share(2.0) < 0.02
    assert found(account.pace) == (pytest.approx(1000, rel=0.04), 60.0)


@pytest.mark.parametrize("retry_after", [one_second, untold])
def test_a_limit_that_drops(retry_after: RetryAfter) -> None:
    account = requests(Sliding(100, 1.0, changes=(20.0, 50)), items=3000, seed=5, retry_after=retry_after)
    assert account.used(30.0, 60.0) >= 0.88 * 50
    assert account.refused_share(20.0) < 0.02


@pytest.mark.parametrize("retry_after", [one_second, untold])
def test_a_limit_that_rises(retry_after: RetryAfter) -> None:
    account = requests(Sliding(100, 1.0, changes=(20.0, 200)), items=5000, seed=5, retry_after=retry_after)
    assert account.used(45.0, account.last_submitted) >= 0.9 * 200
    assert account.refused_share(20.0) < 0.02


def test_a_limit_a_minute_that_drops_is_not_taken_for_one_an_hour() -> None:
    limiter = Sliding(1000, 60.0, changes=(130.0, 500))
    account = requests(limiter, items=3000, seed=1, retry_after=untold, concurrency=64)
    assert account.pace.limits.window == 60.0
    assert account.used(240.0, 360.0) * 60 >= 0.85 * 500


@pytest.mark.parametrize("concurrency", [32, 128])
@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_limit_only_the_first_round_trips_differ_from_fixed_concurrency(concurrency: int, seed: int) -> None:
    at_once = PaceTuning(first_places=concurrency)
    expected = requests(Limiter(), items=3000, seed=seed, concurrency=concurrency, tuning=at_once)
    account = requests(Limiter(), items=3000, seed=seed, concurrency=concurrency)
    assert account.last_submitted - expected.last_submitted < 3 * 0.04
    assert account.most_in_flight == concurrency
    assert not account.refused


def test_bounds_that_change_hold_from_then_on() -> None:
    pace = Pace(concurrency=64, rate=10.0, clock=lambda: 0.0)
    for _ in range(5):
        while pace.wait(0.0) <= 0.0:
            pace.begin(0.0)
    pace.bound(concurrency=2, rate=None)
    while pace.in_flight:
        pace.leave(0.0)
    started = 0
    while pace.wait(0.0) <= 0.0:
        pace.begin(0.0)
        started += 1
    assert started == 2
    pace.leave(0.0)
    pace.bound(concurrency=2, rate=5.0)
    assert pace.wait(0.0) <= 0.0
    pace.begin(0.0)
    pace.leave(0.0)
    assert pace.wait(0.0) == pytest.approx(1 / 5 - TUNING.late)


def test_replies_that_were_under_way_count_as_one_refusal_however_late_they_come() -> None:
    limits, began = Limits(), [i / 1000 for i in range(200)]
    for moment in began:
        limits.begin(moment)
        limits.sent(moment)
    for moment in began[:100]:
        limits.accepted(moment, 0.2)
    for i, moment in enumerate(began[100:]):
        limits.refused(moment, 0.2 + i / 50, retry_after=1.0)  # the last one two seconds later
    assert limits.wait(3.0) > 0.0, "the last reply asked for a second, too"
    assert limits.wait(3.2) == 0.0
    limits.begin(3.2)
    limits.sent(3.2)
    limits.accepted(3.2, 3.24)
    assert (limits.rate, limits.window) == (pytest.approx(97), 1.0)


def test_a_request_counts_from_when_it_left_not_from_when_its_turn_began() -> None:
    limits = Limits()
    for _ in range(40):
        limits.sent(0.9)
        limits.left(0.9, 1.1)
        limits.accepted(1.1, 1.14)
    for _ in range(3):
        limits.sent(2.0)
    for _ in range(3):
        limits.refused(2.0, 2.04, retry_after=1.0)
    limits.sent(3.1)
    limits.accepted(3.1, 3.14)
    assert limits.rate == pytest.approx(0.97 * 40)


def test_a_try_nobody_answers_does_not_hold_everyone_up() -> None:
    limits = Limits()
    limits.begin(0.0)
    limits.sent(0.0)
    limits.refused(0.0, 0.1, retry_after=1.0)
    assert limits.wait(1.1) == 0.0
    limits.begin(1.1)
    assert limits.wait(1.2) > 0.0
    assert limits.wait(2.7) == 0.0


def test_retry_after_zero_closes_nothing_and_teaches_nothing_at_first() -> None:
    limits = Limits()
    limits.begin(0.0)
    limits.sent(0.0)
    limits.refused(0.0, 0.1, retry_after=0.0)
    assert limits.wait(0.1) == 0.0
    limits.begin(0.1)
    limits.sent(0.1)
    limits.accepted(0.1, 0.2)
    assert limits.rate is None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.05, 0.1])
@pytest.mark.parametrize("retry_after", [one_second, at_once])
def test_refusals_by_chance_cost_the_pauses_they_ask_for_and_little_more(
    seed: int, share: float, retry_after: RetryAfter
) -> None:
    limiter = Chance(share, Limiter(), seed)
    account = requests(limiter, items=2000, seed=seed, retry_after=retry_after, concurrency=32)
    assert 4000 / (account.done_at - account.paused) >= 25
    assert account.pace.limits.rate is None, "no limit is behind them"


@given(
    share=st.floats(0.0, 0.25),
    limiter=st.sampled_from([Limiter, lambda: Sliding(20, 1.0), lambda: Bucket(20, 5), lambda: Busy(3, 0.05)]),
    retry_after=st.sampled_from([one_second, at_once, exactly, untold]),
    seed=st.integers(0, 1000),
)
def test_whatever_is_refused_everything_is_sent_in_the_end(
    share: float, limiter: Callable[[], Limiter], retry_after: RetryAfter, seed: int
) -> None:
    account = requests(Chance(share, limiter(), seed), items=60, seed=seed, retry_after=retry_after)
    assert account.submitted == 60


@pytest.mark.parametrize("seed", SEEDS)
def test_a_limit_is_found_although_others_are_refused_by_chance(seed: int) -> None:
    account = requests(Chance(0.02, Sliding(1000, 60.0), seed), items=2000, seed=seed, concurrency=32)
    assert found(account.pace) == (pytest.approx(1000, rel=0.05), 60.0)
    assert account.refused_share(0.0) < 0.04


# -- places ----------------------------------------------------------------------------------------------------------------


def test_places_double_each_round_trip_until_something_goes_wrong_and_then_grow_slowly() -> None:
    places = Places(1000)
    for _ in range(16):
        places.accepted(int(places.limit))
    assert places.limit == 32
    places.shrink(began=1.0, now=2.0)
    places.shrink(began=1.5, now=2.1)
    assert places.limit == pytest.approx(0.7 * 32), "once: the second began before the first was known"
    before = places.limit
    for _ in range(int(before)):
        places.accepted(100)
    assert before + 0.8 < places.limit < before + 3


def test_places_nobody_needs_do_not_grow() -> None:
    places = Places(1000)
    places.accepted(12)
    assert places.limit == 16


def test_a_known_rate_gets_the_places_it_keeps_busy() -> None:
    account = requests(Sliding(100, 1.0), items=1500, seed=1, reply=0.5, concurrency=128)
    assert account.used(4.0, account.last_submitted) >= 85


# -- a limit that hides ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("pack", [1, 3, 10])
@pytest.mark.parametrize("speed", [300.0, 600.0])
def test_a_hidden_limit_a_second(seed: int, speed: float, pack: int) -> None:
    tier = evaluations(Sliding(50, 1.0), items=3000, seed=seed, speed=speed, pack=pack)
    assert len(tier.granted) == 3000
    assert len(tier.refused) < 0.1 * 3000
    assert 3000 / tier.last_submitted >= 0.85 * 50


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("items", [1800, 2400])
@pytest.mark.parametrize(("speed", "pack"), [(300.0, 1), (600.0, 3), (600.0, 10)])
def test_a_hidden_limit_a_minute(seed: int, speed: float, pack: int, items: int) -> None:
    tier = evaluations(Sliding(600, 60.0), items=items, seed=seed, speed=speed, pack=pack)
    assert len(tier.refused) < 0.1 * items
    assert items / tier.last_submitted >= 0.85 * 10


@pytest.mark.parametrize(("speed", "pack"), [(300.0, 1), (300.0, 3), (600.0, 3), (600.0, 10)])
def test_where_nothing_hides_submissions_are_hardly_slower(speed: float, pack: int) -> None:
    free = evaluations(Limiter(), items=10_000, seed=101, speed=speed, pack=pack, limited=False)
    watched = evaluations(Limiter(), items=10_000, seed=101, speed=speed, pack=pack)
    assert watched.last_submitted < 1.08 * free.last_submitted


def test_a_server_slow_to_reply_makes_the_beginning_slower_and_no_more() -> None:
    free = evaluations(Limiter(), items=3000, seed=101, speed=96.0, pack=3, reply=1.0, limited=False)
    watched = evaluations(Limiter(), items=3000, seed=101, speed=96.0, pack=3, reply=1.0)
    assert watched.last_submitted < free.last_submitted + 12.0, "32 requests at once, a second each"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("credit", [3, 150, 500, 900])
@pytest.mark.parametrize("speed", [300.0, 600.0, 1500.0])
def test_where_credit_ends_few_more_submissions_are_made(seed: int, credit: int, speed: float) -> None:
    tier = evaluations(Credit(credit), items=5000, seed=seed, speed=speed, pack=3, until=10.0)
    assert tier.refused[0] < tier.refusal_known_at < tier.refused[0] + 1.0
    assert sum(tier.refused[0] < at <= tier.refusal_known_at for at in tier.requests) <= 50


def test_what_is_out_when_credit_ends_late_is_a_small_part_of_what_was_done() -> None:
    tier = evaluations(Credit(9000), items=20_000, seed=101, speed=1500.0, pack=3, until=20.0)
    assert sum(tier.refused[0] < at <= tier.refusal_known_at for at in tier.requests) <= 9000 / 3 / 6


# -- on asyncio --------------------------------------------------------------------------------------------------------------


def in_no_time(work: Callable[[asyncio.AbstractEventLoop], Coroutine[Any, Any, T]]) -> T:
    """Run it on a loop whose clock jumps."""
    loop = JumpingLoop()
    try:
        return loop.run_until_complete(work(loop))
    finally:
        loop.close()


async def one_turn(pace: Pace, began: list[float], seconds: float = 0.0) -> None:
    async with pace.turn() as turn:
        began.append(turn.started_at)
        await asyncio.sleep(seconds)
        turn.accepted()


LOADS = st.lists(st.tuples(st.floats(0, 3), st.floats(0, 0.5), st.sampled_from(["submit", "poll"])), max_size=60)


@given(load=LOADS, concurrency=st.integers(1, 8), rate=st.none() | st.floats(2, 200))
def test_never_more_than_asked_for_and_everyone_gets_a_turn(load: Any, concurrency: int, rate: float | None) -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        pace = Pace(concurrency=concurrency, rate=rate, clock=loop.time)
        began: list[float] = []
        most = 0

        async def request(at: float, seconds: float, kind: Any) -> None:
            nonlocal most
            await asyncio.sleep(at)
            async with pace.turn(kind) as turn:
                most = max(most, pace.in_flight)
                began.append(turn.started_at)
                await asyncio.sleep(seconds)
                turn.accepted()

        await asyncio.gather(*(request(*one) for one in load))
        assert len(began) == len(load)
        assert most <= concurrency
        assert pace.in_flight == 0
        if rate is not None:
            assert_no_more_than(began, rate, burst=1.0 + TUNING.late * rate)

    in_no_time(run)


def assert_no_more_than(began: list[float], rate: float, *, burst: float) -> None:
    began = sorted(began)
    for i, first in enumerate(began):
        for j, last in enumerate(began[i:]):
            assert j + 1 <= rate * (last - first) + burst + A_LITTLE


@given(
    load=st.lists(st.floats(0, 5), min_size=1, max_size=40),
    refusals=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 3)), max_size=5),
)
def test_everyone_pauses_for_as_long_as_the_server_asks(load: Any, refusals: Any) -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        pace = Pace(concurrency=4, clock=loop.time)
        began: list[tuple[float, float]] = []
        closed: list[tuple[float, float]] = []

        async def request(at: float) -> None:
            await asyncio.sleep(at)
            async with pace.turn("poll" if at > 2 else "submit") as turn:
                began.append((turn.started_at, at))
                await asyncio.sleep(0.05)
                turn.accepted()

        async def refuse(at: float, seconds: float) -> None:
            await asyncio.sleep(at)
            closed.append((loop.time(), loop.time() + seconds))
            pace.throttled(seconds, loop.time() - 0.01)

        await asyncio.gather(*map(request, load), *(refuse(*one) for one in refusals))
        assert len(began) == len(load)
        for start, _ in began:
            assert not any(since < start < until - A_LITTLE for since, until in closed)

    in_no_time(run)


@given(waiting=st.integers(0, 30), cancelled=st.sets(st.integers(0, 29)), rate=st.none() | st.floats(1, 50))
def test_places_of_the_cancelled_are_not_lost(waiting: int, cancelled: set[int], rate: float | None) -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        pace = Pace(concurrency=2, rate=rate, clock=loop.time)
        began: list[float] = []
        tasks = [asyncio.ensure_future(one_turn(pace, began, 0.1)) for _ in range(waiting)]
        await asyncio.sleep(0.15)
        for i in cancelled & set(range(waiting)):
            tasks[i].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert pace.in_flight == 0
        await asyncio.gather(*(one_turn(pace, began, 0.1) for _ in range(4)))

    in_no_time(run)


@pytest.mark.parametrize("rate", [None, 5.0])
def test_stop_ends_all_who_wait_at_once_and_nothing_starts_any_more(rate: float | None) -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        pace = Pace(concurrency=2, rate=rate, clock=loop.time)
        began: list[float] = []
        tasks = [asyncio.ensure_future(one_turn(pace, began, 10.0)) for _ in range(1000)]
        await asyncio.sleep(1.0)
        assert len(began) == pace.in_flight == 2
        pace._line.stop()
        done, under_way = await asyncio.wait(tasks, timeout=0.001)
        assert len(under_way) == 2
        assert all(task.cancelled() for task in done)
        with pytest.raises(asyncio.CancelledError):
            await one_turn(pace, began)
        await asyncio.wait(under_way)
        assert len(began) == 2
        assert pace.in_flight == 0

    in_no_time(run)


def test_one_who_was_let_in_at_the_very_moment_of_the_stop_does_not_start() -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        pace = Pace(concurrency=1, clock=loop.time)
        began: list[float] = []
        async with pace.turn():
            waiting = asyncio.ensure_future(one_turn(pace, began))
            await asyncio.sleep(0)
        pace._line.stop()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert (began, pace.in_flight) == ([], 0)

    in_no_time(run)


def test_the_urgent_go_first_and_submissions_and_polls_share_two_to_one_in_their_order() -> None:
    queue: FairQueue[str] = FairQueue()
    for i in range(4):
        queue.push("submit", f"s{i}")
    for i in range(3):
        queue.push("poll", f"p{i}")
    queue.push("poll", "u0", urgent=True)
    queue.push("poll", "u1", urgent=True)
    assert "".join(queue.pop() for _ in range(9)) == "u0u1s0s1p0s2s3p1p2"
    assert not queue


def test_an_urgent_question_waits_for_one_place_only() -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        pace = Pace(concurrency=1, clock=loop.time)
        began: list[float] = []
        others = [asyncio.ensure_future(one_turn(pace, began, 1.0)) for _ in range(50)]
        await asyncio.sleep(0.5)
        async with pace.turn("poll", urgent=True) as turn:
            assert turn.started_at == pytest.approx(1.0)
        await asyncio.gather(*others)

    in_no_time(run)


def test_a_thousand_waiters_cost_as_much_as_a_few() -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        pace = Pace(concurrency=10, rate=5000.0, clock=loop.time)
        asked = 0
        wait = pace.wait

        def counted(now: float) -> float:
            nonlocal asked
            asked += 1
            return wait(now)

        pace.wait = counted  # type: ignore[method-assign]
        began: list[float] = []
        await asyncio.gather(*(one_turn(pace, began, 0.001) for _ in range(1000)))
        assert len(began) == 1000
        assert asked < 6 * 1000

    in_no_time(run)


def test_an_even_beat_after_a_burst() -> None:
    metronome = Metronome()
    metronome.set(10.0, burst=2.0)
    now, began = 0.0, []
    for _ in range(5):
        now += metronome.wait(now)
        metronome.begin(now)
        began.append(now)
    assert [round(b - a, 6) for a, b in pairwise(began)] == [0.0, 0.1, 0.1, 0.1]


@given(attempt=st.integers(0, 10_000), first=st.floats(0.01, 60))
def test_a_backoff_is_never_longer_than_the_longest(attempt: int, first: float) -> None:
    assert 0 < backoff(attempt, first=first) <= 60


def test_a_turn_costs_little_where_nobody_waits() -> None:
    async def run() -> float:
        pace = Pace(concurrency=64)
        costs = []
        for _ in range(5):
            since = perf_counter()
            for _ in range(500):
                async with pace.turn() as turn:
                    turn.accepted()
            costs.append((perf_counter() - since) / 500)
        return min(costs)

    assert asyncio.run(run()) < 100e-6  # some 15 are usual; a busy machine may need more


# -- the quota on asyncio, of an account without one of the known tiers ------------------------------------------------


@pytest.mark.parametrize(("pack", "first"), [(1, 40), (3, 40), (10, 12)])
def test_a_quota_admits_so_many_unheard_of_and_more_as_time_tells(pack: int, first: int) -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        quota = Quota(tier=NO_TIER, clock=loop.time)
        admitted: list[float] = []

        async def submit() -> None:
            with await quota.admit(pack) as admission:
                admitted.append(loop.time())
                admission.sent(loop.time())

        tasks = [asyncio.ensure_future(submit()) for _ in range(2 * first)]
        await asyncio.sleep(0.5)
        assert len(admitted) == first
        quota.in_work(admitted[9])
        await asyncio.gather(*tasks)
        assert max(admitted) == 0.5

    in_no_time(run)


def test_without_any_news_the_next_are_admitted_after_a_while() -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        quota = Quota(tier=NO_TIER, clock=loop.time)
        for _ in range(2 * int(TUNING.unheard)):
            with await quota.admit() as admission:
                admission.sent(loop.time())
        assert loop.time() == pytest.approx(TUNING.no_news)

    in_no_time(run)


def test_what_was_admitted_and_not_sent_is_given_back() -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        quota = Quota(tier=NO_TIER, clock=loop.time)
        for _ in range(2 * int(TUNING.unheard)):
            with await quota.admit(MANY):
                pass
        for _ in range(3):
            with await quota.admit(MANY - 3) as admission:
                admission.sent(0.0, 1)
        assert loop.time() == 0.0
        waiting = [asyncio.ensure_future(quota.admit(MANY)) for _ in range(3)]
        await asyncio.sleep(0.1)
        assert [task.done() for task in waiting] == [True, False, False]
        quota._line.stop()
        await asyncio.wait(waiting)
        assert [task.cancelled() for task in waiting] == [False, True, True]

    in_no_time(run)


@pytest.mark.parametrize("pack", [1, 3, 10])
def test_the_first_and_then_one_in_a_while_is_a_sentinel(pack: int) -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        quota = Quota(tier=NO_TIER, clock=loop.time)
        told = []
        for _ in range(MANY // pack // 3):
            with await quota.admit(pack) as admission:
                told.append(admission.sentinel)
        assert told[0]
        gaps = [later - earlier for earlier, later in pairwise(n for n, early in enumerate(told) if early)]
        assert set(gaps) == {-(-TUNING.sentinel_every // pack)}

    in_no_time(run)


def test_after_a_refusal_it_is_tried_with_one_and_asked_about_early() -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        quota = Quota(tier=NO_TIER, clock=loop.time)
        for _ in range(4):
            with await quota.admit() as admission:
                admission.sent(loop.time())
        first = loop.time()
        await asyncio.sleep(0.5)
        quota.refused(first)
        again = await quota.admit(3)
        assert (again.sentinel, again.allowed) == (True, 1)

    in_no_time(run)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_hidden_limit_refuses_of_the_last_does_not_hold_up_the_end(seed: int) -> None:
    tier = evaluations(Sliding(50, 1.0), items=1000, seed=seed, pack=3)
    gaps = [later - earlier for earlier, later in pairwise(tier.granted[-200:])]
    assert max(gaps) < 1.5
