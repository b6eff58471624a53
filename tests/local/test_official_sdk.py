"""The vendor's own SDK, a client we did not write, driven against the evaluator behind a socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import PATIENCE
from tests.local.local_evaluator import KEYS, Server, serving

# The SDK's models and its request futures warn on Python versions newer than they were made for.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

GROUNDED = {
    "input": "What is the capital of France?",
    "output": "Paris is the capital of France.",
    "context": "Paris is the capital and largest city of France.",
}
UNGROUNDED = {**GROUNDED, "output": "Bananas are rich in potassium."}


@pytest.fixture(scope="module")
def sdk(server: Server) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        yield _evaluator(server)


def test_a_sync_evaluation_has_its_verdict(sdk: Any) -> None:
    verdicts = [
        sdk.evaluate("groundedness", inputs, model_name="turing_flash").eval_results[0]
        for inputs in (GROUNDED, UNGROUNDED)
    ]
    assert [verdict.output for verdict in verdicts] == ["Passed", "Failed"]
    assert all(verdict.eval_id and verdict.reason.startswith("local heuristic") for verdict in verdicts)


def test_packed_inputs_come_back_in_order(sdk: Any) -> None:
    results = sdk.evaluate(
        "levenshtein_similarity", {"output": ["a", "b", "c"], "expected": ["a", "x", "c"]}
    ).eval_results
    assert [result.output for result in results] == [1.0, 0.0, 1.0]


def test_parameters_travel_as_eval_config(sdk: Any) -> None:
    result = sdk.evaluate("contains", {"text": "hello world"}, eval_config={"keyword": "world"}).eval_results[0]
    assert result.output == "Passed"


def test_an_async_evaluation_is_polled_by_its_id(sdk: Any) -> None:
    submitted = sdk.evaluate(
        "completeness", {"input": "Who wrote Hamlet?", "output": "Shakespeare wrote Hamlet."}, is_async=True
    )
    eval_id = submitted.eval_results[0].eval_id
    sdk.get_execution(eval_id).wait(poll_interval=0.05, timeout=PATIENCE)
    body = sdk.get_eval_result(eval_id)["result"]
    assert (body["eval_status"], body["result"]["value"]) == ("completed", "1.0")


def test_a_submission_is_waited_for(sdk: Any) -> None:
    execution = sdk.submit("groundedness", GROUNDED, model_name="turing_small").wait(
        poll_interval=0.05, timeout=PATIENCE
    )
    assert (execution.status, execution.result.output, execution.result.model) == (
        "completed",
        "Passed",
        "turing_small",
    )


def test_a_submission_without_input_fails_with_its_message(sdk: Any) -> None:
    execution = sdk.submit("is_json", {"text": " "})
    # The SDK cannot parse any failed row, the platform's included: their runtime is null, its field an int.
    with pytest.raises(ValueError, match="runtime"):
        execution.wait(poll_interval=0.05, timeout=PATIENCE)
    state = sdk.get_eval_result(execution.id)["result"]
    assert state["eval_status"] == "failed"
    assert state["result"]["error_message"] == "No input received for 'text'. Please check your input."


def test_the_registry_offers_the_templates(sdk: Any, server: Server) -> None:
    from fi.evals.core.cloud_registry import get_required_keys  # type: ignore[import-untyped]

    keys = {"base_url": server.base_url, "api_key": KEYS["X-Api-Key"], "secret_key": KEYS["X-Secret-Key"]}
    assert get_required_keys("groundedness", **keys) == ["output", "input", "context"]


def test_a_pending_execution_says_so() -> None:
    with serving("--delay", "30") as slow:
        execution = _evaluator(slow).submit("is_json", {"text": "[1]"})
        assert (execution.refresh().status, execution.result) == ("pending", None)


def _evaluator(server: Server) -> Any:
    from fi.evals import Evaluator  # type: ignore[import-untyped]

    return Evaluator(fi_base_url=server.base_url, fi_api_key=KEYS["X-Api-Key"], fi_secret_key=KEYS["X-Secret-Key"])
