"""The platform's contract, held against its own recorded replies, the app in-process, and the app behind a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from fieval_tasks.local import SUPPORTED
from tests.local.local_evaluator import KEYS, Answer, Replay, Server, in_process, load_golden, settled

GOLDEN = {exchange["case"]: exchange for exchange in load_golden()}

NOT_REPLAYED = {
    "Content-Encoding? OPTIONS CORS": "a browser's preflight, recorded without its headers",
    "GET pending": "a moment in time; see test_a_row_is_pending_until_its_time",
    "GET processing (status set by SQL)": "a moment in time, set by hand",
    "GET uuid upper-case": "recorded while processing; see test_an_eval_id_is_read_in_any_spelling",
    "GET uuid w/o dashes": "recorded while processing; see test_an_eval_id_is_read_in_any_spelling",
    "GET eval_id twice": "holds two ids of which one was still processing; see test_the_last_of_two_eval_ids_counts",
    "GET other org key": "there is one pair of keys here",
    "default-ws key GET of WS2 row": "there are no workspaces here",
    "disabled key": "there is one pair of keys here, always enabled",
    "viewer key POST": "there are no roles here",
    "clip_score numeric": "not a template this evaluator scores",
    "groundedness no model": "that server had no judge; this one needs none",
    "groundedness turing_flash": "that server had no judge; this one needs none",
    "groundedness bogus model": "model names change nothing here",
    "async groundedness no model (LLM unavailable)": "that server had no judge; this one needs none",
    "async groundedness turing_flash": "that server had no judge; this one needs none",
    "GET failed (LLM, no model)": "that server had no judge; this one needs none",
    "GET failed (LLM turing_flash OSS)": "that server had no judge; this one needs none",
    "completeness turing_flash (score template)": "that server had no judge, and answered hollow",
    "tone turing_flash (choices template)": "that server had no judge, and answered hollow",
    **{
        case: "a stand-in judge's verdict; the shapes are compared by the laws below"
        for case, exchange in GOLDEN.items()
        if "STUB=" in str(exchange)
    },
    **{
        case: "the platform's throttle and credit: there are none here"
        for case in GOLDEN
        if case.startswith(("USAGE LIMIT", "log row status="))
    },
}
IMPLEMENTATIONS = ("recorded", "in-process", "socket")
REPLAYED = [case for case in GOLDEN if case not in NOT_REPLAYED]

Answers = dict[str, Answer]


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def answers(request: pytest.FixtureRequest) -> Iterator[Answers]:
    """Every exchange's answer, from one implementation."""
    if request.param == "recorded":
        yield {case: _recorded(case) for case in GOLDEN}
    elif request.param == "in-process":
        yield asyncio.run(_replay_in_process())
    else:
        server: Server = request.getfixturevalue("server")
        yield asyncio.run(_replay_over(server.base_url))


def test_every_exchange_is_replayed_or_has_its_reason() -> None:
    assert set(NOT_REPLAYED) <= set(GOLDEN)
    assert len(REPLAYED) > 100


@pytest.mark.parametrize("case", REPLAYED)
def test_answers_as_the_platform_did(answers: Answers, case: str) -> None:
    assert _comparable(answers[case]) == _comparable(_recorded(case))


def test_every_error_says_its_text_four_times(answers: Answers) -> None:
    for case, answer in answers.items():
        if answer.status >= 400:
            texts = {answer.body[key] for key in ("detail", "message", "error", "result")}
            assert (answer.body["status"], len(texts)) == (False, 1), case
            assert answer.body.get("errors", answer.body.get("details")) == answer.body.get("details"), case


def test_the_first_field_at_fault_is_the_attribute(answers: Answers) -> None:
    for case, answer in answers.items():
        fields = [*answer.body.get("errors", {})] if answer.status == 400 else []
        assert not fields or answer.body.get("attr", "non_field_errors") == fields[0], case


def test_a_401_names_its_scheme(answers: Answers) -> None:
    unauthorised = [answer for answer in answers.values() if answer.status == 401]
    assert unauthorised
    assert {answer.headers["www-authenticate"] for answer in unauthorised} == {"ApiKey"}


def test_a_post_answers_one_entry_per_item_in_order(answers: Answers) -> None:
    for case, answer in answers.items():
        request = GOLDEN[case]["request"]
        if answer.status == 200 and GOLDEN[case]["method"] == "POST":
            first = next(iter(request["inputs"].values()))
            entries = answer.body["result"][0]["evaluations"]
            assert len(entries) == (len(first) if isinstance(first, list) else 1), case
            assert len({UUID(entry["eval_id"]) for entry in entries}) == len(entries), case


def test_a_sync_entry_has_a_typed_value_and_whole_milliseconds(answers: Answers) -> None:
    for entry in _entries(answers, is_async=False):
        assert list(entry) == ["name", "reason", "runtime", "output", "output_type", "eval_id"]
        assert entry["output"] in ("Passed", "Failed", None) or not isinstance(entry["output"], str)
        assert entry["runtime"] is None or type(entry["runtime"]) is int


def test_an_async_entry_says_nothing_of_the_verdict(answers: Answers) -> None:
    for entry in _entries(answers, is_async=True):
        assert list(entry) == ["name", "output_type", "eval_id"]


def test_a_settled_row_has_its_value_as_text(answers: Answers) -> None:
    rows = list(_rows(answers))
    assert rows
    for status, row in rows:
        assert row["value"] is None or isinstance(row["value"], str)
        assert row["runtime"] is None or (type(row["runtime"]) is float and row["runtime"].is_integer())
        assert ("error_message" in row) == (status == "failed")
        if row.get("error_message") is not None:
            assert (row["value"], row["reason"], row["runtime"], row["output_type"]) == (None, None, None, None)


async def test_a_row_is_pending_until_its_time() -> None:
    async with in_process(delay=0.2) as client:
        eval_id = await _submitted(client)
        assert await _state(client, eval_id) == _recorded("GET pending").body
        assert (await settled(client, eval_id))["eval_status"] == "completed"


async def test_an_eval_id_is_read_in_any_spelling() -> None:
    async with in_process(delay=60) as client:
        eval_id = await _submitted(client)
        for spelling in (eval_id.upper(), eval_id.replace("-", "")):
            assert (await _state(client, spelling))["result"]["eval_status"] == "pending"


async def test_the_last_of_two_eval_ids_counts(client: httpx.AsyncClient) -> None:
    eval_id = await _submitted(client)
    unknown = UUID(int=0)
    reply = await client.get(f"/sdk/api/v1/new-eval/?eval_id={unknown}&eval_id={eval_id}")
    assert reply.status_code == 200
    reply = await client.get(f"/sdk/api/v1/new-eval/?eval_id={eval_id}&eval_id={unknown}")
    assert reply.json()["detail"] == "Evaluation not found."


async def test_a_chunked_body_is_read_as_empty(server: Server) -> None:
    async def chunks() -> Any:
        yield b'{"eval_name": "is_json",'
        yield b' "inputs": {"text": "[1]"}}'

    async with httpx.AsyncClient(base_url=server.base_url, headers=KEYS) as client:
        reply = await client.post(
            "/sdk/api/v1/new-eval/", content=chunks(), headers={"Content-Type": "application/json"}
        )
        assert set(reply.json()["errors"]) == {"eval_name", "inputs"}
        assert await _submitted(client)


async def test_a_body_beyond_the_limit_is_refused_unread(client: httpx.AsyncClient) -> None:
    headers = {"Content-Length": str(2**30), "Content-Type": "application/json"}
    reply = await client.post("/sdk/api/v1/new-eval/", content=b"{}", headers=headers)
    assert (reply.status_code, reply.json()["status"]) == (413, False)


async def test_json_nested_too_deeply_is_a_parse_error(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json"}
    reply = await client.post("/sdk/api/v1/new-eval/", content=b"[" * 200_000, headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (400, "parse_error")


async def test_an_unknown_name_that_is_not_unicode_is_still_answered(client: httpx.AsyncClient) -> None:
    content = b'{"eval_name": "\\ud800", "inputs": {"text": "x"}}'
    reply = await client.post("/sdk/api/v1/new-eval/", content=content, headers={"Content-Type": "application/json"})
    assert reply.json()["errors"] == {"non_field_errors": ["Evaluation template with name :\ud800 not found."]}


async def test_a_path_that_is_not_served_is_404(client: httpx.AsyncClient) -> None:
    assert (await client.get("/sdk/api/v1/get-evals/more/")).status_code == 404


async def test_get_evals_lists_what_is_scored_and_nothing_else(client: httpx.AsyncClient) -> None:
    reply = (await client.get("/sdk/api/v1/get-evals/")).json()
    assert reply["status"] is True
    assert sorted(entry["name"] for entry in reply["result"]) == list(SUPPORTED)
    for entry in reply["result"]:
        assert list(entry) == _ENTRY_KEYS
        assert {"required_keys", "output", "eval_type_id"} <= set(entry["config"])


async def test_every_template_in_get_evals_is_accepted(client: httpx.AsyncClient) -> None:
    for entry in (await client.get("/sdk/api/v1/get-evals/")).json()["result"]:
        body = {
            "eval_name": entry["name"],
            "inputs": dict.fromkeys(entry["config"]["required_keys"], "[1, 2]"),
            "config": {"params": _least_params(entry["config"].get("function_params_schema", {}))},
            "is_async": True,
        }
        reply = await client.post("/sdk/api/v1/new-eval/", json=body)
        assert reply.status_code == 200, (entry["name"], reply.text)


_ENTRY_KEYS = [
    "id",
    "name",
    "description",
    "eval_id",
    "eval_tags",
    "config",
    "criteria",
    "choices",
    "multi_choice",
    "owner",
]


def _least_params(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: 1 if rule["type"] != "string" else "1" for name, rule in schema.items() if rule.get("required")}


async def _replay_in_process() -> Answers:
    async with in_process() as client:
        return await Replay(client).run([GOLDEN[case] for case in REPLAYED])


async def _replay_over(base_url: str) -> Answers:
    async with httpx.AsyncClient(base_url=base_url) as client:
        return await Replay(client).run([GOLDEN[case] for case in REPLAYED])


def _recorded(case: str) -> Answer:
    exchange = GOLDEN[case]
    return Answer(exchange["status"], exchange["headers"], exchange["response"])


def _comparable(answer: Answer) -> tuple[int, dict[str, str], Any]:
    """The answer without what no two servers share: ids, and times taken."""
    headers: dict[str, str] = {
        name: answer.headers[name] for name in ("allow", "www-authenticate", "location") if name in answer.headers
    }
    return answer.status, headers, _without_chance(answer.body)


def _without_chance(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_chance(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: type(item).__name__
        if key in ("eval_id", "runtime") and not isinstance(item, list)
        else _without_chance(item)
        for key, item in value.items()
    }


def _entries(answers: Answers, *, is_async: bool) -> Iterator[dict[str, Any]]:
    for case, answer in answers.items():
        exchange = GOLDEN[case]
        accepted = exchange["method"] == "POST" and answer.status == 200
        if accepted and exchange["request"].get("is_async", False) is is_async:
            yield from answer.body["result"][0]["evaluations"]


def _rows(answers: Answers) -> Iterator[tuple[str, dict[str, Any]]]:
    for case, answer in answers.items():
        if GOLDEN[case]["method"] == "GET" and answer.status == 200:
            result = answer.body["result"]
            if isinstance(result["result"], dict):
                yield result["eval_status"], result["result"]


async def _submitted(client: httpx.AsyncClient) -> str:
    body = {"eval_name": "is_json", "inputs": {"text": "[1]"}, "is_async": True}
    reply = await client.post("/sdk/api/v1/new-eval/", json=body)
    eval_id: str = reply.json()["result"][0]["evaluations"][0]["eval_id"]
    return eval_id


async def _state(client: httpx.AsyncClient, eval_id: str) -> dict[str, Any]:
    state: dict[str, Any] = (await client.get("/sdk/api/v1/new-eval/", params={"eval_id": eval_id})).json()
    return state
