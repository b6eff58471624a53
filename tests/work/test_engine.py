"""The engine, against a platform that misbehaves on purpose: accounts must agree whatever it does."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from itertools import count
from math import inf
from time import sleep
from typing import Any
from uuid import uuid4

import httpx
import pytest

from fieval_tasks.api.client import EvalClient
from fieval_tasks.core.budget import Budget
from fieval_tasks.core.errors import Interrupted, RunStopped, StoreAway, Unreachable
from fieval_tasks.core.items import Item, Result, State, Ticket
from fieval_tasks.core.plan import Mode
from fieval_tasks.core.policy import STRANGE_REPLIES
from fieval_tasks.data.intake import mark_copies
from fieval_tasks.ledger.book import Book
from fieval_tasks.ledger.changes import Sending, Submitted
from fieval_tasks.ledger.claims import Claims
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.pace import pace_tuning
from fieval_tasks.pace.pace_tuning import PaceTuning
from fieval_tasks.runs.workers import threads, work_once, work_to_the_end
from fieval_tasks.work.engine import Engine
from fieval_tasks.work.lanes import LONGEST_PACK, packs
from fieval_tasks.work.options import Options
from fieval_tasks.work.work_tuning import TUNING, WorkTuning
from tests.conftest import PATIENCE
from tests.faults.driving import QUICK_PACE
from tests.platform import TEMPLATE, Platform, Trouble, ok, refusal

QUICK = WorkTuning(pause=lambda faults: 0.001, chunk_rests=0.001, shortest_gap=0.001, first_guess=0.001)
CHECK = CheckRecord(TEMPLATE, TEMPLATE, "turing_flash", {}, "Pass/Fail", {"output": "answer"})


def a_run(
    ledger: Ledger, answers: list[str], *, mode: Mode = Mode.ASYNC, chunk_size: int = 10, run_id: str = "r"
) -> Run:
    run = Run(run_id, utc_now(), "d", "f", mode.value, "test", (CHECK,), {}, ())
    rows = (
        (Item(i, f"id-{i}", i + 1, TEMPLATE, TEMPLATE, None, {"output": a}, f"{i}"), None)
        for i, a in enumerate(answers)
    )
    return ledger.create(run, rows, chunk_size=chunk_size)


def work(
    ledger: Ledger,
    run: Run,
    platform: Platform,
    *,
    mode: Mode | None = None,
    work_tuning: WorkTuning = QUICK,
    **options: Any,
) -> tuple[dict[str, Result], Run]:
    """Submit and settle everything, as a flow does; the results by answer, and the run's own account."""
    mode = mode or Mode(run.mode)
    options = {"pace_tuning": QUICK_PACE, **options}
    chosen = Options(mode=mode, concurrency=8, work_tuning=work_tuning, **options)
    with Engine(run, ledger, platform.client, chosen) as engine, threads(engine) as workers:
        work_to_the_end(engine, mode, workers)
        notices = engine.notices
    return results(ledger, run), replace(ledger.run(run.run_id), notices=notices)


def results(ledger: Ledger, run: Run) -> dict[str, Result]:
    found = list(ledger.book(run.run_id).results(with_inputs=True))
    by_answer = {r.inputs["output"]: r for r in found if r.inputs}
    assert len(by_answer) == len(found)
    return by_answer


def once_per_answer(trouble: Callable[[httpx.Request, Platform], object], *, method: str = "POST") -> Trouble:
    """Trouble with the first request about each item, and none afterwards."""
    met: set[str] = set()

    def first_time(request: httpx.Request, platform: Platform) -> httpx.Response | Exception | None:
        about = request.content.decode() or str(request.url)
        if request.method != method or "get-evals" in about or about in met:
            return None
        met.add(about)
        answer = trouble(request, platform)
        assert answer is None or isinstance(answer, (httpx.Response, Exception))
        return answer

    return first_time


ANSWERS = [f"answer {i}" for i in range(25)] + ["a bad answer"]
PACKED = (10, 10, 6)
"""Items in each request of a run on ANSWERS: chunks of ten, and a template with a single key."""


@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC])
def test_every_item_gets_its_own_verdict(ledger: Ledger, mode: Mode) -> None:
    platform = Platform(takes=0.05)
    found, run = work(ledger, a_run(ledger, ANSWERS, mode=mode), platform)
    assert {a: r.value for a, r in found.items()} == {a: "Failed" if "bad" in a else "Passed" for a in ANSWERS}
    assert platform.taken == dict.fromkeys(ANSWERS, 1)
    assert (run.submits, run.polls) == (platform.posts, platform.polls)
    assert run.possible_duplicates == run.throttled == 0


def test_a_ledger_that_is_held_while_claims_are_to_be_renewed_stops_no_run(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    renew, renewals = Claims.renew, 0

    def held_at_first(*arguments: Any, **options: Any) -> int:
        nonlocal renewals
        renewals += 1
        if renewals <= 3:
            raise StoreAway("the store can't be used: database is locked")
        return renew(*arguments, **options)

    def pending_meanwhile(request: httpx.Request, _: Platform) -> httpx.Response | None:
        is_early = request.method == "GET" and renewals < 5
        return ok({"eval_status": "pending", "result": "Evaluation is being processed."}) if is_early else None

    monkeypatch.setattr(Claims, "renew", held_at_first)
    platform = Platform(trouble=pending_meanwhile)
    found, _ = work(ledger, a_run(ledger, ["x"]), platform, work_tuning=replace(QUICK, lease=0.03))
    assert found["x"].status == "scored"


def test_a_check_that_is_stopped_by_lost_replies_says_so(ledger: Ledger) -> None:
    platform = Platform(trouble=lambda request, _: httpx.ReadError("reset") if request.method == "POST" else None)
    tuning = replace(QUICK, first_pack_within=0.02)
    found, run = work(ledger, a_run(ledger, ANSWERS), platform, work_tuning=tuning, on_lost_reply="fail")
    [notice] = run.notices
    assert f"was stopped: the replies were lost to {TUNING.refused_anyhow} items in a row, each with" in notice
    assert sum(result.status == "failed" for result in found.values()) < TUNING.refused_anyhow + TUNING.canaries


class JudgesAtTheSecondTry(Platform):
    """Of "first" it names a ticket alone, whose evaluation fails; "second" is answered when "first" is sent again."""

    def __init__(self) -> None:
        super().__init__()
        self.sent_again = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(await request.aread() or "{}")
        if request.method == "GET":
            nothing = dict.fromkeys(("value", "reason", "runtime"))
            return self.done(request.url.params["eval_id"], status="failed", **nothing, error_message="it fell over")
        if body["inputs"]["output"] == "second":
            await self.sent_again.wait()
        elif self.taken["first"]:
            self.sent_again.set()
            await asyncio.sleep(0.2)  # for longer than the last chunk needs to end
        else:
            return ok(
                [{"evaluations": [{"name": TEMPLATE, "output_type": "Pass/Fail", "eval_id": self.accept(body)[0]}]}]
            )
        return await super().handle_async_request(request)


def test_what_is_sent_once_more_by_itself_is_waited_for_when_all_chunks_of_a_synchronous_run_have_ended(
    ledger: Ledger,
) -> None:
    found, run = work(ledger, a_run(ledger, ["first", "second"], mode=Mode.SYNC), JudgesAtTheSecondTry())
    assert {a: r.status for a, r in found.items()} == {"first": "scored", "second": "scored"}
    assert run.possible_duplicates == 0


@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC])
@pytest.mark.parametrize("methods", [{"GET", "POST"}, {"POST"}])
def test_a_server_that_is_unavailable_to_everyone_at_the_start_is_waited_for(
    ledger: Ledger, methods: set[str], mode: Mode
) -> None:
    pauses_of_its_own: list[int] = []
    tuning = replace(QUICK, pause=lambda faults: pauses_of_its_own.append(faults) or 0.001)
    tries = count()

    def trouble(request: httpx.Request, _: Platform) -> httpx.Response | None:
        is_away = request.method in methods and next(tries) < 40
        return httpx.Response(503, text="no healthy upstream") if is_away else None

    platform = Platform(trouble=trouble)
    found, run = work(ledger, a_run(ledger, ANSWERS, mode=mode), platform, work_tuning=tuning)
    assert {r.status for r in found.values()} == {"scored"}
    assert (run.notices, run.possible_duplicates) == ((), 0)
    assert set(platform.taken.values()) == {1}
    assert len(pauses_of_its_own) <= TUNING.canaries, (
        "else it waits with everyone, and so notices soon that the server is back"
    )
    assert max(pauses_of_its_own, default=0) <= TUNING.sent_again_soon


@pytest.mark.parametrize("others", [0, 30])
def test_an_item_that_alone_meets_a_503_fails_alone(ledger: Ledger, others: int) -> None:
    def trouble(request: httpx.Request, _: Platform) -> httpx.Response | None:
        return httpx.Response(503, text="no healthy upstream") if "odd one" in request.content.decode() else None

    found, _ = work(
        ledger, a_run(ledger, ["odd one", *(f"answer {n}" for n in range(others))]), Platform(trouble=trouble)
    )
    assert Counter(r.status for r in found.values()) == Counter(scored=others, failed=1)


def test_submit_mode_keeps_tickets_and_asks_nothing_until_collected(ledger: Ledger) -> None:
    platform = Platform()
    run = a_run(ledger, ANSWERS, mode=Mode.SUBMIT)
    found, _ = work(ledger, run, platform)
    assert platform.polls == 0
    assert {r.status for r in found.values()} == {"pending"}
    assert all(r.eval_id in platform.rows for r in found.values())
    found, _ = work(ledger, run, platform, mode=Mode.ASYNC)
    assert {r.status for r in found.values()} == {"scored"}
    assert platform.taken == dict.fromkeys(ANSWERS, 1)


def test_a_throttled_request_costs_no_attempt_and_is_sent_until_taken(ledger: Ledger) -> None:
    platform = Platform(trouble=once_per_answer(lambda *_: refusal("slow down", status=429, retry_after="0")))
    found, run = work(ledger, a_run(ledger, ANSWERS), platform)
    assert {r.status for r in found.values()} == {"scored"}
    assert {r.attempts for r in found.values()} == {1}
    assert run.throttled == platform.posts / 2
    assert platform.taken == dict.fromkeys(ANSWERS, 1)


def test_a_lost_reply_is_sent_once_more_and_counted_as_a_possible_duplicate(ledger: Ledger) -> None:
    def taken_and_lost(request: httpx.Request, platform: Platform) -> Exception:
        platform.accept(json.loads(request.content))
        return httpx.ReadTimeout("no answer")

    platform = Platform(trouble=once_per_answer(taken_and_lost))
    found, run = work(ledger, a_run(ledger, ANSWERS), platform)
    assert {r.status for r in found.values()} == {"scored"}
    assert {r.attempts for r in found.values()} == {2}
    assert platform.taken == dict.fromkeys(ANSWERS, 2)
    assert run.possible_duplicates == len(ANSWERS)


def test_an_item_whose_reply_is_lost_twice_stays_pending_and_is_not_sent_a_third_time(ledger: Ledger) -> None:
    def always_lost(request: httpx.Request, platform: Platform) -> Exception | None:
        return httpx.ReadTimeout("no answer") if request.method == "POST" else None

    platform = Platform(trouble=always_lost)
    found, run = work(ledger, a_run(ledger, ["x"]), platform)
    assert found["x"].status == "pending"
    assert platform.posts == 2
    assert ledger.book(run.run_id).counts()[State.AMBIGUOUS] == 1


def test_a_connection_that_never_came_about_is_no_attempt_and_no_duplicate(ledger: Ledger) -> None:
    platform = Platform(trouble=once_per_answer(lambda *_: httpx.ConnectError("refused")))
    found, run = work(ledger, a_run(ledger, ANSWERS), platform)
    assert {(r.status, r.attempts) for r in found.values()} == {("scored", 1)}
    assert run.possible_duplicates == 0


def test_a_server_that_stays_away_ends_the_chunk_with_an_error_that_may_be_retried(ledger: Ledger) -> None:
    platform = Platform(trouble=lambda request, _: httpx.ConnectError("refused"))
    run = a_run(ledger, ["x", "y"])
    with pytest.raises(Unreachable) as raised:
        work(ledger, run, platform, mode=Mode.SUBMIT)
    assert raised.value.retryable
    assert ledger.book(run.run_id).counts()[State.READY] == 2


@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC])
def test_a_server_fault_is_tried_once_more_and_then_fails_that_item_only(ledger: Ledger, mode: Mode) -> None:
    def on_seven(request: httpx.Request, _: Platform) -> httpx.Response | None:
        return refusal("Unable to run", status=500) if b"answer 7" in request.content else None

    found, _ = work(ledger, a_run(ledger, ANSWERS, mode=mode), Platform(trouble=on_seven))
    seven = found.pop("answer 7")
    assert (seven.status, seven.stage) == ("failed", "submit")
    assert seven.attempts == 3  # alone twice; and before that with its neighbours, or after it the other way
    assert seven.error is not None
    assert seven.error["kind"] == "server_fault"
    assert {r.status for r in found.values()} == {"scored"}


def test_items_travel_together_as_far_as_the_api_allows(ledger: Ledger) -> None:
    platform = Platform()
    _, run = work(ledger, a_run(ledger, ANSWERS), platform)
    assert run.submits == platform.posts <= len(PACKED) + TUNING.canaries
    items = [Item(i, "i", i, "c", "c", None, {"output": "a", "context": "b"}, "f") for i in range(7)]
    assert [len(pack) for pack in packs(items)] == [3, 3, 1]


def test_items_of_other_checks_or_with_other_keys_never_share_a_request() -> None:
    inputs: list[dict[str, str]] = [{"output": "a"}, {"output": "a", "context": "b"}]
    items = [Item(i, "i", i, check, check, None, inputs[i % 2], "f") for i, check in enumerate("aabb" * 3)]
    for pack in packs(items):
        assert len({(item.check, tuple(item.inputs)) for item in pack}) == 1
    assert sorted(item.seq for pack in packs(items) for item in pack) == list(range(12))


def test_items_with_other_parameters_of_their_rows_never_share_a_request() -> None:
    items = [Item(i, "i", i, "c", "c", None, {"text": "a"}, "f", params={"keyword": "xy"[i % 2]}) for i in range(6)]
    assert [[item.seq for item in pack] for pack in packs(items)] == [[0, 2, 4], [1, 3, 5]]


def test_a_refused_neighbour_costs_nobody_else(ledger: Ledger) -> None:
    def refuses_seven(request: httpx.Request, _: Platform) -> httpx.Response | None:
        return refusal("Validation failed") if b"answer 7" in request.content else None

    found, _ = work(ledger, a_run(ledger, ANSWERS), Platform(trouble=refuses_seven))
    assert found.pop("answer 7").status == "failed"
    assert {r.status for r in found.values()} == {"scored"}


def test_the_progress_of_each_check_adds_up_also_where_one_shares_the_verdicts_of_another(ledger: Ledger) -> None:
    checks = [replace(CHECK, name=name) for name in ("one", "other", "empty")]
    items = [
        Item(i, f"id-{i}", i, "one" if i < 4 else "other", TEMPLATE, None, {"output": a}, f"{a:0<64}")
        for i, a in enumerate("01020103")
    ]
    run = Run("r", utc_now(), "d", "f", "async", "test", tuple(checks), {}, ())
    run = ledger.create(run, mark_copies((item, None) for item in items), chunk_size=3)
    options = Options(mode=Mode.ASYNC, budget=Budget(prices={"one": Fraction("0.002")}), work_tuning=QUICK)
    with Engine(run, ledger, Platform().client, options) as engine:
        assert [(check.name, check.total, check.settled, check.cost) for check in engine.progress.checks] == [
            ("one", 4, 0, 0), ("other", 4, 0, None), ("empty", 0, 0, None),
        ]  # fmt: skip
        for chunk in ledger.book(run.run_id).unsent_chunks():
            engine.submit_chunk(chunk)
        engine.settle()
        assert [(check.name, check.scored, check.cost) for check in engine.progress.checks] == [
            ("one", 4, Fraction("0.006")), ("other", 4, None), ("empty", 0, None),
        ]  # fmt: skip


@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC])
def test_an_item_that_repeats_another_is_not_sent_and_shares_its_verdict(ledger: Ledger, mode: Mode) -> None:
    run = Run("r", utc_now(), "d", "f", mode.value, "test", (CHECK,), {}, ())
    items = [
        Item(i, f"id-{i}", i, TEMPLATE, TEMPLATE, None, {"output": a}, f"{a:0<64}") for i, a in enumerate("0102010")
    ]
    platform = Platform()
    run = ledger.create(run, mark_copies((item, None) for item in items), chunk_size=3)
    assert ledger.book(run.run_id).count_unsent() == 3
    with Engine(run, ledger, platform.client, Options(mode=mode, work_tuning=QUICK)) as engine:
        for chunk in ledger.book(run.run_id).unsent_chunks():
            engine.submit_chunk(chunk)
        if mode is Mode.ASYNC:
            engine.settle()
        assert engine.progress.settled == 7
    assert platform.taken == {"0": 1, "1": 1, "2": 1}
    told = [(r.status, r.value, r.attempts, r.eval_id) for r in ledger.book(run.run_id).results()]
    assert [status for status, *_ in told] == ["scored"] * 7
    assert len({eval_id for *_, eval_id in told}) == 3
    assert [attempts for _, _, attempts, _ in told] == [1, 1, 0, 1, 0, 0, 0]


def test_a_refused_item_fails_at_once(ledger: Ledger) -> None:
    platform = Platform(trouble=lambda r, _: refusal("Validation failed") if r.method == "POST" else None)
    found, _ = work(ledger, a_run(ledger, ["x"]), platform)
    assert (found["x"].status, found["x"].stage, platform.posts) == ("failed", "submit", 1)


def turns_away(status: int, applies: Callable[[str], bool], *, method: str = "POST") -> Trouble:
    """A firewall before the platform that dislikes the requests with these texts in them."""

    def trouble(request: httpx.Request, _: Platform) -> httpx.Response | None:
        disliked = request.method == method and applies(request.content.decode() or str(request.url))
        return httpx.Response(status, html="<h1>Request blocked</h1>") if disliked else None

    return trouble


BLOCKED = ("answer 5<", "answer 77<", "answer 78<", "answer 250<")


@pytest.mark.parametrize(
    ("mode", "status"), [*((Mode.ASYNC, status) for status in (302, 401, 403, 451)), (Mode.SYNC, 404), (Mode.SYNC, 413)]
)
def test_rows_that_a_firewall_dislikes_fail_alone_and_are_no_doubt(ledger: Ledger, status: int, mode: Mode) -> None:
    platform = Platform(trouble=turns_away(status, lambda body: any(text in body for text in BLOCKED)))
    answers = [f"answer {n}<" for n in range(300)]
    found, run = work(ledger, a_run(ledger, answers, chunk_size=100, mode=mode), platform)
    assert {a for a, r in found.items() if r.status == "failed"} == set(BLOCKED)
    assert Counter(r.status for r in found.values()) == {"scored": 296, "failed": 4}
    assert {r.error["kind"] for r in found.values() if r.error} == {"turned_away"}
    assert (run.possible_duplicates, run.notices) == (0, ())
    assert set(platform.taken.values()) == {1}


class NamesOneForAll(Platform):
    """One eval_id for all items of a pack."""

    def accept(self, body: dict[str, Any]) -> list[str]:
        ids = super().accept(body)
        return ids[:1] * len(ids)


def test_a_server_that_names_one_eval_id_for_a_pack_is_sent_no_more_of_them(ledger: Ledger) -> None:
    answers = [f"answer {n}" for n in range(200)]
    found, run = work(ledger, a_run(ledger, answers, chunk_size=100), NamesOneForAll())
    failed = [result.error["kind"] for result in found.values() if result.error]
    assert 0 < len(failed) < LONGEST_PACK, "of the first pack"
    assert {*failed} == {"wrong_item"}
    assert run.possible_duplicates == 0


@pytest.mark.parametrize(("status", "after"), [(302, 0), (403, 40), (404, 0)])
def test_a_firewall_that_turns_everything_away_stops_the_run_soon(ledger: Ledger, status: int, after: int) -> None:
    let_pass = count()
    platform = Platform(trouble=turns_away(status, lambda _: next(let_pass) >= after))
    run = a_run(ledger, [f"answer {n}" for n in range(1_200)], chunk_size=200)
    with pytest.raises(RunStopped, match=f"10 answers in a row are not the evaluation API's: .*HTTP {status}"):
        work(ledger, run, platform)
    counts = ledger.book(run.run_id).counts()
    assert counts[State.FAILED] == 0, "none of them is to blame"
    assert counts[State.AMBIGUOUS] + counts[State.SENDING] == 0
    assert platform.posts < after + 100
    platform.trouble = None
    found, run = work(ledger, run, platform)
    assert {r.status for r in found.values()} == {"scored"}
    assert (run.possible_duplicates, set(platform.taken.values())) == (0, {1})


def test_the_last_items_that_a_firewall_dislikes_fail_too(ledger: Ledger) -> None:
    platform = Platform(trouble=turns_away(403, lambda body: any(f"answer {n}<" in body for n in (7, 8, 9))))
    found, _ = work(ledger, a_run(ledger, [f"answer {n}<" for n in range(10)]), platform)
    assert Counter(r.status for r in found.values()) == {"scored": 7, "failed": 3}


@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC])
@pytest.mark.parametrize("disliked", [range(30), range(150, 180), range(170, 200)])
def test_many_neighbours_that_a_firewall_dislikes_fail_and_stop_no_run(
    ledger: Ledger, disliked: range, mode: Mode
) -> None:
    platform = Platform(trouble=turns_away(403, lambda body: any(f"answer {n}<" in body for n in disliked)))
    run = a_run(ledger, [f"answer {n}<" for n in range(200)], chunk_size=100, mode=mode)
    found, run = work(ledger, run, platform)
    assert {a for a, r in found.items() if r.status == "failed"} == {f"answer {n}<" for n in disliked}
    assert {r.error["kind"] for r in found.values() if r.error} == {"turned_away"}
    assert Counter(r.status for r in found.values()) == {"scored": 170, "failed": 30}
    assert (run.possible_duplicates, set(platform.taken.values())) == (0, {1})


def a_run_of_two_checks(ledger: Ledger, *, rows: int, chunk_size: int) -> Run:
    """Each row put to TEMPLATE and to `other`, and its text names the check."""
    checks = (CHECK, replace(CHECK, name="other"))
    run = Run("r", utc_now(), "d", "f", "async", "test", checks, {}, ())
    items = [
        Item(i, f"id-{i}", i, check.name, TEMPLATE, None, {"output": f"{check.name} {i}"}, f"{i}")
        for i, check in enumerate(checks * rows)
    ]
    return ledger.create(run, ((item, None) for item in items), chunk_size=chunk_size)


def test_what_is_turned_away_of_one_check_alone_stops_that_check(ledger: Ledger) -> None:
    run = a_run_of_two_checks(ledger, rows=300, chunk_size=100)
    found, _ = work(ledger, run, Platform(trouble=turns_away(403, lambda body: "other" in body)))
    assert Counter(r.status for r in found.values() if r.check == TEMPLATE) == {"scored": 300}
    assert sum(r.status == "failed" for r in found.values() if r.check == "other") <= 50


def test_a_question_that_is_turned_away_is_asked_again_and_its_ticket_kept(ledger: Ledger) -> None:
    times = count()
    platform = Platform(trouble=turns_away(403, lambda url: next(times) < STRANGE_REPLIES - 1, method="GET"))
    found, _ = work(ledger, a_run(ledger, ["x"]), platform)
    assert (found["x"].status, platform.taken["x"]) == ("scored", 1)


@pytest.mark.parametrize("rows", [5, 30])
def test_questions_about_some_rows_that_are_all_turned_away_leave_those_pending_and_stop_no_resume(
    ledger: Ledger, rows: int
) -> None:
    platform = Platform()

    def disliked(url: str) -> bool:
        row = platform.rows.get(httpx.URL(url).params.get("eval_id", ""))
        return row is not None and int(row["output"].removeprefix("answer ")) < rows

    platform.trouble = turns_away(403, disliked, method="GET")
    run = a_run(ledger, [f"answer {n}" for n in range(100)])
    for _ in range(2):
        found, _ = work(ledger, run, platform)
        assert Counter(r.status for r in found.values()) == {"scored": 100 - rows, "pending": rows}
    platform.trouble = None
    found, _ = work(ledger, run, platform)
    assert {r.status for r in found.values()} == {"scored"}
    assert set(platform.taken.values()) == {1}


def test_questions_that_are_all_turned_away_stop_the_run_and_fail_nothing(ledger: Ledger) -> None:
    platform = Platform(trouble=turns_away(403, lambda url: True, method="GET"))
    run = a_run(ledger, ANSWERS)
    with pytest.raises(RunStopped, match="10 answers in a row are not the evaluation API's"):
        work(ledger, run, platform)
    assert ledger.book(run.run_id).counts()[State.FAILED] == 0
    platform.trouble = None
    found, _ = work(ledger, run, platform)
    assert {r.status for r in found.values()} == {"scored"}


def judge_fails(
    applies: Callable[[str, Platform], bool], message: str = "LLM call failed: InternalServerError"
) -> Trouble:
    """The judge of a synchronous call fails on these answers: told as a refusal, with neither details nor errors."""

    def trouble(request: httpx.Request, platform: Platform) -> httpx.Response | None:
        answer = json.loads(request.content)["inputs"]["output"] if request.method == "POST" else ""
        if not answer or not applies(answer, platform):
            return None
        platform.taken[answer] += 1
        return refusal(message.format(uuid4()))

    return trouble


def test_a_judge_that_fails_on_a_synchronous_call_is_asked_once_more(ledger: Ledger) -> None:
    platform = Platform(trouble=judge_fails(lambda answer, seen: not seen.taken[answer]))
    found, run = work(ledger, a_run(ledger, ANSWERS, mode=Mode.SYNC), platform)
    assert {(r.status, r.attempts) for r in found.values()} == {("scored", 2)}
    assert (platform.taken, run.possible_duplicates) == (dict.fromkeys(ANSWERS, 2), 0)


def test_a_judge_that_fails_twice_on_a_synchronous_call_has_failed_on_that_item(ledger: Ledger) -> None:
    bad = ANSWERS[:8]  # more than are refused alike before a check is stopped
    platform = Platform(trouble=judge_fails(lambda answer, _: answer in bad))
    found, run = work(ledger, a_run(ledger, ANSWERS, mode=Mode.SYNC), platform)
    assert {a for a, r in found.items() if r.status == "failed"} == set(bad)
    failed = found[bad[0]]
    assert failed.error is not None
    assert (failed.stage, failed.error["kind"], failed.attempts) == ("evaluate", "evaluation_error", 2)
    assert run.notices == ()


def test_a_judge_that_fails_on_every_synchronous_call_stops_its_check(ledger: Ledger) -> None:
    platform = Platform(trouble=judge_fails(lambda *_: True, "request {}: no answer"))
    answers = [f"answer {n}" for n in range(500)]
    found, run = work(ledger, a_run(ledger, answers, mode=Mode.SYNC, chunk_size=200), platform)
    assert platform.taken.total() <= 120
    assert "the judge gave no verdict on" in run.notices[0]
    assert {r.attempts for r in found.values() if r.status == "pending"} == {0}


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_refused_keys_stop_the_run_and_lose_nothing(ledger: Ledger, method: str) -> None:
    allowed = count()

    def after_a_while(request: httpx.Request, _: Platform) -> httpx.Response | None:
        refused = request.method == method and next(allowed) >= 2
        return refusal("Invalid API key or secret key", status=401) if refused else None

    platform = Platform(trouble=after_a_while)
    run = a_run(ledger, ANSWERS)
    with pytest.raises(RunStopped, match="Invalid API key"):
        work(ledger, run, platform)
    counts = ledger.book(run.run_id).counts()
    assert sum(counts.values()) == len(ANSWERS)
    assert counts[State.SUBMITTED] + counts[State.SCORED] == sum(platform.taken.values())
    assert counts[State.FAILED] == 0


def test_a_row_refused_by_the_hidden_limit_is_sent_again(ledger: Ledger) -> None:
    def limited(request: httpx.Request, platform: Platform) -> httpx.Response | None:
        eval_id = request.url.params["eval_id"]
        if platform.taken[platform.rows[eval_id]["output"]] > 1:
            return None
        message = "API call not allowed: rate_limited"
        return platform.done(eval_id, status="failed", value=None, reason=None, runtime=None, error_message=message)

    platform = Platform(trouble=once_per_answer(limited, method="GET"))
    found, run = work(ledger, a_run(ledger, ANSWERS[:2]), platform)
    assert {(r.status, r.attempts) for r in found.values()} == {("scored", 2)}
    assert run.throttled == 2


def limits(applies: Callable[[str], bool], *, said: str = "API call not allowed: rate_limited") -> Trouble:
    """The evaluations of these answers fail, as by a limit that hides."""

    def trouble(request: httpx.Request, platform: Platform) -> httpx.Response | None:
        row = platform.rows.get(request.url.params.get("eval_id", ""))
        return fails_with(said)(request, platform) if row is not None and applies(row["output"]) else None

    return trouble


def test_an_item_whose_error_quotes_a_limits_words_is_bought_once_more_like_any_other(ledger: Ledger) -> None:
    for n, said in enumerate(("no JSON in 'rate_limited'", "'insufficient credits' is no answer")):
        platform = Platform(trouble=limits(lambda answer: answer == "answer 7", said=said))
        run = a_run(ledger, ANSWERS, run_id=f"{n}")
        found, _ = work(ledger, run, platform)
        assert (found.pop("answer 7").status, platform.taken["answer 7"]) == ("failed", 2)
        assert {r.status for r in found.values()} == {"scored"}


def test_an_item_that_is_refused_with_nobody_beside_it_is_left_pending_after_its_time(
    ledger: Ledger,
) -> None:
    platform = Platform(trouble=limits(lambda answer: True))
    found, run = work(ledger, a_run(ledger, ["x"]), platform, item_timeout=0.3)
    assert (found["x"].status, found["x"].error) == ("pending", None)
    platform.trouble = None
    found, _ = work(ledger, run, platform)
    assert found["x"].status == "scored"


def test_a_mistake_of_ours_while_an_item_is_sent_again_ends_the_run_and_is_told(ledger: Ledger) -> None:
    def limited(request: httpx.Request, platform: Platform) -> httpx.Response | None:
        eval_id = request.url.params["eval_id"]
        message = "API call not allowed: rate_limited"
        return platform.done(eval_id, status="failed", value=None, reason=None, runtime=None, error_message=message)

    platform = Platform(trouble=once_per_answer(limited, method="GET"))
    run = a_run(ledger, ["x"])
    with (
        Engine(run, ledger, platform.client, Options(mode=Mode.ASYNC, concurrency=8, work_tuning=QUICK)) as engine,
        threads(engine) as workers,
    ):
        engine._at_work._send_again = broken  # type: ignore[method-assign]
        with pytest.raises(RunStopped, match="ZeroDivisionError: a slip"):
            work_once(engine, Mode.ASYNC, workers)


async def broken(*_: object) -> None:
    raise ZeroDivisionError("a slip")


def test_an_engine_that_cannot_open_holds_nothing(ledger: Ledger) -> None:
    run = a_run(ledger, ANSWERS)
    work(ledger, run, Platform(), mode=Mode.SUBMIT)

    def nowhere() -> EvalClient:
        raise RunStopped("no such place")

    with (
        pytest.raises(RunStopped, match="no such place"),
        Engine(run, ledger, nowhere, Options(mode=Mode.ASYNC, owner="another process", work_tuning=QUICK)),
    ):
        pass
    assert "fieval-engine" not in {thread.name for thread in threading.enumerate()}
    assert not ledger.book(run.run_id).claims.of_others("this process")


def test_where_no_verdict_is_asked_for_nobody_waits_for_news(ledger: Ledger) -> None:
    answers = [f"answer {n}" for n in range(12 * int(pace_tuning.TUNING.unheard))]
    platform = Platform()
    work(
        ledger,
        a_run(ledger, answers),
        platform,
        mode=Mode.SUBMIT,
        timeout=60.0,
        pace_tuning=PaceTuning(no_news=3_600.0),
    )
    assert platform.taken.total() == len(answers)


def test_whatever_ends_the_work_early_lets_what_is_on_its_way_come_in(ledger: Ledger) -> None:
    platform = Slow(replies_after=0.5)
    run = a_run(ledger, ANSWERS)
    with (
        suppress(KeyboardInterrupt),
        Engine(run, ledger, platform.client, Options(mode=Mode.ASYNC, concurrency=2, work_tuning=QUICK)) as engine,
        threads(engine) as workers,
    ):
        workers.start(engine.to_submit())
        while not platform.taken:
            sleep(0.01)
        raise KeyboardInterrupt
    counted = ledger.book(run.run_id).counts()
    assert counted[State.SENDING] + counted[State.AMBIGUOUS] == 0
    assert counted[State.SUBMITTED] == platform.taken.total() < len(ANSWERS)


def test_an_item_that_is_put_back_while_its_chunk_is_sent_goes_out_once_more_and_not_twice(ledger: Ledger) -> None:
    platform = Slow(replies_after=0.5)
    run = a_run(ledger, ["x", "y"])
    [ticket] = platform.accept({"inputs": {"output": "x"}})
    platform.trouble = lambda request, _: hidden_limit(request, platform) if ticket in str(request.url) else None
    ledger.book(run.run_id).apply([Submitted((Ticket(0, ticket),), utc_now())])
    with (
        Engine(run, ledger, platform.client, Options(mode=Mode.ASYNC, work_tuning=QUICK)) as engine,
        ThreadPoolExecutor(1) as aside,
    ):
        engine.expect([chunk := Future[int]()])
        settling = aside.submit(engine.settle)
        while platform.taken["x"] < 2:  # it was refused, and goes out again
            assert not settling.done()
            sleep(0.01)
        chunk.set_result(engine.submit_chunk(0))
        settling.result(timeout=PATIENCE)
    assert platform.taken == {"x": 2, "y": 1}
    assert {(r.status, r.attempts) for r in results(ledger, run).values()} == {("scored", 1)}


def hidden_limit(request: httpx.Request, platform: Platform) -> httpx.Response:
    message = "API call not allowed: rate_limited"
    told = {"value": None, "reason": None, "runtime": None, "error_message": message}
    return platform.done(request.url.params["eval_id"], status="failed", **told)


@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC])
def test_a_stop_without_hurry_lets_what_is_under_way_come_in(ledger: Ledger, mode: Mode) -> None:
    platform = Slow(replies_after=0.5)
    run = a_run(ledger, ANSWERS, mode=mode)
    with (
        pytest.raises(RunStopped, match="no credit"),
        stopped_while_sending(run, ledger, platform, last_moment=0.01) as engine,
    ):
        engine.stop(RunStopped("no credit left"))
    counted = ledger.book(run.run_id).counts()
    assert counted[State.SENDING] + counted[State.AMBIGUOUS] == 0
    assert counted[State.SUBMITTED] + counted[State.SCORED] + counted[State.FAILED] == platform.taken.total() > 0


def test_what_a_hurried_stop_cuts_off_is_recorded_as_lost_before_the_engine_ends(ledger: Ledger) -> None:
    platform = Slow(replies_after=600.0)
    run = a_run(ledger, ANSWERS)
    with pytest.raises(Interrupted), stopped_while_sending(run, ledger, platform, last_moment=0.1) as engine:
        engine.stop(Interrupted("interrupted"), hurry=True)
    taken = {answer for answer, n in platform.taken.items() if n}
    assert {a for a, r in results(ledger, run).items() if r.lost == 1} == taken
    assert ledger.book(run.run_id).counts()[State.AMBIGUOUS] == len(taken) > 0
    found, resumed = work(ledger, run, Platform())
    assert {r.status for r in found.values()} == {"scored"}
    assert resumed.possible_duplicates == len(taken)


def test_somebody_who_is_in_a_hurry_need_not_wait_for_a_stop_that_was_not(ledger: Ledger) -> None:
    platform = Slow(replies_after=600.0)
    run = a_run(ledger, ["x"])
    with (
        pytest.raises(RunStopped, match="no credit"),
        stopped_while_sending(run, ledger, platform, last_moment=0.1) as engine,
    ):
        stop_and_then_hurry(engine)
    assert ledger.book(run.run_id).counts()[State.AMBIGUOUS] == 1


def stop_and_then_hurry(engine: Engine) -> None:
    engine.stop(RunStopped("no credit left"))
    engine.stop(Interrupted("interrupted"), hurry=True)


@contextmanager
def stopped_while_sending(
    run: Run, ledger: Ledger, platform: Platform, *, last_moment: float = 0.8
) -> Iterator[Engine]:
    """An engine whose first submissions are under way; after the block, the error that its chunk ended with is raised."""
    mode, tuning = Mode(run.mode), replace(QUICK, last_moment=last_moment)
    with (
        Engine(run, ledger, platform.client, Options(mode=mode, concurrency=4, work_tuning=tuning)) as engine,
        ThreadPoolExecutor(1) as aside,
    ):
        sending = aside.submit(engine.submit_chunk, 0)
        while not platform.taken:
            sleep(0.01)
        yield engine
        sending.result(timeout=PATIENCE)


def test_what_is_waited_for_after_a_stop_is_said(ledger: Ledger) -> None:
    said: list[str] = []
    run = a_run(ledger, ["x"])
    with (
        pytest.raises(RunStopped, match="no credit"),
        stopped_while_sending(run, ledger, Slow(replies_after=0.6)) as engine,
    ):
        stop_and_come_in(engine, said)
    assert said[0] == "stopping: 1 requests under way come in first"
    assert ledger.book(run.run_id).counts()[State.SUBMITTED] == 1


def stop_and_come_in(engine: Engine, said: list[str]) -> None:
    engine.stop(RunStopped("no credit left"))
    engine.come_in(lambda progress: said.append(progress.waits))


def test_somebody_who_gets_impatient_while_the_engine_ends_has_the_rest_recorded_as_lost(ledger: Ledger) -> None:
    run = a_run(ledger, ["x"])
    platform = Slow(replies_after=600.0)
    engine = Engine(run, ledger, platform.client, Options(mode=Mode.ASYNC, work_tuning=replace(QUICK, last_moment=0.1)))
    ending = engine._close

    async def interrupted() -> None:
        asyncio.get_running_loop().call_later(0.2, os.kill, os.getpid(), signal.SIGINT)  # by then it is waited for
        await ending()

    engine._close = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt), engine, ThreadPoolExecutor(1) as aside:
        stopped(engine, aside, platform)
    assert ledger.book(run.run_id).counts()[State.AMBIGUOUS] == 1


def stopped(engine: Engine, aside: ThreadPoolExecutor, platform: Platform) -> None:
    """While its first submission is under way."""
    sending = aside.submit(engine.submit_chunk, 0)
    while not platform.taken:
        sleep(0.01)
    engine.stop(RunStopped("no credit left"))
    with pytest.raises(RunStopped):
        sending.result(timeout=PATIENCE)


def test_work_that_will_not_be_cancelled_holds_up_no_end(ledger: Ledger) -> None:
    run = a_run(ledger, ["x"])

    async def stubborn(chunk: int) -> int:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        await asyncio.sleep(3600)
        return 0

    with (
        Engine(
            run, ledger, Platform().client, Options(mode=Mode.ASYNC, work_tuning=replace(QUICK, cancelled_within=0.2))
        ) as engine,
        ThreadPoolExecutor(1) as aside,
    ):
        engine._at_work.send = stubborn  # type: ignore[method-assign]
        sending = aside.submit(engine.submit_chunk, 0)
        while not engine._loop._tasks:
            sleep(0.01)
        engine.stop(RunStopped("no credit left"))
        with pytest.raises(RunStopped, match="no credit left"):
            sending.result(timeout=PATIENCE)


def test_chunks_that_have_ended_are_told_from_those_that_have_not(ledger: Ledger) -> None:
    with Engine(a_run(ledger, ["x"]), ledger, Platform().client, Options(mode=Mode.ASYNC, work_tuning=QUICK)) as engine:
        first, second = Future[int](), Future[int]()
        engine.expect([first, second])
        first.set_result(1)
        assert not engine.chunks_have_ended(within=0.01)
        threading.Timer(0.05, second.cancel).start()
        assert engine.chunks_have_ended(within=30.0)


class Slow(Platform):
    """It takes what it is sent at once, and says so later."""

    def __init__(self, *, replies_after: float) -> None:
        super().__init__()
        self._replies_after = replies_after

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        reply = await super().handle_async_request(request)
        await asyncio.sleep(self._replies_after)
        return reply


def test_once_it_is_quiet_the_rest_is_left_to_whoever_comes_next(ledger: Ledger) -> None:
    def slow_ones(request: httpx.Request, platform: Platform) -> httpx.Response | None:
        row = platform.rows.get(request.url.params.get("eval_id", ""))
        is_slow = row is not None and row["output"].startswith("slow")
        return ok({"eval_status": "pending", "result": "Evaluation is being processed."}) if is_slow else None

    run, platform = a_run(ledger, ["slow 1", *ANSWERS, "slow 2"]), Platform(trouble=slow_ones)
    work(ledger, run, platform, mode=Mode.SUBMIT)
    with Engine(run, ledger, platform.client, Options(mode=Mode.ASYNC, quiet=0.3, work_tuning=QUICK)) as engine:
        assert engine.settle() == engine.left == 2
    assert ledger.book(run.run_id).counts()[State.SCORED] == len(ANSWERS)
    platform.trouble = None
    with Engine(run, ledger, platform.client, Options(mode=Mode.ASYNC, quiet=60.0, work_tuning=QUICK)) as engine:
        assert engine.settle() == engine.left == 0
    assert ledger.book(run.run_id).counts()[State.SCORED] == len(ANSWERS) + 2


def test_no_credit_stops_the_run_and_leaves_its_items_to_be_sent_again(ledger: Ledger) -> None:
    def broke(request: httpx.Request, platform: Platform) -> httpx.Response | None:
        if request.method == "POST":
            return None
        message = "API call not allowed: insufficient_credits"
        eval_id = request.url.params["eval_id"]
        return platform.done(eval_id, status="failed", value=None, error_message=message)

    run = a_run(ledger, ANSWERS)
    platform = Platform(trouble=broke)
    with pytest.raises(RunStopped, match="credit"):
        work(ledger, run, platform)
    assert ledger.book(run.run_id).counts()[State.FAILED] == 0
    platform.trouble = None
    found, _ = work(ledger, run, platform)
    assert {r.status for r in found.values()} == {"scored"}


@pytest.mark.parametrize(
    ("mode", "reply"),
    [
        (Mode.ASYNC, refusal("Payment required", status=402)),
        (Mode.SYNC, refusal("API call not allowed: insufficient_credits")),
    ],
)
def test_no_credit_says_what_to_do_wherever_it_is_told(ledger: Ledger, mode: Mode, reply: httpx.Response) -> None:
    run = a_run(ledger, ANSWERS, mode=mode)
    platform = Platform(trouble=lambda request, _: reply if request.method == "POST" else None)
    with pytest.raises(RunStopped, match=r"no credit left \(.*\): top up the account"):
        work(ledger, run, platform)


def test_a_failed_row_with_a_value_is_a_verdict_and_a_hollow_one_is_not(ledger: Ledger) -> None:
    def odd(request: httpx.Request, platform: Platform) -> httpx.Response | None:
        if request.method == "POST":
            return None
        eval_id = request.url.params["eval_id"]
        if platform.rows[eval_id]["output"] == "hollow":
            return platform.done(eval_id, reason=None, runtime=None)
        return platform.done(eval_id, status="failed", value="Failed", error_message=None)

    found, _ = work(ledger, a_run(ledger, ["hollow", "judged"]), Platform(trouble=odd))
    assert (found["judged"].status, found["judged"].passed) == ("scored", False)
    assert (found["hollow"].status, found["hollow"].passed) == ("failed", None)
    assert found["hollow"].error is not None
    assert found["hollow"].error["kind"] == "hollow"


def test_polls_that_fail_are_asked_again(ledger: Ledger) -> None:
    answers = iter(
        [httpx.ReadTimeout("lost"), refusal("gateway", status=502), ok("not a dict"), refusal("x", status=503)]
    )
    platform = Platform(trouble=lambda r, _: next(answers, None) if r.method == "GET" else None)
    found, run = work(ledger, a_run(ledger, ["x"]), platform)
    assert (found["x"].status, run.retries) == ("scored", 4)


def test_a_fresh_ticket_may_be_unknown_for_a_while_and_an_old_one_is_lost(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = iter([refusal("Evaluation not found.")] * 3)
    platform = Platform(trouble=lambda r, _: next(unknown, None) if r.method == "GET" else None)
    found, _ = work(ledger, a_run(ledger, ["x"]), platform)
    assert found["x"].status == "scored"


def test_a_ticket_the_server_never_knows_fails_as_lost_after_the_grace(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieval_tasks.core.policy.GRACE_FOR_UNKNOWN", 0.05)
    platform = Platform(trouble=lambda r, _: refusal("Evaluation not found.") if r.method == "GET" else None)
    found, _ = work(ledger, a_run(ledger, ["x"]), platform)
    assert (found["x"].status, found["x"].stage) == ("failed", "wait")
    assert found["x"].error is not None
    assert found["x"].error["kind"] == "lost"


def test_an_evaluation_that_never_ends_is_left_pending_at_its_time_limit(ledger: Ledger) -> None:
    run = a_run(ledger, ["slow"])
    found, _ = work(ledger, run, Platform(takes=inf), item_timeout=0.2)
    assert found["slow"].status == "pending"
    assert ledger.book(run.run_id).counts()[State.SUBMITTED] == 1


def test_the_runs_time_limit_stops_it(ledger: Ledger) -> None:
    run = a_run(ledger, ["slow"])
    with pytest.raises(RunStopped, match="--timeout"):
        work(ledger, run, Platform(takes=inf), timeout=0.3)


def test_answers_that_are_not_the_apis_stop_the_run_before_much_is_sent(ledger: Ledger) -> None:
    html = httpx.Response(200, html="<h1>Welcome</h1>")
    platform = Platform(trouble=lambda r, _: html if r.method == "POST" else None)
    with pytest.raises(RunStopped, match="not the evaluation API"):
        work(ledger, a_run(ledger, ANSWERS), platform, mode=Mode.SUBMIT)
    assert platform.posts <= STRANGE_REPLIES + TUNING.canaries


def test_a_stopped_run_ends_with_its_reason_and_resumes_with_what_is_left(ledger: Ledger) -> None:
    run = a_run(ledger, ANSWERS)
    platform = Platform(takes=inf)
    engine = Engine(run, ledger, platform.client, Options(mode=Mode.ASYNC, concurrency=2, work_tuning=QUICK))
    with engine:
        engine.submit_chunk(0)
        engine.stop(Interrupted("enough"))
        with pytest.raises(Interrupted, match="enough"):
            engine.settle()
        with pytest.raises(Interrupted, match="enough"):
            engine.submit_chunk(1)
    assert sum(platform.taken.values()) == 10
    platform.takes = 0.0
    found, _ = work(ledger, run, platform)
    assert {r.status for r in found.values()} == {"scored"}
    assert platform.taken == dict.fromkeys(ANSWERS, 1)


def cut_off(ledger: Ledger, answers: list[str]) -> Run:
    """A run whose process died while its first item was on its way."""
    run = a_run(ledger, answers)
    ledger.book(run.run_id).apply([Sending((0,))])
    return run


def test_an_item_that_was_being_sent_at_a_crash_counts_as_a_possible_duplicate(ledger: Ledger) -> None:
    found, run = work(ledger, cut_off(ledger, ["x", "y"]), Platform())
    assert {r.status for r in found.values()} == {"scored"}
    assert run.possible_duplicates == 1


def test_an_ambiguous_item_fails_or_stays_where_the_user_wants_no_duplicate(ledger: Ledger) -> None:
    platform = Platform()
    found, run = work(ledger, cut_off(ledger, ["x", "y"]), platform, on_lost_reply="ask")
    assert (found["x"].status, found["y"].status) == ("pending", "scored")
    found, run = work(ledger, run, platform, on_lost_reply="fail")
    assert (found["x"].status, found["x"].stage) == ("failed", "submit")
    assert found["x"].error is not None
    assert found["x"].error["kind"] == "lost_reply"
    assert (platform.taken["x"], run.possible_duplicates) == (0, 0)


@pytest.mark.parametrize(("chosen", "status"), [("fail", "failed"), ("ask", "pending")])
def test_a_lost_reply_is_not_sent_again_where_the_user_wants_no_duplicate(
    ledger: Ledger, chosen: str, status: str
) -> None:
    platform = Platform(trouble=once_per_answer(lambda *_: httpx.ReadTimeout("no answer")))
    found, run = work(ledger, a_run(ledger, ["x"]), platform, on_lost_reply=chosen)
    assert (found["x"].status, platform.posts, run.possible_duplicates) == (status, 1, 0)


def test_a_failed_evaluation_is_submitted_once_more(ledger: Ledger) -> None:
    def fails_once(request: httpx.Request, platform: Platform) -> httpx.Response | None:
        row = platform.rows.get(request.url.params.get("eval_id", ""))
        first = row is not None and platform.taken[row["output"]] == 1
        return fails_with("the judge timed out")(request, platform) if first else None

    platform = Platform(trouble=fails_once)
    found, _ = work(ledger, a_run(ledger, ["x", "y"]), platform)
    assert {(r.status, r.attempts) for r in found.values()} == {("scored", 2)}
    assert platform.taken == {"x": 2, "y": 2}


def test_an_evaluation_that_fails_again_is_a_failed_item(ledger: Ledger) -> None:
    platform = Platform(trouble=fails_with("the judge timed out"))
    found, run = work(ledger, a_run(ledger, ["x"]), platform)
    assert (found["x"].status, found["x"].stage, platform.taken["x"]) == ("failed", "evaluate", 2)
    work(ledger, run, platform)
    assert platform.taken["x"] == 2


def test_an_evaluation_that_blames_the_input_is_not_bought_again(ledger: Ledger) -> None:
    platform = Platform(trouble=fails_with("No input received for 'output'. Please check your input."))
    found, _ = work(ledger, a_run(ledger, ["x"]), platform)
    assert (found["x"].status, platform.taken["x"]) == ("failed", 1)


@pytest.mark.parametrize(
    "message", ["No input received for 'output'. Please check your input.", "request {}: no answer"]
)
def test_evaluations_that_all_fail_stop_their_lane_whatever_they_say(ledger: Ledger, message: str) -> None:
    platform = Platform(trouble=fails_with(message), takes=0.05)
    answers = [f"answer {i}" for i in range(300)]
    found, run = work(ledger, a_run(ledger, answers, chunk_size=30), platform)
    assert platform.taken.total() <= TUNING.bought_at_first + 20
    assert {r.status for r in found.values()} == {"failed", "pending"}
    assert {r.attempts for r in found.values() if r.status == "pending"} == {0}, "what was bought is not left as unsent"
    sent_again = platform.taken.total() - len(platform.taken)
    assert run.retries < sent_again + 20, "what failed and waited to be sent again, in vain, was no retry"
    assert re.search(
        r"stopped: the judge gave no verdict on \d+ items in a row, each with: evaluation_error", run.notices[0]
    )


def test_a_judge_without_a_model_is_told_of_with_others_and_nothing_that_was_sent_is_called_unsent(
    ledger: Ledger,
) -> None:
    platform = Platform(trouble=fails_with("", status="completed", error_message=None))
    found, run = work(ledger, a_run(ledger, [f"answer {n}" for n in range(50)], chunk_size=50), platform)
    assert {(r.status, r.error and r.error["kind"]) for r in found.values()} == {("failed", "hollow")}
    [notice] = run.notices
    assert "the judge gave no verdict on" in notice
    assert "each with: hollow: " in notice
    assert f"--template {TEMPLATE}:turing_small or --template {TEMPLATE}:turing_large" in notice
    assert "sent" not in notice


def test_a_check_with_some_failures_that_show_early_is_not_stopped(ledger: Ledger) -> None:
    def three_in_ten_fail_at_once(request: httpx.Request, platform: Platform) -> httpx.Response | None:
        row = platform.rows.get(request.url.params.get("eval_id", ""))
        if row is None or int(row["output"].split()[1]) % 10 >= 3:
            return None
        return fails_with("request {}: no answer")(request, platform)

    platform = Platform(trouble=three_in_ten_fail_at_once, takes=1.0)
    answers = [f"answer {i}" for i in range(300)]
    found, run = work(ledger, a_run(ledger, answers, chunk_size=100), platform)
    assert Counter(r.status for r in found.values()) == {"scored": 210, "failed": 90}
    assert (platform.taken.total(), run.notices) == (390, ())


def fails_with(message: str, **fields: Any) -> Callable[[httpx.Request, Platform], httpx.Response | None]:
    """Every evaluation fails so."""

    def trouble(request: httpx.Request, platform: Platform) -> httpx.Response | None:
        if request.method == "POST":
            return None
        told = {"value": None, "reason": None, "runtime": None, "error_message": message.format(uuid4())}
        return platform.done(request.url.params["eval_id"], **{"status": "failed", **told, **fields})

    return trouble


def test_a_wrong_mapping_that_the_server_refuses_costs_a_few_requests(ledger: Ledger) -> None:
    platform = Platform(trouble=lambda r, _: refusal("Missing required keys: context") if r.method == "POST" else None)
    found, run = work(ledger, a_run(ledger, [f"answer {i}" for i in range(300)], chunk_size=100), platform)
    assert platform.posts <= 4
    assert sum(r.status == "failed" for r in found.values()) == platform.posts
    assert sum(r.status == "pending" for r in found.values()) == 300 - platform.posts
    assert "Missing required keys: context" in run.notices[0]
    platform.trouble = None
    found, _ = work(ledger, run, platform)
    assert sum(r.status == "scored" for r in found.values()) == 300 - 4


def test_a_stopped_lane_stops_no_other(ledger: Ledger) -> None:
    run = a_run_of_two_checks(ledger, rows=30, chunk_size=10)
    platform = Platform(trouble=lambda r, _: refusal("no") if b"other" in r.content else None)
    found, _ = work(ledger, run, platform)
    assert {r.status for r in found.values() if r.check == TEMPLATE} == {"scored"}
    assert sum(r.status == "failed" for r in found.values() if r.check == "other") == 4
    assert sum(r.status == "pending" for r in found.values() if r.check == "other") == 26


def test_the_first_item_of_a_check_goes_ahead_alone(ledger: Ledger) -> None:
    sizes: list[int] = []

    def watch(request: httpx.Request, _: Platform) -> None:
        if request.method == "POST":
            inputs = json.loads(request.content)["inputs"]["output"]
            sizes.append(1 if isinstance(inputs, str) else len(inputs))

    work(ledger, a_run(ledger, ANSWERS), Platform(trouble=watch))
    assert sizes[0] == 1
    assert sum(sizes) == len(ANSWERS)
    assert sorted(sizes)[-1] > 1


def test_a_pack_that_is_too_long_for_this_server_is_made_shorter_for_all(ledger: Ledger) -> None:
    def four_at_most(request: httpx.Request, _: Platform) -> httpx.Response | None:
        if request.method != "POST":
            return None
        inputs = json.loads(request.content)["inputs"]["output"]
        if isinstance(inputs, str) or len(inputs) <= 4:
            return None
        said = f"Input lists cannot have more than 4 items, but found length {len(inputs)}."
        return httpx.Response(400, json={"status": False, "detail": "Validation failed", "errors": {"inputs": [said]}})

    platform = Platform(trouble=four_at_most)
    found, _ = work(ledger, a_run(ledger, [f"answer {i}" for i in range(200)], chunk_size=50), platform)
    assert {r.status for r in found.values()} == {"scored"}
    assert set(platform.taken.values()) == {1}
    assert platform.posts < 200 / 2


def test_a_sync_call_that_keeps_failing_is_submitted_instead_where_the_reason_shows(ledger: Ledger) -> None:
    def opaque(request: httpx.Request, platform: Platform) -> httpx.Response | None:
        if request.method == "POST":
            is_sync = not json.loads(request.content)["is_async"]
            return refusal("Unable to run standalone evaluation", status=500) if is_sync else None
        return None

    platform = Platform(trouble=opaque)
    found, _ = work(ledger, a_run(ledger, ANSWERS, mode=Mode.SYNC), platform)
    assert {r.status for r in found.values()} == {"scored"}
    assert platform.taken == dict.fromkeys(ANSWERS, 1)
    synchronous_ones = platform.posts - len(ANSWERS)
    assert synchronous_ones <= 2 * 8 + 2  # what was under way before the lane turned


def test_two_processes_on_one_run_send_each_item_once_and_both_see_the_end(ledger: Ledger) -> None:
    platform = Platform(takes=0.05)
    run = a_run(ledger, [f"answer {i}" for i in range(300)], chunk_size=10)
    with ThreadPoolExecutor(2) as processes:
        both = [processes.submit(work, ledger, run, platform, owner=f"process {n}") for n in range(2)]
        ends = [one.result()[0] for one in both]
    assert set(platform.taken.values()) == {1}
    assert len(platform.taken) == 300
    for found in ends:
        assert {r.status for r in found.values()} == {"scored"}


def test_a_ledger_that_cannot_be_written_stops_the_run(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    from fieval_tasks.core.errors import StoreError

    run = a_run(ledger, ANSWERS)
    platform = Platform()

    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(Book, "apply", full)
    with pytest.raises(StoreError, match="full"):
        work(ledger, run, platform, mode=Mode.SUBMIT)
    assert platform.posts == 0


def test_a_chunk_that_comes_when_the_engine_has_ended_is_told_so_and_holds_nobody(ledger: Ledger) -> None:
    run = a_run(ledger, ["one", "two"])
    with Engine(run, ledger, Platform().client, Options(mode=Mode.ASYNC, work_tuning=QUICK)) as engine:
        [chunk] = engine.to_submit()
        engine.expect([ended := Future[int]()])
        engine.stop(RunStopped("no credit left"))
    with pytest.raises(RunStopped, match="no credit left"):
        engine.submit_chunk(chunk)
    ended.set_result(0)


def test_a_chunk_that_the_ending_loop_never_came_to_is_told_so_and_holds_nobody(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, handed = a_run(ledger, ["one", "two"]), threading.Semaphore(0)
    with ThreadPoolExecutor(1) as late:
        with Engine(run, ledger, Platform().client, Options(mode=Mode.ASYNC, work_tuning=QUICK)) as engine:
            [chunk] = engine.to_submit()
            engine.stop(RunStopped("no credit left"))
            with monkeypatch.context() as patched:
                patched.setattr(engine._loop._loop, "call_soon_threadsafe", lambda *_, **__: handed.release())
                submitting = late.submit(engine.submit_chunk, chunk)
                assert all(handed.acquire(timeout=PATIENCE) for _ in range(2)), "the tickets found, and the chunk"
        with pytest.raises(RunStopped, match="no credit left"):
            submitting.result(timeout=PATIENCE)
