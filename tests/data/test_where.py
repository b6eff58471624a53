"""`--where`: what an expression means for a row, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.errors import PlanError
from fieval_tasks.data.where import LONGEST, Incomparable, condition

COLUMNS = ("lang", "score", "ok", "tags", "question", "a b", "meta", "année", "at", "id")


def says(text: str, **values: Any) -> bool:
    return condition(text, COLUMNS)({**values, **({"a b": values.pop("a_b")} if "a_b" in values else {})})


@pytest.mark.parametrize(
    ("text", "row", "chosen"),
    [
        ("lang == 'fr'", {"lang": "fr"}, True),
        ("lang == 'fr'", {"lang": " fr"}, False),
        ("lang != 'fr'", {"lang": "de"}, True),
        ("'fr' == lang", {"lang": "fr"}, True),
        ("lang in ('fr', 'de')", {"lang": "de"}, True),
        ("lang not in ['fr', 'de']", {"lang": "en"}, True),
        # a cell of CSV is text: with a number it is compared as the number that it spells
        ("score < 0.5", {"score": "0.49"}, True),
        ("score < 9", {"score": "10"}, False),
        ("score == 5", {"score": " 5.0 "}, True),
        ("score == -5e-1", {"score": "-.5"}, True),
        ("score == 5", {"score": "n/a"}, False),
        ("score in (1, 2)", {"score": "2"}, True),
        ("0.2 <= score < 0.4", {"score": 0.3}, True),
        ("0.2 <= score < 0.4", {"score": 0.4}, False),
        ("id == 12345678901234567", {"id": "12345678901234568"}, False),
        ("score >= 1", {"score": Decimal("1.10")}, True),
        # with a text in quotes as text
        ("id == '007'", {"id": "7"}, False),
        ("id == '7'", {"id": 7}, True),
        ("at >= '2026-01-31'", {"at": "2026-02-01"}, True),
        ("at >= '2026-01-31'", {"at": date(2026, 2, 1)}, True),
        # two columns: as numbers where both spell numbers
        ("id < score", {"id": "9", "score": "10"}, True),
        ("lang == question", {"lang": "x", "question": "x"}, True),
        ("ok == True", {"ok": True}, True),
        ("ok == True", {"ok": "TRUE"}, True),
        ("ok == False", {"ok": "yes"}, False),
        ("ok != True", {"ok": 1}, True),
        # a blank cell is None: it equals nothing, and comes in no order
        ("lang is None", {"lang": " "}, True),
        ("lang is None", {}, True),
        ("lang is None", {"lang": float("nan")}, True),
        ("lang is None", {"lang": "null"}, True),
        ("lang is not None", {"lang": "0"}, True),
        ("score < 5", {"score": ""}, False),
        ("not score < 5", {"score": ""}, True),
        ("lang != 'fr'", {"lang": None}, True),
        ("lang not in ('fr',)", {"lang": None}, True),
        ("'refund' in question", {"question": "a refund, please"}, True),
        ("'refund' not in question", {"question": None}, True),
        ("'a' in tags", {"tags": ["b", "a"]}, True),
        ("'a' in tags", {"tags": ["ab"]}, False),
        ("1 in tags", {"tags": [2, 1]}, True),
        ("lang in question", {"lang": "fr", "question": "in fr"}, True),
        ("question.startswith('How')", {"question": "How so?"}, True),
        ("not question.endswith('?')", {"question": "How so?"}, False),
        ("question.startswith('x')", {}, False),
        ("question.lower() == 'how'", {"question": "HOW"}, True),
        ("question.lower().startswith('how')", {"question": "HOW?"}, True),
        ("len(question) > 3", {"question": "four"}, True),
        ("len(tags) == 2", {"tags": ["a", "b"]}, True),
        ("len(question) == 0", {"question": " "}, True),
        ("lang == 'fr' and score < 0.5 or ok == True", {"lang": "fr", "score": "0.1", "ok": False}, True),
        ("not (lang == 'fr' or lang == 'de')", {"lang": "de"}, False),
        ("lang == 'number' and score < 5", {"lang": "text", "score": "abc"}, False),
        ("`a b` == 'x'", {"a_b": "x"}, True),
        ("lang == '`a b`'", {"lang": "`a b`"}, True),
        ("'é' == lang and `a b` == 'x' and `a b` != `année`", {"lang": "é", "a_b": "x", "année": "y"}, True),
        ("année == '2026'", {"année": "2026"}, True),
        ("meta.lang == 'fr'", {"meta": '{"lang": "fr"}'}, True),
        ("meta['the lang'] == 'fr'", {"meta": {"the lang": "fr"}}, True),
        ("tags[0] == 'a'", {"tags": ["a"]}, True),
        ("tags[9] is None", {"tags": ["a"]}, True),
        ("lang == 'a\\nb'\nor\nlang == 'c'", {"lang": "c"}, True),
    ],
)
def test_what_an_expression_says_of_a_row(text: str, row: dict[str, Any], chosen: bool) -> None:
    assert says(text, **row) is chosen


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lnag == 'fr'", "at position 1 (\"lnag == 'fr'\"): there is no column 'lnag'; did you mean 'lang'"),
        (
            "score > 1 and lang == fr",
            "at position 23 ('fr'): there is no column 'fr'; a text is written in quotes: 'fr'",
        ),
        ("'é' == lang and lnag == 'x'", "at position 17 (\"lnag == 'x'\")"),
        ("`c d` == 'x'", "there is no column 'c d'"),
        ("lnag not in []", "there is no column 'lnag'"),
        ("lang = 'fr'", "equality is written =="),
        ("lang == 'fr", "it can't be read"),
        ("`année` == 'x' and and", "at position 20 ('and')"),
        ("", "it can't be read"),
        ("lang", "this is neither true nor false"),
        ("not lang", "this is neither true nor false"),
        ("True", "this is neither true nor false"),
        ("lang == None", "a blank cell is asked for by `is None`"),
        ("lang != ''", "a blank cell is asked for by `is None`"),
        ("lang is 'fr'", "only None may follow `is`"),
        ("1 < 2", "it compares two values that are no column's"),
        ("__import__('os').system('x') == 1", "there is no such function"),
        ("lang.__class__ == 'x'", None),  # a place in the row, of which there is none
        ("lang.upper() == 'X'", "there is no such function"),
        ("(lambda: 1)() == 1", "there is no such function"),
        ("[x for x in lang] == 1", "this is not allowed here"),
        ("f'{lang}' == 'x'", "this is not allowed here"),
        ("(lang := 'x') == 'x'", "this is not allowed here"),
        ("score + 1 == 2", "this is not allowed here"),
        ("lang == b'x'", "this is not allowed here"),
        ("lang.startswith(question)", "write one text in the parentheses"),
        ("lang.startswith('a', 'b')", "write one text in the parentheses"),
        ("tags[score] == 'x'", "this is no place in a row"),
        ("tags[-1] == 'x'", "this is no place in a row"),
        ("(" * 250 + "lang == 'x'" + ")" * 250, "--where"),
        ("not " * 400 + "lang == 'x'", None),
        ("lang == '" + "x" * LONGEST + "'", "characters are too many"),
        ("score == " + "9" * 1_900, None),
        ("lang == 'x\0'", "it can't be read"),
        ("lang == 'x\udcff'", "or no text (half a character"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_place(text: str, said: str | None) -> None:
    if said is None:
        assert says(text, lang="x") in (True, False)
        return
    with pytest.raises(PlanError, match=r"^--where") as refused:
        condition(text, COLUMNS)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "row", "said"),
    [
        ("score < 5", {"score": "n/a"}, "score is 'n/a', which can't be put in order with 5"),
        ("score < 'm'", {"score": 5}, "score is '5', which can't be put in order with 'm'"),
        ("5 > ok", {"ok": True}, "ok is 'true', which can't be put in order with 5"),
        ("tags < 5", {"tags": ["x"]}, "tags is '[\"x\"]', which can't"),
        ("score < id", {"score": 1, "id": "x" * 99}, "score is '1' and id is 'xxxxx"),
    ],
)
def test_a_row_that_can_t_be_told_is_an_error(text: str, row: dict[str, Any], said: str) -> None:
    with pytest.raises(Incomparable) as refused:
        says(text, **row)
    assert said in str(refused.value)


WORDS = st.sampled_from(
    [*"()[]'`.,=<>! ", "lang", "score", " and ", " in ", " is None", "not ", "0.5", "'fr'", "len(", "é"]
)


@given(st.lists(WORDS, max_size=12).map("".join) | st.text(max_size=30))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    with suppress(PlanError):
        is_chosen = condition(text, COLUMNS)
        with suppress(Incomparable):
            assert is_chosen({"lang": "fr", "score": "0.25"}) in (True, False)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_compared_as_numbers_however_they_are_spelled(one: float, other: float) -> None:
    for cell in (one, repr(one)):
        assert says(f"score < {other!r}", score=cell) is (one < other)
        assert says(f"score == {other!r}", score=cell) is (one == other)
