"""The catalogue that ships with the package, and finding what was meant in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.spelling import nearest
from fieval_tasks.core.templates import bundled_catalogue

BUNDLED = sorted(bundled_catalogue().templates)


def test_the_bundled_catalogue_has_the_platforms_156_templates_and_says_what_it_is() -> None:
    catalogue = bundled_catalogue()
    assert len(catalogue.templates) == 156
    assert "bundled" in catalogue.source
    assert all(name == template.name for name, template in catalogue.templates.items())


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_template_can_be_asked_for(name: str) -> None:
    template = bundled_catalogue().get(name)
    assert template is not None
    assert set(template.required).isdisjoint(template.optional)
    assert template.keys or template.parameters
    assert len(set(template.keys)) == len(template.keys)
    assert template.output in {"Pass/Fail", "score", "numeric", "choices", "reason"}
    assert name == name.strip()
    assert ":" not in name, "NAME:MODEL could not be told apart"
    assert "." not in name, "TEMPLATE.KEY could not be told apart"
    assert not [key for key in template.keys if "." in key]


def test_a_template_that_is_not_there_is_none() -> None:
    assert bundled_catalogue().get("no such template") is None


@given(st.sampled_from([name for name in BUNDLED if len(name) >= 4]), st.data())
def test_a_name_with_one_wrong_letter_or_in_another_case_is_found(name: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(name) - 2))
    swapped = name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    typos = [
        name.upper(),
        name[:at] + name[at + 1 :],
        name[:at] + "q" + name[at:],
        name[:at] + "q" + name[at + 1 :],
        swapped,
    ]
    for typo in typos:
        assert name in nearest(typo, BUNDLED)


@given(st.text(), st.lists(st.text(), max_size=8))
def test_at_most_three_are_suggested_all_of_them_known(name: str, known: list[str]) -> None:
    found = nearest(name, known)
    assert len(found) <= 3
    assert set(found) <= set(known)


def test_what_is_like_nothing_finds_nothing() -> None:
    assert nearest("qqqqqqqq", BUNDLED) == []


def test_a_catalogue_is_a_mapping_of_names() -> None:
    catalogue = bundled_catalogue()
    assert len(catalogue) == len([*catalogue]) == 156
    assert "toxicity" in catalogue
    assert "toxicty" not in catalogue
    assert 7 not in catalogue
    assert catalogue["toxicity"].name == "toxicity"
    assert catalogue.get("toxicty") is None
    assert dict(catalogue.items()) == catalogue.templates
    assert repr(catalogue) == "<156 templates of the copy bundled with this package>"


def test_a_name_that_a_catalogue_does_not_have_is_told_with_those_that_were_meant() -> None:
    with pytest.raises(KeyError) as told:
        bundled_catalogue()["toxicty"]
    assert str(told.value) == "no template 'toxicty' in the copy bundled with this package: did you mean toxicity?"
    with pytest.raises(KeyError, match="check its name"):
        bundled_catalogue()["qqqqqqqqqqqqqqqqqqq"]
