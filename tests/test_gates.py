"""A gate holds for every value the unmeasured items could still have, or it is not passed."""

from __future__ import annotations

import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.gates import Gate, GateVerdict

OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq}


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("groundedness.pass_rate >= 0.95", Gate("groundedness", "pass_rate", ">=", 0.95)),
        ("  groundedness.pass_rate>=95% ", Gate("groundedness", "pass_rate", ">=", 0.95)),
        ("ASR/STT_accuracy.mean > .6", Gate("ASR/STT_accuracy", "mean", ">", 0.6)),
        ("tone:turing_small.v2.failures <= 3", Gate("tone:turing_small.v2", "failures", "<=", 3)),
        ("failures == 0", Gate(None, "failures", "==", 0)),
    ],
)
def test_a_gate_is_a_figure_and_a_bound(text: str, gate: Gate) -> None:
    assert Gate.parse(text) == gate


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a gate"),
        ("groundedness >= 0.9", "is not a gate"),
        ("groundedness.median >= 0.9", "is not a gate"),
        ("groundedness.pass_rate => 0.9", "is not a gate"),
        ("groundedness.pass_rate >= nan", "is not a gate"),
        ("groundedness.pass_rate >= -0.1", "is not a gate"),
        ("pass_rate >= 0.9", "name the check"),
        ("groundedness.pass_rate >= 95", "between 0 and 1"),
        ("groundedness.mean >= 101%", "between 0 and 1"),
    ],
)
def test_what_is_no_gate_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Gate.parse(text)


shares = st.integers(0, 20).map(lambda n: n / 20)


@given(st.sampled_from(sorted(OPERATORS)), shares, shares, shares, st.lists(shares, min_size=1))
def test_pass_and_fail_stand_whatever_the_unmeasured_would_have_got(
    sign: str, threshold: float, one: float, other: float, within: list[float]
) -> None:
    low, high = sorted((one, other))
    verdict = Gate("c", "mean", sign, threshold).verdict(low, high)
    holds = [OPERATORS[sign](figure, threshold) for figure in (low, high, *(min(max(f, low), high) for f in within))]
    if verdict is GateVerdict.PASS:
        assert all(holds)
    elif verdict is GateVerdict.FAIL:
        assert not any(holds)
    else:
        assert low < high


@given(st.sampled_from(sorted(OPERATORS)), shares, shares)
def test_with_everything_measured_nothing_is_undecided(sign: str, threshold: float, figure: float) -> None:
    verdict = Gate("c", "mean", sign, threshold).verdict(figure, figure)
    assert verdict is (GateVerdict.PASS if OPERATORS[sign](figure, threshold) else GateVerdict.FAIL)


@given(st.integers(1, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_one_more_item_without_a_verdict_never_turns_a_gate_to_pass(n: int, passed: int, lost: int) -> None:
    passed, lost = min(passed, n), min(lost, n)
    gate = Gate("c", "pass_rate", ">=", 0.9)
    whole = gate.verdict(passed / n, passed / n)
    left = max(passed - lost, 0)
    with_errors = gate.verdict(left / n, min(left + lost, n) / n)
    assert with_errors is not GateVerdict.PASS or whole is GateVerdict.PASS


def test_a_share_that_is_exactly_reached_is_reached() -> None:
    for n in range(1, 400):
        for k in range(n + 1):
            if 20 * k == 19 * n:
                assert Gate.parse("c.pass_rate >= 95%").verdict(k / n, k / n) is GateVerdict.PASS
