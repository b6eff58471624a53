"""A gate holds for every value the unmeasured items could still have, or it is not passed."""

from __future__ import annotations

import operator
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.gates import METRICS, Gate, GateVerdict, Segment, gate_notices, gate_problems
from fieval_tasks.core.scales import scale_of

FR = Segment("lang", "fr")
OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq}


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("groundedness.pass_rate >= 0.95", Gate("groundedness", "pass_rate", ">=", Fraction(19, 20))),
        ("  groundedness.pass_rate>=95% ", Gate("groundedness", "pass_rate", ">=", Fraction(19, 20))),
        ("ASR/STT_accuracy.mean > .6", Gate("ASR/STT_accuracy", "mean", ">", Fraction(3, 5))),
        ("tone:turing_small.v2.failures <= 3", Gate("tone:turing_small.v2", "failures", "<=", Fraction(3))),
        ("tone.failures <= 5.0", Gate("tone", "failures", "<=", Fraction(5))),
        ("failures == 0", Gate(None, "failures", "==", Fraction(0))),
        ("failures <= 5%", Gate(None, "failures", "<=", Fraction(1, 20), is_share=True)),
        ("failures < .5 %", Gate(None, "failures", "<", Fraction(1, 200), is_share=True)),
        ("tone.median >= 0.5", Gate("tone", "median", ">=", Fraction(1, 2))),
        ("tone.p10 > 20%", Gate("tone", "p10", ">", Fraction(1, 5))),
        ("tone.pass_rate[lang=fr] >= 0.9", Gate("tone", "pass_rate", ">=", Fraction(9, 10), segment=FR)),
        ("tone.pass_rate[ lang = fr ]>=90%", Gate("tone", "pass_rate", ">=", Fraction(9, 10), segment=FR)),
        ("tone.mean[lang=*] > 0.9", Gate("tone", "mean", ">", Fraction(9, 10), segment=Segment("lang", None))),
        ('tone.mean[lang="*"] > 0.9', Gate("tone", "mean", ">", Fraction(9, 10), segment=Segment("lang", "*"))),
        ("tone.mean[lang=] > 0.9", Gate("tone", "mean", ">", Fraction(9, 10), segment=Segment("lang", ""))),
        (
            "failures[a b=x] y >= 1] <= 2",
            Gate(None, "failures", "<=", Fraction(2), segment=Segment("a b", "x] y >= 1")),
        ),
        ("failures[tags[0]=a]b] <= 2", Gate(None, "failures", "<=", Fraction(2), segment=Segment("tags[0]", "a]b"))),
        ("regressions == 0", Gate(None, "regressions", "==", Fraction(0))),
        ("tone.regressions <= 1%", Gate("tone", "regressions", "<=", Fraction(1, 100), is_share=True)),
        ("tone.max_drop 2%", Gate("tone", "max_drop", "<=", Fraction(1, 50))),
        ("tone.max_drop <= 0.02", Gate("tone", "max_drop", "<=", Fraction(1, 50))),
        ("max_drop[lang=fr] 2 %", Gate(None, "max_drop", "<=", Fraction(1, 50), segment=FR)),
        ("tone.mean.max_drop 2%", Gate("tone", "max_drop", "<=", Fraction(1, 50), dropping="mean")),
        ("mean.max_drop 2%", Gate(None, "max_drop", "<=", Fraction(1, 50), dropping="mean")),
        ("tone.corrected_pass_rate >= 0.9", Gate("tone", "corrected_pass_rate", ">=", Fraction(9, 10))),
    ],
)
def test_a_gate_is_a_figure_and_a_bound(text: str, gate: Gate) -> None:
    assert Gate.parse(text) == gate


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a gate"),
        ("groundedness >= 0.9", "is not a gate: write CHECK.pass_rate >= 0.95"),
        (
            "groundedness.mode >= 0.9",
            f"'mode' is no figure of a check .there are {', '.join(METRICS)}",
        ),
        ("groundedness.pas-rate >= 0.9", "did you mean pass_rate?"),
        ("faliures <= 3", "did you mean failures?"),
        ("groundedness.pass_rate => 0.9", "is not a gate"),
        ("groundedness.pass_rate >= nan", "is not a gate"),
        ("groundedness.pass_rate >= -0.1", "is not a gate"),
        ("groundedness.pass_rate >= 0." + "9" * 5000, "is not a gate"),
        ("pass_rate >= 0.9", "name the check"),
        ("groundedness.pass_rate >= 95", "between 0 and 1 .100%.; write 95% for that share"),
        ("groundedness.mean >= 101%", "between 0 and 1"),
        ("groundedness.pass_rate <= 1", "every run would pass it: a pass_rate is never more than 1; write >="),
        (
            "groundedness.pass_rate >= 0",
            "every run would pass it: a pass_rate is never less than 0; write a floor above",
        ),
        ("groundedness.mean >= 0.0%", "every run would pass it: a mean is never less than 0"),
        ("failures <= 100%", "every run would pass it: no more than all items can fail"),
        ("groundedness.mean > 100%", "no run could pass it"),
        ("groundedness.mean < 0", "no run could pass it"),
        ("failures < 0", "no run could pass it"),
        ("failures <= 0.5", "counted in whole items; write failures <= 5, or a share of the items: failures <= 2%"),
        ("failures <= 101%", "a share of the items is 100% at most"),
        ("failures >= 3", "errors would help to pass it; write a ceiling"),
        ("groundedness.failures > 2%", "errors would help to pass it"),
        ("failures == 3", "errors would help to pass it"),
        ("regressions >= 3", "regressions would help to pass it; write a ceiling, such as regressions <= 5"),
        ("tone.regressions <= 0.5", "regressions are counted in whole items"),
        ("tone.max_drop >= 2%", "a drop would help to pass it"),
        ("tone.max_drop 2", "write 2% for so many points"),
        ("tone.max_drop 100%", "every run would pass it"),
        ("tone.max_drop < 0%", "no run could pass it"),
        ("tone.pass_rate 90%", "is not a gate: write CHECK.pass_rate"),
        ("tone.median >= 0%", "every run would pass it: a median is never less than 0"),
        ("tone.corrected_pass_rate >= 95", "write 95% for that share"),
        ("pass_rate[lang=fr] >= 0.9", "name the check"),
        ("tone.pass_rate[=fr] >= 0.9", "is not a gate"),
    ],
)
def test_what_is_no_gate_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Gate.parse(text)


shares = st.integers(0, 20).map(lambda n: Fraction(n, 20))


@given(st.sampled_from(sorted(OPERATORS)), shares, shares, shares, st.lists(shares, min_size=1))
def test_pass_and_fail_stand_whatever_the_unmeasured_would_have_got(
    sign: str, threshold: Fraction, one: Fraction, other: Fraction, within: list[Fraction]
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
def test_with_everything_measured_nothing_is_undecided(sign: str, threshold: Fraction, figure: Fraction) -> None:
    verdict = Gate("c", "mean", sign, threshold).verdict(figure, figure)
    assert verdict is (GateVerdict.PASS if OPERATORS[sign](figure, threshold) else GateVerdict.FAIL)


@given(st.integers(1, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_one_more_item_without_a_verdict_never_turns_a_gate_to_pass(n: int, passed: int, lost: int) -> None:
    passed, lost = min(passed, n), min(lost, n)
    gate = Gate("c", "pass_rate", ">=", Fraction(9, 10))
    whole = gate.verdict(Fraction(passed, n), Fraction(passed, n))
    left = max(passed - lost, 0)
    with_errors = gate.verdict(Fraction(left, n), Fraction(min(left + lost, n), n))
    assert with_errors is not GateVerdict.PASS or whole is GateVerdict.PASS


@given(st.sampled_from(sorted(OPERATORS)), st.integers(0, 12), st.booleans(), st.integers(0, 10), st.integers(1, 10))
def test_no_gate_on_failures_is_passed_by_one_more_error(
    sign: str, number: int, is_share: bool, failed: int, more: int
) -> None:
    try:
        gate = Gate.parse(f"failures {sign} {number}{'%' if is_share else ''}")
    except ValueError:
        return
    of = 20 if is_share else 1
    before, after = (gate.verdict(*2 * [Fraction(figure, of)]) for figure in (failed, failed + more))
    assert (before, after) != (GateVerdict.FAIL, GateVerdict.PASS)


@pytest.mark.parametrize("places", [1, 2])
def test_a_share_that_is_exactly_reached_is_reached(places: int) -> None:
    """Of every number of items up to 1,000 that can reach it: with floats 99.9% is more than 999 of 1,000."""
    unit = 10**places
    for tenths in range(1, 100 * unit + 1):
        share = Fraction(tenths, 100 * unit)
        text = f"{tenths // unit}.{tenths % unit:0{places}}"
        gates = [Gate.parse(f"c.pass_rate {sign} {text}%") for sign in (">=", "==")]
        for n in range(share.denominator, 1001, max(share.denominator, 100)):
            exactly = share * n / n
            assert {gate.verdict(exactly, exactly) for gate in gates} == {GateVerdict.PASS}, (text, n)


@given(
    st.text(max_size=20), st.sampled_from(METRICS), st.sampled_from(sorted(OPERATORS)), st.text("0159.%", max_size=6)
)
def test_any_text_is_a_gate_or_is_refused_in_a_sentence(check: str, metric: str, sign: str, number: str) -> None:
    text = f"{check}.{metric} {sign} {number}"
    fault = Gate.fault_of(text)
    assert repr(text) in fault if fault else Gate.parse(text).metric == metric


@given(
    st.sampled_from(["tone", None]), st.sampled_from(METRICS), st.sampled_from(sorted(OPERATORS)),
    st.integers(0, 100), st.sampled_from([None, FR, Segment("a b", None), Segment("x", "*"), Segment("x", ' "y" ')]),
)  # fmt: skip
def test_a_gate_is_written_as_it_is_read(
    check: str | None, metric: str, sign: str, number: int, segment: Segment | None
) -> None:
    written = str(
        Gate(
            check, metric, sign, Fraction(number, 1 if metric in ("failures", "regressions") else 100), segment=segment
        )
    )
    if Gate.fault_of(written) is None:
        assert str(replace(Gate.parse(written), text="")) == written


def problem_of(text: str, template: str, output: str = "score", *, said: frozenset[str] = frozenset()) -> str:
    return " ".join(gate_problems([text], {template: scale_of(template, output)}, said=said))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("groundedness.regressions == 0", "it compares with a baseline, so name one: --baseline RUN, blessed or last"),
        ("groundedness.max_drop 2%", "--baseline"),
    ],
)
def test_a_gate_that_needs_something_else_says_what(text: str, said: str) -> None:
    assert said in problem_of(text, "groundedness", "Pass/Fail")
    assert not problem_of(text, "groundedness", "Pass/Fail", said=frozenset({"baseline"}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("word_error_rate.mean <= 0.1", "the platform's score is 1 - the word error rate, so 1 is best; write >="),
        ("rmse.p10 < 0.1", "bad answers would help to pass it"),
        ("fid_score.mean >= 50", "of fid_score low is good; write <= for a ceiling"),
        ("completeness.mean >= 95", "a mean lies between 0 and 1 (100%); write 95% for that share"),
        ("completeness.median > 1", "no run could pass it"),
        ("completeness.p10 <= 1", "every run would pass it"),
        ("completeness.mean >= 950", "a mean lies between 0 and 1 (100%)"),
    ],
)
def test_a_gate_on_another_scale_or_for_the_wrong_side_is_refused(text: str, said: str) -> None:
    template = text.partition(".")[0]
    assert said in problem_of(text, template, "numeric" if template == "fid_score" else "score")


def test_a_gate_that_no_sample_could_decide_is_refused() -> None:
    in_a_sample = frozenset({"confidence"})
    assert "gate fid_score.median" in problem_of("fid_score.mean <= 50", "fid_score", "numeric", said=in_a_sample)
    assert not problem_of("fid_score.p10 <= 50", "fid_score", "numeric", said=in_a_sample)


@pytest.mark.parametrize(
    "text", ["tone.pass_rate >= 1", "tone.pass_rate == 0.9", "tone.pass_rate <= 0", "tone.mean >= 100%"]
)
def test_a_gate_that_no_sample_could_pass_is_refused_only_where_the_rows_are_one(text: str) -> None:
    in_a_sample = frozenset({"confidence"})
    assert "no sample is ever so sure" in problem_of(text, "tone", "Pass/Fail", said=in_a_sample)
    assert not problem_of(text, "tone", "Pass/Fail")
    assert not problem_of(text, "tone", "Pass/Fail", said=in_a_sample | {"stop_when_decided"})


def test_a_gate_for_low_figures_where_high_ones_are_good_is_asked_about() -> None:
    gates = ["tone.pass_rate <= 0.1", "tone.pass_rate >= 0.1", "failures <= 3", "fid_score.mean <= 50"]
    scales = {"tone": scale_of("tone", "Pass/Fail"), "fid_score": scale_of("fid_score", "numeric")}
    (said,) = gate_notices(gates, scales)
    assert (
        said
        == "gate 'tone.pass_rate <= 0.1' asks for low figures, and high ones are good of tone: write >= if that was meant"
    )


@pytest.mark.parametrize(
    ("text", "template", "output"),
    [
        ("word_error_rate.mean >= 0.9", "word_error_rate", "score"),
        ("fid_score.mean <= 50", "fid_score", "numeric"),
        ("mine.mean <= 0.5", "mine", "score"),
        ("contains_code.pass_rate <= 0.1", "contains_code", "Pass/Fail"),
    ],
)
def test_a_gate_for_a_side_that_may_be_good_is_taken(text: str, template: str, output: str) -> None:
    assert not problem_of(text, template, output)


@pytest.mark.parametrize(
    "text",
    [
        "tone.mean[lang=*] >= 0.00001",
        "failures[lang=*] <= 1000000",
        "tone.pass_rate[lang=*] > 99.99999%",
        "tone.max_drop[ lang = * ] 0.00001 %",
    ],
)
@pytest.mark.parametrize("value", ["fr", "", "*", "a]b >= 1"])
def test_a_gate_on_one_value_has_the_number_that_was_typed(text: str, value: str) -> None:
    """Six digits of it would be another gate, or none at all: `> 1`, `1e-05`."""
    gate = Gate.parse(text).in_segment(value)
    assert gate.segment is not None
    assert (gate.segment.value, gate.threshold) == (value, Gate.parse(text).threshold)
    assert Gate.parse(str(gate)) == gate
