"""A check's first items go ahead alone, and a lane that only meets refusals is stopped."""

from __future__ import annotations

import asyncio
from math import ceil
from random import Random
from uuid import uuid4

import pytest

from fieval_tasks.core.items import Failed, Scored
from fieval_tasks.work.breaker import (
    BOUGHT_A_SECOND,
    BOUGHT_AT_FIRST,
    CANARIES,
    GROWTH,
    LATEST,
    MISJUDGED_AT_FIRST,
    MISJUDGED_SHARE,
    OUT_OF_LATEST,
    REFUSED_ANYHOW,
    REFUSED_AT_FIRST,
    REFUSED_LATER,
    Breaker,
    Leave,
    masked,
)

GOOD = Scored(value="Passed", score=1.0, passed=True, reason="because", runtime_ms=5.0)


def failure(message: str) -> Failed:
    return Failed("evaluate", "evaluation_error", message)


BAD = failure("no input received")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Told:
    """What a breaker said when it stopped its lane."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def __call__(self, why: str) -> None:
        self.reasons.append(why)


@pytest.fixture
def told() -> Told:
    return Told()


async def now(breaker: Breaker, n: int) -> Leave | None:
    """What it says at once; None where it lets wait."""
    asking = asyncio.ensure_future(breaker.admit(n))
    await asyncio.sleep(0)
    if not asking.done():
        asking.cancel()
        return None
    return asking.result()


async def taken(breaker: Breaker, n: int) -> Leave | None:
    leave = await now(breaker, n)
    if leave in (Leave.SEND, Leave.CANARY):
        breaker.returned(leave, n, taken=leave.items(n))
    return leave


async def refused(breaker: Breaker, reason: str) -> Leave | None:
    leave = await now(breaker, 3)
    if leave in (Leave.SEND, Leave.CANARY):
        breaker.refused(reason)
        breaker.returned(leave, 3, taken=0)
    return leave


async def test_the_first_go_alone_and_the_rest_waits_for_one_to_be_taken(told: Told) -> None:
    breaker = Breaker(told)
    assert [await now(breaker, 3) for _ in range(CANARIES)] == [Leave.CANARY] * CANARIES
    waiting = asyncio.ensure_future(breaker.admit(3))
    await asyncio.sleep(0)
    assert not waiting.done()
    breaker.returned(Leave.CANARY, 3, taken=1)
    assert await waiting is Leave.SEND


async def test_a_canary_whose_reply_was_lost_makes_room_for_another(told: Told) -> None:
    breaker = Breaker(told)
    for _ in range(20):
        leave = await now(breaker, 3)
        assert leave is Leave.CANARY
        breaker.returned(leave, 3, taken=0)
    assert told.reasons == []


async def test_identical_refusals_from_the_start_stop_the_lane_before_much_is_sent(told: Told) -> None:
    breaker = Breaker(told)
    sent = [await refused(breaker, f"Input {n} is missing") for n in range(50)]
    assert sent.count(Leave.CANARY) == REFUSED_AT_FIRST
    assert set(sent[REFUSED_AT_FIRST:]) == {Leave.STAY}
    [why] = told.reasons
    assert why == f"the server refused {REFUSED_AT_FIRST} items in a row, each with: Input # is missing"


@pytest.mark.parametrize(
    ("answered", "said"),
    [
        (0, "the replies were lost to 10 items in a row"),
        (2, "the server refused, or its replies were lost to, 10 items"),
    ],
)
async def test_a_lane_that_is_stopped_by_lost_replies_does_not_say_that_the_server_refused(
    told: Told, answered: int, said: str
) -> None:
    breaker = Breaker(told)
    for n in range(REFUSED_ANYHOW):
        assert breaker.stopped is None
        breaker.refused("no reply within 5 s", lost=n >= answered)
    assert breaker.stopped is not None
    assert breaker.stopped.startswith(said)


async def test_never_more_canaries_are_out_than_could_still_be_refused(told: Told) -> None:
    breaker = Breaker(told)
    first = [await now(breaker, 1) for _ in range(CANARIES)]
    sent = len(first)
    for _ in range(CANARIES):
        breaker.refused("no")
        breaker.returned(Leave.CANARY, 1, taken=0)
        sent += await now(breaker, 1) is Leave.CANARY
    assert sent == REFUSED_AT_FIRST


async def test_those_who_wait_learn_that_the_lane_is_stopped(told: Told) -> None:
    breaker = Breaker(told)
    for _ in range(CANARIES):
        await now(breaker, 1)
    waiting = [asyncio.ensure_future(breaker.admit(1)) for _ in range(5)]
    await asyncio.sleep(0)
    for _ in range(REFUSED_AT_FIRST):
        breaker.refused("no")
    assert set(await asyncio.gather(*waiting)) == {Leave.STAY}


async def test_until_one_is_taken_refusals_count_whatever_their_reasons(told: Told) -> None:
    breaker = Breaker(told)
    sent = [await refused(breaker, f"{chr(97 + n)} is no answer") for n in range(50)]
    assert sent.count(Leave.CANARY) == REFUSED_ANYHOW
    assert set(sent[REFUSED_ANYHOW:]) == {Leave.STAY}


async def test_refusals_for_different_reasons_are_bad_rows_while_others_are_taken(told: Told) -> None:
    breaker = Breaker(told)
    for n in range(10 * LATEST):
        await taken(breaker, 1)
        breaker.heard(GOOD)
        await refused(breaker, "too long" if n % 2 else "too short")
    assert told.reasons == []


async def test_once_nearly_all_are_refused_the_lane_stops_whatever_the_reasons(told: Told) -> None:
    breaker = Breaker(told)
    await taken(breaker, 1)
    for n in range(OUT_OF_LATEST):
        assert told.reasons == []
        await refused(breaker, "too long" if n % 2 else "too short")
    [why] = told.reasons
    assert why == "the server refused 45 of the latest 46 items, most often (23 times) with: too short"


async def test_a_lane_that_has_begun_well_stops_only_after_many_refusals_in_a_row(told: Told) -> None:
    breaker = Breaker(told)
    await taken(breaker, 1)
    breaker.heard(GOOD)
    for _ in range(REFUSED_LATER - 1):
        await refused(breaker, "no")
    assert await taken(breaker, 1) is Leave.SEND
    for _ in range(REFUSED_LATER):
        await refused(breaker, "no")
    assert await taken(breaker, 1) is Leave.STAY


async def test_before_the_first_verdict_only_so_many_items_are_out(told: Told) -> None:
    breaker = Breaker(told, clock=Clock())
    await taken(breaker, 3)
    while await taken(breaker, 3) is Leave.SEND:
        pass
    waiting = asyncio.ensure_future(breaker.admit(3))
    await asyncio.sleep(0)
    assert not waiting.done()
    breaker.heard(GOOD)
    assert await waiting is Leave.SEND


async def test_each_verdict_lets_four_times_as_many_go(told: Told) -> None:
    breaker = Breaker(told, clock=Clock())
    await taken(breaker, 1)
    for judged in range(4):
        while await taken(breaker, 1) is Leave.SEND:
            pass
        assert breaker._bought == BOUGHT_AT_FIRST * GROWTH**judged
        breaker.heard(GOOD)


async def test_requests_on_their_way_count_as_out(told: Told) -> None:
    breaker = Breaker(told, clock=Clock())
    await taken(breaker, 1)
    going = 0
    while await now(breaker, 3) is Leave.SEND:
        going += 3
    assert BOUGHT_AT_FIRST - 4 <= going + 1 <= BOUGHT_AT_FIRST


async def test_a_slow_judge_is_no_reason_to_wait_for_ever(told: Told) -> None:
    clock = Clock()
    breaker = Breaker(told, clock=clock)
    while await taken(breaker, 1) in (Leave.CANARY, Leave.SEND):
        pass
    clock.now = 10.0
    more = [await taken(breaker, 1) for _ in range(100)]
    assert more.count(Leave.SEND) == 10 * BOUGHT_A_SECOND


async def test_who_only_submits_waits_for_no_verdict(told: Told) -> None:
    breaker = Breaker(told, awaits_verdicts=False)
    await taken(breaker, 3)
    assert all([await taken(breaker, 3) is Leave.SEND for _ in range(BOUGHT_AT_FIRST)])


@pytest.mark.parametrize("reason", ["no input received", "request {id}: the judge fell over", "{either}"])
async def test_what_nobody_judges_is_bought_a_hundred_times_at_most_whatever_it_is_said_to_be(
    told: Told, reason: str
) -> None:
    """Each failed item is to be bought once more, as in a run."""
    breaker = Breaker(told, clock=Clock())
    bought, again = 0, set()
    for _ in range(2_000):
        if await taken(breaker, 1) in (Leave.STAY, None):
            break
        bought += 1
    for n in range(bought):
        breaker.heard(failure(reason.format(id=uuid4(), either=("timed out", "overloaded")[n % 2])))
        again.add(asyncio.ensure_future(breaker.relents()))
        await asyncio.sleep(0)
        if breaker.stopped is not None:
            break
    assert bought == BOUGHT_AT_FIRST
    assert not any(await asyncio.gather(*again))
    assert n + 1 == ceil(MISJUDGED_SHARE * BOUGHT_AT_FIRST)


async def test_of_a_slow_submission_ten_failures_without_a_verdict_are_enough(told: Told) -> None:
    breaker = Breaker(told)
    for _ in range(MISJUDGED_AT_FIRST):
        assert await taken(breaker, 1) is not Leave.STAY
        breaker.heard(BAD)
    assert await taken(breaker, 1) is Leave.STAY
    assert told.reasons == [
        f"the judge gave no verdict on {MISJUDGED_AT_FIRST} items in a row, each with: evaluation_error: no input received"
    ]


async def test_failures_that_show_before_slower_verdicts_do_not_stop_the_lane(told: Told) -> None:
    breaker = Breaker(told, clock=Clock())
    while await taken(breaker, 1) in (Leave.CANARY, Leave.SEND):
        pass
    for _ in range(BOUGHT_AT_FIRST // 2):  # more than three in ten
        breaker.heard(BAD)
    waiting = asyncio.ensure_future(breaker.relents())
    await asyncio.sleep(0)
    assert not waiting.done(), "what failed is not bought again before anything was judged"
    breaker.heard(GOOD)
    assert await waiting
    assert told.reasons == []


@pytest.mark.parametrize("share", [0.3, 0.5])
async def test_a_share_of_failures_never_stops_a_lane_that_judges(told: Told, share: float) -> None:
    breaker, random = Breaker(told), Random(7)
    await taken(breaker, 1)
    breaker.heard(GOOD)
    for n in range(20_000):
        breaker.heard(failure(f"{n}") if random.random() < share else GOOD)
    assert told.reasons == []


async def test_a_row_that_fails_twice_counts_once_as_a_row_that_fails(told: Told) -> None:
    breaker, random = Breaker(told), Random(7)
    breaker.heard(GOOD)
    for _ in range(20_000):
        if random.random() < 0.5:
            breaker.heard(BAD)
            breaker.heard(BAD, again=True)
        else:
            breaker.heard(GOOD)
    assert told.reasons == []


async def test_a_judge_that_breaks_later_stops_the_lane_whatever_it_says(told: Told) -> None:
    breaker = Breaker(told)
    for _ in range(1_000):
        breaker.heard(GOOD)
    for n in range(OUT_OF_LATEST):
        assert told.reasons == []
        breaker.heard(failure(f"overloaded, request {uuid4()}" if n % 3 else f"no answer in {n} s"))
    assert told.reasons == [
        f"the judge gave no verdict on {OUT_OF_LATEST} of the latest {LATEST} items, "
        "most often (30 times) with: evaluation_error: overloaded, request #"
    ]


async def test_items_that_are_put_back_make_room_for_others_and_those_that_failed_do_not(told: Told) -> None:
    breaker = Breaker(told, clock=Clock())
    while await taken(breaker, 1) in (Leave.CANARY, Leave.SEND):
        pass
    breaker.put_back()
    assert await taken(breaker, 1) is Leave.SEND
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
