"""A column by the name that a user gives it, and places is_in_a_row of columns."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.data.places import MISSING, Place, is_in_a_row, place_of, where_path_ends

ROW = {
    "id": "b1",
    "output": {"answer": "Eight.", "tokens": 9},
    "response": {"body": {"choices": [{"message": {"content": "Six."}}]}},
    "exported": json.dumps({"answer": "As CSV has it", "parts": ["one", "two"]}),
    "a.b": "flat",
    "a": {"b": "deep", "c": "deeper"},
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "b1"),
        ("output.answer", "Eight."),
        ("output.tokens", 9),
        ("output", ROW["output"]),
        ("response.body.choices[0].message.content", "Six."),
        ("response.body.choices[0]", {"message": {"content": "Six."}}),
        ("exported.answer", "As CSV has it"),
        ("exported.parts[1]", "two"),
        ("a.b", "flat"),  # a column of that very name goes first
        ("a.c", "deeper"),
    ],
)
def test_a_name_means_a_column_or_a_place_inside_of_one(name: str, value: object) -> None:
    place = place_of(name, ROW)
    assert place is not None
    assert (place.value_in(ROW), str(place)) == (value, name)


@pytest.mark.parametrize(
    "name", ["answer", "output..answer", "output.", "output[x]", "output.answer]", ".output", "", "[0]"]
)
def test_what_names_no_place_is_none(name: str) -> None:
    assert place_of(name, ROW) is None


@pytest.mark.parametrize(
    "name",
    [
        "output.answr",
        "output[0]",
        "id.x",
        "response.body.choices[1]",
        "response.body.choices.message",
        "exported.parts[2]",
    ],
)
def test_a_place_that_a_row_does_not_have_is_missing_there(name: str) -> None:
    place = place_of(name, ROW)
    assert place is not None
    assert place.value_in(ROW) is MISSING
    assert not is_in_a_row(place, [ROW, {}])


def test_a_message_says_how_far_a_path_leads() -> None:
    assert where_path_ends(Place("output", ("answr",)), ROW) == "'output' holds an object with the keys answer, tokens"
    ended = where_path_ends(Place("response", ("body", "choices", 1)), ROW)
    assert ended == "'response.body.choices' holds an array of 1"
    assert where_path_ends(Place("id", ("x", "y")), ROW) == "'id' holds a string"
    assert where_path_ends(Place("none", ("x",)), ROW) == "'none' is missing"


def test_outer_blanks_and_composed_accents_make_no_other_column() -> None:
    decomposed = unicodedata.normalize("NFD", "Réponse")
    columns = ("Modell Text ", decomposed, "x", " x")
    assert place_of("Modell Text", columns) == Place("Modell Text ")
    assert place_of("Réponse", columns) == Place(decomposed)
    assert place_of("Réponse.text[0]", columns) == Place(decomposed, ("text", 0))
    assert place_of("x ", columns) is None  # either could be meant
    assert place_of(" x", columns) == Place(" x")


@given(st.dictionaries(st.text(), st.integers(), min_size=1))
def test_every_column_is_found_by_its_own_name(values: dict[str, int]) -> None:
    for name, value in values.items():
        place = place_of(name, values)
        assert place is not None
        assert place.value_in(values) == value
