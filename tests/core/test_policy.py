"""The one table of what happens when something goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieval_tasks.core import policy
from fieval_tasks.core.errors import (
    ApiError,
    EvaluationFailed,
    GatewayFault,
    KeysRefused,
    Lost,
    Miscounted,
    NoCredit,
    NotFound,
    NotTheProtocol,
    Refused,
    ServerFault,
    Throttled,
    TurnedAway,
    Unreachable,
)
from fieval_tasks.core.policy import POLICY, Course, Remedy, Signal

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


def _kinds(error: type[ApiError]) -> list[type[ApiError]]:
    return [error, *(kind for child in error.__subclasses__() for kind in _kinds(child))]


def test_every_error_of_a_call_is_a_sign_of_something() -> None:
    for kind in _kinds(ApiError)[1:]:
        assert Signal.of(kind.kind) in POLICY


@pytest.mark.parametrize("kind", _kinds(ApiError)[1:])
@pytest.mark.parametrize("packed", [True, False])
def test_every_failed_post_and_every_failed_question_has_a_remedy(kind: type[ApiError], packed: bool) -> None:
    assert policy.on_submitting(kind("no"), faults=0, packed=packed) in Remedy
    if kind is not EvaluationFailed:  # which no question brings
        assert policy.on_asking(kind("no"), age=60.0) in Remedy


def test_what_may_have_been_accepted_is_sent_again_only_as_a_possible_duplicate() -> None:
    for kind in _kinds(ApiError)[1:]:
        for packed in (True, False):
            chosen = policy.on_submitting(kind("no"), faults=0, packed=packed)
            assert (chosen is Remedy.SEND_AGAIN_AS_DUPLICATE) == kind("no").ambiguous


@pytest.mark.parametrize("error", [Lost("no"), GatewayFault("no"), NotTheProtocol("no"), Miscounted("no")])
def test_an_ambiguous_submission_goes_the_way_that_was_chosen_for_it(error: ApiError) -> None:
    def then(faults: int, chosen: policy.OnLostReply) -> Remedy:
        return policy.on_submitting(error, faults=faults, packed=False, ambiguous=chosen)

    assert [then(0, "resubmit"), then(1, "resubmit")] == [Remedy.SEND_AGAIN_AS_DUPLICATE, Remedy.LEAVE_PENDING]
    assert then(0, "fail") is Remedy.FAIL
    assert then(0, "ask") is Remedy.LEAVE_PENDING


def test_a_bad_neighbour_costs_nobody_else_and_alone_it_gets_one_more_try_at_most() -> None:
    def then(error: ApiError, faults: int, *, packed: bool) -> Remedy:
        return policy.on_submitting(error, faults=faults, packed=packed)

    assert then(ServerFault("no"), 0, packed=True) is then(Refused("no"), 0, packed=True) is Remedy.UNPACK
    assert then(Refused("no"), 0, packed=False) is Remedy.FAIL
    assert [then(ServerFault("no"), n, packed=False) for n in (0, 1)] == [Remedy.SEND_AGAIN, Remedy.FAIL]


def test_what_was_turned_away_before_the_api_fails_that_item_alone_and_no_ticket() -> None:
    error = TurnedAway("403 of a firewall")
    assert policy.on_submitting(error, faults=0, packed=True) is Remedy.UNPACK
    assert policy.on_submitting(error, faults=0, packed=False) is Remedy.FAIL
    assert policy.on_asking(error, age=10_000.0) is Remedy.ASK_AGAIN


def test_a_judge_that_fails_at_once_is_asked_once_more_as_one_that_fails_later() -> None:
    for redone in (0, 1):
        later = policy.on_judgement("evaluation_error", "the judge timed out", redone=redone)
        assert policy.on_submitting(EvaluationFailed("timed out"), faults=redone, packed=False) is later


@pytest.mark.parametrize("error", [KeysRefused("no"), NoCredit("no")])
def test_keys_and_credit_stop_the_run(error: ApiError) -> None:
    assert policy.on_submitting(error, faults=0, packed=True) is policy.on_asking(error, age=0.0) is Remedy.STOP
    assert policy.on_judgement("insufficient_credits", "API call not allowed", redone=0) is Remedy.STOP


def test_throttling_costs_no_attempt_however_often_it_comes() -> None:
    assert policy.on_submitting(Throttled("slow"), faults=10_000, packed=True) is Remedy.WAIT_AND_SEND
    assert policy.on_setback(0, had_its_time=False) is Remedy.REQUEUE


def test_a_server_that_can_not_be_reached_is_given_up_for_now_and_fails_nothing() -> None:
    chosen = [policy.on_submitting(Unreachable("gone"), faults=n, packed=False) for n in range(7)]
    assert chosen == [Remedy.CONNECT_AGAIN] * 5 + [Remedy.GIVE_UP_FOR_NOW] * 2


def test_a_fresh_ticket_may_be_unknown_and_an_old_one_is_lost() -> None:
    missing = NotFound("Evaluation not found.")
    assert policy.on_asking(missing, age=policy.GRACE_FOR_UNKNOWN - 1) is Remedy.ASK_AGAIN
    assert policy.on_asking(missing, age=policy.GRACE_FOR_UNKNOWN) is Remedy.FAIL


def test_an_item_that_a_limit_alone_refuses_fails_and_one_that_has_had_its_time_stays_pending() -> None:
    assert policy.on_setback(policy.OVERTAKEN - 1, had_its_time=False) is Remedy.REQUEUE
    assert policy.on_setback(policy.OVERTAKEN, had_its_time=False) is Remedy.FAIL
    assert policy.on_setback(0, had_its_time=True) is Remedy.LEAVE_PENDING


def test_a_failed_evaluation_is_bought_once_more_except_where_that_is_hopeless() -> None:
    assert policy.on_judgement("evaluation_error", "the judge timed out", redone=0) is Remedy.RESUBMIT
    assert policy.on_judgement("evaluation_error", "the judge timed out", redone=1) is Remedy.FAIL
    for said in ("'output'. Please check your input.", "any of 'context', 'output'. Please check your inputs."):
        assert policy.on_judgement("evaluation_error", f"No input received for {said}", redone=0) is Remedy.FAIL
    no_json = "Unable to generate a response at this time. Please check your input for accuracy."
    assert [policy.on_judgement("evaluation_error", no_json, redone=n) for n in (0, 1)] == [
        Remedy.RESUBMIT,
        Remedy.FAIL,
    ]


def test_a_row_without_a_verdict_is_never_a_pass_and_not_bought_again() -> None:
    assert policy.on_judgement("hollow", "", redone=0) is Remedy.FAIL
    assert policy.on_judgement("unreadable_value", "", redone=0) is Remedy.FAIL


def test_an_orphan_is_resubmitted_once_and_only_on_request() -> None:
    assert policy.on_orphan("wait", redone=0) is Remedy.KEEP_WAITING
    assert [policy.on_orphan("resubmit", redone=n) for n in (0, 1)] == [Remedy.RESUBMIT, Remedy.KEEP_WAITING]


def test_nothing_is_sent_again_for_ever_but_what_costs_no_attempt() -> None:
    again = {Remedy.SEND_AGAIN, Remedy.SEND_AGAIN_AS_DUPLICATE, Remedy.RESUBMIT, Remedy.CONNECT_AGAIN}
    for rule in POLICY.values():
        for course in (rule.submitting, rule.asking):
            for one in [course] if isinstance(course, Course) else (course or {}).values():
                assert one.first not in again or (one.times is not None and one.then not in again)


def test_the_documentation_shows_the_table_itself() -> None:
    is_shown = policy.as_markdown() in PAGE.read_text(encoding="utf-8")
    assert is_shown, (
        "the table of docs/errors.md is another: put there what `python -m fieval_tasks.core.policy` prints"
    )
    assert len(policy.as_markdown().splitlines()) == 2 + len(Signal)
