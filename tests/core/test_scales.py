"""A check knows its scale, and which side of it is good."""

from __future__ import annotations

import math

import pytest

from fieval_tasks.core.scales import scale_of
from fieval_tasks.core.templates import bundled_catalogue


def test_every_template_of_the_platform_has_one_side_that_is_good() -> None:
    scales = {name: scale_of(name, template.output) for name, template in bundled_catalogue().items()}
    assert [name for name, scale in scales.items() if scale.better == "lower"] == ["fid_score"]
    assert [name for name, scale in scales.items() if not scale.is_unit] == ["fid_score"]
    assert scales["fid_score"].high == math.inf
    turned = {name for name, scale in scales.items() if scale.turned}
    assert {"word_error_rate", "rmse", "log_loss"} < turned < {*scales}, "each names a template that there is"


def test_a_template_of_ones_own_by_that_name_with_another_output_is_no_distance() -> None:
    assert scale_of("fid_score", "Pass/Fail").has_passes


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        ("joy", True),
        (" Joy ", True),
        ("anger", False),
        (["joy", "neutral"], True),
        (["joy", "anger"], False),
        ([], None),
        ({"choice": "joy", "score": 0.2}, True),
        ({"choice": "anger", "score": 1.0}, False),
        ({"score": 1.0}, None),
        (None, None),
    ],
)
def test_a_verdict_passes_where_every_choice_is_good(value: object, passes: bool | None) -> None:
    assert scale_of("tone", "choices", ("neutral", "joy")).passes(value) is passes
    assert scale_of("tone", "choices").passes(value) is None
