"""Near-identical reasons stand together."""

from __future__ import annotations

from dataclasses import replace

from fieval_tasks.report.caps import CAPS
from fieval_tasks.report.reasons import ReasonGroups
from tests.report.report_examples import failed, item, judged


def groups_of(*reasons: str, caps: int = 100) -> list[tuple[str, int]]:
    groups = ReasonGroups(replace(CAPS, reason_groups=caps))
    for row, reason in enumerate(reasons):
        groups.add(judged(row, False, reason=reason))
    return [(group.text, group.count) for group in groups.found]


def test_reasons_that_differ_in_numbers_and_quotations_are_the_same() -> None:
    assert groups_of("3 of 7 sentences are supported", "0 of 12 sentences are supported") == [
        ("3 of 7 sentences are supported", 2)
    ]
    assert groups_of('"Paris" is not in the context', '"the year 1912" is not in the context')[0][1] == 2


def test_reasons_in_other_words_are_others() -> None:
    said = (
        "The answer contradicts the context: it names another year.",
        "The answer is rude to the user.",
        "The answer contradicts the context, as it names another year.",
    )
    assert [n for _, n in groups_of(*said)] == [2, 1]


def test_too_many_reasons_are_counted_together_and_last() -> None:
    words = ("apple", "bridge", "cloud", "desert", "engine", "forest")
    found = groups_of(*(f"{word * 3} {word}" for word in words), "apple" * 3 + " apple", caps=3)
    assert found == [
        ("appleappleapple apple", 2),
        ("bridgebridgebridge bridge", 1),
        ("cloudcloudcloud cloud", 1),
        ("", 3),
    ]


def test_an_error_is_a_reason_by_its_kind_and_what_passed_or_waits_has_none() -> None:
    groups = ReasonGroups()
    assert groups.add(judged(1, True)) is groups.add(item(2)) is None
    assert groups.add(failed(3)) == groups.add(failed(4)) == 0
    assert groups.add(failed(5, error={"kind": "orphan", "message": "output: may not be blank"})) == 1
    assert groups.add(judged(6, False, reason=None)) == groups.add(judged(7, False, reason="")) == 2
    assert [(group.kind, group.rows) for group in groups.found] == [("refused", [3, 4]), ("", [6, 7]), ("orphan", [5])]
