"""What the user asks for: read with forgiveness, refused in a sentence, and the same after any journey through JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import (
    Check,
    EvaluationPlan,
    Mode,
    settings_for,
)
from fieval_tasks.core.templates import bundled_catalogue

words = st.text(st.characters(codec="utf-8"), max_size=8)
names = st.text("abcxyz_", min_size=1, max_size=8)


# Plans of an earlier version


@pytest.mark.parametrize(
    "stored", [{"ambiguous": "fail", "orphans": "resubmit"}, {"further": {"ambiguous": "fail", "orphans": "resubmit"}}]
)
def test_a_plan_that_was_stored_under_earlier_names_reads_as_it_was_meant(stored: dict[str, Any]) -> None:
    plan = EvaluationPlan.model_validate({"resume": "r", **stored})
    assert (plan.on_lost_reply, plan.on_stuck) == ("fail", "resubmit")


# Checks and mappings


@pytest.mark.parametrize(
    ("text", "template", "model"),
    [
        ("groundedness", "groundedness", None),
        ("groundedness:turing_small", "groundedness", "turing_small"),
        ("groundedness:", "groundedness", None),
        (" tone : turing_flash ", "tone", "turing_flash"),
        ("ASR/STT_accuracy", "ASR/STT_accuracy", None),
        ("tone:vendor:model", "tone", "vendor:model"),
    ],
)
def test_a_check_is_a_template_and_perhaps_a_model(text: str, template: str, model: str | None) -> None:
    assert Check.parse(text) == Check(template=template, model=model)


@pytest.mark.parametrize("text", ["", "  ", ":turing_flash", " : "])
def test_a_check_without_a_template_is_refused(text: str) -> None:
    with pytest.raises(PlanError) as error:
        Check.parse(text)
    assert error.value.problems == (f"--template {text!r}: expected NAME or NAME:MODEL",)


def test_a_key_named_for_a_template_comes_before_one_named_for_all() -> None:
    mapping = {"tone.output": "raw", "output": "answer", "context": "docs", "toneless.context": "other"}
    assert settings_for(Check(template="tone"), mapping) == {"output": "raw", "context": "docs"}
    assert settings_for(Check(template="groundedness"), mapping) == {"output": "answer", "context": "docs"}
    assert settings_for(Check(template="toneless"), mapping) == {"output": "answer", "context": "other"}


def test_what_is_said_of_a_check_by_its_own_name_comes_before_what_is_said_of_its_template() -> None:
    mapping = {"refund.text": "mail", "contains.text": "chat", "text": "answer"}
    assert settings_for(Check.named("refund=contains"), mapping) == {"text": "mail"}
    assert settings_for(Check.named("total=contains"), mapping) == {"text": "chat"}
    assert settings_for(Check.named("refund=equals"), mapping) == {"text": "mail"}
    assert settings_for(Check.named("other=equals"), mapping) == {"text": "answer"}


def test_a_check_may_have_a_name_of_its_own() -> None:
    assert Check.named(" refund = contains ") == Check(template="contains", name="refund")
    assert Check.named("strict=tone:turing_small") == Check(template="tone", model="turing_small", name="strict")
    assert Check(template="tone", name="").name is None, "a form sends an empty field as empty text"


@pytest.mark.parametrize(
    "text", ["contains", "=contains", "refund=", "a.b=contains", "a b=contains", "x" * 61 + "=tone"]
)
def test_a_name_that_gates_and_columns_could_not_tell_apart_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match="expected NAME=TEMPLATE"):
        Check.named(text)


@given(st.dictionaries(st.one_of(names, st.tuples(names, names).map(".".join)), names), names)
def test_a_template_sees_what_is_named_for_it_and_what_is_named_for_all_and_nothing_else(
    mapping: dict[str, str], template: str
) -> None:
    seen = settings_for(Check(template=template), mapping)
    assert all(seen[key] == mapping.get(f"{template}.{key}", mapping.get(key)) for key in seen)
    of_others = {key for key in mapping if "." in key and not key.startswith(f"{template}.")}
    assert set(seen) == {key.removeprefix(f"{template}.") for key in mapping if key not in of_others}


# The plan


@pytest.mark.parametrize("name", ["a", "run-2026.08_01", "7", "x" * 80])
def test_a_run_name_is_plain(name: str) -> None:
    assert EvaluationPlan(run=name).run == name


@pytest.mark.parametrize("name", ["-a", ".hidden", "a/b", "../a", "a b", "é", "x" * 81, "a\n", "last"])
def test_a_run_name_that_is_no_plain_name_or_stands_for_another_run_is_refused(name: str) -> None:
    assert "run" in problem(run=name)


def test_an_empty_field_of_a_form_says_nothing() -> None:
    empty = dict.fromkeys(("dataset", "connection", "base_url", "rate", "run", "resume", "store", "on_lost_reply"), "")
    assert EvaluationPlan(**empty) == EvaluationPlan()


def problem(**fields: Any) -> str:
    with pytest.raises(PlanError) as error:
        EvaluationPlan(**fields)
    (only,) = error.value.problems
    return only


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"rate": "fast"}, "'fast' is not a rate"),
        ({"allow_failures": "many"}, "'many' is not an allowance"),
        ({"retry_failed": True}, "retry_failed: needs resume"),
        ({"limit": 0}, "limit: 0 will not do, write 1 or more"),
        ({"limit": "ten"}, "limit: write a whole number"),
        ({"concurrency": 1001}, "concurrency: 1001 will not do, write 1000 at most"),
        ({"item_timeout": 0}, "item_timeout: 0 will not do, write a number above 0"),
        ({"item_timeout": math.inf}, "item_timeout: inf will not do, write a finite number"),
        ({"timeout": math.nan}, "timeout: nan will not do, write a finite number"),
        ({"mode": "later"}, "mode: write 'auto', 'async', 'sync' or 'submit'"),
        ({"on_stuck": "drop"}, "on_stuck: write 'wait' or 'resubmit'"),
        ({"retry_failed": "perhaps", "resume": "a"}, "retry_failed: write true or false"),
        ({"mapping": ["a"]}, "mapping: write an object, such as {NAME: VALUE}"),
        ({"checks": "tone"}, "checks: write a list"),
        ({"checks": ["tone"]}, "checks.0: write an object of fields"),
        ({"run": "a", "resume": "b"}, "leave one of them out"),
        ({"dataset": [{"answer": "x"}]}, "dataset: rows do not travel in parameters"),
        ({"datset": "a.csv"}, "there is no field 'datset', did you mean dataset?"),
        (
            {"checks": [{"template": "tone", "moddel": "x"}]},
            "checks.0: there is no field 'moddel', did you mean model?",
        ),
        ({"mapping": {"gr\u00f6\u00dfe.text": "a", "gro\u0308\u00dfe.text": "b"}}, "mapping: a name stands twice"),
        ({"good": {"tone": ""}}, "good: tone has no choice, or an empty one; write such as tone=neutral,joy"),
        ({"good": {"tone": "neutral,,joy"}}, "good: tone has no choice, or an empty one"),
        ({"good": {"tone": []}}, "good: tone has no choice"),
        ({"confidence": 95}, "confidence: 95 will not do, write a number below 1"),
        ({"confidence": 0.5}, "confidence: 0.5 will not do, write a number above 0.5"),
        *(({"delimiter": two}, "delimiter: write text of 1 character at most") for two in (",,", "||")),
        *(({"delimiter": one}, "delimiter: what parts cells") for one in ('"', "\n", "\r", "\0", "a", "7")),
    ],
)
def test_a_plan_that_can_not_be_meant_is_refused(fields: dict[str, Any], why: str) -> None:
    assert why in problem(**fields)


checks = st.builds(
    Check,
    template=names,
    model=st.none() | names,
    params=st.dictionaries(
        words, st.recursive(st.none() | st.booleans() | st.integers() | words, lambda x: st.lists(x, max_size=3))
    ),
)
seconds = st.floats(0.001, 1e9)
plans = st.builds(
    EvaluationPlan,
    dataset=st.none() | words,
    checks=st.lists(checks, max_size=3).map(tuple),
    mapping=st.dictionaries(words, words, max_size=3),
    id_column=st.none() | words,
    mode=st.sampled_from(Mode),
    limit=st.none() | st.integers(1),
    seed=st.integers(),
    concurrency=st.integers(1, 1000),
    rate=st.none() | st.sampled_from(["20/s", "600/min"]),
    item_timeout=seconds,
    timeout=st.none() | seconds,
    allow_failures=st.none() | st.sampled_from(["5", "2.5%"]),
    run=st.sampled_from([None, "mine"]),
    resume=st.just("mine"),
    retry_failed=st.booleans(),
)


@given(plans)
def test_a_plan_is_the_same_after_a_journey_through_json(plan: EvaluationPlan) -> None:
    assert EvaluationPlan.model_validate_json(plan.model_dump_json()) == plan
    assert EvaluationPlan.model_validate(json.loads(json.dumps(plan.model_dump(mode="json")))) == plan


@pytest.mark.parametrize(("number", "text"), [(0.02, "0.02"), (1e-5, "0.00001"), (1 / 30, "0.033333333333333")])
def test_a_precision_may_be_a_number_also_one_that_was_computed(number: Any, text: str) -> None:
    assert EvaluationPlan(precision=number).precision == text


def test_a_plan_can_not_be_changed_after_it_was_checked() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        EvaluationPlan().run = "another"


@pytest.mark.parametrize("field", ["dataset", "base_url"])
def test_a_url_with_a_password_is_refused_and_the_message_does_not_repeat_it(field: str) -> None:
    assert "s3cret" not in problem(**{field: "https://me:s3cret@files.test/a.csv"})
    if field == "dataset":
        assert "s3cret" not in problem(dataset="https://files.test/a.csv\nhttps://me:s3cret@files.test/b.csv")
    assert EvaluationPlan(dataset="s3://bucket/me@here/a.csv").dataset


def test_a_run_may_be_resumed_under_its_own_name() -> None:
    assert EvaluationPlan(run="a", resume="a").resume == "a"


def test_every_problem_of_a_plan_is_named_at_once_and_by_its_own_words() -> None:
    with pytest.raises(PlanError) as error:
        EvaluationPlan.model_validate({"limit": 0, "rate": "fast", "checks": [{}]})
    assert [told.partition(":")[0] for told in error.value.problems] == ["checks.0.template", "limit", "rate"]
    assert "pydantic" not in str(error.value)


def fields_of_the_form() -> dict[str, Any]:
    schema = EvaluationPlan.model_json_schema()
    folded = schema["properties"]["further"]["anyOf"][0]["properties"]
    return {**schema["properties"], **folded, **schema["$defs"]["Check"]["properties"]}


def test_every_field_of_the_form_has_a_title() -> None:
    assert [name for name, field in fields_of_the_form().items() if not {"title", "$ref"} & set(field)] == []


def test_nothing_in_the_form_is_a_secret() -> None:
    form = json.dumps(fields_of_the_form()).lower()
    for template in bundled_catalogue():  # which the form offers: some count tokens
        form = form.replace(f'"{template.lower()}"', "")
    assert [word for word in ("secret", "password", "api_key", "api key", "token", "credential") if word in form] == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:s3cret@host/db",
        "postgres://host/db?user=u&password=s3cret",
        "postgres://host/db?user=u&p%61ssword=s3cret",
        "x://h/?sslpassword=s3cret",
    ],
)
def test_a_store_with_its_password_is_refused_and_the_message_does_not_repeat_it(url: str) -> None:
    with pytest.raises(PlanError, match="FIEVAL_STORE_URL") as error:
        EvaluationPlan(store=url)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("store", [None, "ledger.db", "sqlite:///a.db", "postgresql://user@host/db", "odd:name@x.db"])
def test_a_store_without_a_password_is_fine(store: str | None) -> None:
    assert EvaluationPlan(store=store).store == store


def test_every_gate_that_is_refused_is_named_at_once() -> None:
    with pytest.raises(PlanError) as error:
        EvaluationPlan(gates=("failures >= 3", "tone.mean >= 0.5", "tone.mode >= 0.5"))
    (problem,) = error.value.problems
    assert "'failures >= 3': errors would help" in problem
    assert "'mode' is no figure of a check" in problem
    assert "tone.mean" not in problem


def test_a_form_asks_first_for_what_decides_a_run() -> None:
    asked = EvaluationPlan.model_json_schema()["properties"]
    assert [*asked] == ["dataset", "checks", "mapping", "gates", "limit", "connection", "further"]
    folded, nothing = asked["further"]["anyOf"]
    assert (asked["further"]["default"], nothing) == (None, {"type": "null"}), "Prefect shows it folded"
    assert {*asked, *folded["properties"]} - {"further"} == {*EvaluationPlan.model_fields}


def test_a_form_offers_the_platforms_templates_and_takes_any_other() -> None:
    check = EvaluationPlan.model_json_schema()["$defs"]["Check"]
    listed, free = check["properties"]["template"]["anyOf"]
    assert {"groundedness", "toxicity"} <= {*listed["enum"]}
    assert free == {"type": "string", "title": "of your own"}
    assert Check(template="a_template_of_mine").template == "a_template_of_mine"


def test_a_tab_may_be_written_as_it_is_in_programs() -> None:
    assert EvaluationPlan(delimiter=r"\t").delimiter == "\t"


@pytest.mark.parametrize("good", ["neutral, joy", ["neutral", "joy"], ("neutral", "joy")])
def test_good_choices_are_a_list_or_a_text_with_commas(good: Any) -> None:
    plan = EvaluationPlan(good={"tone": good})
    assert plan.good == {"tone": ("neutral", "joy")}
    assert EvaluationPlan.model_validate(plan.model_dump(mode="json")) == plan
