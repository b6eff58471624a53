"""A server that is away is asked by one request after each of a few growing pauses; one item's own fault pauses nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import closing
from itertools import pairwise
from math import inf
from typing import Any

import httpx
import pytest

from fieval_tasks.core import policy
from fieval_tasks.core.errors import (
    GatewayFault,
    KeysRefused,
    Lost,
    Miscounted,
    NotTheProtocol,
    Refused,
    RunStopped,
    ServerFault,
    Throttled,
    Unreachable,
)
from fieval_tasks.core.items import State
from fieval_tasks.core.plan import Mode
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.pace.pace import LongestWait, Pace
from fieval_tasks.pace.pace_tuning import SHOWN_FROM, TUNING, PaceTuning
from fieval_tasks.runs.workers import threads, work_once
from fieval_tasks.work.engine import Engine
from fieval_tasks.work.options import Options
from fieval_tasks.work.work_tuning import WorkTuning
from tests.pace.pace_simulation import JumpingLoop
from tests.platform import Platform, refusal
from tests.work.test_engine import a_run, results

AWAY = 30.0
"""Seconds."""


class Server:
    """It is away for a while; `fails` says what a request about `about` meets then, None: it goes well all the same."""

    def __init__(self, pace: Pace, clock: Callable[[], float], *, away: tuple[float, float]) -> None:
        self.pace = pace
        self._clock = clock
        self._away = away
        self.in_vain: list[float] = []
        self.answered: list[float] = []

    async def asked(self, kind: Any, about: object) -> bool:
        async with self.pace.turn(kind) as turn:
            await asyncio.sleep(0.04)
            if self._away[0] <= self._clock() < self._away[1]:
                self.in_vain.append(self._clock())
                self.failed(turn, about)
                return False
            self.answered.append(self._clock())
            turn.accepted()
            return True

    def failed(self, turn: Any, about: object) -> None:
        turn.failed(None)


class Gateway(Server):
    """It answers 502 instead of refusing the connection."""

    def failed(self, turn: Any, about: object) -> None:
        turn.failed(about)


def on_a_clock_that_jumps(work: Callable[[asyncio.AbstractEventLoop], Coroutine[Any, Any, None]]) -> None:
    with closing(JumpingLoop()) as loop:
        loop.run_until_complete(work(loop))


@pytest.mark.parametrize("kind", [Server, Gateway])
def test_thousands_who_wait_ask_a_server_that_is_away_a_hundred_times_and_notice_soon_that_it_is_back(
    kind: type[Server],
) -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        pace = Pace(concurrency=96, clock=loop.time)
        server = kind(pace, loop.time, away=(3.0, 3.0 + AWAY))

        async def until_answered(n: int) -> None:
            await asyncio.sleep(n / 500)
            while not await server.asked("submit" if n % 3 == 0 else "poll", n):
                await asyncio.sleep(0.2)

        await asyncio.gather(*map(until_answered, range(4_000)))
        probes = [at for at in server.in_vain if at > 3.5]
        assert len(server.in_vain) <= 96 + TUNING.different + 15
        assert len(probes) <= 15
        assert max(b - a for a, b in pairwise(probes)) <= TUNING.longest_away_pause + 0.1
        assert min(at for at in server.answered if at > 3.5) <= 3.0 + AWAY + TUNING.longest_away_pause + 0.1

    on_a_clock_that_jumps(run)


def test_one_row_that_always_fails_pauses_nobody() -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        pace = Pace(concurrency=4, clock=loop.time)
        for _ in range(100):
            async with pace.turn("poll") as turn:
                turn.failed("the bad row")
        assert loop.time() == 0.0

    on_a_clock_that_jumps(run)


def test_failures_between_which_something_is_answered_pause_nobody() -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        pace = Pace(concurrency=4, clock=loop.time)
        for n in range(100):
            async with pace.turn("poll") as turn:
                if n % TUNING.different:
                    turn.failed(n)
                else:
                    turn.answered()
        assert loop.time() == 0.0

    on_a_clock_that_jumps(run)


def test_a_probe_that_never_tells_holds_up_nobody_for_ever() -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        pace = Pace(concurrency=4, clock=loop.time)
        async with pace.turn() as turn:
            turn.failed(None)
        async with pace.turn():
            began = loop.time()  # and it is cancelled, say
        async with pace.turn():
            assert loop.time() - began <= TUNING.probe + 0.1

    on_a_clock_that_jumps(run)


def test_what_was_on_its_way_when_the_outage_was_noticed_makes_no_pause_longer() -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        pace = Pace(concurrency=64, clock=loop.time)

        async def lost(n: int) -> None:
            async with pace.turn() as turn:
                await asyncio.sleep(0.1)
                turn.failed(None)

        await asyncio.gather(*map(lost, range(16)))
        async with pace.turn() as turn:
            turn.accepted()
        assert loop.time() <= 1.0

    on_a_clock_that_jumps(run)


@pytest.mark.parametrize(
    ("error", "is_answer"),
    [
        (Unreachable(""), False), (Lost(""), False), (GatewayFault(""), False), (ServerFault(""), False),
        (NotTheProtocol(""), False), (Miscounted(""), True), (Refused(""), True), (Throttled(""), True), (KeysRefused(""), True),
    ],
)  # fmt: skip
def test_only_what_the_server_itself_says_is_an_answer(error: Any, is_answer: bool) -> None:
    assert policy.is_answer(error) is is_answer


# -- a wait that is asked for ----------------------------------------------------------------------------------------------


def test_a_wait_that_is_asked_for_is_said_while_it_lasts() -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        pace = Pace(concurrency=4, longest_wait=LongestWait(600.0), clock=loop.time)
        pace.throttled(SHOWN_FROM / 2, loop.time())
        assert pace.waits == ""
        pace.throttled(300.0, loop.time())
        assert pace.waits.startswith("the server asked to wait until ")
        await asyncio.sleep(300.0)
        assert pace.waits == ""
        assert pace.longest_asked == 300.0

    on_a_clock_that_jumps(run)


@pytest.mark.parametrize(
    ("longest", "asked", "said"),
    [
        (LongestWait(600.0), 86_000.0, "the server asked to wait until .*, and no more than 600 s are waited for"),
        (LongestWait(600.0), 1e300, "the server asked to wait until"),
        (LongestWait(ends_at=100.0), 300.0, "which is after the time given by --timeout"),
    ],
)
def test_a_wait_beyond_what_anybody_waits_stops_the_run(longest: LongestWait, asked: float, said: str) -> None:
    pace = Pace(concurrency=4, clock=lambda: 0.0, longest_wait=longest)
    with pytest.raises(RunStopped, match=said):
        pace.throttled(asked, 0.0)


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SUBMIT])
def test_a_server_that_asks_to_wait_a_day_ends_the_run_at_once_and_it_can_be_resumed(
    ledger: Ledger, method: str, mode: Mode
) -> None:
    def a_day(request: httpx.Request, _: Platform) -> httpx.Response | None:
        return refusal("slow down", status=429, retry_after="86000") if request.method == method else None

    platform = Platform(trouble=a_day)
    run = a_run(ledger, [f"answer {n}" for n in range(60)])
    if (method, mode) != ("GET", Mode.SUBMIT):
        with (
            pytest.raises(RunStopped, match="asked to wait until"),
            Engine(run, ledger, platform.client, Options(mode=mode)) as engine,
            threads(engine) as workers,
        ):
            work_once(engine, mode, workers)
    assert ledger.book(run.run_id).counts()[State.FAILED] == 0
    platform.trouble = None
    with Engine(run, ledger, platform.client, Options(mode=Mode.ASYNC)) as engine, threads(engine) as workers:
        work_once(engine, Mode.ASYNC, workers)
    assert {r.status for r in results(ledger, run).values()} == {"scored"}
    assert set(platform.taken.values()) == {1}


@pytest.mark.parametrize(
    ("item_timeout", "longest"), [(5.0, WorkTuning.shortest_wait), (600.0, 600.0), (86_400.0, WorkTuning.longest_wait)]
)
def test_nobody_waits_longer_than_an_item_may_take_nor_than_an_hour(
    ledger: Ledger, item_timeout: float, longest: float
) -> None:
    with Engine(
        a_run(ledger, ["x"]), ledger, Platform().client, Options(mode=Mode.SUBMIT, item_timeout=item_timeout)
    ) as engine:
        engine._at_work.pace.throttled(longest - 1.0, 0.0)
        with pytest.raises(RunStopped, match=f"{longest:,.0f} s"):
            engine._at_work.pace.throttled(longest + 1.0, 0.0)
        assert "asked to wait until" in engine.progress.waits
        assert any("asked everyone to wait" in notice for notice in engine.notices)


def test_a_server_that_is_gone_while_only_submissions_are_made_is_given_up(
    ledger: Ledger,
) -> None:
    platform = Platform(trouble=lambda *_: httpx.ReadTimeout("silence"))
    options = Options(
        mode=Mode.SUBMIT, pace_tuning=PaceTuning(longest_away_pause=0.02), work_tuning=WorkTuning(silence=0.2)
    )
    run = a_run(ledger, [f"answer {n}" for n in range(600)], chunk_size=600)
    with (
        pytest.raises(RunStopped, match="no answer for"),
        Engine(run, ledger, platform.client, options) as engine,
        threads(engine) as workers,
    ):
        work_once(engine, Mode.SUBMIT, workers)


# -- no request outlasts its item's time ------------------------------------------------------------------------------------


async def test_a_call_that_takes_longer_than_it_may_is_lost() -> None:
    async with Platform().client() as client:
        with pytest.raises(Lost, match="within 0 s"):
            await client.in_time(asyncio.sleep(3600), 0.01)
        assert await client.in_time(asyncio.sleep(0, "in time"), inf) == "in time"


class Dripping(Platform):
    """Whatever it is asked, by GET or POST, the reply never comes to its end."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self._method = method

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        reply = await super().handle_async_request(request)
        if request.method == self._method:
            await asyncio.sleep(3600)
        return reply


@pytest.mark.parametrize(("method", "mode"), [("GET", Mode.ASYNC), ("POST", Mode.SYNC), ("POST", Mode.ASYNC)])
def test_slow_bytes_do_not_outlast_an_items_time(ledger: Ledger, method: str, mode: Mode) -> None:
    tuning = WorkTuning(last_question=0.1, shortest_post=0.1, pause=lambda faults: 0.001, last_word=0.1)
    options = Options(mode=mode, item_timeout=0.3, on_lost_reply="ask", timeout=60.0, work_tuning=tuning)
    run = a_run(ledger, ["x"], mode=mode)
    with Engine(run, ledger, Dripping(method).client, options) as engine, threads(engine) as workers:
        work_once(engine, mode, workers)
    assert results(ledger, run)["x"].status == "pending"
