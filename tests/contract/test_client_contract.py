"""What the client promises of every evaluation server: recorded, in-process, over a socket, and (opt-in) live."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from fieval_tasks.api.client import EvalClient
from fieval_tasks.core.errors import ApiError, KeysRefused, NotFound, Refused, ServerFault
from fieval_tasks.core.items import Failed, Pending, Scored, Verdict
from tests.contract.platforms import Platform

NO_SUCH_EVALUATION = "00000000-0000-0000-0000-000000000000"


async def settled(client: EvalClient, eval_id: str, platform: Platform) -> Verdict:
    """The verdict, asked for at most 500 times."""
    for _ in range(500):
        state = await client.get_result(eval_id)
        if not isinstance(state, Pending):
            return state
        await asyncio.sleep(platform.between_questions)
    raise AssertionError(f"{eval_id} is still pending")


# -- what is answered ----------------------------------------------------------------------------------------------


async def test_the_templates_name_their_keys_output_and_source(client: EvalClient) -> None:
    catalogue = await client.templates()
    levenshtein, groundedness = catalogue.get("levenshtein_similarity"), catalogue.get("groundedness")
    assert levenshtein is not None
    assert groundedness is not None
    assert (set(levenshtein.required), levenshtein.optional) == ({"output", "expected"}, ())
    assert (levenshtein.output, levenshtein.needs_model) == ("score", False)
    assert (set(groundedness.required), groundedness.optional) == ({"output", "context"}, ("input",))
    assert (groundedness.output, groundedness.needs_model) == ("Pass/Fail", True)
    assert client.base_url in catalogue.source


async def test_a_submission_of_nothing_tells_that_submissions_are_taken(client: EvalClient) -> None:
    assert await client.takes_submissions()


async def test_a_synchronous_call_answers_with_the_score_and_its_reason(client: EvalClient) -> None:
    verdict = await client.evaluate("levenshtein_similarity", {"output": "abc", "expected": "abd"})
    assert isinstance(verdict, Scored)
    assert verdict.value == verdict.score == pytest.approx(2 / 3)
    assert verdict.passed is None
    assert verdict.reason
    assert verdict.runtime_ms is not None


@pytest.mark.parametrize(("text", "passed"), [('{"a":1}', True), ("{a", False)])
async def test_a_submission_comes_to_its_verdict(
    client: EvalClient, platform: Platform, text: str, passed: bool
) -> None:
    verdict = await settled(client, await client.submit("is_json", {"text": text}), platform)
    assert isinstance(verdict, Scored)
    assert (verdict.passed, verdict.score) == (passed, float(passed))
    assert verdict.value == ("Passed" if passed else "Failed")


async def test_a_score_of_zero_is_a_score(client: EvalClient, platform: Platform) -> None:
    eval_id = await client.submit("levenshtein_similarity", {"output": "a", "expected": "b"})
    verdict = await settled(client, eval_id, platform)
    assert isinstance(verdict, Scored)
    assert (verdict.value, verdict.score) == (0.0, 0.0)


async def test_a_synchronous_fail_reads_back_as_the_same_verdict(client: EvalClient, platform: Platform) -> None:
    [(eval_id, told)] = await client.evaluate_pack("is_json", [{"text": "{a"}])
    assert isinstance(told, Scored)
    assert told.passed is False
    assert eval_id is not None
    assert await settled(client, eval_id, platform) == told


async def test_parameters_reach_the_judge(client: EvalClient) -> None:
    found = await client.evaluate("contains", {"text": "hello world"}, params={"keyword": "world"})
    assert isinstance(found, Scored)
    assert found.passed


async def test_the_same_submission_twice_is_two_evaluations(client: EvalClient) -> None:
    ids = [await client.submit("levenshtein_similarity", {"output": "abc", "expected": "abd"}) for _ in range(2)]
    assert len({UUID(i) for i in ids}) == 2


# -- packs ---------------------------------------------------------------------------------------------------------


async def test_a_pack_of_three_is_judged_in_order(client: EvalClient) -> None:
    told = await client.evaluate_pack("is_json", [{"text": "[1]"}, {"text": "{a"}, {"text": "[2]"}])
    assert [v.passed for _, v in told if isinstance(v, Scored)] == [True, False, True]
    assert len({eval_id for eval_id, _ in told}) == 3


async def test_a_submitted_pack_of_three_has_its_eval_ids_in_order(client: EvalClient, platform: Platform) -> None:
    pack = [{"output": o, "expected": e} for o, e in [("abc", "abc"), ("abd", "abc"), ("x", "y")]]
    ids = await client.submit_pack("levenshtein_similarity", pack)
    verdicts = [await settled(client, eval_id, platform) for eval_id in ids]
    assert [v.score for v in verdicts if isinstance(v, Scored)] == pytest.approx([1.0, 2 / 3, 0.0])


async def test_in_a_submitted_pack_only_the_blank_item_fails(client: EvalClient, platform: Platform) -> None:
    ids = await client.submit_pack("is_json", [{"text": "[1]"}, {"text": ""}, {"text": "[2]"}])
    first, blank, last = [await settled(client, eval_id, platform) for eval_id in ids]
    assert isinstance(first, Scored)
    assert isinstance(blank, Failed)
    assert isinstance(last, Scored)


async def test_a_pack_beyond_three_is_refused(client: EvalClient) -> None:
    pack = [{"output": f"ab{n}", "expected": f"ac{n}"} for n in range(4)]
    with pytest.raises(Refused, match=r"^inputs: .*cannot have more than 3 items, but found length 4"):
        await client.evaluate_pack("levenshtein_similarity", pack)


# -- what is refused -----------------------------------------------------------------------------------------------


def assert_final(error: ApiError, *, status: int) -> None:
    """Neither repeated nor in doubt."""
    assert (error.status, error.retryable, error.ambiguous) == (status, False, False)


async def test_an_unknown_template_is_refused_by_name(client: EvalClient) -> None:
    for call in (client.evaluate, client.submit):
        with pytest.raises(Refused, match="Evaluation template with name :no_such_eval not found") as told:
            await call("no_such_eval", {"output": "a"})
        assert_final(told.value, status=400)
        assert not isinstance(told.value, NotFound)


async def test_a_missing_key_is_refused_under_its_field(client: EvalClient) -> None:
    with pytest.raises(Refused, match=r"^inputs: Missing required keys: expected$") as told:
        await client.evaluate("levenshtein_similarity", {"output": "abc"})
    assert_final(told.value, status=400)


async def test_an_extra_key_is_refused_under_its_field(client: EvalClient) -> None:
    said = r"^inputs: Unexpected keys provided: foo. Accepted keys are: output, expected$"
    with pytest.raises(Refused, match=said):
        await client.evaluate("levenshtein_similarity", {"output": "abc", "expected": "abd", "foo": "x"})


async def test_wrong_keys_are_refused(platform: Platform) -> None:
    async with platform.stranger() as client:
        with pytest.raises(KeysRefused, match="check FI_API_KEY and FI_SECRET_KEY") as told:
            await client.submit("is_json", {"text": "[1]"})
    assert client.base_url in str(told.value)
    assert "somebody-elses" not in str(told.value)


async def test_an_unknown_eval_id_is_not_found(client: EvalClient) -> None:
    with pytest.raises(NotFound) as told:
        await client.get_result(NO_SUCH_EVALUATION)
    assert_final(told.value, status=400)


async def test_an_eval_id_that_is_none_is_refused(client: EvalClient) -> None:
    with pytest.raises(Refused, match=r"^eval_id: .*Must be a valid UUID") as told:
        await client.get_result("abc")
    assert not isinstance(told.value, NotFound)


async def test_a_blank_value_fails_when_submitted(client: EvalClient, platform: Platform) -> None:
    eval_id = await client.submit("levenshtein_similarity", {"output": "", "expected": "x"})
    verdict = await settled(client, eval_id, platform)
    assert verdict == Failed("evaluate", "evaluation_error", "No input received for 'output'. Please check your input.")


async def test_a_blank_value_is_a_server_fault_when_waited_for(client: EvalClient) -> None:
    with pytest.raises(ServerFault, match="Unable to run standalone evaluation") as told:
        await client.evaluate("levenshtein_similarity", {"output": "", "expected": "b"})
    assert_final(told.value, status=500)


# -- odd sizes and letters -----------------------------------------------------------------------------------------


async def test_five_megabytes_are_judged(client: EvalClient, platform: Platform) -> None:
    if platform.name == "live":
        pytest.skip("the hosted platform's limit is not known")
    verdict = await client.evaluate("is_json", {"text": f'["{"x" * (5 * 2**20 - 4)}"]'})
    assert isinstance(verdict, Scored)
    assert verdict.passed


async def test_letters_of_any_script_are_compared_as_they_are(client: EvalClient) -> None:
    verdict = await client.evaluate("levenshtein_similarity", {"output": "héé😀", "expected": "héé😀"})
    assert isinstance(verdict, Scored)
    assert verdict.score == 1.0


async def test_an_emoji_comes_back_in_the_reason_as_it_went(client: EvalClient, platform: Platform) -> None:
    eval_id = await client.submit("contains", {"text": "naïve 👩‍🚀 日本"}, params={"keyword": "👩‍🚀"})
    verdict = await settled(client, eval_id, platform)
    assert isinstance(verdict, Scored)
    assert verdict.reason is not None
    assert "👩‍🚀" in verdict.reason
