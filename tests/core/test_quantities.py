"""Durations, rates and allowances: read as people write them, or refused in a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.quantities import allowed_failures, parse_duration, parse_rate, written_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("10min", 600),
        ("2h", 7200),
        ("1.5h", 5400),
        ("7d", 604_800),
        (" 5M ", 300),
        ("250ms", 0.25),
    ],
)
def test_a_duration_is_seconds_unless_it_names_its_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["7d", "36h", "90m", "90s", "0.5s"])
def test_a_duration_is_written_as_it_was_read(text: str) -> None:
    assert written_duration(parse_duration(text)) == text


@pytest.mark.parametrize(
    ("text", "per_second"),
    [("20/s", 20), ("600/min", 10), ("90/m", 1.5), ("3600/hour", 1), (" 2.5 / Second ", 2.5), ("36/h", 0.01)],
)
def test_a_rate_is_requests_a_second(text: str, per_second: float) -> None:
    assert parse_rate(text) == pytest.approx(per_second)


@pytest.mark.parametrize(
    ("text", "total", "allowed"),
    [
        (None, 50, 0),
        ("0", 50, 0),
        ("5", 50, 5),
        ("5", 0, 5),
        ("0%", 50, 0),
        ("2%", 49, 0),
        ("2%", 50, 1),
        (" 2.5 % ", 1000, 25),
        ("0.57%", 10_000, 57),
        ("100%", 7, 7),
    ],
)
def test_an_allowance_is_a_count_or_the_whole_items_of_a_share(text: str | None, total: int, allowed: int) -> None:
    assert allowed_failures(text, total=total) == allowed


@given(st.integers(0, 10_000), st.integers(0, 10**7))
def test_a_share_allows_exactly_as_many_as_it_holds(hundredths: int, total: int) -> None:
    allowed = allowed_failures(f"{hundredths // 100}.{hundredths % 100:02}%", total=total)
    assert 0 <= allowed <= total
    assert allowed <= Fraction(hundredths * total, 10_000) < allowed + 1


@pytest.mark.parametrize(
    "text", ["", "soon", "0", "0s", "-5s", "5 minutes", "1w", "1h30m", "1e3", "nan", "inf", "s", "½h"]
)
def test_what_is_no_duration_is_refused_in_a_sentence(text: str) -> None:
    refused(parse_duration, text, "is not a duration: write 90s, 10m, 2h or 7d")


@pytest.mark.parametrize("text", ["", "fast", "20", "0/s", "-1/s", "20/day", "20 s", "s/20", "20/s/s", "inf/s"])
def test_what_is_no_rate_is_refused_in_a_sentence(text: str) -> None:
    refused(parse_rate, text, "is not a rate: write 20/s or 600/min")


@pytest.mark.parametrize("text", ["", "some", "-1", "1.5", "101%", "100.01%", "%", "-2%", "5%%", "nan%"])
def test_what_is_no_allowance_is_refused_in_a_sentence(text: str) -> None:
    refused(lambda t: allowed_failures(t, total=100), text, "is not an allowance: write a count such as 5, or a share")


def refused(parse: Callable[[str], float], text: str, why: str) -> None:
    with pytest.raises(ValueError, match="is not a") as error:
        parse(text)
    assert str(error.value).startswith(f"{text!r} {why}")


@given(st.floats(0.01, 1e9).map(lambda n: f"{n:f}"), st.sampled_from(["", "s", "m", "h", "ms"]))
def test_every_duration_is_positive_and_finite(number: str, unit: str) -> None:
    assert 0 < parse_duration(number + unit) < math.inf


def test_a_rate_beyond_all_numbers_is_none() -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rate(f"{'9' * 400}/s")
