"""The parameters of the flows: keys as a saved block that are stored nowhere else, and a sentence for what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import SHOWN_FIRST, EvaluationPlan
from tests.conftest import Evaluator
from tests.flows.test_evaluate import ROWS, dataset, evaluated, plan_of, summary

KEYS = {"api_key": "an-api-key-41b7e2", "secret_key": "a-secret-key-90cc3d"}


def chosen_in_the_form(block: Any) -> dict[str, Any]:
    """What Prefect's form sends for a block."""
    return {"$ref": {"block_document_id": str(block._block_document_id)}}


def from_a_deployment(**parameters: Any) -> Any:
    """The final state of a flow run that was created from a deployment, as the UI does, and run as a worker does."""
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow
    from prefect.types.entrypoint import EntrypointType

    from flows.evaluate import evaluate

    deployment: Any = evaluate.to_deployment("by-hand", entrypoint_type=EntrypointType.MODULE_PATH)
    deployment_id = deployment.apply()
    with get_client(sync_client=True) as client:
        created = client.create_flow_run_from_deployment(deployment_id, parameters=parameters)
    return run_flow(evaluate, flow_run=created, return_type="state")


def test_a_saved_block_is_the_connection_and_its_keys_are_stored_nowhere_else(
    workplace: Path, block: Any, evaluator: Evaluator, prefect_home: Path
) -> None:
    from fieval_tasks.on_prefect.laptop import send_what_is_queued
    from flows.evaluate import evaluate

    rows = dataset(workplace, ROWS)
    assert evaluate(plan_of(dataset=rows, connection=None, run="in-python"), block, return_state=True).is_completed()
    from_form = plan_of(dataset=rows, connection=None, run="in-the-form").model_dump(mode="json")
    assert from_a_deployment(plan=from_form, credentials=chosen_in_the_form(block)).is_completed()
    for run in ("in-python", "in-the-form"):
        assert (summary(run)["connection"], summary(run)["items"]["scored"]) == (
            evaluator.environment["FI_BASE_URL"],
            6,
        )
        assert stored_plan(run)["connection"] == "evaluator", "by which a collector, or a resume, finds the keys"
    send_what_is_queued()
    files = {
        path: path.read_bytes() for root in (workplace, prefect_home) for path in root.rglob("*") if path.is_file()
    }
    assert any(b"in-the-form" in content for path, content in files.items() if path.name.startswith("prefect.db"))
    for key in (evaluator.environment["FI_API_KEY"], evaluator.environment["FI_SECRET_KEY"]):
        assert [path for path, content in files.items() if key.encode() in content] == []


def stored_plan(run: str) -> dict[str, Any]:
    from fieval_tasks.ledger.database import store_url
    from fieval_tasks.ledger.store import Ledger

    with Ledger(store_url()) as ledger:
        return dict(ledger.run(run).plan)


def test_keys_that_can_not_be_found_again_or_go_elsewhere_are_refused(workplace: Path, block: Any) -> None:
    from fieval_tasks.blocks import FutureAGICredentials
    from flows.evaluate import evaluate

    unsaved: Any = FutureAGICredentials(**KEYS)  # type: ignore[arg-type]  # pydantic hides them
    for keys, said in (
        (unsaved, "credentials: they are not saved"),
        (KEYS, "credentials: this is no saved block of keys"),
        (block, "credentials: this is 'evaluator' and the plan's connection is 'local'; keep one of them"),
    ):
        state = evaluate(EvaluationPlan(connection="local"), keys, return_state=True)
        assert (state.is_failed(), said in str(state.message)) == (True, True), state.message
        assert not [key for key in KEYS.values() if key in str(state.message)]


def test_a_block_that_is_gone_or_of_another_kind_is_told_apart(workplace: Path) -> None:
    from prefect.blocks.system import Secret

    from fieval_tasks.on_prefect.forms import plan_given

    other: Any = Secret(value="x")
    other.save("of-another-kind", overwrite=True)
    with pytest.raises(PlanError, match=r"^credentials: a block of type secret holds no keys"):
        plan_given(EvaluationPlan(), chosen_in_the_form(other))
    Secret.delete("of-another-kind")
    state = from_a_deployment(plan={}, credentials=chosen_in_the_form(other))
    assert (state.is_failed(), state.message) == (
        True, "credentials: the block that was chosen is not there any more; choose another",
    )  # fmt: skip


WRONG: list[tuple[Any, str]] = [
    ({"limit": -1}, "plan.limit: -1 will not do, write 1 or more"),
    ({"mode": "later"}, "plan.mode: write 'auto', 'async', 'sync' or 'submit'"),
    ({"datset": "a.csv"}, "plan: there is no field 'datset', did you mean dataset?"),
    ({"gates": ["nonsense"]}, "plan.gates: 'nonsense' is not a gate: write CHECK.pass_rate >= 0.95"),
    ({"run": "a", "resume": "b"}, "plan: run names a new run and resume is one to carry on: leave one of them out"),
    ({"dataset": [{"answer": "x"}]}, "plan.dataset: rows do not travel in parameters, write them to a file"),
    (
        {"checks": [{"template": "tone", "moddel": "x"}]},
        "plan.checks.0: there is no field 'moddel', did you mean model?",
    ),
    ({"checks": [{}]}, "plan.checks.0.template: it is needed"),
    (
        {"dataset": "https://me:pw-5e1@files.test/a.csv"},
        "plan.dataset: a URL with a password or a signature would show",
    ),
    (
        {"dataset": "https://files.test/a.csv?X-Amz-Signature=pw-5e1"},
        "plan.dataset: a URL with a password or a signature",
    ),
    ({"secret_key": "pw-5e1"}, "plan: there is no field 'secret_key', there are dataset, checks, mapping"),
    ("a.csv", "plan: write an object of fields"),
    ({"further": {"rate": "fast"}}, "plan.rate: 'fast' is not a rate"),
    ({"further": {"ratte": "5/s"}}, "plan: there is no field 'ratte', did you mean rate?"),
]


@pytest.mark.parametrize(("plan", "said"), WRONG, ids=[said.partition(":")[0] for _, said in WRONG])
def test_a_parameter_that_can_not_be_meant_is_named_with_what_to_write(
    prefect_home: Path, plan: Any, said: str
) -> None:
    from fieval_tasks.on_prefect.forms import plan_given

    with pytest.raises(PlanError) as raised:
        plan_given(plan)
    [problem] = raised.value.problems
    assert problem.startswith(said)
    assert "pw-5e1" not in problem


def test_a_refused_flow_run_says_every_problem_in_its_state_and_repeats_no_parameter(
    workplace: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong: Any = {"limit": 0, "rate": "fast", "secret_key": "pw-77b3"}
    state = evaluated(wrong)
    assert state.is_failed()
    assert str(state.message).splitlines()[:2] == [
        "plan.limit: 0 will not do, write 1 or more",
        "plan.rate: 'fast' is not a rate: write 20/s or 600/min",
    ]
    assert str(state.message).count("\n") == 2
    told = capfd.readouterr()
    assert "pw-77b3" not in told.out + told.err
    assert not Path("fieval-runs").exists(), "nothing was begun"


def test_the_form_has_help_for_each_parameter_and_a_select_of_blocks(prefect_home: Path) -> None:
    from flows.evaluate import evaluate

    form: Any = evaluate.parameters.model_dump()
    plan, credentials = form["properties"]["plan"], form["properties"]["credentials"]
    assert (plan["position"], credentials["position"]) == (0, 1)
    assert plan["description"]
    assert credentials["description"]
    assert {"$ref": "#/definitions/FutureAGICredentials"} in credentials["anyOf"]
    assert form["definitions"]["FutureAGICredentials"]["block_type_slug"] == "futureagi-credentials"
    shown = form["definitions"]["EvaluationPlan"]["properties"]
    folded = shown["further"]["anyOf"][0]["properties"]
    assert shown.keys() - {"further"} | folded.keys() == EvaluationPlan.model_fields.keys()
    fields = shown | folded | form["definitions"]["Check"]["properties"]
    assert [name for name, field in fields.items() if not field.get("description")] == []


def test_what_few_runs_need_is_folded_and_what_was_stored_beside_it_still_counts(prefect_home: Path) -> None:
    from prefect.utilities.schema_tools.validation import validate

    from flows.evaluate import evaluate

    form: Any = evaluate.parameters.model_dump()
    flat = {"limit": 20, "concurrency": 8, "mode": "sync"}
    for plan in (flat, flat | {"further": None}, {"limit": 20, "further": {"concurrency": 8, "mode": "sync"}}):
        validate({"plan": plan}, form, raise_on_error=True, preprocess=False)
        read = plan_given_of(plan)
        assert (read.limit, read.concurrency, read.mode.value) == (20, 8, "sync")
    for plan in ({"concurency": 8}, {"further": {"concurency": 8}}):
        with pytest.raises(Exception, match="concurency"):
            validate({"plan": plan}, form, raise_on_error=True, preprocess=False)


def plan_given_of(plan: Any) -> EvaluationPlan:
    from fieval_tasks.on_prefect.forms import plan_given

    return plan_given(plan)


def test_a_heading_that_is_unfolded_says_nothing_by_the_defaults_that_it_shows() -> None:
    shown = EvaluationPlan().model_dump(mode="json", exclude=set(SHOWN_FIRST))
    stored = {"concurrency": 8, "mode": "sync"}
    plan = plan_given_of(stored | {"further": shown | {"rate": "5/s"}})
    assert (plan.concurrency, plan.mode.value, plan.rate) == (8, "sync", "5/s")
    assert plan_given_of({"further": shown | {"resume": "r"}}).model_fields_set == {"resume"}
    with pytest.raises(
        PlanError, match=r"plan\.concurrency: it is said twice, beside further and in it, and not the same"
    ):
        plan_given_of(stored | {"further": shown | {"concurrency": 9}})


def test_what_an_older_form_stored_of_its_defaults_does_not_contradict_what_is_chosen_now() -> None:
    stored = EvaluationPlan(keep=("lang",), concurrency=8).model_dump(mode="json")
    empty = stored | {name: "" for name, value in stored.items() if value is None}
    shown = EvaluationPlan().model_dump(mode="json", exclude=set(SHOWN_FIRST))
    for flat in (stored, empty):
        for chosen in ({"rate": "5/s", "sharing": False}, shown | {"rate": "5/s", "sharing": False}):
            plan = plan_given_of(flat | {"further": chosen})
            assert (plan.rate, plan.sharing, plan.keep, plan.concurrency) == ("5/s", False, ("lang",), 8)
        with pytest.raises(PlanError, match=r"plan\.keep: it is said twice"):
            plan_given_of(flat | {"further": {"keep": ["user"]}})


def test_a_form_that_resumes_says_nothing_by_the_defaults_that_it_shows_and_a_plan_by_hand_means_each() -> None:
    from fieval_tasks.on_prefect.forms import plan_given

    shown = EvaluationPlan().model_dump(mode="json") | {"resume": "r", "rate": ""}
    assert plan_given(shown | {"concurrency": 5}).model_dump(exclude_unset=True, exclude_none=True) == {
        "resume": "r",
        "concurrency": 5,
    }
    by_hand = {"resume": "r", "mode": "async", "concurrency": 96, "timeout": ""}
    assert plan_given(by_hand).model_fields_set == {"resume", "mode", "concurrency"}
    in_python = EvaluationPlan(resume="r", concurrency=96)
    assert plan_given(in_python).model_fields_set == {"resume", "concurrency"}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("say which: --map input=COLUMN", 'say which: plan.mapping {"input": "COLUMN"}'),
        ("say which: --map 'input=the answer'", 'say which: plan.mapping {"input": "the answer"}'),
        ("--map tone.input=q: column 'q' is not in a.csv", "plan.mapping {\"tone.input\": \"q\"}: column 'q' is not in a.csv"),
        ("write --template tone:turing_small", 'write plan.checks [{"template": "tone", "model": "turing_small"}]'),
        ("add --param keyword=VALUE", 'add plan.checks [{"params": {"keyword": VALUE}}]'),
        ("is given by --param and by --map", "is given by plan.checks.params and by plan.mapping"),
        ("a name of its own: --check NAME=contains", 'a name of its own: plan.checks [{"name": "NAME", "template": "contains"}]'),
        ("say what it is by --format, or which by --rows PATH", "say what it is by plan.format, or which by plan.rows PATH"),
        ("in a new run: --template a:b, or --model MODEL for every check", 'in a new run: plan.checks [{"template": "a", "model": "b"}]'),
        ("no template is named: add --template NAME", 'no template is named: add plan.checks [{"template": "NAME"}]'),
        ("--id key: column 'key' is not in a.csv", "plan.id_column key: column 'key' is not in a.csv"),
        ("say which are good: --good tone=CHOICE,CHOICE", 'say which are good: plan.good {"tone": "CHOICE,CHOICE"}'),
        ("--gate lang: column 'lang' is not in a.csv", "plan.gates, lang: column 'lang' is not in a.csv"),
        ("--baseline RUN, blessed or last; or leave out --confidence", "plan.baseline RUN, blessed or last; or leave out plan.confidence"),
        ("the time given by --timeout is over", "the time given by plan.timeout is over"),
        ("to carry on: python -m flows.evaluate --resume a --store b", "to carry on: python -m flows.evaluate --resume a --store b"),
    ],
)  # fmt: skip
def test_who_fills_in_a_form_is_told_of_its_fields(prefect_home: object, told: str, said: str) -> None:
    from fieval_tasks.on_prefect.forms import in_parameters

    assert in_parameters(told) == said


def test_a_deployment_speaks_of_parameters_and_a_command_of_options(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(dataset=dataset(workplace, ROWS), mapping={"output": "nowhere"})
    assert "--map output=nowhere: column 'nowhere'" in str(evaluated(plan).message)
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a-deployment")
    assert 'plan.mapping {"output": "nowhere"}: column' in str(evaluated(plan).message)
