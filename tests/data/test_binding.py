"""Template keys find their columns, and what can't be found is named all at once."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.gates import Gate
from fieval_tasks.core.plan import Check, EvaluationPlan
from fieval_tasks.core.templates import Catalogue, Template, bundled_catalogue
from fieval_tasks.data import binding
from fieval_tasks.data.binding import ALIASES, Binding, Source, bind
from fieval_tasks.data.places import Place


def plan_of(*checks: str | Check, **options: Any) -> EvaluationPlan:
    parsed = tuple(Check.parse(check) if isinstance(check, str) else check for check in checks)
    return EvaluationPlan(checks=parsed, **options)


def bound(*checks: str | Check, columns: Sequence[str], mapping: Mapping[str, str] | None = None) -> list[Binding]:
    return list(bind(plan_of(*checks, mapping=dict(mapping or {})), columns, bundled_catalogue()))


def columns_of(check: str, columns: Sequence[str], mapping: Mapping[str, str] | None = None) -> dict[str, str]:
    (only,) = bound(check, columns=columns, mapping=mapping)
    return {key: source.column for key, source in only.sources.items()}


def problems_of(plan: EvaluationPlan, columns: Sequence[str], catalogue: Catalogue | None = None) -> tuple[str, ...]:
    with pytest.raises(PlanError) as error:
        bind(plan, columns, catalogue or bundled_catalogue(), dataset="answers.csv")
    return error.value.problems


def template(**options: Any) -> Catalogue:
    whole = {"required": ("output",), "optional": (), "output": "score", "needs_model": True, **options}
    return Catalogue({"mine": Template(name="mine", **whole)}, source="the test")


# Finding columns


def test_a_named_column_comes_before_the_same_name_and_that_before_an_alias() -> None:
    (found,) = bound(
        "factual_accuracy", columns=["context", "OUTPUT", "answer", "query"], mapping={"context": "answer"}
    )
    assert found.sources == {
        "input": Source(Place("query"), "alias"),
        "output": Source(Place("OUTPUT"), "same name"),
        "context": Source(Place("answer"), "named"),
    }


def test_a_key_named_for_one_template_leaves_the_others_alone() -> None:
    columns = ["output", "raw", "context"]
    tone, grounded = bound("tone", "groundedness", columns=columns, mapping={"tone.output": "raw"})
    assert tone.sources["output"] == Source(Place("raw"), "named")
    assert grounded.sources["output"] == Source(Place("output"), "same name")


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (["question", "answer", "contexts", "ground_truth"], {"input": 0, "output": 1, "context": 2}),
        (["user_input", "response", "retrieved_contexts", "reference"], {"input": 0, "output": 1, "context": 2}),
        (["input", "actual_output", "retrieval_context", "expected_output"], {"input": 0, "output": 1, "context": 2}),
        (["Prompt", "Completion", "Documents"], {"input": 0, "output": 1, "context": 2}),
        (["User Query", "ChatGPT Response", "source-documents"], {"input": 0, "output": 1, "context": 2}),
        (["userInput", "modelOutput", "retrievedContexts"], {"input": 0, "output": 1, "context": 2}),
        (["docs", "reply", "user_question"], {"context": 0, "output": 1, "input": 2}),
        (["attributes.input.value", "attributes.output.value", "doc"], {"input": 0, "output": 1, "context": 2}),
        (["passages", "prediction"], {"context": 0, "output": 1}),
    ],
)
def test_datasets_in_the_wild_need_no_mapping(columns: list[str], found: dict[str, int]) -> None:
    assert columns_of("groundedness", columns) == {key: columns[place] for key, place in found.items()}


@pytest.mark.parametrize(
    ("check", "columns", "found"),
    [
        ("levenshtein_similarity", ["answer", "ground_truth"], {"output": "answer", "expected": "ground_truth"}),
        ("rouge_score", ["prediction", "reference"], {"hypothesis": "prediction", "reference": "reference"}),
        ("equals", ["reply", "gold answer"], {"text": "reply", "expected_text": "gold answer"}),
        ("ground_truth_match", ["output", "target"], {"generated_value": "output", "expected_value": "target"}),
        ("accuracy", ["prediction", "label"], {"output": "prediction", "expected": "label"}),
        ("conversation_coherence", ["messages"], {"conversation": "messages"}),
        ("is_json", ["question", "answer", "docs"], {"text": "answer"}),
        ("prompt_instruction_adherence", ["output", "prompt"], {"output": "output", "prompt": "prompt"}),
    ],
)
def test_other_templates_find_theirs(check: str, columns: list[str], found: dict[str, str]) -> None:
    assert columns_of(check, columns) == found


def test_of_two_candidates_the_earlier_alias_wins() -> None:
    assert columns_of("tone", ["answer", "response"]) == {"output": "response"}
    assert columns_of("context_relevance", ["prompt", "question", "docs"])["input"] == "question"


@pytest.mark.parametrize("columns", [["prompt"], ["input"], ["answer"], ["prompt", "input"], ["Output", "question"]])
def test_no_column_fills_two_keys_by_itself(columns: list[str]) -> None:
    catalogue = template(required=(), optional=("prompt", "input", "output", "response", "hypothesis"))
    (found,) = bind(plan_of("mine"), columns, catalogue)
    used = [source.column for source in found.sources.values()]
    assert sorted(used) == sorted(columns)


def test_questions_answers_contexts_and_truths_share_no_alias() -> None:
    kinds = [ALIASES["output"], ALIASES["input"], ALIASES["context"], ALIASES["expected"], ALIASES["conversation"]]
    names = [binding._fold(name) for kind in kinds for name in kind]
    assert len(names) == len(set(names))


@given(
    columns=st.permutations(sorted({*ALIASES["output"], *ALIASES["input"], "expected", "label"})), size=st.integers(1)
)
def test_an_input_is_never_filled_from_an_answer_nor_the_other_way_round(columns: list[str], size: int) -> None:
    catalogue = template(required=(), optional=("input", "output", "expected", "context"))
    (found,) = bind(plan_of("mine"), columns[:size], catalogue)
    for key, source in found.sources.items():
        assert source.column in (*ALIASES[key], key)
        assert source.column not in ALIASES["input" if key == "output" else "output"]


def test_a_text_with_two_possible_columns_is_asked_about() -> None:
    (problem,) = problems_of(plan_of("is_json"), ["answer", "response"])
    assert problem == (
        "is_json needs 'text', and no column of answers.csv clearly fills it (it has: answer, response);"
        " say which: --map text=answer"
    )


@pytest.mark.parametrize("check", ["recall_at_k", "psnr", "clip_score", "TTS_accuracy", "image_properties"])
def test_rankings_pictures_and_voices_are_never_guessed(check: str) -> None:
    columns = ["question", "answer", "context", "ground_truth"]
    assert any("--map" in problem for problem in problems_of(plan_of(check), columns))


def test_an_optional_key_may_stay_empty() -> None:
    assert columns_of("groundedness", ["answer", "docs"]) == {"output": "answer", "context": "docs"}


# Models and names


def test_a_judge_gets_the_default_model_and_code_gets_none() -> None:
    judge, code = bound("tone", "is_json:turing_large", columns=["answer"])
    assert (judge.check, judge.model) == ("tone", "turing_flash")
    assert (code.check, code.model) == ("is_json", None)


def test_a_template_asked_for_twice_is_told_apart_by_its_model() -> None:
    pair = bound("tone", "tone:turing_large", columns=["answer"])
    assert [found.check for found in pair] == ["tone:turing_flash", "tone:turing_large"]


# Names and parameters of a check's own


def test_a_template_may_be_asked_for_more_than_once_by_names() -> None:
    found = bound("tone", Check.named("strict=tone:turing_small"), Check.named("mild=tone"), columns=["output"])
    assert [(b.check, b.model) for b in found] == [
        ("tone", "turing_flash"), ("strict", "turing_small"), ("mild", "turing_flash"),
    ]  # fmt: skip


def test_a_parameter_that_one_of_two_checks_lacks_is_told_of_that_one() -> None:
    checks = (Check(template="contains", name="one", params={"keyword": "x"}), Check.named("two=contains"))
    assert problems_of(plan_of(*checks), ["text"]) == (
        "check 'two': template 'contains' needs parameter 'keyword' (text); add --param keyword=VALUE, or --map keyword=COLUMN for one in each row",
    )


def test_a_check_with_the_name_of_anothers_template_is_refused() -> None:
    problems = problems_of(plan_of(Check.named("tone=toxicity"), Check.named("mild=tone")), ["output"])
    assert problems == ("check 'tone' has the name of a template that another check uses; give it another",)


def test_gates_and_columns_are_said_of_a_check_by_its_name() -> None:
    checks = (Check.named("one=toxicity"), Check.named("two=toxicity"))
    plan = plan_of(*checks, mapping={"two.output": "raw"}, gates=("two.pass_rate >= 0.9", "toxicity.pass_rate >= 0.9"))
    (problem,) = problems_of(plan, ["output", "raw"])
    assert problem.startswith("gate 'toxicity.pass_rate >= 0.9': there is no check 'toxicity' (checks: one, two)")
    one, two = bound(*checks, columns=["output", "raw"], mapping={"two.output": "raw"})
    assert (one.sources["output"].column, two.sources["output"].column) == ("output", "raw")


@pytest.mark.parametrize("name", ["Größe", "हिन्दी", "ความยาว", "検査"])
def test_a_check_is_found_by_its_name_however_its_letters_are_composed(name: str) -> None:
    apart = unicodedata.normalize("NFD", name)
    for named, said in ((name, apart), (apart, name), (apart, apart)):
        checks = (Check.named(f"{named}=toxicity"), Check(template="toxicity", name="other"))
        (one, _) = bind(
            plan_of(*checks, mapping={f"{said}.output": "raw"}, gates=(f"{said}.pass_rate >= 0.9",)),
            ["output", "raw"],
            bundled_catalogue(),
        )
        assert (one.check, one.sources["output"].column) == (unicodedata.normalize("NFC", name), "raw")
        assert Check(template="toxicity", name=named).name == one.check
        assert Gate.parse(f"{said}.pass_rate >= 0.9").check == one.check


@pytest.mark.parametrize("name", ["", "-a", "a b", "a.b", "a:b", "a\u200db\u202e", "x" * 61])
def test_a_name_that_would_not_stand_alone_is_refused(name: str) -> None:
    with pytest.raises(PlanError, match="letters, digits, dashes and underscores, 60 at most"):
        Check.named(f"{name}=toxicity")


def test_a_column_may_give_a_parameter() -> None:
    checks = (Check.named("one=contains"), Check(template="length_less_than"))
    one, short = bound(*checks, columns=["text", "word", "n"], mapping={"one.keyword": "word", "max_length": "n"})
    assert (one.param_sources, short.param_sources) == (
        {"keyword": Source(Place("word"), "named")},
        {"max_length": Source(Place("n"), "named")},
    )
    assert set(one.sources) == {"text"}


def test_a_parameter_is_given_once_and_by_a_column_that_is_there() -> None:
    check = Check(template="contains", params={"keyword": "refund"})
    (twice,) = problems_of(plan_of(check, mapping={"keyword": "word"}), ["text", "word"])
    assert twice == (
        "parameter 'keyword' of template 'contains' is given by --param and by --map; leave one of them out"
    )
    problems = problems_of(plan_of("contains", mapping={"keyword": "wrd"}), ["text", "word"])
    assert problems[0].startswith("--map keyword=wrd: column 'wrd' is not in answers.csv (it has: text, word)")
    (near,) = problems_of(plan_of(check, mapping={"keywrd": "word"}), ["text", "word"])
    assert near.endswith("'keywrd' is not a key of contains (keys: text); did you mean 'keyword'?")


def test_what_is_said_for_all_of_a_name_that_is_also_a_key_fills_the_key() -> None:
    checks = ("factual_accuracy", "deterministic_evals")
    found = bind(
        plan_of(*checks, mapping={"input": "question", "output": "answer", "context": "docs"}),
        ["question", "answer", "docs"],
        Catalogue({**bundled_catalogue().templates, "deterministic_evals": DETERMINISTIC}, "the test"),
    )
    assert [b.param_sources for b in found] == [{}, {}]


DETERMINISTIC = Template(
    "deterministic_evals",
    ("output",),
    (),
    "choices",
    True,
    parameters={"input": {"type": "list", "nullable": True}},
)


# What is wrong with a plan


def test_every_problem_is_named_at_once() -> None:
    plan = plan_of(
        "groundednes",
        "tone",
        "tone:turing_flash",
        "f_beta_score",
        Check(template="contains", params={"keywrd": "x"}),
        mapping={"otput": "question", "tone.input": "question", "tonne.output": "question", "expected": "answer"},
        id_column="di",
    )
    problems = problems_of(plan, ["id", "question", "reply"])
    assert [problem for problem in problems if "'otput'" not in problem] == [
        "template 'groundednes' is not in the copy bundled with this package; did you mean 'groundedness'?",
        "2 checks are called 'tone:turing_flash'; ask for it once, or give each a name of its own: --check NAME=tone",
        "mapping 'tone.input': 'input' is not a key of tone (keys: output); did you mean 'output'?",
        "mapping 'tonne.output': no check has the name or the template 'tonne'; did you mean 'tone' or 'groundednes'?",
        "--map expected=answer: column 'answer' is not in answers.csv (it has: id, question, reply);"
        " did you mean 'reply'?",
        "--id di: column 'di' is not in answers.csv (it has: id, question, reply); did you mean 'id'?",
        "template 'f_beta_score' needs parameter 'positive_label' (text); add --param positive_label=VALUE, or --map positive_label=COLUMN for one in each row",
        "template 'contains' needs parameter 'keyword' (text); add --param keyword=VALUE, or --map keyword=COLUMN for one in each row",
        "template 'contains' has no parameter 'keywrd' (it has: case_sensitive, keyword); did you mean 'keyword'?",
    ]
    (misspelt,) = (problem for problem in problems if "'otput'" in problem)
    assert misspelt.startswith("mapping 'otput': 'otput' is not a key of any template")
    assert "did you mean 'output'" in misspelt


def test_an_option_that_is_shown_can_be_pasted_whatever_the_column_is_called() -> None:
    (problem,) = problems_of(plan_of("context_adherence"), ["output", "the context"])
    assert problem.endswith("say which: --map 'context=the context'")


def test_a_key_that_no_column_fills_is_said_once_for_all_templates() -> None:
    (problem,) = problems_of(plan_of("context_adherence", "factual_accuracy"), ["question", "answer"])
    assert problem == (
        "context_adherence, factual_accuracy need 'context', and no column of answers.csv clearly fills it"
        " (it has: question, answer); say which: --map context=COLUMN"
    )


def test_a_wrong_mapping_is_not_also_a_missing_key() -> None:
    assert len(problems_of(plan_of("context_relevance", mapping={"context": "dosc"}), ["question"])) == 1


def test_a_mapping_key_of_an_unknown_template_gets_the_benefit_of_the_doubt() -> None:
    (problem,) = problems_of(plan_of("tone", "groundednes", mapping={"context": "docs"}), ["answer", "docs"])
    assert "groundednes" in problem


def test_a_mapping_key_that_no_template_has_is_named_with_the_nearest() -> None:
    (problem,) = problems_of(plan_of("context_relevance", mapping={"contxt": "docs"}), ["question", "docs"])
    assert problem == (
        "mapping 'contxt': 'contxt' is not a key of context_relevance (keys: context, input); did you mean 'context'?"
    )


def test_a_plan_without_checks_is_refused() -> None:
    assert "add --template" in problems_of(plan_of(), ["answer"])[0]


def test_a_template_without_keys_is_refused() -> None:
    assert "takes no inputs" in problems_of(plan_of("deterministic_evals"), ["answer"])[0]


def test_a_model_that_the_template_does_not_take_is_named() -> None:
    catalogue = template(models=("turing_small", "turing_large"))
    (given_none,) = problems_of(plan_of("mine"), ["output"], catalogue)
    (given_other,) = problems_of(plan_of("mine:gpt"), ["output"], catalogue)
    assert "does not take model 'turing_flash' (it takes: turing_small, turing_large)" in given_none
    assert "does not take model 'gpt'" in given_other
    (found,) = bind(plan_of("mine:turing_large"), ["output"], catalogue)
    assert found.model == "turing_large"


def test_parameters_are_only_judged_where_the_catalogue_tells_them() -> None:
    (found,) = bind(plan_of(Check(template="mine", params={"any": 1})), ["output"], template())
    assert found.params == {"any": 1}


def test_a_long_list_of_columns_is_cut() -> None:
    (problem,) = problems_of(plan_of("tone"), [f"c{i}" for i in range(100)])
    assert "c19 and 80 more" in problem
    assert "c20" not in problem


@pytest.mark.parametrize(
    ("output", "metric", "said"),
    [
        ("choices", "mean", "mine answers with choices, which need not have a score, so its mean may never be known"),
        ("choices", "pass_rate", "mine does not answer Pass/Fail, so it has no pass rate; gate mine.failures"),
        ("reason", "mean", "mine answers with a text"),
        ("reason", "pass_rate", "does not answer Pass/Fail"),
        ("score", "pass_rate", "mine does not answer Pass/Fail, so it has no pass rate; gate mine.mean"),
    ],
)
def test_a_gate_that_no_verdict_need_decide_is_refused(output: str, metric: str, said: str) -> None:
    (problem,) = problems_of(plan_of("mine", gates=(f"mine.{metric} >= 0.5",)), ["output"], template(output=output))
    assert said in problem


@pytest.mark.parametrize(
    ("output", "gate"),
    [
        ("Pass/Fail", "mine.pass_rate >= 0.5"),
        ("Pass/Fail", "mine.mean >= 0.5"),
        ("score", "mine.mean >= 0.5"),
        ("numeric", "mine.mean >= 0.5"),
        ("choices", "mine.failures <= 2%"),
    ],
)
def test_a_gate_that_verdicts_decide_is_taken(output: str, gate: str) -> None:
    assert bind(plan_of("mine", gates=(gate,)), ["output"], template(output=output))


def test_a_gate_on_a_check_that_there_is_not_is_named_with_the_nearest() -> None:
    (problem,) = problems_of(plan_of("mine", gates=("mime.failures <= 3",)), ["output"], template())
    assert problem == "gate 'mime.failures <= 3': there is no check 'mime' (checks: mine); did you mean 'mine'?"


def test_what_a_tool_keeps_for_itself_fills_nothing_by_alias() -> None:
    columns = columns_of("groundedness", ["__output", "question", "answer", "docs"])
    assert columns == {"output": "answer", "input": "question", "context": "docs"}
    assert columns_of("groundedness", ["__out", "question", "docs"], {"output": "__out"})["output"] == "__out"


def test_the_other_columns_that_could_have_filled_a_key_are_remembered() -> None:
    (found,) = bound("groundedness", columns=["response", "answer", "docs", "passages", "question"])
    passed_over = {key: source.passed_over for key, source in found.sources.items()}
    assert passed_over == {"output": ("answer",), "context": ("passages",), "input": ()}


def test_a_place_inside_of_a_column_fills_a_key() -> None:
    columns = ["input", "output", "metadata"]
    mapping = {"output": "output.answer", "context": "metadata.context"}
    assert columns_of("groundedness", columns, mapping) == mapping | {"input": "input"}


def test_a_column_that_is_not_there_is_one_problem() -> None:
    (problem,) = problems_of(plan_of("completeness", mapping={"output": "outptu.answer"}), ["input", "output"])
    assert problem.startswith("--map output=outptu.answer: column 'outptu.answer' is not in answers.csv")
