"""What a report says of a baseline, whatever the texts are."""

from __future__ import annotations

import pytest

from fieval_tasks.decisions.comparison import Terms, compare
from fieval_tasks.report.differences import CheckChange, Comparison, Flip, JudgedAnswer, points
from fieval_tasks.report.pages import html, markdown
from fieval_tasks.report.summary import Report, summarise
from tests.decisions.test_comparison import rates
from tests.report.report_examples import HOSTILE, facts, small

HEADS = ("## ", "| ")


def beside(text: str, name: str = "tone") -> Report:
    answer = JudgedAnswer(text, 1.0, True, text, {text: text})
    flip = Flip(text, 1, True, answer, JudgedAnswer(text, 0.0, False, text, {text: text + "!"}))
    change = CheckChange(compare({"x": rates(9, 1, 0)})["x"], (flip, flip))
    comparison = Comparison(text, text, Terms(), {name: change, f"{name}[{text}]": change}, (text,))
    report = summarise(facts(), small())
    return Report(report.facts, report.checks, comparison=comparison)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_of_a_comparison_stay_texts(text: str) -> None:
    page, plain = html(beside(text, text)), html(beside("plain"))
    assert page.count("<script") == page.count("<img") == 0
    assert page.count("<article") == plain.count("<article")
    told, usual = markdown(beside(text, text)), markdown(beside("plain"))
    for begins in HEADS:
        assert sum(line.startswith(begins) for line in told.splitlines()) == sum(
            line.startswith(begins) for line in usual.splitlines()
        )


@pytest.mark.parametrize(
    ("difference", "said"),
    [(0.02, "2 points"), (-0.01, "1 point"), (0.0, "0 points"), (0.0001, "<0.1 points"), (0.125, "12.5 points")],
)
def test_points(difference: float, said: str) -> None:
    assert points(difference) == said
