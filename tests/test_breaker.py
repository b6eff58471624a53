"""A check's first items go ahead alone, and a lane that only meets refusals is stopped."""

from __future__ import annotations

import asyncio

import pytest

from fieval_tasks.breaker import (
    CANARIES,
    MISJUDGED_AT_FIRST,
    PATIENCE,
    REFUSED_AT_FIRST,
    REFUSED_LATER,
    UNJUDGED_AT_FIRST,
    Breaker,
    Leave,
)
from fieval_tasks.items import Failed, Scored

GOOD = Scored(value="Passed", score=1.0, passed=True, reason="because", runtime_ms=5.0)
BAD = Failed("evaluate", "evaluation_error", "no input received")


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
    assert (
        why
        == f"the server refused {REFUSED_AT_FIRST} items in a row, each with: Input {REFUSED_AT_FIRST - 1} is missing"
    )


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


async def test_refusals_for_different_reasons_are_bad_rows_and_no_bad_lane(told: Told) -> None:
    breaker = Breaker(told)
    await taken(breaker, 1)
    for n in range(10 * REFUSED_LATER):
        await refused(breaker, "too long" if n % 2 else "too short")
    assert told.reasons == []


async def test_a_lane_that_has_begun_well_stops_only_after_many_refusals_in_a_row(told: Told) -> None:
    breaker = Breaker(told)
    await taken(breaker, 1)
    breaker.heard([GOOD])
    for _ in range(REFUSED_LATER - 1):
        await refused(breaker, "no")
    assert await taken(breaker, 1) is Leave.SEND
    for _ in range(REFUSED_LATER):
        await refused(breaker, "no")
    assert await taken(breaker, 1) is Leave.STAY


async def test_before_the_first_verdict_only_so_many_items_are_out(told: Told) -> None:
    breaker = Breaker(told)
    await taken(breaker, 3)
    while await taken(breaker, 3) is Leave.SEND:
        pass
    waiting = asyncio.ensure_future(breaker.admit(3))
    await asyncio.sleep(0)
    assert not waiting.done()
    breaker.heard([GOOD])
    assert await waiting is Leave.SEND
    assert all([await taken(breaker, 3) is Leave.SEND for _ in range(UNJUDGED_AT_FIRST)])


async def test_requests_on_their_way_count_as_out(told: Told) -> None:
    breaker = Breaker(told)
    await taken(breaker, 1)
    going = 0
    while await now(breaker, 3) is Leave.SEND:
        going += 3
    assert UNJUDGED_AT_FIRST - 4 <= going + 1 <= UNJUDGED_AT_FIRST


async def test_a_slow_judge_is_no_reason_to_wait_for_ever(told: Told) -> None:
    clock = Clock()
    breaker = Breaker(told, clock=clock)
    while await taken(breaker, 3) in (Leave.CANARY, Leave.SEND):
        pass
    clock.now = PATIENCE
    assert await taken(breaker, 3) is Leave.SEND


async def test_who_only_submits_waits_for_no_verdict(told: Told) -> None:
    breaker = Breaker(told, awaits_verdicts=False)
    await taken(breaker, 3)
    assert all([await taken(breaker, 3) is Leave.SEND for _ in range(UNJUDGED_AT_FIRST)])


async def test_evaluations_that_all_fail_alike_stop_the_lane(told: Told) -> None:
    breaker = Breaker(told)
    await taken(breaker, 1)
    breaker.heard([BAD] * (MISJUDGED_AT_FIRST - 1))
    assert told.reasons == []
    breaker.heard([BAD])
    assert told.reasons == [
        f"{MISJUDGED_AT_FIRST} evaluations in a row failed, each with: evaluation_error: no input received"
    ]


async def test_a_verdict_between_failures_keeps_the_lane_open(told: Told) -> None:
    breaker = Breaker(told)
    await taken(breaker, 1)
    for _ in range(20):
        breaker.heard([BAD] * (MISJUDGED_AT_FIRST - 1))
        breaker.heard([GOOD])
    assert told.reasons == []


async def test_items_that_fail_or_are_put_back_make_room_for_others(told: Told) -> None:
    breaker = Breaker(told)
    while await taken(breaker, 1) in (Leave.CANARY, Leave.SEND):
        pass
    breaker.put_back()
    assert await taken(breaker, 1) is Leave.SEND
    breaker.heard([BAD])
    assert await taken(breaker, 1) is Leave.SEND
    assert await now(breaker, 1) is None
