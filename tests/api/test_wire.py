"""What the API's JSON means: recorded replies decode as the contract says, and anything else is an error of ours."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.api import error_replies, verdict_values, wire
from fieval_tasks.core.errors import (
    ApiError,
    EvaluationFailed,
    GatewayFault,
    KeysRefused,
    NoCredit,
    NotFound,
    NotTheProtocol,
    PlanError,
    Refused,
    ServerFault,
    Throttled,
    TurnedAway,
    Unavailable,
)
from fieval_tasks.core.items import Failed, Pending, Scored, Value, Verdict
from fieval_tasks.core.templates import Catalogue
from fieval_tasks.data import parameters

# -- the recordings ------------------------------------------------------------------------------------------------

_FOLDER = Path(__file__).parents[1] / "golden"
_REPLIES = json.loads((_FOLDER / "replies.json").read_text("utf-8"))
GOLDEN: dict[str, dict[str, Any]] = {
    exchange["case"]: exchange
    for exchange in [
        *json.loads((_FOLDER / "exchanges.json").read_text("utf-8")),
        *_REPLIES["observed"],
        *_REPLIES["composed"],
    ]
    if exchange["method"] != "OPTIONS"
}
"""Case -> exchange."""
POSTS = [c for c, e in GOLDEN.items() if e["method"] == "POST" and e["status"] == 200]
SYNC = [c for c in POSTS if not GOLDEN[c]["request"].get("is_async")]
ASYNC = [c for c in POSTS if GOLDEN[c]["request"].get("is_async")]
POLLS = [c for c, e in GOLDEN.items() if e["method"] == "GET" and e["status"] == 200 and "/new-eval/" in e["path"]]
ERRORS = [c for c, e in GOLDEN.items() if e["status"] >= 400]
CATALOGUE = "get-evals, four of its entries"

OLD_NAMES = {
    "eval_status": "evalStatus",
    "eval_id": "evalId",
    "output_type": "outputType",
    "input_data": "inputData",
    "error_message": "errorMessage",
    "required_keys": "requiredKeys",
    "optional_keys": "optionalKeys",
    "function_params_schema": "functionParamsSchema",
    "eval_type_id": "evalTypeId",
}


def reply(case: str) -> Any:
    return copy.deepcopy(GOLDEN[case]["response"])


def in_old_spelling(value: Any) -> Any:
    """The reply as a server before April 2026 writes it."""
    if isinstance(value, list):
        return [in_old_spelling(v) for v in value]
    if isinstance(value, dict):
        return {OLD_NAMES.get(k, k): in_old_spelling(v) for k, v in value.items()}
    return value


def items_in(case: str) -> int:
    """How many items the recorded request carried."""
    first = next(iter(GOLDEN[case]["request"]["inputs"].values()))
    return len(first) if isinstance(first, list) else 1


def judged(case: str) -> Verdict:
    """The one verdict of a recorded sync call or poll."""
    if GOLDEN[case]["method"] == "POST":
        [(_, verdict)] = wire.verdicts(reply(case), expected=1)
        return verdict
    state = wire.state(reply(case))
    assert not isinstance(state, Pending)
    return state


def error_of(case: str) -> ApiError:
    exchange = GOLDEN[case]
    return error_replies.error(exchange["status"], exchange["headers"], json.dumps(exchange["response"]).encode())


# -- verdicts ------------------------------------------------------------------------------------------------------

MEANINGS: list[tuple[str, str, Value, float | None, bool | None]] = [
    # the story's name, then its sync reply and its polls' common meaning: value, score, passed
    ("groundedness PASS (LLM stub), all keys", "Pass/Fail", "Passed", 1.0, True),
    ("groundedness FAIL (LLM stub), all keys", "Pass/Fail", "Failed", 0.0, False),
    ("completeness score 0.7", "score", 0.7, 0.7, None),
    ("completeness score as text '0.7'", "score", 0.7, 0.7, None),
    ("user numeric", "numeric", 0.3, 0.3, None),
    ("user reason", "reason", "because", None, None),
    ("user choices", "choices", "good", None, None),
    ("user multi", "choices", ["a", "c"], None, None),
    ("tone multi_choice list", "choices", ["joy", "love"], None, None),
    ("user choices+scores", "choices", {"score": 0.0, "choice": "bad"}, 0.0, None),
    ("customer_agent_query_handling choice", "choices", {"score": 1.0, "choice": "always"}, 1.0, None),
    ("user multi+scores", "choices", ["a", "b"], 0.75, None),
]
WAYS = ("[sync]", "[GET of sync row]", "[GET of async row]")
TOLD = [
    pytest.param(f"{story} {way}", output_type, value, score, passed, id=f"{story} {way}")
    for story, output_type, value, score, passed in MEANINGS
    for way in WAYS
    if f"{story} {way}" in GOLDEN
]


@pytest.mark.parametrize(("case", "output_type", "value", "score", "passed"), TOLD)
def test_each_output_type_means_the_same_on_post_and_get(
    case: str, output_type: str, value: Value, score: float | None, passed: bool | None
) -> None:
    assert output_type in json.dumps(reply(case))
    verdict = judged(case)
    assert isinstance(verdict, Scored)
    assert (verdict.value, verdict.score, verdict.passed) == (value, score, passed)
    assert verdict.reason
    assert verdict.runtime_ms


def test_every_output_type_was_recorded_on_post_and_on_get() -> None:
    for ways in (("[sync]",), ("[GET of sync row]", "[GET of async row]")):
        seen = {t for story, t, *_ in MEANINGS if any(f"{story} {way}" in GOLDEN for way in ways)}
        assert seen == {"Pass/Fail", "score", "numeric", "reason", "choices"}


def test_a_failed_row_with_a_value_is_a_verdict() -> None:
    row = reply("GET sync-created row with Fail verdict")["result"]
    assert (row["eval_status"], row["result"]["value"], row["result"]["error_message"]) == ("failed", "Failed", None)
    verdict = judged("GET sync-created row with Fail verdict")
    assert isinstance(verdict, Scored)
    assert (verdict.value, verdict.score, verdict.passed) == ("Failed", 0.0, False)


def test_a_failed_row_with_a_zero_score_is_a_verdict() -> None:
    zero = reply("GET completed score 0.0")
    zero["result"]["eval_status"] = "failed"
    zero["result"]["result"]["error_message"] = None
    verdict = wire.state(zero)
    assert isinstance(verdict, Scored)
    assert (verdict.value, verdict.score) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("case", "kind", "message"),
    [
        ("GET failed (empty input)", "evaluation_error", "No input received for 'output'. Please check your input."),
        ("GET failed (LLM, no model)", "evaluation_error", "'NoneType' object has no attribute 'status'"),
        (
            "LLM 429 [billing-stub][GET async]",
            "evaluation_error",
            "LLM call failed (gpt-4o-mini): RateLimitError: OpenAIException - stub error",
        ),
        (
            "log row status=rate_limited [billing-stub][GET async]",
            "rate_limited",
            "API call not allowed: rate_limited",
        ),
        (
            "log row status=insufficient_credits [billing-stub][GET async]",
            "insufficient_credits",
            "API call not allowed: insufficient_credits",
        ),
        (
            "USAGE LIMIT exceeded (check_usage denies) [billing-stub][GET async]",
            "insufficient_credits",
            "Free tier limit reached for ai_credits",
        ),
    ],
)
def test_a_failed_row_with_a_message_is_an_error_of_its_kind(case: str, kind: str, message: str) -> None:
    assert judged(case) == Failed("evaluate", kind, message)


def failed_with(message: Any) -> Verdict:
    row = reply("GET failed (empty input)")
    row["result"]["result"]["error_message"] = message
    verdict = wire.state(row)
    assert isinstance(verdict, Failed)
    return verdict


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("API call not allowed: RATE_LIMITED", "rate_limited"),
        ("rate_limited", "rate_limited"),
        ("API call not allowed : rate_limited.", "rate_limited"),
        ("API call not allowed: insufficient_credits", "insufficient_credits"),
        ("Insufficient credits", "insufficient_credits"),
        ("Monthly limit reached for AI_credits.", "insufficient_credits"),
        ("You are out of credits", "insufficient_credits"),
        ("Free tier limit reached for seats", "evaluation_error"),
        ("LLM call failed (gpt-4o-mini): RateLimitError: insufficient_quota", "evaluation_error"),
        ("not_rate_limited", "evaluation_error"),
        ("Can't parse the judge's answer to 'rate_limited'", "evaluation_error"),
        ("The answer says: rate_limited", "evaluation_error"),
        ("Could not evaluate 'insufficient credits'", "evaluation_error"),
        ("insufficient_credits is no JSON", "evaluation_error"),
        ("The text 'limit reached for ai_credits' is too short", "evaluation_error"),
        ("no verdict on: Free tier limit reached for ai_credits", "evaluation_error"),
        ("API call not allowed: rate_limited\nAPI call not allowed: rate_limited", "evaluation_error"),
        (f"can't read the answer {'x' * 200!r}: rate_limited", "evaluation_error"),
    ],
)
def test_a_limit_is_told_by_a_whole_sentence_in_any_case_and_not_by_a_text_that_quotes_it(
    message: str, kind: str
) -> None:
    assert failed_with(message) == Failed("evaluate", kind, message)


def test_an_endless_message_is_kept_by_its_beginning() -> None:
    kept = failed_with("a" * 10**6)
    assert isinstance(kept, Failed)
    assert len(kept.message) == error_replies.LONGEST_SENTENCE
    assert kept.message.endswith("aaa… (cut, 1,000,000 characters)")
    assert str(error_replies.error(400, {}, json.dumps({"detail": "a" * 10**6}).encode())) == kept.message


@pytest.mark.parametrize("output", ["a" * 10**6, ["a" * 10**6], ["a"] * 10**6, {"choice": "a" * 10**6, "score": 1.0}])
def test_endless_reasons_and_values_are_kept_by_their_beginning(output: Any) -> None:
    told = reply("user reason [sync]")
    told["result"][0]["evaluations"][0] |= {"reason": "b" * 10**6, "output": output, "output_type": None}
    [(_, verdict)] = wire.verdicts(told, expected=1)
    assert isinstance(verdict, Scored)
    assert verdict.reason is not None
    assert verdict.reason.endswith("bbb… (cut, 1,000,000 characters)")
    for kept in (verdict.reason, str(verdict.value)):
        assert len(kept) <= verdict_values.LONGEST_TEXT + 100
    assert "characters)" in str(verdict.value)


def test_a_failed_row_with_neither_value_nor_message_says_so() -> None:
    row = reply("GET failed (empty input)")
    row["result"]["result"]["error_message"] = None
    verdict = wire.state(row)
    assert isinstance(verdict, Failed)
    assert verdict.message == "the evaluation failed and the server gave no reason"


@pytest.mark.parametrize(
    "case",
    [
        "turing_flash w/o ee.turing [billing-stub][sync]",
        "turing_flash w/o ee.turing [billing-stub][GET async]",
        "GET of it",
        "completeness turing_flash (score template)",
        "tone turing_flash (choices template)",
    ],
)
def test_a_hollow_row_is_no_verdict_whatever_its_value(case: str) -> None:
    verdict = judged(case)
    assert isinstance(verdict, Failed)
    assert verdict.kind == "hollow"


@pytest.mark.parametrize("case", ["GET pending", "GET processing (status set by SQL)"])
def test_pending_and_processing_are_pending(case: str) -> None:
    assert wire.state(reply(case)) == Pending()


@pytest.mark.parametrize("case", SYNC)
def test_a_sync_reply_has_one_verdict_per_item_and_its_eval_id(case: str) -> None:
    for eval_id, verdict in wire.verdicts(reply(case), expected=items_in(case)):
        assert eval_id
        assert isinstance(verdict, Scored) or verdict.kind == "hollow"


@pytest.mark.parametrize("case", POSTS)
def test_a_submission_reply_has_the_eval_ids_in_input_order(case: str) -> None:
    [group] = reply(case)["result"]
    ids = [e["eval_id"] for e in group["evaluations"]]
    assert wire.eval_ids(reply(case), expected=len(ids)) == ids
    assert len(set(ids)) == items_in(case)


@pytest.mark.parametrize("case", POLLS)
def test_every_recorded_poll_is_pending_or_a_verdict_with_storable_parts(case: str) -> None:
    state = wire.state(reply(case))
    assert isinstance(state, (Pending, Scored, Failed))
    assert_storable(state)


def test_eval_ids_and_sync_verdicts_come_in_input_order() -> None:
    told = wire.verdicts(reply("a pack that is judged in order"), expected=3)
    assert [v.passed for _, v in told if isinstance(v, Scored)] == [True, False, True]
    ids = wire.eval_ids(reply("async batch submit n=3"), expected=3)
    assert [i[:8] for i in ids] == ["433d684c", "cabb677a", "dbd78fe4"]


@pytest.mark.parametrize("expected", [0, 2, 4])
def test_a_reply_of_another_length_than_the_request_is_refused(expected: int) -> None:
    for decode in (wire.eval_ids, wire.verdicts):
        with pytest.raises(NotTheProtocol, match=rf"{expected} items were sent .* the answer has 3"):
            decode(reply("a pack that is judged in order"), expected=expected)


def test_an_entry_that_is_no_object_is_not_left_out_of_the_count() -> None:
    damaged = reply("async batch submit n=3")
    damaged["result"][0]["evaluations"].insert(0, None)
    with pytest.raises(NotTheProtocol):
        wire.eval_ids(damaged, expected=3)


@pytest.mark.parametrize("eval_id", [None, "", " ", 7, True, ["a"], {}, "x" * 10**7, "a\nb", "\ud800"])
def test_a_submission_without_an_eval_id_is_not_the_protocol(eval_id: Any) -> None:
    damaged = reply("async single submit")
    damaged["result"][0]["evaluations"][0]["eval_id"] = eval_id
    with pytest.raises(NotTheProtocol, match="named no eval_id"):
        wire.eval_ids(damaged, expected=1)


@pytest.mark.parametrize("state", ["cancelled", "", None, [], {"a": 1}, 3])
def test_an_unknown_state_is_not_the_protocol(state: Any) -> None:
    damaged = reply("GET completed score")
    damaged["result"]["eval_status"] = state
    with pytest.raises(NotTheProtocol, match=r"which this API does not have|was answered by"):
        wire.state(damaged)


HUGE = pytest.param(10**400, id="huge")
"""Beyond any float, and within JSON."""

# -- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["0", "1", "-0.5", "12", "1e3", " 0.25 ", 1, 0.5])
def test_a_number_is_a_score_only_from_0_to_1(value: str | float) -> None:
    for output_type in ("score", "numeric"):
        verdict = verdict_values.decode_value(value, output_type)
        assert isinstance(verdict, Scored)
        assert verdict.value == float(value)
        assert verdict.score == (float(value) if 0 <= float(value) <= 1 else None)
        assert verdict.passed is None


@pytest.mark.parametrize(
    ("output_type", "value"),
    [
        *(("score", value) for value in (math.nan, math.inf, -math.inf, "nan", "inf", "-Infinity", "1e999", 10**400)),
        *(("score", value) for value in (True, "", "high", [1], {})),
        *(
            ("Pass/Fail", value)
            for value in (True, 1, 1.0, "true", "1", "yes", "not passed", "['Passed']", ["Passed"], "paßed")
        ),
        *((kind, None) for kind in ("Pass/Fail", "score", "numeric", "choices", "reason", None, "new")),
    ],
    ids=lambda value: "huge" if value == 10**400 else None,
)
def test_what_only_looks_like_a_value_of_its_type_is_unreadable(output_type: str | None, value: Any) -> None:
    verdict = verdict_values.decode_value(value, output_type)
    assert isinstance(verdict, Failed)
    assert verdict.kind == "unreadable_value"


@pytest.mark.parametrize("runtime", [math.nan, math.inf, HUGE, True, [], {"ms": 1}, "soon"])
def test_a_runtime_that_is_no_number_is_absent(runtime: Any) -> None:
    row = reply("GET completed score")
    row["result"]["result"]["runtime"] = runtime
    verdict = wire.state(row)
    assert isinstance(verdict, Scored)
    assert verdict.runtime_ms is None


@pytest.mark.parametrize("word", ["Passed", "passed", "PASS", " Pass \n", "Pass"])
def test_a_pass_fails_verdict_is_read_whatever_its_case(word: str) -> None:
    verdict = verdict_values.decode_value(word, "Pass/Fail")
    assert isinstance(verdict, Scored)
    assert (verdict.value, verdict.score, verdict.passed) == ("Passed", 1.0, True)


def test_text_in_brackets_of_a_reason_stays_text() -> None:
    verdict = verdict_values.decode_value("['a', 'b']", "reason")
    assert isinstance(verdict, Scored)
    assert verdict.value == "['a', 'b']"


MALICE = {
    "code": "[__import__('os').system('echo pwned')]",
    "a call": "{open('/etc/passwd').read()}",
    "a comprehension": "[x for x in ().__class__.__bases__]",
    "nested too deeply": "[" * 60_000,
    "nested and closed": "[" * 5_000 + "]" * 5_000,
    "dicts in dicts": "{1:" * 20_000,
    "minus signs": "[" + "-" * 65_000 + "1]",
    "sums": "[" + "1+" * 32_000 + "1]",
    "attributes": "[a" + ".a" * 32_000 + "]",
    "calls of calls": "[a" + "()" * 32_000 + "]",
    "conditions": "[" + "1 if 1 else " * 5_000 + "1]",
    "an endless number": "[" + "9" * 60_000 + "]",
    "a key that can't be hashed": "{[1]: 2}",
    "a set of sets": "{{}}",
    "NaN": "[nan, inf]",
    "a NUL": "['\0'",
    "half a surrogate": "['\ud800'",
    "a set": "{'joy', 'love'}",
    "too long to be read": "['" + "a" * verdict_values.LONGEST_LITERAL + "']",
}


@pytest.mark.parametrize("output_type", ["choices", None])
@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in MALICE.items()])
def test_text_that_is_no_plain_literal_stays_text(text: str, output_type: str | None) -> None:
    verdict = verdict_values.decode_value(text, output_type)
    assert isinstance(verdict, Scored)
    assert isinstance(verdict.value, str)
    assert len(verdict.value) == len(text)
    assert_storable(verdict)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[0x" + "f" * 60_000 + "]", ["an endless int"]),
        (r"['\d']", [r"\d"]),
        ("[1e999, 2, True, None]", ["inf", "2", "True", "None"]),
        ("[b'x', 1j, ('a', 1)]", ["b'x'", "1j", "('a', 1)"]),
        ("[['joy'], {'a': 1}]", ["['joy']", "{'a': 1}"]),
        ("[]", []),
    ],
)
def test_a_literal_of_odd_parts_becomes_a_list_of_text(text: str, value: list[str]) -> None:
    verdict = verdict_values.decode_value(text, "choices")
    assert isinstance(verdict, Scored)
    assert verdict.value == value
    assert_storable(verdict)


def test_a_choice_of_odd_parts_keeps_finite_numbers_and_text() -> None:
    told = {"choice": ["a"], "score": math.inf, 3: (1, 2), "weight": 2, "sure": True, "huge": 10**400}
    verdict = verdict_values.decode_value(told, "choices")
    assert isinstance(verdict, Scored)
    assert isinstance(verdict.value, dict)
    assert verdict.value | {"huge": ""} == {
        "choice": "['a']", "score": "inf", "3": "(1, 2)", "weight": 2.0, "sure": "True", "huge": ""
    }  # fmt: skip
    assert verdict.score is None


# -- errors --------------------------------------------------------------------------------------------------------

CLASSES = {400: Refused, 401: KeysRefused, 403: KeysRefused, 405: Refused, 406: Refused, 415: Refused, 500: ServerFault}


@pytest.mark.parametrize("case", ERRORS)
def test_a_recorded_error_is_of_its_class_and_says_what_the_server_said(case: str) -> None:
    error, body = error_of(case), GOLDEN[case]["response"]
    unknown = body["detail"] == "Evaluation not found."
    assert type(error) is (NotFound if unknown else CLASSES[GOLDEN[case]["status"]])
    assert error.status == GOLDEN[case]["status"]
    for field, complaints in body.get("errors", {"": [body["detail"]]}).items():
        named = f"{field}: " if field not in ("", "non_field_errors") else ""
        assert f"{named}{' '.join(complaints)}" in str(error)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("unknown eval_name", "Evaluation template with name :no_such_eval not found."),
        ("missing required key", "inputs: Missing required keys: expected"),
        ("missing both", "eval_name: This field is required.; inputs: This field is required."),
        ("template lists models, model missing [sync]", "model_name: Model is required for system evals"),
        ("GET unknown uuid", "Evaluation not found."),
        ("wrong keys", "Invalid API key or secret key"),
        ("empty string value", "Unable to run standalone evaluation. Please try again."),
    ],
)
def test_an_errors_message_is_the_most_telling_sentence(case: str, message: str) -> None:
    assert str(error_of(case)) == message


@pytest.mark.parametrize(
    "body",
    [
        {"status": False, "result": "No such thing"},
        {"detail": "No such thing"},
        {"error": {"code": "invalid", "message": "No such thing", "details": {"a": 1}}},
        {"status": False, "result": {"code": "INVALID", "message": "No such thing"}},
        {"status": False, "message": "No such thing", "result": None},
        {"errors": {"non_field_errors": "No such thing"}},
        {"errors": {}, "detail": "", "error": "No such thing"},
    ],
)
def test_an_older_servers_envelope_gives_the_same_sentence(body: Any) -> None:
    error = error_replies.error(400, {}, json.dumps(body).encode())
    assert type(error) is Refused
    assert str(error) == "No such thing"


@pytest.mark.parametrize(
    ("status", "kind", "ambiguous"),
    [
        (301, TurnedAway, False),
        (307, TurnedAway, False),
        (400, TurnedAway, False),
        (401, TurnedAway, False),
        (402, TurnedAway, False),
        (403, TurnedAway, False),
        (404, TurnedAway, False),
        (405, TurnedAway, False),
        (413, TurnedAway, False),
        (418, TurnedAway, False),
        (429, Throttled, False),
        (500, ServerFault, False),
        (502, GatewayFault, True),
        (503, Unavailable, False),
        (504, GatewayFault, True),
        (520, GatewayFault, True),
        (524, GatewayFault, True),
        (521, Unavailable, False),
    ],
)
def test_a_page_of_html_is_told_by_its_status_alone(status: int, kind: type[ApiError], ambiguous: bool) -> None:
    error = error_replies.error(status, {}, b"<html><h1>Sorry</h1>")
    assert type(error) is kind
    assert (error.status, error.ambiguous) == (status, ambiguous)
    assert str(status) in str(error)
    assert "Sorry" not in str(error)


@pytest.mark.parametrize("body", [b"<html>", b'{"status": false, "message": "locked"}'])
def test_a_status_with_an_error_of_its_own_has_it_also_where_others_go_by_the_body(
    monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    monkeypatch.setattr(error_replies, "_BY_STATUS", {423: Unavailable})
    assert type(error_replies.error(423, {}, body)) is Unavailable


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"status": False, "type": "authentication_error", "detail": "no"}, KeysRefused),
        ({"status": False, "type": "permission_error", "code": "permission_denied", "detail": "no"}, KeysRefused),
        ({"status": False, "result": "Invalid API key"}, KeysRefused),
        ({"detail": "Authentication credentials were not provided."}, KeysRefused),
        ({"error": {"code": "unauthorized", "message": "Invalid API key", "details": {}}}, KeysRefused),
        ({"status": False, "type": "validation_error", "detail": "no"}, Refused),
        ({"message": "Forbidden"}, TurnedAway),
        ({"error": "blocked by rule 949110"}, TurnedAway),
        ({"error": {"code": 403, "message": "Blocked", "status": "PERMISSION_DENIED"}}, TurnedAway),
        ({"status": 403, "title": "Forbidden"}, TurnedAway),
        ([], TurnedAway),
    ],
)
def test_keys_are_refused_by_the_apis_own_words_only(status: int, body: Any, kind: type[ApiError]) -> None:
    error = error_replies.error(status, {}, json.dumps(body).encode())
    assert type(error) is kind
    assert not error.ambiguous


def test_a_402_is_no_credit_in_the_apis_own_words_only() -> None:
    assert isinstance(
        error_replies.error(402, {}, b'{"status": false, "code": "ENTITLEMENT_DENIED", "detail": "no"}'), NoCredit
    )
    assert isinstance(error_replies.error(402, {}, b'{"message": "Payment required"}'), TurnedAway)


@pytest.mark.parametrize("body", [b'{"detail": "Not Found"}', b'{"error": "no such page"}', b""])
def test_a_404_is_another_place_whatever_it_says_and_an_unknown_id_is_known_by_its_sentence(body: bytes) -> None:
    error = error_replies.error(404, {}, body)
    assert type(error) is TurnedAway
    assert "check the base URL" in str(error)
    for status, said in ((404, b'"detail": "Evaluation not found"'), (400, b'"result": "Evaluation not found."')):
        assert isinstance(error_replies.error(status, {}, b'{"status": false, %s}' % said), NotFound)


@pytest.mark.parametrize("case", ERRORS)
def test_of_a_synchronous_call_a_refusal_without_details_is_the_judges_failure(case: str) -> None:
    error = error_of(case)
    if not isinstance(error, Refused):
        return
    body = GOLDEN[case]["response"]
    is_validation = bool(body.get("details") or body.get("errors")) or body["detail"] == "Evaluation not found."
    assert type(error_replies.judges_failure(error)) is (type(error) if is_validation else EvaluationFailed)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("LLM call failed (gpt-4o-mini): InternalServerError: OpenAIException - stub error", EvaluationFailed),
        ("API call not allowed: rate_limited", Throttled),
        ("Free tier limit reached for ai_credits", NoCredit),
        ("Validation failed", Refused),
    ],
)
def test_a_synchronous_judges_failure_is_told_as_a_row_tells_it(message: str, kind: type[ApiError]) -> None:
    error = error_replies.error(
        400, {}, json.dumps({"status": False, "type": "validation_error", "detail": message}).encode()
    )
    assert isinstance(error, Refused)
    told = error_replies.judges_failure(error)
    assert (type(told), str(told), told.status) == (kind, message, 400)


@pytest.mark.parametrize(
    ("complaint", "longest"),
    [
        ("Input lists cannot have more than 3 items, but found length 4.", 3),
        ("input lists cannot have more than 25 items, but found length 30.", 25),
        ("Input lists cannot have more than 0 items, but found length 4.", None),
        (f"Input lists cannot have more than {'9' * 30} items", None),
        ("Input lists must have equal length.", None),
        ("Missing required keys: expected", None),
    ],
)
def test_a_refusal_tells_how_long_a_pack_may_be(complaint: str, longest: int | None) -> None:
    error = error_replies.error(400, {}, json.dumps({"detail": "no", "errors": {"inputs": [complaint]}}).encode())
    assert isinstance(error, Refused)
    assert error_replies.longest_pack_named(error) == longest


def test_the_recorded_refusal_of_a_pack_tells_its_limit() -> None:
    error = error_of("batch sync n=4 two lists")
    assert isinstance(error, Refused)
    assert error_replies.longest_pack_named(error) == 3


def test_the_servers_request_id_is_kept() -> None:
    assert error_replies.error(500, {"x-request-id": "abc"}, b"").request_id == "abc"


NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("header", "body", "seconds"),
    [
        ("7", {}, 7.0),
        ("0.5", {}, 0.5),
        (formatdate(NOW + 90, usegmt=True), {}, 90.0),
        (formatdate(NOW - 90, usegmt=True), {}, 0.0),
        (None, {"result": {"code": "RATE_LIMITED", "message": "slow down", "retry_after": 12}}, 12.0),
        (None, {"result": {"retry_after": "12"}}, 12.0),
        ("soon", {"result": {"retry_after": 3}}, 3.0),
        ("5", {"result": {"retry_after": 3}}, 5.0),
        ("86400", {}, 86_400.0),
        ("-5", {}, None),
        ("inf", {}, None),
        ("86401", {}, None),
        ("1e9", {}, None),
        (str(int(NOW) + 60), {}, None),
        (formatdate(NOW + 10**6, usegmt=True), {}, None),
        ("1e9", {"result": {"retry_after": 3}}, 3.0),
        ("nan", {}, None),
        ("1 Jan 2000 00:00:00 +99999999999999999999", {}, None),
        (None, {"result": {"retry_after": 10**400}}, None),
        (None, {"result": {"retry_after": True}}, None),
        (None, {"result": "slow down"}, None),
        (None, [], None),
    ],
)
def test_retry_after_is_read_as_seconds_as_a_date_or_from_the_body(
    header: str | None, body: Any, seconds: float | None
) -> None:
    headers = {} if header is None else {"retry-after": header}
    for status in (429, 503) if headers else (429,):
        error = error_replies.error(status, headers, json.dumps(body).encode(), now=NOW)
        assert isinstance(error, Throttled)
        assert error.retry_after == seconds


# -- the catalogue -------------------------------------------------------------------------------------------------


def test_the_catalogue_parts_required_from_optional_keys() -> None:
    found = wire.catalogue(reply(CATALOGUE), source="here").get("groundedness")
    assert found is not None
    assert (found.required, found.optional, found.output) == (("output", "context"), ("input",), "Pass/Fail")
    assert found.needs_model


def test_the_catalogue_knows_code_templates_parameters_and_models() -> None:
    catalogue = wire.catalogue(reply(CATALOGUE), source="here")
    recall, tone = catalogue.get("recall_at_k"), catalogue.get("tone")
    assert recall is not None
    assert tone is not None
    assert not recall.needs_model
    assert recall.parameters["k"]["minimum"] == 1
    assert parameters.needed(recall) == ()
    assert tone.models == ("turing_large", "turing_flash")
    assert catalogue.source == "here"


def test_the_catalogue_is_read_in_the_old_spelling_too() -> None:
    assert wire.catalogue(in_old_spelling(reply(CATALOGUE)), source="x") == wire.catalogue(reply(CATALOGUE), source="x")


def test_an_entry_of_odd_parts_is_still_a_template() -> None:
    config = {
        "required_keys": ["a", 1, None, ["b"]], "optional_keys": 5, "models": {"m": 1},
        "function_params_schema": {"k": {"required": True}, "odd": "text"}, "output": ["score"],
    }  # fmt: skip
    odd = wire.catalogue({"result": [{"name": "t", "config": config}]}, source="x").templates["t"]
    assert (odd.required, odd.optional, odd.models) == (("a",), (), ())
    assert parameters.needed(odd) == ("k",)


@pytest.mark.parametrize(
    "body", [[], {}, {"result": None}, {"result": {}}, {"result": []}, {"result": [1, {"name": 2}]}]
)
def test_a_catalogue_without_templates_is_not_the_protocol(body: Any) -> None:
    with pytest.raises(NotTheProtocol):
        wire.catalogue(body, source="x")


# -- laws ----------------------------------------------------------------------------------------------------------

any_text = st.text(st.characters(exclude_categories=()), max_size=20)
clean_text = st.text(max_size=20)
any_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)
NAMES = sorted(
    {*OLD_NAMES, *OLD_NAMES.values(), "status", "result", "evaluations", "output", "value", "reason", "runtime", "name"}
    | {"config", "models", "errors", "details", "detail", "message", "error", "retry_after", "code"}
)
api_like: st.SearchStrategy[Any] = st.recursive(
    any_json | st.sampled_from(["completed", "failed", "Passed", "Pass/Fail", "choices", "[1, 'a']", "{'choice': 1}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=20,
)


@st.composite
def damaged(draw: st.DrawFn, cases: list[str]) -> Any:
    """A recorded reply in which up to three parts are replaced by any JSON."""
    whole = {"": reply(draw(st.sampled_from(cases)))}
    for _ in range(draw(st.integers(1, 3))):
        part, key = draw(st.sampled_from(list(places(whole))))
        part[key] = draw(any_json)
    return whole[""]


def places(part: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) below `part`."""
    keys = list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
    for key in keys:
        yield part, key
        yield from places(part[key])


def assert_storable(verdict: Pending | Verdict | None) -> None:
    """Its text can be encoded, its value is JSON, and no number is NaN or infinite."""
    if verdict is None or isinstance(verdict, Pending):
        return
    if isinstance(verdict, Failed):
        verdict.message.encode()
        return
    text = json.dumps(
        [verdict.value, verdict.score, verdict.runtime_ms, verdict.reason], ensure_ascii=False, allow_nan=False
    )
    assert "\\u0000" not in text
    text.encode()


def or_api_error(decode: Callable[[], Any]) -> Any:
    """What it gives; None for an ApiError. Anything else that is raised fails the test."""
    try:
        return decode()
    except ApiError as error:
        str(error).encode()
        return None


@given(api_like | damaged(POLLS))
def test_any_json_given_to_state_is_a_state_or_an_api_error(body: Any) -> None:
    told = or_api_error(lambda: wire.state(body))
    if told is not None:
        assert_storable(told)


@given(api_like | damaged(POSTS), st.integers(1, 3))
def test_any_json_given_to_eval_ids_is_an_id_or_none_of_each_item_or_an_api_error(body: Any, expected: int) -> None:
    ids = or_api_error(lambda: wire.eval_ids(body, expected=expected))
    if ids is not None:
        assert len(ids) == expected
        assert any(ids), "what names nothing is an error"
        assert all(i is None or (isinstance(i, str) and i) for i in ids)


@given(api_like | damaged(SYNC), st.integers(1, 3))
def test_any_json_given_to_verdicts_is_that_many_verdicts_or_an_api_error(body: Any, expected: int) -> None:
    told = or_api_error(lambda: wire.verdicts(body, expected=expected))
    if told is not None:
        assert len(told) == expected
        for eval_id, verdict in told:
            assert eval_id is None or isinstance(eval_id, str)
            assert_storable(verdict)


@given(api_like | damaged([CATALOGUE]))
def test_any_json_given_to_catalogue_is_a_catalogue_or_an_api_error(body: Any) -> None:
    told: Catalogue | None = or_api_error(lambda: wire.catalogue(body, source="x"))
    if told is not None:
        for template in told.templates.values():
            assert all(isinstance(text, str) for text in (*template.keys, *template.models, template.output))
            parameters.read(template, {"k": 1})
            hash(template.keys)


bodies = (
    st.binary(max_size=60)
    | any_json.map(lambda value: json.dumps(value).encode())
    | damaged(ERRORS).map(lambda value: json.dumps(value).encode())
    | api_like.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    | st.sampled_from([b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5_000, b"\xff\xfe", b"", b"{", b"NaN"])
    | st.sampled_from(ERRORS).flatmap(
        lambda case: st.integers(0, 200).map(lambda end: json.dumps(GOLDEN[case]["response"]).encode()[:end])
    )
)
retry_afters = st.none() | any_text | st.floats().map(str) | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [+-]?\w+")


@given(bodies)
def test_any_bytes_given_to_parsed_are_json_or_an_api_error(body: bytes) -> None:
    or_api_error(lambda: wire.parsed(body))


@given(st.integers(100, 999), retry_afters, bodies)
def test_any_bytes_given_to_error_are_an_api_error(status: int, retry_after: str | None, body: bytes) -> None:
    error = error_replies.error(status, {} if retry_after is None else {"retry-after": retry_after}, body, now=NOW)
    assert isinstance(error, ApiError)
    assert error.status == status
    str(error).encode()
    if isinstance(error, Throttled):
        assert error.retry_after is None or 0 <= error.retry_after <= error_replies.LONGEST_RETRY_AFTER


@pytest.mark.parametrize("depth", [500, 900, 980, 100_000])
def test_json_nested_at_any_depth_is_an_api_error(depth: int) -> None:
    body = b'{"result":' + b"[" * depth + b"]" * depth + b"}"
    for decode in (wire.state, lambda r: wire.eval_ids(r, expected=1), lambda r: wire.catalogue(r, source="x")):
        with pytest.raises(ApiError):
            decode(wire.parsed(body))
    assert isinstance(error_replies.error(400, {}, body), ApiError)


@given(any_json)
def test_a_pass_fail_never_passes_unless_it_says_so(value: Any) -> None:
    verdict = verdict_values.decode_value(value, "Pass/Fail")
    says_so = isinstance(value, str) and value.strip().lower() in ("passed", "pass")
    assert (isinstance(verdict, Scored) and verdict.passed is True) == says_so
    assert isinstance(verdict, Failed) or verdict.score == float(verdict.passed is True)


@given(any_json, st.sampled_from(["score", "numeric", "choices", "reason", None, "unheard of"]))
def test_only_a_pass_fail_knows_passed_and_a_score_is_within_0_and_1(value: Any, output_type: str | None) -> None:
    verdict = verdict_values.decode_value(value, output_type)
    assert_storable(verdict)
    if isinstance(verdict, Scored):
        assert verdict.passed is None
        assert verdict.value is not None
        assert verdict.score is None or 0 <= verdict.score <= 1


numbers = st.floats(allow_nan=False, allow_infinity=False)
choices = (
    any_text
    | st.lists(any_text, max_size=4)
    | st.fixed_dictionaries({"score": numbers, "choice": any_text})
    | st.fixed_dictionaries({"score": numbers, "choices": st.lists(any_text, max_size=4)})
)


@given(choices)
def test_a_choice_as_pythons_text_means_what_it_means_typed(value: Any) -> None:
    assert verdict_values.decode_value(str(value), "choices") == verdict_values.decode_value(value, "choices")


@given(numbers)
def test_a_number_as_text_means_what_it_means_typed(value: float) -> None:
    assert verdict_values.decode_value(str(value), "score") == verdict_values.decode_value(value, "score")


keys = st.text(min_size=1, max_size=8)
packs = st.lists(keys, min_size=1, max_size=4, unique=True).flatmap(
    lambda names: st.lists(st.fixed_dictionaries(dict.fromkeys(names, clean_text)), min_size=1, max_size=5)
)
params = st.dictionaries(clean_text, st.none() | st.booleans() | st.integers() | numbers | clean_text, max_size=3)


@given(clean_text, packs, st.none() | clean_text, params, st.booleans())
def test_a_submission_is_json_whose_items_come_back_in_order(
    template: str, items: list[dict[str, str]], model: str | None, params: Mapping[str, Any], is_async: bool
) -> None:
    body = json.loads(wire.submission(template, items, model=model, params=params, is_async=is_async))
    inputs = body.pop("inputs")
    unpacked = [{k: v[i] for k, v in inputs.items()} for i in range(len(items))] if len(items) > 1 else [inputs]
    assert unpacked == items
    assert list(inputs) == list(items[0])
    expected: dict[str, Any] = {"eval_name": template, "is_async": is_async}
    expected |= {} if model is None else {"model": model}
    assert body == expected | ({"config": {"params": dict(params)}} if params else {})


@given(packs)
def test_in_a_pack_every_key_is_a_list_and_alone_none_is(items: list[dict[str, str]]) -> None:
    """The platform takes one string beside a list to pieces, and the first key decides what is a batch."""
    inputs = json.loads(wire.submission("t", items, is_async=True))["inputs"]
    assert {type(value) for value in inputs.values()} == {str if len(items) == 1 else list}


@pytest.mark.parametrize("second", [{"a": "x"}, {"a": "x", "b": "y", "c": "z"}, {"a": "x", "c": "z"}])
def test_items_of_different_keys_are_never_packed(second: dict[str, str]) -> None:
    with pytest.raises(PlanError, match="different keys"):
        wire.submission("t", [{"a": "x", "b": "y"}, second], is_async=True)


def test_a_submission_never_carries_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        wire.submission("t", [{"a": "b"}], params={"k": math.nan}, is_async=True)
