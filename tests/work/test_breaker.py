"""A check's first items go ahead alone, and a lane that only meets refusals is stopped."""

from __future__ import annotations

import asyncio
from math import ceil
from random import Random
from uuid import uuid4

import pytest

from fieval_tasks.core.items import Failed, Scored
from fieval_tasks.work.breaker import Breaker, masked
from fieval_tasks.work.work_tuning import TUNING

GOOD = Scored(value="Passed", score=1.0, passed=True, reason="because", runtime_ms=5.0)


def failure(message: str) -> Failed:
    return Failed("evaluate", "evaluation_error", message)


BAD = failure("no input received")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def now(breaker: Breaker, n: int) -> int | None:
    """What it says at once; None where it lets wait."""
    asking = asyncio.ensure_future(breaker.admit(n))
    await asyncio.sleep(0)
    if not asking.done():
        asking.cancel()
        return None
    return asking.result()


async def taken(breaker: Breaker, n: int) -> int | None:
    admitted = await now(breaker, n)
    if admitted:
        breaker.returned(admitted, taken=admitted)
    return admitted


async def refused(breaker: Breaker, reason: str) -> int | None:
    admitted = await now(breaker, 3)
    if admitted:
        breaker.refused(reason)
        breaker.returned(admitted, taken=0)
    return admitted


async def test_the_first_go_alone_and_the_rest_waits_for_one_to_be_taken() -> None:
    breaker = Breaker()
    assert [await now(breaker, 3) for _ in range(TUNING.canaries)] == [1] * TUNING.canaries
    waiting = asyncio.ensure_future(breaker.admit(3))
    await asyncio.sleep(0)
    assert not waiting.done()
    breaker.returned(1, taken=1)
    assert await waiting == 3


async def test_a_canary_whose_reply_was_lost_makes_room_for_another() -> None:
    breaker = Breaker()
    for _ in range(20):
        assert await now(breaker, 3) == 1
        breaker.returned(1, taken=0)
    assert breaker.stopped is None


async def test_identical_refusals_from_the_start_stop_the_lane_before_much_is_sent() -> None:
    breaker = Breaker()
    sent = [await refused(breaker, f"Input {n} is missing") for n in range(50)]
    assert sent.count(1) == TUNING.refused_at_first
    assert set(sent[TUNING.refused_at_first :]) == {0}
    assert (
        breaker.stopped == f"the server refused {TUNING.refused_at_first} items in a row, each with: Input # is missing"
    )


@pytest.mark.parametrize(
    ("answered", "said"),
    [
        (0, "the replies were lost to 10 items in a row"),
        (2, "the server refused, or its replies were lost to, 10 items"),
    ],
)
async def test_a_lane_that_is_stopped_by_lost_replies_does_not_say_that_the_server_refused(
    answered: int, said: str
) -> None:
    breaker = Breaker()
    for n in range(TUNING.refused_anyhow):
        assert breaker.stopped is None
        breaker.refused("no reply within 5 s", lost=n >= answered)
    assert breaker.stopped is not None
    assert breaker.stopped.startswith(said)


async def test_never_more_canaries_are_out_than_could_still_be_refused() -> None:
    breaker = Breaker()
    first = [await now(breaker, 1) for _ in range(TUNING.canaries)]
    sent = len(first)
    for _ in range(TUNING.canaries):
        breaker.refused("no")
        breaker.returned(1, taken=0)
        sent += await now(breaker, 1) == 1
    assert sent == TUNING.refused_at_first


async def test_those_who_wait_learn_that_the_lane_is_stopped() -> None:
    breaker = Breaker()
    for _ in range(TUNING.canaries):
        await now(breaker, 1)
    waiting = [asyncio.ensure_future(breaker.admit(1)) for _ in range(5)]
    await asyncio.sleep(0)
    for _ in range(TUNING.refused_at_first):
        breaker.refused("no")
    assert set(await asyncio.gather(*waiting)) == {0}


async def test_until_one_is_taken_refusals_count_whatever_their_reasons() -> None:
    breaker = Breaker()
    sent = [await refused(breaker, f"{chr(97 + n)} is no answer") for n in range(50)]
    assert sent.count(1) == TUNING.refused_anyhow
    assert set(sent[TUNING.refused_anyhow :]) == {0}


async def test_refusals_for_different_reasons_are_bad_rows_while_others_are_taken() -> None:
    breaker = Breaker()
    for n in range(10 * TUNING.latest):
        await taken(breaker, 1)
        breaker.heard(GOOD)
        await refused(breaker, "too long" if n % 2 else "too short")
    assert breaker.stopped is None


async def test_once_nearly_all_are_refused_the_lane_stops_whatever_the_reasons() -> None:
    breaker = Breaker()
    await taken(breaker, 1)
    for n in range(TUNING.out_of_latest):
        assert breaker.stopped is None
        await refused(breaker, "too long" if n % 2 else "too short")
    assert breaker.stopped == "the server refused 45 of the latest 46 items, most often (23 times) with: too short"


async def test_a_lane_that_has_begun_well_stops_only_after_many_refusals_in_a_row() -> None:
    breaker = Breaker()
    await taken(breaker, 1)
    breaker.heard(GOOD)
    for _ in range(TUNING.refused_later - 1):
        await refused(breaker, "no")
    assert await taken(breaker, 1) == 1
    for _ in range(TUNING.refused_later):
        await refused(breaker, "no")
    assert await taken(breaker, 1) == 0


async def test_before_the_first_verdict_only_so_many_items_are_out() -> None:
    breaker = Breaker(clock=Clock())
    await taken(breaker, 3)
    while await taken(breaker, 3) == 3:
        pass
    waiting = asyncio.ensure_future(breaker.admit(3))
    await asyncio.sleep(0)
    assert not waiting.done()
    breaker.heard(GOOD)
    assert await waiting == 3


async def test_each_verdict_lets_four_times_as_many_go() -> None:
    breaker = Breaker(clock=Clock())
    await taken(breaker, 1)
    for judged in range(4):
        while await taken(breaker, 1) == 1:
            pass
        assert breaker._bought == TUNING.bought_at_first * TUNING.growth**judged
        breaker.heard(GOOD)


async def test_requests_on_their_way_count_as_out() -> None:
    breaker = Breaker(clock=Clock())
    await taken(breaker, 1)
    going = 0
    while await now(breaker, 3) == 3:
        going += 3
    assert TUNING.bought_at_first - 4 <= going + 1 <= TUNING.bought_at_first


async def test_a_slow_judge_is_no_reason_to_wait_for_ever() -> None:
    clock = Clock()
    breaker = Breaker(clock=clock)
    while await taken(breaker, 1):
        pass
    clock.now = 10.0
    more = [await taken(breaker, 1) for _ in range(100)]
    assert more.count(1) == 10 * TUNING.bought_a_second


async def test_who_only_submits_waits_for_no_verdict() -> None:
    breaker = Breaker(awaits_verdicts=False)
    await taken(breaker, 3)
    assert all([await taken(breaker, 3) == 3 for _ in range(TUNING.bought_at_first)])


@pytest.mark.parametrize("reason", ["no input received", "request {id}: the judge fell over", "{either}"])
async def test_what_nobody_judges_is_bought_a_hundred_times_at_most_whatever_it_is_said_to_be(reason: str) -> None:
    """Each failed item is to be bought once more, as in a run."""
    breaker = Breaker(clock=Clock())
    bought, again = 0, set()
    for _ in range(2_000):
        if not await taken(breaker, 1):
            break
        bought += 1
    for n in range(bought):
        breaker.heard(failure(reason.format(id=uuid4(), either=("timed out", "overloaded")[n % 2])))
        again.add(asyncio.ensure_future(breaker.relents()))
        await asyncio.sleep(0)
        if breaker.stopped is not None:
            break
    assert bought == TUNING.bought_at_first
    assert not any(await asyncio.gather(*again))
    assert n + 1 == ceil(TUNING.misjudged_share * TUNING.bought_at_first)


async def test_of_a_slow_submission_ten_failures_without_a_verdict_are_enough() -> None:
    breaker = Breaker()
    for _ in range(TUNING.misjudged_at_first):
        assert await taken(breaker, 1) == 1
        breaker.heard(BAD)
    assert await taken(breaker, 1) == 0
    assert breaker.stopped == (
        f"the judge gave no verdict on {TUNING.misjudged_at_first} items in a row, each with: evaluation_error: no input received"
    )


async def test_failures_that_show_before_slower_verdicts_do_not_stop_the_lane() -> None:
    breaker = Breaker(clock=Clock())
    while await taken(breaker, 1):
        pass
    for _ in range(TUNING.bought_at_first // 2):  # more than three in ten
        breaker.heard(BAD)
    waiting = asyncio.ensure_future(breaker.relents())
    await asyncio.sleep(0)
    assert not waiting.done(), "what failed is not bought again before anything was judged"
    breaker.heard(GOOD)
    assert await waiting
    assert breaker.stopped is None


@pytest.mark.parametrize("share", [0.3, 0.5])
async def test_a_share_of_failures_never_stops_a_lane_that_judges(share: float) -> None:
    breaker, random = Breaker(), Random(7)
    await taken(breaker, 1)
    breaker.heard(GOOD)
    for n in range(20_000):
        breaker.heard(failure(f"{n}") if random.random() < share else GOOD)
    assert breaker.stopped is None


async def test_a_row_that_fails_twice_counts_once_as_a_row_that_fails() -> None:
    breaker, random = Breaker(), Random(7)
    breaker.heard(GOOD)
    for _ in range(20_000):
        if random.random() < 0.5:
            breaker.heard(BAD)
            breaker.heard(BAD, again=True)
        else:
            breaker.heard(GOOD)
    assert breaker.stopped is None


async def test_a_judge_that_breaks_later_stops_the_lane_whatever_it_says() -> None:
    breaker = Breaker()
    for _ in range(1_000):
        breaker.heard(GOOD)
    for n in range(TUNING.out_of_latest):
        assert breaker.stopped is None
        breaker.heard(failure(f"overloaded, request {uuid4()}" if n % 3 else f"no answer in {n} s"))
    assert breaker.stopped == (
        f"the judge gave no verdict on {TUNING.out_of_latest} of the latest {TUNING.latest} items, "
        "most often (30 times) with: evaluation_error: overloaded, request #"
    )


async def test_items_that_are_put_back_make_room_for_others_and_those_that_failed_do_not() -> None:
    breaker = Breaker(clock=Clock())
    while await taken(breaker, 1):
        pass
    breaker.put_back()
    assert await taken(breaker, 1) == 1
    breaker.heard(BAD)
    assert await now(breaker, 1) is None


@pytest.mark.parametrize(
    ("reason", "like"),
    [
        ("timed out (request 3f2c1a90-11aa-4bbb-8ccc-1234567890ab) after 12.5 s", "timed out (request #) after # s"),
        ("Error req_011CQ2abcDEF at 0xdeadBEEF", "Error # at #"),
        ("trace 8f3ab2c09d of deadbeefcafe: 17 of 2,000 at 12:30:11", "trace # of #: # of # at #"),
        ("HTTP 503 with a body of 12 bytes", "HTTP 503 with a body of # bytes"),
        ("evaluation_error: the judge fell over", "evaluation_error: the judge fell over"),
        ("LLM call failed (turing_flash): RateLimitError", "LLM call failed (turing_flash): RateLimitError"),
    ],
)
def test_what_differs_where_the_reason_is_the_same_is_masked(reason: str, like: str) -> None:
    assert masked(reason) == like
