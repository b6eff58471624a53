"""Several engines on one run, each with its share: every item once, whoever dies or never comes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from fieval_tasks.core.budget import Budget
from fieval_tasks.core.errors import Unreachable
from fieval_tasks.core.items import Item, State, Ticket
from fieval_tasks.core.plan import Mode
from fieval_tasks.ledger.changes import Sending, Submitted
from fieval_tasks.ledger.processes import owner_name
from fieval_tasks.ledger.reuse import Earlier
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.pace.permits import Leased
from fieval_tasks.runs.workers import Workers, threads, work_once, work_to_the_end
from fieval_tasks.work.engine import Engine
from fieval_tasks.work.options import Options, Share
from fieval_tasks.work.work_tuning import WorkTuning
from tests.conftest import PATIENCE
from tests.faults.driving import QUICK_PACE
from tests.platform import TEMPLATE, Platform, ok
from tests.work.test_engine import CHECK, a_run

ANSWERS = [f"answer {i}" for i in range(60)]


QUICK = WorkTuning(
    look_for_others=0.05,
    round=0.02,
    pause=lambda faults: 0.001,
    chunk_rests=0.001,
    shortest_gap=0.001,
    first_guess=0.001,
)


def work(ledger: Ledger, run: Run, platform: Platform, share: Share | None, **options: Any) -> list[int]:
    """What a shard does; the chunks that it began with."""
    mode, open_limit = options.pop("mode", Mode.ASYNC), options.pop("open_limit", None)
    chosen = Options(mode=mode, concurrency=8, share=share, work_tuning=QUICK, **options)
    with (
        Engine(run, ledger, platform.client, chosen, open_limit=open_limit) as engine,
        helping(engine) as workers,
    ):
        began_with = engine.to_submit()
        work_to_the_end(engine, mode, workers)
    return began_with


@contextmanager
def helping(engine: Engine) -> Iterator[Workers]:
    """Threads that also send what others leave."""
    with threads(engine) as workers, ThreadPoolExecutor(1) as aside:
        yield replace(workers, start=lambda chunks: [*workers.start(chunks), aside.submit(engine.submit_rest)])


def counted(ledger: Ledger, run: Run) -> dict[State, int]:
    return {state: n for state, n in ledger.book(run.run_id).counts().items() if n}


def test_shards_begin_with_different_chunks_and_send_every_item_once(ledger: Ledger) -> None:
    run, platform = a_run(ledger, ANSWERS, chunk_size=5), Platform(takes=0.02)
    with ThreadPoolExecutor(3) as shards:
        began = list(shards.map(lambda n: work(ledger, run, platform, Share(n, 3)), range(3)))
    assert all(chunk % 3 == n for n, chunks in enumerate(began) for chunk in chunks)
    assert counted(ledger, run) == {State.SCORED: 60}
    assert set(platform.taken.values()) == {1}


def test_shards_send_what_is_not_reused_and_each_evaluation_of_a_row_once(ledger: Ledger) -> None:
    platform, begun = Platform(takes=0.02), utc_now()
    work(ledger, a_run(ledger, ANSWERS, run_id="monday"), platform, None)
    rows = [
        Item(2 * i + again, f"id-{i}", i + 1, TEMPLATE, TEMPLATE, None, {"output": one}, f"{i}", repeat=again)
        for i, one in enumerate([*ANSWERS, *(f"new {n}" for n in range(10))])
        for again in range(2)
    ]
    earlier = Earlier(frozenset({"monday"}), begun)
    today = Run("tuesday", utc_now(), "d", "f", "async", "test", (CHECK,), {}, ())
    run = ledger.create(today, ((item, None) for item in rows), chunk_size=5, earlier=earlier)
    assert counted(ledger, run) == {State.SCORED: 60, State.READY: 80}
    with ThreadPoolExecutor(3) as shards:
        list(shards.map(lambda n: work(ledger, run, platform, Share(n, 3)), range(3)))
    assert counted(ledger, run) == {State.SCORED: 140}
    assert platform.taken == {**dict.fromkeys(ANSWERS, 2), **{f"new {n}": 2 for n in range(10)}}


@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC])
def test_a_shard_does_the_work_of_those_that_never_come(ledger: Ledger, mode: Mode) -> None:
    run, platform = a_run(ledger, ANSWERS, chunk_size=5), Platform()
    assert work(ledger, run, platform, Share(1, 3), mode=mode) == [1, 4, 7, 10]
    assert counted(ledger, run) == {State.SCORED: 60}
    assert set(platform.taken.values()) == {1}


def test_a_shard_only_submits_in_a_run_that_only_submits(ledger: Ledger) -> None:
    run, platform = a_run(ledger, ANSWERS, chunk_size=5), Platform()
    work(ledger, run, platform, Share(0, 2), mode=Mode.SUBMIT)
    assert counted(ledger, run) == {State.SUBMITTED: 60}
    assert platform.polls == 0


def test_a_shard_carries_on_what_a_dead_one_held(ledger: Ledger) -> None:
    run, platform = a_run(ledger, ANSWERS, chunk_size=5), Platform()
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        dead = owner_name(process.pid)
    assert ledger.book(run.run_id).claims.take([0, 2], dead, lease=60.0) == [0, 2]
    tickets = [
        Ticket(seq, platform.accept(body(item))[0]) for seq, item in enumerate(ledger.book(run.run_id).unsent(0)[:3])
    ]
    in_flight = ledger.book(run.run_id).unsent(2)[0]
    ledger.book(run.run_id).apply([Submitted(tuple(tickets), utc_now()), Sending((in_flight.seq,), utc_now())])
    work(ledger, run, platform, Share(1, 2))
    assert counted(ledger, run) == {State.SCORED: 60}
    assert set(platform.taken.values()) == {1}
    assert ledger.run(run.run_id).possible_duplicates == 1


def test_what_one_sent_that_helped_and_died_is_asked_about_by_whoever_comes_to_that_chunk(ledger: Ledger) -> None:
    run, platform = a_run(ledger, ANSWERS[:10], chunk_size=5), Platform()
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        dead = owner_name(process.pid)
    options = Options(mode=Mode.ASYNC, concurrency=8, share=Share(0, 2), work_tuning=QUICK)
    with Engine(run, ledger, platform.client, options) as engine, helping(engine) as workers:
        assert engine.to_submit() == [0]
        assert ledger.book(run.run_id).claims.take([0], dead, lease=60.0) == [0]
        tickets = [Ticket(item.seq, platform.accept(body(item))[0]) for item in ledger.book(run.run_id).unsent(0)]
        ledger.book(run.run_id).apply([Submitted(tuple(tickets), utc_now())])
        assert engine.submit_chunk(0) == 0
        engine.settle()
        while engine.wait_for_others():
            work_once(engine, Mode.ASYNC, workers)
    assert counted(ledger, run) == {State.SCORED: 10}
    assert set(platform.taken.values()) == {1}


@pytest.mark.parametrize("share", [None, Share(0, 1)])
def test_what_another_held_for_a_moment_and_let_go_is_finished_by_whoever_came_meanwhile(
    ledger: Ledger, share: Share | None
) -> None:
    run, platform = a_run(ledger, ANSWERS[:15], chunk_size=5), Platform()
    others = [0, 1]  # to one of them it has something to send, to the other it has not
    tickets = [Ticket(item.seq, platform.accept(body(item))[0]) for item in ledger.book(run.run_id).unsent(1)]
    ledger.book(run.run_id).apply([Submitted(tuple(tickets), utc_now())])
    assert ledger.book(run.run_id).claims.take(others, "a collector", lease=60.0) == others
    options = Options(mode=Mode.ASYNC, concurrency=8, share=share, work_tuning=QUICK)
    with Engine(run, ledger, platform.client, options) as engine, helping(engine) as workers:
        work_once(engine, Mode.ASYNC, workers)
        assert counted(ledger, run) == {State.READY: 5, State.SUBMITTED: 5, State.SCORED: 5}
        ledger.book(run.run_id).claims.release("a collector")
        while engine.wait_for_others():
            work_once(engine, Mode.ASYNC, workers)
    assert counted(ledger, run) == {State.SCORED: 15}
    assert set(platform.taken.values()) == {1}


def body(item: Item) -> dict[str, Any]:
    return {"inputs": dict(item.inputs)}


@pytest.mark.parametrize("shares", [(Share(0, 2), Share(1, 2)), (None, None)])
def test_two_that_have_each_left_something_pending_do_not_wait_for_each_other(
    ledger: Ledger, shares: tuple[Share | None, Share | None]
) -> None:
    def forgetful(request: httpx.Request, platform: Platform) -> httpx.Response | None:
        row = platform.rows.get(request.url.params.get("eval_id", ""))
        is_stuck = row is not None and row["output"] in ("answer 0", "answer 9")
        return ok({"eval_status": "pending", "result": "Evaluation is being processed."}) if is_stuck else None

    run, platform = a_run(ledger, ANSWERS[:10], chunk_size=5), Platform(trouble=forgetful)
    with ThreadPoolExecutor(2) as both:
        working = [both.submit(work, ledger, run, platform, share, item_timeout=0.3) for share in shares]
        for one in working:
            one.result(timeout=PATIENCE)
    assert counted(ledger, run) == {State.SCORED: 8, State.SUBMITTED: 2}


def test_help_that_an_outage_cut_short_goes_on_with_the_chunk_it_was_at(ledger: Ledger) -> None:
    outage = [1.0]

    def trouble(request: httpx.Request, platform: Platform) -> Exception | None:
        return httpx.ConnectError("down") if outage and request.method == "POST" else None

    run, platform = a_run(ledger, ANSWERS, chunk_size=5), Platform(trouble=trouble)
    with Engine(
        run,
        ledger,
        platform.client,
        Options(mode=Mode.ASYNC, concurrency=8, share=Share(1, 2), pace_tuning=QUICK_PACE, work_tuning=QUICK),
    ) as engine:
        engine.to_submit()
        with pytest.raises(Unreachable):
            engine.submit_rest()
        outage.clear()
        assert engine.submit_rest() == 30
    assert set(platform.taken.values()) == {1}


class Plenty:
    """Permits for everyone, counted."""

    def __init__(self) -> None:
        self.leased = 0
        self.is_closed = False

    async def lease(self, wanted: int) -> Leased:
        self.leased += 50
        return Leased(50, 10_000.0, due_in=0.0, over=0.005)

    async def give_back(self, permits: int) -> None:
        return

    async def aclose(self) -> None:
        self.is_closed = True


def test_every_request_has_a_permit_and_the_source_is_closed(ledger: Ledger) -> None:
    run, platform, source = a_run(ledger, ANSWERS, chunk_size=5), Platform(), Plenty()
    work(ledger, run, platform, None, open_limit=lambda: source)
    assert source.leased >= platform.posts + platform.polls
    assert source.is_closed


def test_shards_keep_the_runs_budget_together(ledger: Ledger) -> None:
    run, platform = a_run(ledger, ANSWERS, chunk_size=5), Platform()
    with ThreadPoolExecutor(3) as processes:
        shards = [
            processes.submit(
                work,
                ledger,
                run,
                platform,
                Share(n, 3),
                budget=Budget(23),
                owner=f"{owner_name()}-{n}",
                pace_tuning=QUICK_PACE,
            )
            for n in range(3)
        ]
        for shard in shards:
            shard.result(timeout=PATIENCE)
    assert sum(ledger.spent(run.run_id).values()) == 23
    assert counted(ledger, run) == {State.SCORED: 23, State.READY: 37}
