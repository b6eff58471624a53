"""The platform's tiers, simulated with hours and days in virtual time: recognised or named, and kept to exactly."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fieval_tasks.core.errors import UsedUp
from fieval_tasks.core.tiers import CUSTOM, DAY, DEFAULT, Tier
from fieval_tasks.pace.pace import LongestWait
from fieval_tasks.pace.quota import Allowed, Quotas
from fieval_tasks.work.work_tuning import WorkTuning
from tests.pace.pace_simulation import Limiter, Sliding, Together, evaluations
from tests.pace.test_pace import SEEDS, in_no_time


def server(tier: Tier) -> Limiter:
    return Together(*(Sliding(count, seconds) for count, seconds in tier.windows))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("pack", [1, 3, 10])
@pytest.mark.parametrize("speed", [30.0, 400.0])
def test_the_default_tier_is_recognised_at_the_cost_of_a_few(seed: int, pack: int, speed: float) -> None:
    run = evaluations(server(DEFAULT), items=200, seed=seed, pack=pack, speed=speed)
    assert run.quota.tier == DEFAULT
    assert len(run.refused) <= 5
    assert run.last_submitted <= 1.03 * 180


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tier", [DEFAULT, CUSTOM, Tier.parse("20/s,600/min")])
def test_nothing_is_refused_by_a_tier_that_is_named(seed: int, tier: Tier) -> None:
    count, seconds = tier.windows[-1] if tier.name == "20/s,600/min" else tier.windows[0]
    items = 4 * count
    run = evaluations(server(tier), items=items, seed=seed, pack=3, speed=600.0, quota={"tier": tier})
    assert run.refused == []
    assert run.last_submitted <= 3 * seconds + 40


def test_the_custom_tier_is_recognised_too() -> None:
    run = evaluations(server(CUSTOM), items=12_000, seed=1, pack=3, speed=600.0)
    assert run.quota.tier == CUSTOM
    assert len(run.refused) <= 12_000 / 20
    assert run.last_submitted <= 130


@pytest.mark.parametrize(
    ("limit", "taken_for", "seconds"),
    [(Sliding(50, 1.0), None, 8.0), (Sliding(50, 10.0), DEFAULT, 250.0), (Sliding(60, 60.0), None, 315.0)],
)
def test_a_limit_that_only_looks_like_a_tier(limit: Sliding, taken_for: Tier | None, seconds: float) -> None:
    run = evaluations(limit, items=5 * limit.limit, seed=3, pack=3)
    assert run.quota.tier == taken_for
    assert run.last_submitted <= seconds


def test_an_hour_and_a_day_are_kept_to_as_well() -> None:
    patient = evaluations(server(DEFAULT), items=1_100, seed=1, pack=3, quota={"tier": DEFAULT}, until=2 * DAY)
    assert patient.refused == []
    assert len([at for at in patient.granted if at < 3600]) == 300
    assert len([at for at in patient.granted if at < DAY]) == 1_000
    assert len(patient.granted) == 1_100


@pytest.mark.parametrize("named", [DEFAULT, None])
def test_a_minute_that_is_full_is_waited_for_however_short_an_items_time_is(named: Tier | None) -> None:
    quota = {"tier": named, "longest_wait": LongestWait(WorkTuning.shortest_wait)}
    run = evaluations(server(DEFAULT), items=120, seed=1, speed=2_000.0, quota=quota)
    assert (run.stopped_for, len(run.granted)) == (None, 120)


@pytest.mark.parametrize("named", [DEFAULT, None])
def test_where_an_hour_is_full_nobody_waits_longer_than_is_allowed(named: Tier | None) -> None:
    quota = {"tier": named, "longest_wait": LongestWait(600.0)}
    run = evaluations(server(DEFAULT), items=1_000, seed=1, pack=3, quota=quota)
    assert len(run.granted) == 300
    assert run.stopped_for == pytest.approx(3600 - 300, abs=20)


@pytest.mark.parametrize("named", [DEFAULT, None])
def test_a_run_that_begins_in_the_middle_of_a_window_counts_what_was_sent_in_it(named: Tier | None) -> None:
    limiter = server(DEFAULT)
    first = evaluations(limiter, items=40, seed=1, pack=3, quota={"tier": named})
    again = {"tier": named, "earlier": first.granted}
    second = evaluations(limiter, items=60, seed=2, pack=3, quota=again, since=20.0)
    assert second.quota.tier == DEFAULT
    assert len(second.refused) <= (0 if named else 3)
    assert sum(at < 60.0 for at in second.granted) == 10
    assert second.last_submitted <= 82.0


def test_an_hour_that_earlier_runs_have_used_up_is_recognised_by_two_that_are_refused() -> None:
    limiter, earlier = server(DEFAULT), list[float]()
    for minute in range(6):
        run = evaluations(limiter, items=50, seed=minute, quota={"tier": DEFAULT}, since=100.0 * minute)
        earlier += run.granted
    quota = {"earlier": earlier, "longest_wait": LongestWait(600.0)}
    stopped = evaluations(limiter, items=50, seed=9, quota=quota, since=1_200.0)
    assert (stopped.quota.tier, len(stopped.refused), stopped.granted) == (DEFAULT, 2, [])
    assert stopped.stopped_for == pytest.approx(2_400, abs=20)


def test_others_who_use_the_account_cost_a_pause_and_a_try() -> None:
    limiter = server(DEFAULT)
    for n in range(30):
        assert limiter.refuses(n / 100) is None
    run = evaluations(limiter, items=60, seed=1, pack=3, quota={"tier": DEFAULT}, since=1.0)
    assert len(run.refused) <= 50
    assert run.last_submitted <= 75


def test_two_judge_models_have_a_tier_each_and_code_has_none() -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> None:
        quotas = Quotas(Allowed(DEFAULT, {"large": [1.0] * 50}), clock=loop.time)
        admitted: dict[str | None, float] = {}

        async def send(model: str | None, n: int) -> None:
            for _ in range(n):
                with await quotas.quota_of(model).admit() as admission:
                    admission.sent(loop.time())
                    quotas.quota_of(model).granted(loop.time())
                    admitted[model] = loop.time()

        await asyncio.gather(send("large", 1), send("flash", 50), send(None, 200))
        assert admitted["flash"] == 0.0
        assert admitted[None] < 5.0
        assert admitted["large"] == pytest.approx(60.0, abs=1.0)

    in_no_time(run)


def test_a_run_that_would_have_to_wait_for_too_long_is_told_until_when() -> None:
    allowed = Allowed(DEFAULT, {"flash": [10.0 * n for n in range(1, 301)]})

    async def run(loop: asyncio.AbstractEventLoop) -> list[Any]:
        quota = Quotas(allowed, longest_wait=LongestWait(500.0), clock=loop.time).quota_of("flash")
        return await asyncio.gather(*(quota.admit(3) for _ in range(5)), return_exceptions=True)

    told = in_no_time(run)
    assert [type(error) for error in told] == [UsedUp] * 5
    assert "the evaluations that flash may make (tier default) are used up until" in str(told[0])
    assert "no more than 500 s are waited for: carry on then" in str(told[0])


def test_while_a_tier_is_full_it_is_said() -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> str:
        quotas = Quotas(Allowed(DEFAULT, {"flash": [1.0] * 50}), clock=loop.time)
        assert quotas.waits == ""
        waiting = asyncio.ensure_future(quotas.quota_of("flash").admit())
        await asyncio.sleep(1.0)
        told = quotas.waits
        waiting.cancel()
        await asyncio.wait([waiting])
        return told

    assert in_no_time(run).startswith("the evaluations that flash may make (tier default) are used up until ")


def test_who_hears_nothing_of_refusals_keeps_to_a_tier_that_is_named_and_to_nothing_else() -> None:
    async def run(loop: asyncio.AbstractEventLoop) -> list[float]:
        ends = []
        for allowed in (Allowed(), Allowed(DEFAULT)):
            quota = Quotas(allowed, hears_refusals=False, clock=loop.time).quota_of("flash")
            for _ in range(200):
                with await quota.admit() as admission:
                    admission.sent(loop.time())
            ends.append(loop.time())
        return ends

    assert in_no_time(run) == [0.0, pytest.approx(183.0, abs=0.1)]
