"""What a check gives its template: what the server would ignore or fail on is a problem before anything is sent."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fieval_tasks.api import wire
from fieval_tasks.core.templates import Template, bundled_catalogue
from fieval_tasks.data.parameters import AsTyped, Unfit, needed, parameter_from_cell, read

CONTAINS = {
    "keyword": {"type": "string", "default": None},
    "case_sensitive": {"type": "boolean", "default": True},
}


def template(name: str = "mine", keys: tuple[str, ...] = ("text",), **rules: dict[str, Any]) -> Template:
    return Template(name, keys, (), "score", False, parameters=rules)


def bundled(name: str) -> Template:
    found = bundled_catalogue().get(name)
    assert found is not None
    return found


def value_of(kind: str, given: object, **rule: object) -> object:
    values, problems = read(template(k={"type": kind, "default": 1, **rule}), {"k": given})
    assert problems == []
    return values.get("k")


def problem_of(kind: str, given: object, **rule: object) -> str:
    (problem,) = read(template(k={"type": kind, "default": 1, **rule}), {"k": given})[1]
    return problem


# -- names -------------------------------------------------------------------------------------------------------------


def test_a_misspelt_and_a_missing_name_are_both_told() -> None:
    problems = read(template("contains", **CONTAINS), {"keywrd": AsTyped("the")})[1]
    assert problems == [
        "template 'contains' needs parameter 'keyword' (text); add --param keyword=VALUE, or --map keyword=COLUMN for one in each row",
        "template 'contains' has no parameter 'keywrd' (it has: keyword, case_sensitive); did you mean 'keyword'?",
    ]


def test_a_parameter_of_another_template_is_left_out_where_it_was_said_for_all() -> None:
    mine = template("equals", case_sensitive={"type": "boolean", "default": True})
    shared, own = AsTyped("refund", is_shared=True), AsTyped("refund")
    assert read(mine, {"keyword": shared}, elsewhere=["keyword"]) == ({}, [])
    assert "no parameter 'keyword'" in read(mine, {"keyword": own}, elsewhere=["keyword"])[1][0]
    assert "no parameter 'keyword'" in read(mine, {"keyword": shared}, elsewhere=["substring"])[1][0]


def test_a_template_that_has_none_takes_none() -> None:
    assert read(bundled("one_line"), {"keyword": "x"})[1] == [
        "template 'one_line' has no parameters, so 'keyword' would do nothing; leave it out",
    ]


def test_where_a_server_names_none_the_bundled_copy_is_asked() -> None:
    assert "did you mean 'keyword'" in read(template("contains"), {"keywrd": "x"})[1][1]


def test_what_nobody_knows_passes_as_it_is() -> None:
    given = {"a": AsTyped("10"), "b": AsTyped("1.10"), "c": AsTyped("1e5"), "d": AsTyped('["x"]'), "e": "10", "f": None}
    meant = {"a": 10, "b": "1.10", "c": "1e5", "d": ["x"], "e": "10", "f": None}
    assert read(template("of my own"), given) == (meant, [])


# -- what is needed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("contains", {"keyword"}),
        ("contains_all", {"keywords"}),
        ("contains_any", {"keywords"}),
        ("contains_none", {"keywords"}),
        ("starts_with", {"substring"}),
        ("ends_with", {"substring"}),
        ("regex", {"pattern"}),
        ("length_between", {"min_length", "max_length"}),
        ("length_less_than", {"max_length"}),
        ("length_greater_than", {"min_length"}),
        ("api_call", {"url"}),
        ("json_scheme_validation", set()),  # it has another JSON to compare with
        ("answer_similarity", set()),
        ("levenshtein_similarity", set()),
        ("context_relevance", set()),
        ("trajectory_match", set()),
        ("sentence_count", {"min_sentences", "max_sentences"}),
        ("f_beta_score", {"positive_label"}),
        ("recall_at_k", set()),
        ("regex_pii_detection", set()),
        ("image_properties", set()),
        ("latency_check", {"max_latency_ms"}),
    ],
)
def test_what_has_no_default_is_needed(name: str, wanted: set[str]) -> None:
    assert set(needed(bundled(name))) == wanted


@pytest.mark.parametrize("nothing", ["", [], "[]", None, [""]])
def test_what_is_needed_and_empty_is_missing(nothing: object) -> None:
    (problem,) = read(bundled("contains_any"), {"keywords": nothing})[1]
    assert problem.startswith("template 'contains_any' needs parameter 'keywords'")


def test_each_template_with_named_parameters_tells_a_misspelt_one() -> None:
    named = [t for t in bundled_catalogue().templates.values() if t.parameters]
    assert len(named) == 44
    for one in named:
        assert any("has no parameter 'nonsense'" in problem for problem in read(one, {"nonsense": 1})[1])


# -- types ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "typed", "meant"),
    [
        ("integer", "10", 10),
        ("integer", " -3 ", -3),
        ("integer", 10.0, 10),
        ("integer", "1e3", 1000),
        ("number", "0.5", 0.5),
        ("float", "2", 2),
        ("float", ".5", 0.5),
        ("boolean", "false", False),
        ("boolean", "No", False),
        ("boolean", "1", True),
        ("boolean", True, True),
        ("string", "1e5", "1e5"),
        ("string", "1.10", "1.10"),
        ("string", "NaN", "NaN"),
        ("string", "true", "true"),
        ("string", "null", "null"),
        ("string", "[0]", "[0]"),
        ("code", "def main(): pass", "def main(): pass"),
        ("list", "refund", ["refund"]),
        ("list", "a, b,,c", ["a", "b", "c"]),
        ("list", '["a,b", "c"]', ["a,b", "c"]),
        ("list", ["a"], ["a"]),
        ("dict", '{"a": 1}', {"a": 1}),
        ("option", "python", "python"),
        ("rule_string", "as it is", "as it is"),
        ("integer", "null", None),
        ("integer", None, None),
    ],
)
def test_a_value_is_what_its_type_makes_of_it(kind: str, typed: object, meant: object) -> None:
    found = value_of(kind, AsTyped(typed) if isinstance(typed, str) else typed)
    assert (found, type(found)) == (meant, type(meant)) or kind == "rule_string"
    assert not isinstance(found, AsTyped) or kind == "rule_string"


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("integer", "abc", "can't be 'abc': write a whole number"),
        ("integer", "1.5", "write a whole number"),
        ("integer", True, "can't be True: write a whole number"),
        ("integer", "٣", "write a whole number"),
        ("integer", "1_000", "write a whole number"),
        ("number", "NaN", "write a number"),
        ("number", float("nan"), "write a number"),
        ("number", "1e999", "write a number"),
        ("number", "9" * 400, "write a number"),
        ("number", "9" * 5_000, "write a number"),
        ("number", 10**400, "can't be a int: write a number"),
        pytest.param("integer", 10**5_000, "write a whole number", id="a long integer"),
        pytest.param("string", 10**5_000, "write text", id="a long integer for text"),
        ("float", "inf", "write a number"),
        ("boolean", "maybe", "write true or false"),
        ("boolean", 1, "write true or false"),
        ("string", 10, "can't be 10: write text"),
        ("string", ["a"], "can't be a list: write text"),
        ("list", 5, "write a list"),
        ("list", "[1, 2]", "write a list"),
        ("list", '["a"', "write a list"),
        ("dict", "a", "write an object"),
        ("dict", {"a": float("nan")}, "a finite number"),
        ("odd", {1, 2}, "write text, a finite number"),
    ],
)
def test_a_value_of_another_type_is_refused(kind: str, given: object, said: str) -> None:
    problem = problem_of(kind, AsTyped(given) if isinstance(given, str) else given)
    assert said in problem
    assert "parameter 'k' of template 'mine'" in problem


def test_bounds_and_options_hold() -> None:
    assert "a whole number from 1 to 5" in problem_of("integer", "6", minimum=1, maximum=5)
    assert "a number, 0.1 or more" in problem_of("number", 0, minimum=0.1)
    assert value_of("integer", "5", minimum=1, maximum=5) == 5
    assert "one of Cosine, Jaccard" in problem_of("option", "cosine", options=["Cosine", "Jaccard"])
    assert value_of("option", "Cosine", options=["Cosine", "Jaccard"]) == "Cosine"


# -- the wire ------------------------------------------------------------------------------------------------------------


def test_the_catalogues_three_places_are_read_as_one() -> None:
    config = {
        "required_keys": ["text"],
        "config": {**CONTAINS, "mode": {"type": "option", "default": "a"}, "odd": "text"},
        "config_params_option": {"mode": ["a", "b"], "odd": 5},
        "function_params_schema": {"n": {"type": "integer", "minimum": 1, "required": True}},
    }
    found = wire.catalogue({"result": [{"name": "t", "config": config}]}, source="x").templates["t"]
    assert needed(found) == ("keyword", "n")
    problems = read(found, {"keyword": "x", "mode": "c", "n": 0})[1]
    assert ["one of a, b" in problems[0], "1 or more" in problems[1]] == [True, True]


# -- from the cells of a dataset ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameter", "cell", "value"),
    [
        ("contains", "keyword", "refund", "refund"),
        ("contains", "keyword", "NaN", "NaN"),
        ("contains", "keyword", " 007 ", " 007 "),
        ("contains", "keyword", "null", "null"),
        ("contains", "keyword", 7, "7"),
        ("contains", "case_sensitive", "no", False),
        ("contains", "case_sensitive", None, None),
        ("contains", "case_sensitive", float("nan"), None),
        ("contains_any", "keywords", "a, b", ["a", "b"]),
        ("contains_any", "keywords", ["a,b", "c"], ["a,b", "c"]),
        ("length_less_than", "max_length", "80", 80),
        ("length_less_than", "max_length", 80.0, 80),
        ("regex", "pattern", "(?i)refund.*d", "(?i)refund.*d"),
    ],
)
def test_a_cell_gives_a_parameter_in_its_own_type(name: str, parameter: str, cell: object, value: object) -> None:
    assert parameter_from_cell(bundled(name), parameter, cell) == value


@pytest.mark.parametrize(
    ("name", "parameter", "cell", "why"),
    [
        ("contains", "keyword", "", "it is blank, and the template needs one"),
        ("contains", "keyword", None, "it is blank, and the template needs one"),
        ("contains_all", "keywords", [""], "it is blank, and the template needs one"),
        ("contains_none", "keywords", " , ", "it is blank, and the template needs one"),
        ("contains_any", "keywords", '[""]', "it is blank, and the template needs one"),
        ("contains", "keyword", "a\0b", "it has a NUL character"),
        ("contains", "case_sensitive", "perhaps", "write true or false"),
        ("length_less_than", "max_length", "8 or so", "write a whole number"),
        ("regex", "pattern", "tot[", "it is no regular expression"),
    ],
)
def test_a_cell_that_will_not_do_says_what_would(name: str, parameter: str, cell: object, why: str) -> None:
    with pytest.raises(Unfit, match=re.escape(why)):
        parameter_from_cell(bundled(name), parameter, cell)


@pytest.mark.parametrize("pattern", ["(a", "tot[", "a{2,1}", "(" * 5_000, "(?P<a>x)(?P<a>y)", "*"])
def test_a_pattern_that_does_not_compile_is_refused_before_it_is_paid_for(pattern: str) -> None:
    (problem,) = read(bundled("regex"), {"pattern": AsTyped(pattern)})[1]
    assert "it is no regular expression of Python's" in problem


@pytest.mark.parametrize("pattern", ["refund", "[[a]", r"\d+(?=x)", "a{1000}" * 9, "(?x)(?:a{1000}){40000}"])
def test_a_pattern_that_compiles_is_sent_as_it_is(pattern: str) -> None:
    assert read(bundled("regex"), {"pattern": AsTyped(pattern)}) == ({"pattern": pattern}, [])


@pytest.mark.parametrize("text", ["NaN", "1e5", "1.10", "007", "true", " x ", "Infinity", "null", "[1]", '"q"', "-0"])
@pytest.mark.parametrize(("name", "parameter"), [("contains", "keyword"), ("ends_with", "substring")])
def test_text_is_text_whatever_else_it_could_be(name: str, parameter: str, text: str) -> None:
    assert read(bundled(name), {parameter: AsTyped(text)}) == ({parameter: text}, [])
