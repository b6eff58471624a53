"""Permits from a limit that processes share, simulated: time jumps, and the limit decays as Prefect's does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from random import Random
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieval_tasks.core.errors import RunStopped
from fieval_tasks.pace.pace import Pace
from fieval_tasks.pace.pace_tuning import PERMIT_TUNING, PermitTuning
from fieval_tasks.pace.permits import Away, Full, Leased, Permits
from tests.pace.pace_simulation import JumpingLoop

T = TypeVar("T")
NOT_DUE_YET = 1_000.0


def simulated(work: Callable[[JumpingLoop], Awaitable[T]]) -> T:
    loop = JumpingLoop()
    try:
        return loop.run_until_complete(work(loop))  # type: ignore[arg-type]
    finally:
        for task in asyncio.all_tasks(loop):  # such as the lease of permits that a test did not close
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


class Limit:
    """Prefect's: slots that decay. Reading it and asking it are two calls, which take a moment."""

    def __init__(
        self, loop: JumpingLoop, *, rate: float, limit: int, block: int, least: int = 60, call: float = 0.02
    ) -> None:
        self.loop = loop
        self.least = least
        self.rate = rate
        self.limit = limit
        self.block = block
        self.call = call
        self.calls = 0
        self.given_back = 0
        self._slots = 0.0
        self._at = 0.0

    @property
    def slots(self) -> float:
        return max(0.0, self._slots - self.rate * (self.loop.time() - self._at))

    async def lease(self, wanted: int) -> Leased | Full | Away:
        seen = await self._called()
        n = self.block if seen < self.block else min(self.block, max(self.least, 2 * wanted))
        if seen + n > self.limit:
            return Full((seen + n - self.limit) / self.rate)
        looked_at = self.loop.time()
        if await self._called() + n > self.limit:
            return Full(n / self.rate)
        self._slots, self._at = self.slots + n, self.loop.time()
        after = await self._called()
        since = self.loop.time() - looked_at
        return Leased.between(n, self.rate, before=seen, after=after, since=since)

    async def _called(self) -> float:
        self.calls += 1
        await asyncio.sleep(self.call)
        return self.slots

    async def give_back(self, permits: int) -> None:
        self.given_back += permits

    async def aclose(self) -> None:
        return


class Sometimes:
    """A source that is away at first."""

    def __init__(self, times: float, then: Leased | Full | Away | None = None) -> None:
        self.left = times
        self.then = then or Leased(10, 100.0, due_in=0.0, over=0.1)

    async def lease(self, wanted: int) -> Leased | Full | Away:
        self.left -= 1
        return Away("it does not answer") if self.left >= 0 else self.then

    async def give_back(self, permits: int) -> None:
        return

    async def aclose(self) -> None:
        return


async def used(permits: Permits, into: list[float], *, until: float, pause: float = 0.0) -> None:
    """One request after the other, each with a pause after it."""
    while (at := await permits.take()) < until:
        into.append(at)
        await asyncio.sleep(pause)


def saturated(processes: int, *, rate: float, limit: int, block: int, seconds: float) -> tuple[list[float], Limit]:
    """When requests went out, of processes that each have more to send than they may."""

    async def work(loop: JumpingLoop) -> tuple[list[float], Limit]:
        shared = Limit(loop, rate=rate, limit=limit, block=block)
        went: list[float] = []
        some = [Permits(shared, clock=loop.time) for _ in range(processes)]
        await asyncio.gather(*(used(permits, went, until=seconds) for permits in some))
        for permits in some:
            await permits.aclose()
        return sorted(went), shared

    return simulated(work)


def most_in_a_second(times: list[float]) -> int:
    first = most = 0
    for n, time in enumerate(times):
        while times[first] <= time - 1.0:
            first += 1
        most = max(most, n - first + 1)
    return most


def test_three_processes_use_the_limit_and_do_not_exceed_it() -> None:
    went, shared = saturated(3, rate=190, limit=570, block=190, seconds=60)
    assert len(went) >= 0.95 * 190 * 60
    assert most_in_a_second(went) <= 200
    assert shared.calls <= 500 * len(went) / 10_000


class Halting(Permits):
    """Of a process that stands still for a moment now and then, as where cores are few."""

    halts: Sequence[tuple[float, float]] = ()

    def wait(self, now: float) -> float:
        end = next((end for start, end in self.halts if start <= now < end), None)
        return super().wait(now) if end is None else end - now


@settings(max_examples=5)
@given(chance=st.randoms(use_true_random=False), longest=st.floats(0.01, 1.0))
def test_processes_that_halt_hardly_make_up_for_it(chance: Random, longest: float) -> None:
    async def work(loop: JumpingLoop) -> list[float]:
        shared = Limit(loop, rate=180, limit=720, block=180)
        some, went = [Halting(shared, clock=loop.time) for _ in range(3)], list[float]()
        for permits in some:
            permits.halts = [(start, start + chance.uniform(0.0, longest)) for start in range(2, 20, 2)]
        await asyncio.gather(
            *(used(one, went, until=20.0, pause=0.05) for one in some for _ in range(PERMIT_TUNING.few + 5))
        )
        await asyncio.gather(*(permits.aclose() for permits in some))
        return sorted(went)

    assert most_in_a_second(simulated(work)) <= 180 * (1 + PERMIT_TUNING.kept) + 3


def test_a_process_with_little_to_send_leaves_the_rest_to_others() -> None:
    async def now_and_then(permits: Permits, into: list[float]) -> None:
        while (at := await permits.take()) < 60.0:
            into.append(at)
            await asyncio.gather(*(permits.take() for _ in range(2 * PERMIT_TUNING.few)))
            await asyncio.sleep(1.0)

    async def work(loop: JumpingLoop) -> list[float]:
        shared = Limit(loop, rate=190, limit=760, block=190)
        some, went = [Permits(shared, clock=loop.time) for _ in range(3)], list[float]()
        busy = (used(one, went, until=60.0, pause=0.05) for one in some[:2] for _ in range(30))
        await asyncio.gather(*busy, now_and_then(some[2], []))
        await asyncio.gather(*(permits.aclose() for permits in some))
        return went

    assert len(simulated(work)) >= 0.8 * 190 * 60


def test_one_process_keeps_an_even_beat() -> None:
    went, _ = saturated(1, rate=100, limit=200, block=50, seconds=30)
    assert most_in_a_second(went) <= 102
    assert len(went) >= 0.97 * 100 * 30


@given(processes=st.integers(1, 5), rate=st.integers(1, 500), blocks=st.integers(2, 6), block=st.integers(1, 100))
def test_the_limit_holds_whatever_its_shape(processes: int, rate: int, blocks: int, block: int) -> None:
    went, _ = saturated(processes, rate=float(rate), limit=blocks * block, block=block, seconds=10)
    assert most_in_a_second(went) <= rate + (processes + blocks) * block
    assert len(went) <= 10 * rate + (processes + blocks) * block


def test_low_demand_costs_few_calls() -> None:
    async def work(loop: JumpingLoop) -> tuple[int, int]:
        shared = Limit(loop, rate=200.0, limit=400, block=100)
        permits, went = Permits(shared, clock=loop.time), list[float]()
        await used(permits, went, until=600.0, pause=0.2)
        return len(went), shared.calls

    sent, calls = simulated(work)
    assert sent > 2_500
    assert calls <= sent / 20


async def paced(permits: Permits, into: list[float], *, rate: float, until: float) -> None:
    """Requests at a rate of the process's own, below the limit's."""
    while (at := await permits.take()) < until:
        into.append(at)
        await asyncio.sleep(1 / rate)


@pytest.mark.parametrize("demand", [15.0, 30.0, 100.0])
def test_middling_demand_of_one_process_costs_three_calls_a_block(demand: float) -> None:
    async def work(loop: JumpingLoop) -> tuple[int, int]:
        shared = Limit(loop, rate=200.0, limit=800, block=200)
        permits, went = Permits(shared, clock=loop.time), list[float]()
        await paced(permits, went, rate=demand, until=300.0)
        return len(went), shared.calls

    sent, calls = simulated(work)
    assert sent >= 0.95 * 300 * demand
    assert calls <= 3 * (sent / 200 + 2)


@settings(max_examples=5)
@given(demand=st.floats(10.0, 190.0), joins=st.floats(5.0, 30.0))
def test_whoever_joins_a_process_that_was_alone_exceeds_the_limit_by_a_block_at_most(
    demand: float, joins: float
) -> None:
    async def work(loop: JumpingLoop) -> list[float]:
        shared = Limit(loop, rate=200.0, limit=800, block=200)
        first, second = (Permits(shared, clock=loop.time) for _ in range(2))
        went = list[float]()

        async def join() -> None:
            await asyncio.sleep(joins)
            await asyncio.gather(*(used(second, went, until=60.0, pause=0.05) for _ in range(20)))

        await asyncio.gather(paced(first, went, rate=demand, until=60.0), join())
        return sorted(went)

    went = simulated(work)
    assert most_in_a_second(went) <= 200 * (1 + PERMIT_TUNING.kept) + demand + 3
    late = sum(joins <= at < 60.0 for at in went)
    assert late <= 200 * PERMIT_TUNING.catch_up * (60.0 - joins) + 200
    assert most_in_a_second([at for at in went if at > joins + 31.0]) <= 200 * (1 + PERMIT_TUNING.kept) + 3, (
        "no longer alone"
    )


def test_at_a_low_rate_a_request_now_and_then_has_the_next_permit() -> None:
    async def work(loop: JumpingLoop) -> tuple[int, int]:
        shared = Limit(loop, rate=1.0, limit=120, block=30)
        permits, went = Permits(shared, clock=loop.time), list[float]()
        await used(permits, went, until=300.0, pause=5.0)
        await permits.aclose()
        return len(went), shared.calls

    sent, calls = simulated(work)
    assert sent >= 50
    assert calls <= 33


def test_nothing_is_leased_before_it_is_wanted() -> None:
    async def work(loop: JumpingLoop) -> int:
        shared = Limit(loop, rate=10.0, limit=20, block=10)
        permits = Permits(shared, clock=loop.time)
        await asyncio.sleep(5)
        await permits.aclose()
        return shared.calls

    assert simulated(work) == 0


def test_what_is_not_due_yet_is_given_back_and_nothing_else() -> None:
    async def work(loop: JumpingLoop) -> int:
        shared = Limit(loop, rate=10.0, limit=20, block=10, call=0.0)
        permits = Permits(shared, clock=loop.time)
        await permits.take()  # at 0; the next are due at 0.1, 0.2 and so on
        await asyncio.sleep(0.45)
        await permits.aclose()
        return shared.given_back

    assert simulated(work) == 5


def test_after_a_pause_many_requests_do_not_live_on_old_permits() -> None:
    async def work(loop: JumpingLoop) -> list[float]:
        permits = Permits(Limit(loop, rate=100.0, limit=200, block=100, call=0.0), clock=loop.time)
        await permits.take()
        await asyncio.sleep(60.0)
        return sorted(await asyncio.gather(*(permits.take() for _ in range(50))))

    went = simulated(work)
    assert went[-1] - went[0] >= 0.48


def test_a_cancelled_request_leaves_its_permit_to_the_next() -> None:
    async def work(loop: JumpingLoop) -> float:
        permits = Permits(Limit(loop, rate=10.0, limit=20, block=10, call=0.0), clock=loop.time)
        await permits.take()
        first, second = (asyncio.ensure_future(permits.take()) for _ in range(2))
        await asyncio.sleep(0.01)
        first.cancel()
        return await second

    assert simulated(work) == pytest.approx(0.1)


def test_while_the_source_is_away_nobody_goes_without_a_permit() -> None:
    async def work(loop: JumpingLoop) -> tuple[float, int]:
        permits = Permits(Sometimes(4), clock=loop.time)
        return await permits.take(), permits.times_away

    at, times = simulated(work)
    assert times == 4
    assert at >= 0.25 + 0.5 + 1.0 + 2.0


def test_a_source_that_stays_away_ends_the_run_for_everyone() -> None:
    async def work(loop: JumpingLoop) -> tuple[list[object], float]:
        permits = Permits(Sometimes(inf), tuning=PermitTuning(patience=60.0), clock=loop.time)
        told = await asyncio.gather(*(permits.take() for _ in range(3)), return_exceptions=True)
        return [*told, *await asyncio.gather(permits.take(), return_exceptions=True)], loop.time()

    told, at = simulated(work)
    assert [type(error) for error in told] == [RunStopped] * 4
    assert "it does not answer" in str(told[0])
    assert 60.0 < at < 60.0 + 61.0


def test_permits_that_come_too_late_are_followed_by_others() -> None:
    class Late(Sometimes):
        async def lease(self, wanted: int) -> Leased | Full | Away:
            self.left -= 1
            return Leased(10, 100.0, due_in=-60.0, over=0.1) if self.left >= 0 else self.then

    async def work(loop: JumpingLoop) -> float:
        return await Permits(Late(2), clock=loop.time).take()

    assert simulated(work) == 0.0


def test_a_limit_that_is_gone_ends_the_run() -> None:
    class Gone(Sometimes):
        async def lease(self, wanted: int) -> Leased | Full | Away:
            raise RunStopped("there is no such limit")

    async def work(loop: JumpingLoop) -> None:
        await Permits(Gone(0), clock=loop.time).take()

    with pytest.raises(RunStopped, match="no such limit"):
        simulated(work)


def test_whoever_waits_is_cancelled_when_the_run_stops() -> None:
    async def work(loop: JumpingLoop) -> tuple[bool, int]:
        source = Sometimes(0, then=Leased(10, 1.0, due_in=NOT_DUE_YET, over=10.0))
        pace = Pace(permits=Permits(source, clock=loop.time), concurrency=2)
        waiting = asyncio.ensure_future(entered(pace))
        await asyncio.sleep(1)
        assert pace.in_flight == 1
        pace.permits.stop()
        await asyncio.wait([waiting])
        return waiting.cancelled(), pace.in_flight

    assert simulated(work) == (True, 0)


async def entered(pace: Pace) -> float:
    async with pace.turn("poll") as turn:
        return turn.started_at


def test_a_turn_begins_when_its_permit_is_due() -> None:
    async def work(loop: JumpingLoop) -> list[float]:
        permits = Permits(Limit(loop, rate=10.0, limit=20, block=10, call=0.0), clock=loop.time)
        pace = Pace(permits=permits, concurrency=4)
        return await asyncio.gather(*(entered(pace) for _ in range(4)))

    assert simulated(work) == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_full_means_waiting_for_room() -> None:
    class FullAtFirst(Sometimes):
        async def lease(self, wanted: int) -> Leased | Full | Away:
            self.left -= 1
            return Full(5.0) if self.left >= 0 else self.then

    async def work(loop: JumpingLoop) -> float:
        return await Permits(FullAtFirst(2), clock=loop.time).take()

    assert 10.0 <= simulated(work) <= 12.0
