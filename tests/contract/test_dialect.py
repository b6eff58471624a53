"""However a server's replies are spelt, and however that changes, what they say is read; a change is a notice."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.api import wire
from fieval_tasks.api.dialect import MOST_TRAITS, Listener
from fieval_tasks.core.errors import Miscounted, NotTheProtocol
from fieval_tasks.core.items import Failed, Pending, Scored
from tests.api.test_wire import GOLDEN, POLLS, POSTS, SYNC, in_old_spelling, items_in, reply
from tests.contract.raw_server import RawServer, answers
from tests.contract.test_client_faults import failure, get_result, submit

ROW = {"eval_id": "e-1", "name": "t", "reason": "because", "runtime": 5.0, "output_type": "score", "value": "0.5"}
FAILED_ROW = {**ROW, "reason": None, "runtime": None, "output_type": None, "value": None, "error_message": "no"}
PENDING = {"status": True, "result": {"eval_status": "pending", "result": "Evaluation is being processed."}}


def done(status: str = "completed", **fields: Any) -> dict[str, Any]:
    """A GET's reply."""
    row = FAILED_ROW if status == "failed" else ROW
    return {"status": True, "result": {"eval_status": status, "result": {**row, **fields}}}


def judged(**fields: Any) -> dict[str, Any]:
    """A synchronous POST's reply."""
    told = {"name": "t", "reason": "because", "runtime": 5, "output": 0.5, "output_type": "score", "eval_id": "e-1"}
    return {"status": True, "result": [{"evaluations": [{**told, **fields}]}]}


def taken(**fields: Any) -> dict[str, Any]:
    """An asynchronous POST's reply."""
    told = {"name": "t", "output_type": "score", "eval_id": "e-1"}
    return {"status": True, "result": [{"evaluations": [{**told, **fields}]}]}


class Run:
    """What one run makes of its replies."""

    def __init__(self) -> None:
        self.listener = Listener()

    def state(self, reply: Any) -> Any:
        return self._heard(reply, wire.state(reply))

    def ids(self, reply: Any, *, sent: int = 1) -> Any:
        return self._heard(reply, wire.eval_ids(reply, expected=sent), sent=sent)

    def verdict(self, reply: Any) -> Any:
        return self.verdicts(reply)[0][1]

    def verdicts(self, reply: Any, *, sent: int = 1) -> Any:
        return self._heard(reply, wire.verdicts(reply, expected=sent), sent=sent)

    def _heard(self, reply: Any, told: Any, *, sent: int = 1) -> Any:
        self.listener.hear(reply, sent=sent)
        return told

    @property
    def notices(self) -> tuple[str, ...]:
        return self.listener.notices


# -- what may differ without a word --------------------------------------------------------------------------------


@pytest.mark.parametrize("spelt", [copy.deepcopy, in_old_spelling], ids=["snake_case", "camelCase"])
def test_every_recorded_reply_may_come_in_one_run_of_one_spelling(spelt: Callable[[Any], Any]) -> None:
    run = Run()
    for case in GOLDEN:
        told, plain = spelt(reply(case)), reply(case)
        if case in POLLS:
            assert run.state(told) == wire.state(plain)
        if case in SYNC:
            assert run.verdicts(told, sent=items_in(case)) == wire.verdicts(plain, expected=items_in(case))
        if case in POSTS:
            assert run.ids(told, sent=items_in(case)) == wire.eval_ids(plain, expected=items_in(case))
    assert run.notices == ()


def test_submissions_and_states_may_be_spelt_each_in_its_way() -> None:
    run = Run()
    for _ in range(2):
        assert run.ids(taken()) == ["e-1"]
        assert isinstance(run.state(in_old_spelling(done())), Scored)
    assert run.notices == ()


NO_NEWS: dict[str, tuple[int, list[tuple[str, Any]]]] = {
    # how many of these replies are a judge's verdict, and the replies
    "an output type that is empty": (1, [("state", done()), ("state", done("failed", output_type=""))]),
    "what a failed row lacks": (
        6,
        [("state", told) for told in (
            done(), done("failed"), done(reason=None), done("failed", runtime=3.0), PENDING, done(),
            done(output_type=None, value="[1]"), done(name=None), done(runtime=7), done(value=None),
        )],
    ),
    "a number, or text of one": (
        6,
        [*(("verdict", judged(output=output)) for output in (0.5, 1, 0, None, "0.25")),
         *(("state", done(value=value)) for value in ("0.5", 0.5))],
    ),
    "an item's own words": (
        2, [("state", done(input_data=said)) for said in ({"eval_id": "a"}, {"evalId": "b", "outputType": "c"})],
    ),
    "a choice as text, a list or an object": (
        4,
        [("verdict", judged(output=output, output_type="choices"))
         for output in ("joy", ["joy", "love"], {"score": 1.0, "choice": "joy"}, "love")],
    ),
    "another template": (
        2, [("verdict", judged(name="a")), ("verdict", judged(name="b", output="Passed", output_type="Pass/Fail"))],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("scored", "replies"), NO_NEWS.values(), ids=NO_NEWS)
def test_what_may_differ_from_reply_to_reply_is_no_news(scored: int, replies: list[tuple[str, Any]]) -> None:
    run = Run()
    assert sum(isinstance(getattr(run, way)(told), Scored) for way, told in replies) == scored
    assert run.notices == ()


def test_values_that_can_not_be_read_are_their_items_own_matter() -> None:
    run = Run()
    run.verdict(judged())
    for output in (["high"], "high", {"a": 1}, True, float("nan"), 10**400):
        slip = run.verdict(judged(output=output))
        assert isinstance(slip, Failed)
        assert slip.kind == "unreadable_value"
    assert isinstance(run.verdict(judged()), Scored)
    assert run.notices == ()


# -- what is said, once --------------------------------------------------------------------------------------------

LATER: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "states in camelCase": ("state", PENDING, in_old_spelling(PENDING), "partly in snake_case, partly in camelCase"),
    "states in snake_case": ("state", in_old_spelling(PENDING), PENDING, "partly in camelCase, partly in snake_case"),
    "rows in camelCase": ("state", done(), in_old_spelling(done()), "partly in snake_case, partly in camelCase"),
    "errors in camelCase": ("state", done(), done("failed", errorMessage="x"), "both spellings at once"),
    "ids in camelCase": ("ids", taken(), in_old_spelling(taken()), "partly in snake_case, partly in camelCase"),
    "verdicts in camelCase": ("verdict", judged(), in_old_spelling(judged()), "partly in camelCase"),
    "another output type": (
        "state", done(), done(output_type="Pass/Fail", value="Passed"), "of 't' that it gives 'score', and that it gives",
    ),
    "another declared type": ("ids", taken(), taken(output_type="choices"), "that it gives 'choices'"),
}  # fmt: skip


@pytest.mark.parametrize(("way", "first", "later", "told"), LATER.values(), ids=LATER)
def test_a_reply_that_is_put_in_another_way_is_read_and_told_of_once(
    way: str, first: Any, later: Any, told: str
) -> None:
    run, alone = Run(), Run()
    for _ in range(3):
        assert getattr(run, way)(first) == getattr(alone, way)(first)
        assert getattr(run, way)(later) == getattr(Run(), way)(later)
    [notice] = run.notices
    assert told in notice
    assert "every answer was read" in notice
    assert alone.notices == ()


def test_a_reply_that_can_not_be_read_is_no_news() -> None:
    run = Run()
    damaged = in_old_spelling(done())
    damaged["result"]["evalStatus"] = "vanished"
    with pytest.raises(NotTheProtocol):
        run.state(damaged)
    assert isinstance(run.state(done()), Scored)
    assert run.notices == ()


CASES = [*POLLS, *(case for case in SYNC if items_in(case))]


@given(st.lists(st.tuples(st.sampled_from(CASES), st.booleans()), min_size=1, max_size=12))
def test_in_a_mixed_rollout_each_reply_is_what_it_means(replies: list[tuple[str, bool]]) -> None:
    run = Run()
    for case, is_old in replies:
        told = in_old_spelling(reply(case)) if is_old else reply(case)
        if case in POLLS:
            assert run.state(told) == wire.state(reply(case))
        else:
            assert run.verdicts(told, sent=items_in(case)) == wire.verdicts(reply(case), expected=items_in(case))
    assert sum("camelCase" in notice for notice in run.notices) <= 1


# -- envelopes -----------------------------------------------------------------------------------------------------

BARE = {"name": "t", "output_type": "score", "eval_id": "e-1"}


@pytest.mark.parametrize(
    "told",
    [
        {"status": True, "result": [{"evaluations": [BARE]}], "extra": {"evaluations": 3}},
        {"status": False, "result": [{"evaluations": [BARE]}]},
        {"result": {"evaluations": [BARE]}},
        {"evaluations": [BARE]},
        [{"evaluations": [BARE]}],
        {"result": [None, {"evaluations": []}, {"meta": 1}, {"evaluations": [BARE]}]},
        {"result": [{"evaluations": [{"eval_id": None, "evalId": "e-1"}]}]},
        {"result": [{"evaluations": [BARE, {"eval_id": "another"}]}]},
    ],
)
def test_whatever_a_submission_is_wrapped_in_its_eval_id_is_kept(told: Any) -> None:
    assert Run().ids(told) == ["e-1"]


@pytest.mark.parametrize(
    "told",
    [
        {"result": done()["result"]},
        done()["result"],
        {"status": True, "code": 200, "result": {**done()["result"], "more": []}},
        {"status": True, "result": {"eval_status": None, "evalStatus": " Completed", "result": ROW}},
    ],
)
def test_whatever_a_state_is_wrapped_in_it_is_read(told: Any) -> None:
    assert Run().state(told) == Run().state(done())


def test_of_a_pack_what_is_named_is_kept_and_what_is_not_is_none() -> None:
    pack = {"result": [{"evaluations": [BARE, {"name": "t"}, None, {"evalId": "e-4"}]}]}
    assert wire.eval_ids(pack, expected=4) == ["e-1", None, None, "e-4"]


def test_a_pack_with_too_few_answers_tells_what_it_named() -> None:
    with pytest.raises(Miscounted, match=r"3 items .* the answer has 2 .* e-1, e-2") as told:
        wire.eval_ids({"result": [{"evaluations": [BARE, {**BARE, "eval_id": "e-2"}]}]}, expected=3)
    assert told.value.ambiguous


def test_a_synchronous_answer_without_a_verdict_is_a_ticket_to_ask_about() -> None:
    told = {"result": [{"evaluations": [BARE, judged()["result"][0]["evaluations"][0], {"name": "t"}, 7]}]}
    [ticket, verdict, *nothing] = wire.verdicts(told, expected=4)
    assert ticket == ("e-1", Pending())
    assert isinstance(verdict[1], Scored)
    assert nothing == [(None, None), (None, None)]


def test_several_evaluations_for_one_item_are_a_notice() -> None:
    run = Run()
    run.ids({"result": [{"evaluations": [BARE, {"eval_id": "another"}]}]})
    [notice] = run.notices
    assert "one item with several evaluations" in notice
    assert "upgraded" not in notice


# -- what it costs -------------------------------------------------------------------------------------------------


def test_a_server_that_invents_names_fills_no_memory() -> None:
    run = Run()
    for n in range(MOST_TRAITS + 10):
        run.ids(taken(name=f"t{n}"))
    assert len(run.listener._heard) == MOST_TRAITS
    run.ids(in_old_spelling(taken()))
    assert len(run.notices) == 1


def test_of_endless_names_a_notice_shows_the_beginning_in_print() -> None:
    run, name = Run(), "\x1b[2J\ud800" + "x" * 10**6
    run.ids(taken(name=name))
    run.ids(taken(name=name, output_type="y\n" * 10**6))
    [notice] = run.notices
    assert len(notice) < 1_500
    assert notice.isprintable()


# -- over the wire -------------------------------------------------------------------------------------------------


def body(reply: Any) -> bytes:
    return json.dumps(reply).encode()


async def test_the_client_reads_on_and_has_a_notice_of_each_kind() -> None:
    replies = [answers(200, body(told)) for told in (taken(), in_old_spelling(taken()), taken(output_type="choices"))]
    async with RawServer(*replies) as server, server.client() as client:
        assert [await submit(client) for _ in range(3)] == ["e-1"] * 3
        spelling, kind = client.notices
        assert "camelCase" in spelling
        assert "'choices'" in kind
    async with RawServer(*replies) as server, server.client() as client:
        assert client.notices == (), "another run starts afresh"


async def test_a_submission_that_is_told_with_201_or_202_is_kept() -> None:
    for status in (201, 202):
        async with RawServer(answers(status, body(taken()))) as server, server.client() as client:
            assert await submit(client) == "e-1"


@pytest.mark.parametrize("given", ["\u202e\x85r" + "1" * 5_000, "r\t1"])
async def test_a_request_id_is_short_and_printable(given: str) -> None:
    error = await failure(answers(200, b"<html>", x_request_id=given))
    assert type(error) is NotTheProtocol
    assert error.request_id is not None
    assert len(error.request_id) <= 100
    assert str(error).isprintable()
    assert f"(request id {error.request_id})" in str(error)


async def test_an_answer_for_another_evaluation_is_not_the_protocol() -> None:
    error = await failure(answers(200, body(done(eval_id="somebody-elses"))), call=get_result)
    assert type(error) is NotTheProtocol
    assert "was asked for 'e-1' and answered for 'somebody-elses'" in str(error)


async def test_the_name_of_an_evaluation_may_be_written_in_capitals() -> None:
    async with RawServer(answers(200, body(done(eval_id="E-1")))) as server, server.client() as client:
        assert isinstance(await get_result(client), Scored)
