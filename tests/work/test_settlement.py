"""What each answer about a ticket means, and what is done about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import httpx
import pytest

from fieval_tasks.core.errors import RunStopped
from fieval_tasks.core.items import Failed, Item, Scored, State, Ticket
from fieval_tasks.core.plan import Mode
from fieval_tasks.core.policy import GRACE_FOR_UNKNOWN, MANY_UNKNOWN, OVERTAKEN, SILENCE
from fieval_tasks.ledger.changes import Requeued, Sending, Submitted
from fieval_tasks.ledger.recording import Recorder
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.pace import pace_tuning
from fieval_tasks.pace.pace import Pace
from fieval_tasks.pace.pace_tuning import PaceTuning
from fieval_tasks.pace.quota import Quotas
from fieval_tasks.work.agenda import Answer
from fieval_tasks.work.echoes import Echoes
from fieval_tasks.work.lanes import Lanes
from fieval_tasks.work.open_items import ItemVerdict, OpenItem, OpenItems
from fieval_tasks.work.options import Options
from fieval_tasks.work.settlement import Settlement
from fieval_tasks.work.work_tuning import TUNING
from tests.platform import TEMPLATE, Platform, Trouble, ok, refusal

CHECK = CheckRecord(TEMPLATE, TEMPLATE, "turing_flash", {}, "Pass/Fail", {"output": "answer"})
DIFFERENT = pace_tuning.TUNING.different
PENDING = {"eval_status": "pending", "result": "Evaluation is being processed."}


class Scene:
    """A settlement with so many tickets at a platform, and what it says is to be done."""

    def __init__(
        self,
        folder: Path,
        platform: Platform,
        *,
        in_vain: int = TUNING.in_vain,
        away_pause: float = 0.001,
        **options: Any,
    ) -> None:
        self.ledger = Ledger(f"sqlite:///{folder / 'ledger.db'}")
        self.run = self.ledger.create(
            Run("r", utc_now(), "d", "f", "async", "test", (CHECK,), {}, ()),
            ((Item(i, f"{i}", i, TEMPLATE, TEMPLATE, None, {"output": f"{i}"}, f"{i}"), None) for i in range(40)),
            chunk_size=40,
        )
        self.ids = [platform.accept({"inputs": {"output": f"{i}"}})[0] for i in range(40)]
        self.ledger.book("r").apply([Submitted(tuple(Ticket(i, one) for i, one in enumerate(self.ids)), utc_now())])
        self.recorder = Recorder(self.ledger.book("r"))
        self.hands = OpenItems(self.ledger.book("r"), self.recorder)
        self.items = [self.adopted(i) for i in range(40)]
        self.told: list[ItemVerdict] = []
        self.again: list[int] = []
        self.client = platform.client()
        self.echoes = Echoes(self.ledger.book("r"))
        self.now = 1_000.0
        chosen = Options(
            mode=Mode.ASYNC,
            pace_tuning=PaceTuning(longest_away_pause=away_pause),
            work_tuning=replace(TUNING, in_vain=in_vain),
            **options,
        )
        lanes = Lanes(self.run, self.client, Quotas(), chosen)
        self.lane = lanes.lane_of(TEMPLATE)
        self.settlement = Settlement(
            lanes,
            self.echoes,
            self.recorder,
            Pace(concurrency=8, tuning=chosen.pace_tuning),
            chosen,
            clock=lambda: self.now,
        )

    def adopted(self, seq: int) -> OpenItem:
        item = self.hands.adopt(seq, self.ids[seq], TEMPLATE)
        assert item is not None
        return item

    def questions(self, seq: int) -> int:
        return self.items[seq].questions

    async def ask(self, seq: int, *, age: float = 1.0) -> Answer:
        """Ask about an item whose ticket has that age, and do as the answer demands, but send nothing."""
        item = self.items[seq]
        item.since = self.now - age
        heard = await self.settlement.ask(item)
        if heard.verdict is not None:
            self.told.append((seq, item.eval_id, heard.verdict))
        if heard.put_back is not None:
            await self.hands.put_back(item, heard.put_back, "sender")
            if heard.stops is None:
                self.again.append(seq)
        if heard.stops is not None:
            raise heard.stops
        return heard.answer

    def fail_unknown(self) -> None:
        self.told += self.settlement.unknown()

    async def ask_anew(self, seq: int, *, age: float = 1.0) -> Answer:
        """As after it was sent once more, where it was put back."""
        self.items[seq].ticketed(self.ids[seq], 0.0)
        self.ledger.book("r").apply([Submitted((Ticket(seq, self.ids[seq]),), utc_now())])
        return await self.ask(seq, age=age)

    @property
    def stuck(self) -> int:
        """Evaluations that the run is said to have lost."""
        return next((int(told.split()[0]) for told in self.settlement.notices if "pending far longer" in told), 0)

    async def aclose(self) -> None:
        await self.recorder.aclose()
        await self.client.aclose()
        self.ledger.close()


@pytest.fixture
async def scenes(tmp_path: Path) -> AsyncIterator[list[Scene]]:
    opened: list[Scene] = []
    yield opened
    for scene in opened:
        await scene.aclose()


def forgets_the_first(request: httpx.Request, platform: Platform) -> httpx.Response | None:
    row = platform.rows[request.url.params["eval_id"]]
    return ok(PENDING) if row["output"] == "0" else None


@pytest.mark.parametrize(("chosen", "answer"), [("wait", Answer.PENDING), ("resubmit", Answer.DROPPED)])
async def test_an_evaluation_the_server_forgot_is_flagged_and_submitted_again_only_on_request(
    tmp_path: Path, scenes: list[Scene], chosen: Any, answer: Answer
) -> None:
    scene = Scene(tmp_path, Platform(trouble=forgets_the_first), on_stuck=chosen)
    scenes.append(scene)
    assert await scene.ask(0, age=100.0) is Answer.PENDING
    for seq in range(1, TUNING.stuck_later + 1):
        assert await scene.ask(seq) is Answer.DECIDED
    assert scene.stuck == 0
    assert await scene.ask(0, age=100.0) is answer
    assert (scene.stuck, scene.again) == ((1, []) if chosen == "wait" else (0, [0]))
    await scene.recorder.record()
    assert scene.ledger.run("r").possible_duplicates == 0
    scene.ledger.book("r").apply([Sending(tuple(scene.again))])
    assert scene.ledger.run("r").possible_duplicates == (chosen == "resubmit")
    assert scene.ledger.book("r").redone() == ({} if chosen == "wait" else {0: 1})


async def with_an_orphan(folder: Path, platform: Platform) -> Scene:
    """Item 0 is pending long after others that came later."""
    scene = Scene(folder, platform)
    for seq in range(1, TUNING.stuck_later + 1):
        await scene.ask(seq)
    await scene.ask(0, age=100.0)
    assert scene.stuck == 1
    return scene


async def test_an_orphan_that_answers_after_all_is_none_any_more(tmp_path: Path, scenes: list[Scene]) -> None:
    platform = Platform(trouble=forgets_the_first)
    scenes.append(scene := await with_an_orphan(tmp_path, platform))
    platform.trouble = None
    assert await scene.ask(0, age=101.0) is Answer.DECIDED
    assert (scene.stuck, scene.questions(0)) == (0, 2)


async def test_an_orphan_that_the_server_does_not_know_is_none_any_more(tmp_path: Path, scenes: list[Scene]) -> None:
    platform = Platform(trouble=forgets_the_first)
    scenes.append(scene := await with_an_orphan(tmp_path, platform))
    platform.trouble = lambda request, platform: refusal("Evaluation not found", status=404)
    assert await scene.ask(0, age=101.0) is Answer.DROPPED
    assert scene.stuck == 0


def knows(*numbers: int) -> Trouble:
    """Of the tickets, the server knows these."""

    def trouble(request: httpx.Request, platform: Platform) -> httpx.Response | None:
        row = platform.rows[request.url.params["eval_id"]]
        return None if int(row["output"]) in numbers else refusal("Evaluation not found.")

    return trouble


async def test_a_server_that_knows_none_of_many_tickets_stops_the_run_and_fails_nothing(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    scenes.append(scene := Scene(tmp_path, Platform(trouble=knows())))
    for seq in range(MANY_UNKNOWN - 1):
        assert await scene.ask(seq, age=GRACE_FOR_UNKNOWN) is Answer.DROPPED
    with pytest.raises(RunStopped, match=r"does not know any of the 10 evaluations.*--retry-failed"):
        await scene.ask(MANY_UNKNOWN, age=GRACE_FOR_UNKNOWN)
    assert scene.told == []


async def test_many_unknown_tickets_stop_the_run_though_some_are_known(tmp_path: Path, scenes: list[Scene]) -> None:
    scenes.append(scene := Scene(tmp_path, Platform(trouble=knows(*range(MANY_UNKNOWN, 40)))))
    for seq in reversed(range(40)):
        await scene.ask(seq, age=GRACE_FOR_UNKNOWN)
    with pytest.raises(RunStopped, match=r"does not know 10 of 40 evaluations"):
        scene.fail_unknown()
    assert len(scene.told) == 30
    assert all(isinstance(verdict, Scored) for _, _, verdict in scene.told)


async def test_a_ticket_that_is_asked_about_often_counts_once_beside_those_that_are_unknown(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    scenes.append(scene := Scene(tmp_path, platform := Platform(takes=inf)))
    for _ in range(5):
        for seq in range(40):
            assert await scene.ask(seq) is Answer.PENDING
    for eval_id in scene.ids[:15]:
        del platform.rows[eval_id]
    for seq in range(15):
        await scene.ask(seq, age=GRACE_FOR_UNKNOWN)
    with pytest.raises(RunStopped, match=r"does not know 15 of 40 evaluations"):
        scene.fail_unknown()
    assert scene.told == []


async def test_a_few_unknown_tickets_fail_once_all_have_been_asked_about(tmp_path: Path, scenes: list[Scene]) -> None:
    scenes.append(scene := Scene(tmp_path, Platform(trouble=knows(*range(3, 40)))))
    for seq in range(40):
        await scene.ask(seq, age=GRACE_FOR_UNKNOWN)
    assert len(scene.told) == 37
    scene.fail_unknown()
    scene.fail_unknown()
    failed = [(seq, eval_id, verdict.kind) for seq, eval_id, verdict in scene.told if isinstance(verdict, Failed)]
    assert failed == [(seq, scene.ids[seq], "lost") for seq in range(3)]


async def test_an_unknown_ticket_of_an_item_that_is_retried_is_given_up_and_the_item_sent_again_once(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    scenes.append(scene := Scene(tmp_path, Platform(trouble=knows())))
    for item in scene.items:
        item.resend_if_unknown = True
    for seq in range(40):
        assert await scene.ask(seq, age=GRACE_FOR_UNKNOWN) is Answer.DROPPED
    scene.fail_unknown()
    assert (scene.again, scene.told) == ([*range(40)], [])
    assert scene.ledger.book("r").counts()[State.READY] == 40
    scene.ledger.book("r").apply([Sending(tuple(range(40))), Submitted((Ticket(0, scene.ids[0]),), utc_now())])
    assert scene.ledger.run("r").possible_duplicates == 40
    scene.items[0].ticketed(scene.ids[0], 0.0)
    assert await scene.ask(0, age=GRACE_FOR_UNKNOWN) is Answer.DROPPED
    scene.fail_unknown()
    assert [verdict.kind for _, _, verdict in scene.told if isinstance(verdict, Failed)] == ["lost"]


def fails(request: httpx.Request, platform: Platform) -> httpx.Response:
    return httpx.Response(502, text="bad gateway")


async def test_a_question_that_fails_after_a_long_time_without_any_is_no_silence(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    scenes.append(scene := Scene(tmp_path, Platform(trouble=fails)))
    scene.now = 2 * SILENCE
    assert await scene.ask(0) is Answer.UNHEARD
    scene.now += SILENCE
    assert await scene.ask(0) is Answer.UNHEARD
    for seq in range(1, DIFFERENT - 1):
        assert await scene.ask(seq) is Answer.UNHEARD
    scene.now += 1.0
    with pytest.raises(RunStopped, match="no answer for 120 s"):
        await scene.ask(DIFFERENT - 1)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(httpx.Response(403, html="<h1>Forbidden</h1>"), id="a firewall's"),
        pytest.param(httpx.Response(200, html="<h1>Hello</h1>"), id="strange"),
        pytest.param(httpx.Response(500, html="<h1>Oops</h1>"), id="a fault"),
        pytest.param(httpx.Response(502, html="<h1>Oops</h1>"), id="a gateway's"),
    ],
)
async def test_a_few_items_whose_questions_always_fail_are_left_pending_and_stop_nothing(
    tmp_path: Path, scenes: list[Scene], reply: httpx.Response
) -> None:
    scenes.append(scene := Scene(tmp_path, Platform(trouble=lambda *_: reply)))
    left: set[int] = set()
    for seq in [*range(DIFFERENT - 1)] * 20:
        scene.now += SILENCE / 40
        if seq not in left and await scene.ask(seq) is Answer.DROPPED:
            left.add(seq)
    assert (left, scene.told, scene.again) == ({*range(DIFFERENT - 1)}, [], [])
    [notice] = scene.settlement.notices
    assert notice.startswith(f"{DIFFERENT - 1} of the items were left pending")
    assert scene.ledger.book("r").counts()[State.SUBMITTED] == 40


@pytest.mark.parametrize("status", [403, 500])
async def test_more_such_items_stop_nothing_while_the_api_answers_otherwise(
    tmp_path: Path, scenes: list[Scene], status: int
) -> None:

    def trouble(request: httpx.Request, _: Platform) -> httpx.Response | None:
        return httpx.Response(status, html="<h1>Forbidden</h1>") if "eval_id" in request.url.params else None

    scenes.append(scene := Scene(tmp_path, Platform(trouble=trouble), in_vain=20))
    left: set[int] = set()
    for seq in [*range(19)] * 6:
        scene.now += SILENCE / 40
        if seq not in left and await scene.ask(seq) is Answer.DROPPED:
            left.add(seq)
    assert (left, scene.told, scene.again) == ({*range(19)}, [], [])
    with pytest.raises(RunStopped, match=r"10 answers in a row|no answer for 120 s"):
        await scene.ask(19)


async def test_an_item_past_its_time_does_not_wait_for_its_turn_to_probe_a_server_that_is_away(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    platform = Platform(trouble=lambda *_: httpx.ConnectError("refused"))
    scenes.append(scene := Scene(tmp_path, platform, item_timeout=10.0))
    assert await scene.ask(0) is Answer.UNHEARD
    assert await scene.ask(0, age=10.0) is Answer.UNHEARD
    assert (platform.polls, scene.questions(0)) == (1, 1)


async def test_items_whose_time_ends_while_they_wait_to_probe_are_let_go_together(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    platform = Platform(trouble=lambda *_: httpx.ConnectError("refused"))
    scenes.append(scene := Scene(tmp_path, platform, away_pause=0.5, item_timeout=10.0))
    for seq in range(8):
        await scene.ask(seq)
    waiting = [asyncio.ensure_future(scene.ask(seq)) for seq in range(8)]
    await asyncio.sleep(0)
    scene.now += 10.0
    assert await asyncio.gather(*waiting) == [Answer.UNHEARD] * 8
    assert platform.polls == 8, "none of them goes out, and none waits for another's probe to be answered"


def without_credit(request: httpx.Request, platform: Platform) -> httpx.Response:
    told = {"value": None, "reason": None, "runtime": None}
    message = "API call not allowed: insufficient_credits"
    return platform.done(request.url.params["eval_id"], status="failed", error_message=message, **told)


async def test_credit_that_is_gone_stops_the_run_and_keeps_the_item(tmp_path: Path, scenes: list[Scene]) -> None:
    scenes.append(scene := Scene(tmp_path, Platform(trouble=without_credit)))
    scene.items[0].ticketed(scene.ids[0], 0.0)
    with pytest.raises(RunStopped, match="insufficient_credits"):
        await scene.ask(0)
    assert scene.ledger.book("r").counts()[State.READY] == 1


async def test_credit_that_was_gone_before_this_process_began_is_tried_again(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    scenes.append(scene := Scene(tmp_path, Platform(trouble=without_credit)))
    assert await scene.ask(0) is Answer.DROPPED
    assert (scene.again, scene.told) == ([0], [])
    assert scene.ledger.book("r").counts()[State.READY] == 1


# -- whose row it is -----------------------------------------------------------------------------------------------


def row_of(output: Any, **about: Any) -> Any:
    """A platform that tells of every evaluation that it judged this."""
    told = {"input_data": {"output": output}} | about

    def trouble(request: httpx.Request, platform: Platform) -> httpx.Response:
        return platform.done(request.url.params["eval_id"], **told)

    return trouble


@pytest.mark.parametrize("status", ["completed", "failed"])
async def test_a_row_with_the_inputs_of_another_item_is_a_failure_of_its_own_kind(
    tmp_path: Path, scenes: list[Scene], status: str
) -> None:
    value = {"value": None, "error_message": "no"} if status == "failed" else {}
    scene = Scene(tmp_path, Platform(trouble=row_of("1", status=status, **value)))
    scenes.append(scene)
    assert await scene.ask(0) is Answer.DECIDED
    [(seq, eval_id, verdict)] = scene.told
    assert (seq, eval_id) == (0, scene.ids[0])
    assert isinstance(verdict, Failed)
    assert (verdict.stage, verdict.kind) == ("evaluate", "wrong_item")
    assert scene.lane.longest_pack == 1, "it may be packs that the server mixes up"
    assert scene.again == []
    [notice] = scene.echoes.notices
    assert "1 verdicts that are on another item's inputs" in notice


async def test_a_server_that_mixes_up_everything_is_stopped_soon(tmp_path: Path, scenes: list[Scene]) -> None:
    scenes.append(scene := Scene(tmp_path, Platform(trouble=row_of("elsewhere"))))
    for seq in range(40):
        await scene.ask(seq)
    assert scene.lane.breaker.stopped is not None
    assert "wrong_item" in scene.lane.breaker.stopped


async def test_an_eval_id_of_two_items_is_neithers_where_nobody_says_whose_it_is(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    scenes.append(scene := Scene(tmp_path, Platform(trouble=row_of("", input_data=None))))
    assert await scene.ask(2) is Answer.DECIDED
    scene.ledger.book("r").apply([Requeued(1), Submitted((Ticket(1, scene.ids[0]),), utc_now())])
    assert await scene.ask(0) is Answer.DECIDED
    assert [type(verdict) for _, _, verdict in scene.told] == [Scored, Failed]
    assert "another item, too" in scene.told[1][2].message  # type: ignore[union-attr]


async def test_verdicts_that_could_not_be_checked_are_told_of_where_others_could(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    platform = Platform(trouble=row_of("", input_data=None))
    scenes.append(scene := Scene(tmp_path, platform))
    await scene.ask(0)
    assert scene.echoes.notices == (), "an old server: nobody expects more of it"
    platform.trouble = None
    await scene.ask(1)
    [notice] = scene.echoes.notices
    assert "on which inputs 1 of 2 verdicts are" in notice


async def test_verdicts_at_once_with_an_eval_id_that_others_have_are_nobodys(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    scenes.append(scene := Scene(tmp_path, Platform()))
    good = Scored("Passed", 1.0, True, "because", 5.0)
    async with scene.echoes.own([(0, scene.ids[0], good), (1, None, good)]) as own:
        assert [verdict for _, _, verdict in own] == [good, good]
        async with scene.echoes.own([(2, scene.ids[0], good)]) as [(_, _, meanwhile)]:
            assert isinstance(meanwhile, Failed)
    async with scene.echoes.own([(3, scene.ids[7], good), (4, "new", good)]) as [(_, _, known), (_, _, new)]:
        assert isinstance(known, Failed)
        assert new == good


# -- a limit that hides ---------------------------------------------------------------------------------------------


def limited(*answers: str) -> Trouble:
    """The evaluations of these fail as by a limit that hides."""

    def trouble(request: httpx.Request, platform: Platform) -> httpx.Response | None:
        if platform.rows[request.url.params["eval_id"]]["output"] not in answers:
            return None
        told = {"value": None, "reason": None, "runtime": None, "error_message": "API call not allowed: rate_limited"}
        return platform.done(request.url.params["eval_id"], status="failed", **told)

    return trouble


async def test_an_item_that_a_limit_alone_refuses_is_put_back_only_so_often(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    scenes.append(scene := Scene(tmp_path, Platform(trouble=limited("0"))))
    for seq in range(1, OVERTAKEN + 1):
        assert await scene.ask(seq) is Answer.DECIDED
        assert await scene.ask_anew(0) is Answer.DROPPED
    assert await scene.ask(OVERTAKEN + 1) is Answer.DECIDED
    assert await scene.ask_anew(0) is Answer.DECIDED
    seq, eval_id, verdict = scene.told[-1]
    assert (seq, eval_id) == (0, scene.ids[0])
    assert isinstance(verdict, Failed)
    assert (verdict.stage, verdict.kind) == ("evaluate", "always_rate_limited")
    assert f"failed {OVERTAKEN + 1} times" in verdict.message
    assert scene.again == [0] * OVERTAKEN


async def test_a_limit_that_refuses_everybody_costs_no_item_anything_however_often(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    scenes.append(scene := Scene(tmp_path, Platform(trouble=limited(*(f"{n}" for n in range(40))))))
    for _ in range(OVERTAKEN + 2):
        for seq in range(4):
            assert await scene.ask_anew(seq) is Answer.DROPPED
    assert scene.told == []
    assert scene.again == [*range(4)] * (OVERTAKEN + 2)


async def test_an_item_that_is_refused_often_and_for_longer_than_its_time_is_left_pending(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    scenes.append(scene := Scene(tmp_path, Platform(trouble=limited("0")), item_timeout=600.0))
    for _ in range(TUNING.refused_often - 1):
        assert await scene.ask_anew(0, age=601.0) is Answer.DROPPED
    assert scene.again == [0] * (TUNING.refused_often - 1)
    assert await scene.ask_anew(0, age=1.0) is Answer.DROPPED
    assert (scene.again, scene.told) == ([0] * (TUNING.refused_often - 1), [])
    assert scene.ledger.book("r").counts()[State.SUBMITTED] == 40
