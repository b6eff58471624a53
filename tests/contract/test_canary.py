"""A run's first replies settle how its server speaks; one that speaks otherwise later is Drift, and never guessed at."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks import wire
from fieval_tasks.dialect import MOST_TRAITS, Canary, Dialect
from fieval_tasks.errors import Drift, NotTheProtocol
from fieval_tasks.items import Failed, Pending, Scored
from tests.contract.raw_server import RawServer, answers
from tests.contract.test_client_faults import failure, get_result, submit
from tests.test_wire import GOLDEN, POLLS, POSTS, SYNC, in_old_spelling, items_in, reply

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
        self.canary = Canary()

    def state(self, reply: Any) -> Any:
        return wire.state(reply, canary=self.canary)

    def ids(self, reply: Any) -> Any:
        return wire.eval_ids(reply, expected=1, canary=self.canary)

    def verdict(self, reply: Any) -> Any:
        return wire.verdicts(reply, expected=1, canary=self.canary)[0][1]


# -- what may differ -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelt", [copy.deepcopy, in_old_spelling], ids=["snake_case", "camelCase"])
def test_every_recorded_reply_may_come_in_one_run_of_one_spelling(spelt: Callable[[Any], Any]) -> None:
    canary = Canary()
    for case in GOLDEN:
        told = spelt(reply(case))
        if case in POLLS:
            assert wire.state(told, canary=canary) == wire.state(told)
        if case in SYNC:
            count = items_in(case)
            assert wire.verdicts(told, expected=count, canary=canary) == wire.verdicts(told, expected=count)
        if case in POSTS:
            count = items_in(case)
            assert wire.eval_ids(told, expected=count, canary=canary) == wire.eval_ids(told, expected=count)
    assert canary.dialect == Dialect("camelCase" if spelt is in_old_spelling else "snake_case", longest_pack=10)


def test_submissions_and_states_may_be_spelt_each_in_its_way() -> None:
    run = Run()
    for _ in range(2):
        assert run.ids(taken()) == ["e-1"]
        assert isinstance(run.state(in_old_spelling(done())), Scored)
    assert run.canary.dialect.casing == "camelCase and snake_case"


def test_what_a_failed_row_lacks_is_no_news() -> None:
    run = Run()
    for told in (done(), done("failed"), done(reason=None), done("failed", runtime=3.0), PENDING, done()):
        run.state(told)
    for told in (done(output_type=None, value="[1]"), done(name=None), done(runtime=7), done(value=None)):
        run.state(told)


def test_an_integer_is_a_number_too() -> None:
    run = Run()
    for output in (0.5, 1, 0, None, 0.25):
        run.verdict(judged(output=output))


@pytest.mark.parametrize("outputs", [["joy", ["joy", "love"], {"score": 1.0, "choice": "joy"}, "love"]])
def test_a_choice_is_text_a_list_or_an_object_as_its_template_has_it(outputs: list[Any]) -> None:
    run = Run()
    for output in outputs:
        assert isinstance(run.verdict(judged(output=output, output_type="choices")), Scored)


def test_templates_may_differ_from_each_other() -> None:
    run = Run()
    run.verdict(judged(name="a"))
    assert isinstance(run.verdict(judged(name="b", output="Passed", output_type="Pass/Fail")), Scored)


# -- what is drift -------------------------------------------------------------------------------------------------

LATER: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "states in camelCase": ("state", PENDING, in_old_spelling(PENDING), "in camelCase where it used snake_case"),
    "states in snake_case": ("state", in_old_spelling(PENDING), PENDING, "in snake_case where it used camelCase"),
    "rows in camelCase": ("state", done(), in_old_spelling(done()), "in camelCase where it used snake_case"),
    "errors in camelCase": ("state", done(), done("failed", errorMessage="x"), "in both spellings at once"),
    "ids in camelCase": ("ids", taken(), in_old_spelling(taken()), "in camelCase where it used snake_case"),
    "verdicts in camelCase": ("verdict", judged(), in_old_spelling(judged()), "in camelCase where it used"),
    "another envelope": ("state", PENDING, {"result": PENDING["result"]}, "with no status true where it came with"),
    "values typed on GET": ("state", done(), done(value=0.5), "'t' came as a number where it came as text"),
    "numbers as text": ("verdict", judged(), judged(output="0.5"), "'t' came as text where it came as a number"),
    "another output type": (
        "state", done(), done(output_type="Pass/Fail", value="Passed"), "'t' gives 'Pass/Fail' where it said 'score'",
    ),
    "another declared type": ("ids", taken(), taken(output_type="choices"), "'t' gives 'choices' where it said 'score'"),
}  # fmt: skip


@pytest.mark.parametrize(("way", "first", "later", "told"), LATER.values(), ids=LATER)
def test_a_reply_that_differs_from_the_first_is_drift_and_leaves_what_was_settled(
    way: str, first: Any, later: Any, told: str
) -> None:
    run = Run()
    before = getattr(run, way)(first)
    for _ in range(2):
        with pytest.raises(Drift, match=told):
            getattr(run, way)(later)
        assert getattr(run, way)(first) == before
    assert getattr(Run(), way)(later) is not None, "for a run that starts with it, it is how the server speaks"


def test_a_reply_that_can_not_be_read_settles_nothing() -> None:
    run = Run()
    damaged = in_old_spelling(done())
    damaged["result"]["evalStatus"] = "vanished"
    with pytest.raises(NotTheProtocol):
        run.state(damaged)
    assert run.canary.dialect == Dialect()
    assert isinstance(run.state(done()), Scored)


CASES = [*POLLS, *(case for case in SYNC if items_in(case))]


@given(st.lists(st.tuples(st.sampled_from(CASES), st.booleans()), min_size=1, max_size=12))
def test_in_a_mixed_rollout_each_reply_is_what_it_means_or_drift(replies: list[tuple[str, bool]]) -> None:
    canary = Canary()
    first: dict[bool, bool] = {}
    for case, is_old in replies:
        told = in_old_spelling(reply(case)) if is_old else reply(case)
        settled = first.setdefault(case in POLLS, is_old)
        try:
            if case in POLLS:
                assert wire.state(told, canary=canary) == wire.state(told)
            else:
                count = items_in(case)
                assert wire.verdicts(told, expected=count, canary=canary) == wire.verdicts(told, expected=count)
        except Drift:
            assert is_old != settled
        else:
            assert is_old == settled


# -- a judge's slip ------------------------------------------------------------------------------------------------


def test_one_value_that_can_not_be_read_is_that_items_own_and_a_second_in_a_row_is_drift() -> None:
    run = Run()
    run.verdict(judged())
    for _ in range(3):
        slip = run.verdict(judged(output=["high"]))
        assert isinstance(slip, Failed)
        assert slip.kind == "unreadable_value"
        assert isinstance(run.verdict(judged()), Scored)
    run.verdict(judged(output=["high"]))
    for _ in range(2):
        with pytest.raises(Drift, match="'t' came as a list where it came as a number"):
            run.verdict(judged(output=["high"]))
    assert isinstance(run.verdict(judged()), Scored)


def test_text_that_says_nothing_is_unreadable_however_often_it_comes() -> None:
    run = Run()
    run.state(done())
    for _ in range(3):
        assert run.state(done(value="high")).kind == "unreadable_value"


def test_values_that_could_never_be_read_settle_nothing() -> None:
    run = Run()
    for _ in range(3):
        assert run.verdict(judged(output="high")).kind == "unreadable_value"
    assert isinstance(run.verdict(judged()), Scored)


# -- what it costs -------------------------------------------------------------------------------------------------


def test_a_server_that_invents_names_fills_no_memory() -> None:
    run = Run()
    for n in range(MOST_TRAITS + 10):
        run.ids(taken(name=f"t{n}"))
    assert len(run.canary._settled) == MOST_TRAITS
    with pytest.raises(Drift):
        run.ids(in_old_spelling(taken()))


def test_of_endless_names_drift_shows_the_beginning_in_print() -> None:
    run, name = Run(), "\x1b[2J\ud800" + "x" * 10**6
    run.ids(taken(name=name))
    with pytest.raises(Drift) as told:
        run.ids(taken(name=name, output_type="y\n" * 10**6))
    assert len(str(told.value)) < 1_500
    assert str(told.value).isprintable()


# -- what the client says of it ------------------------------------------------------------------------------------


def body(reply: Any) -> bytes:
    return json.dumps(reply).encode()


async def test_drift_names_the_request_and_what_may_be_going_on() -> None:
    old = answers(200, body(in_old_spelling(PENDING)), x_request_id="r-17")
    async with RawServer(answers(200, body(PENDING)), old) as server, server.client() as client:
        assert await get_result(client) == Pending()
        with pytest.raises(Drift) as told:
            await get_result(client)
    assert str(told.value).startswith(
        "the server answered in camelCase where it used snake_case before (request id r-17): perhaps it is being upgraded"
    )
    assert (told.value.request_id, told.value.status, told.value.ambiguous) == ("r-17", 200, True)


async def test_drift_of_a_server_that_numbers_no_requests_is_told_all_the_same() -> None:
    async with RawServer(answers(200, body(taken())), answers(200, body(in_old_spelling(taken())))) as server:
        async with server.client() as client:
            await submit(client)
            with pytest.raises(Drift, match="snake_case before: perhaps"):
                await submit(client)
        async with server.client() as client:
            assert await submit(client) == "e-1", "a new run starts afresh"


@pytest.mark.parametrize("given", ["\u202e\x85r" + "1" * 5_000, "r\t1"])
async def test_a_request_id_is_short_and_printable(given: str) -> None:
    error = await failure(answers(200, b"<html>", x_request_id=given))
    assert type(error) is NotTheProtocol
    assert error.request_id is not None
    assert len(error.request_id) <= 100
    assert str(error).isprintable()
    assert f"(request id {error.request_id})" in str(error)


async def test_the_client_tells_how_the_server_speaks() -> None:
    three = {"status": True, "result": [{"evaluations": [{"name": "t", "evalId": f"e-{n}"} for n in range(3)]}]}
    async with RawServer(answers(200, body(three))) as server, server.client() as client:
        assert str(client.dialect) == "nothing heard yet"
        await client.submit_pack("t", [{"text": "a"}, {"text": "b"}, {"text": "c"}])
        assert client.dialect == Dialect(casing="camelCase", longest_pack=3)
        assert str(client.dialect) == "camelCase, packs of up to 3"


async def test_an_answer_for_another_evaluation_is_not_the_protocol() -> None:
    error = await failure(answers(200, body(done(eval_id="somebody-elses"))), call=get_result)
    assert type(error) is NotTheProtocol
    assert "was asked for 'e-1' and answered for 'somebody-elses'" in str(error)
