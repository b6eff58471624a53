"""What the judges of gates find: over any missing verdicts, by segment, and for what the rows are a sample of."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.gates import KINDS, Gate
from fieval_tasks.core.items import Item, Result, Scored
from fieval_tasks.core.plan import Check, EvaluationPlan
from fieval_tasks.decisions.agreement import Confusion, Corrected
from fieval_tasks.ledger.changes import Decided
from fieval_tasks.on_prefect.events import _gate
from fieval_tasks.report.corrections import Correction
from fieval_tasks.report.summary import GateOutcome, Report, summarise
from fieval_tasks.report.table import table
from fieval_tasks.runs.conclusion import Ended, conclude, report_of
from fieval_tasks.runs.gating import JUDGES, by_labels, outcomes
from fieval_tasks.runs.outline import of_these_rows, out_of_reach
from fieval_tasks.runs.preparation import Prepared, prepared
from fieval_tasks.runs.segments import MOST_VALUES, require_recorded, segmented, wanted
from tests.report import report_examples as examples

OF_FIGURES = ["pass_rate", "mean", *(name for name, kind in KINDS.items() if kind.quantile)]
LANGS = ("fr", "de", "")


def report(
    run: list[Result], *gates: str, check: str = "mine", output: str = "score", template: str = "mine"
) -> Report:
    facts = examples.facts(checks={check: (template, None, output)}, gates=gates, segments=wanted(gates))
    return summarise(facts, run)


def found(run: list[Result], *gates: str, drawn_from: int | None = None, **said: object) -> list[GateOutcome]:
    plan = EvaluationPlan(gates=gates, confidence=said.pop("confidence", None), sample=len(run) or None)
    kept = SimpleNamespace(
        plan=plan, drawn=None, run=SimpleNamespace(population=drawn_from, total=len(run), checks=("mine",))
    )
    return [*outcomes(report(run, *gates, **said), kept)]  # type: ignore[arg-type]


def row(number: int, score: float | None, lang: str = "fr", **changes: object) -> Result:
    """A verdict with that score, passed where it is 0.5 or more; without a score one that is missing."""
    item = examples.item(number, "mine", traits={"lang": lang or None}, template="mine")
    if score is None:
        return replace(item, status="failed" if number % 2 else "pending")
    said = {"status": "scored", "value": score, "score": score, "passed": score >= 0.5} | changes
    return replace(item, **said)  # type: ignore[arg-type]


def answer(metric: str, scores: list[float]) -> Fraction:
    """Of verdicts that are all there, by another way than the judges'."""
    exact = [Fraction(repr(score)) for score in scores]
    if metric == "pass_rate":
        return Fraction(sum(score >= 0.5 for score in exact), len(exact))
    if metric == "mean":
        return sum(exact, Fraction(0)) / len(exact)
    share = KINDS[metric].quantile
    assert share is not None
    return Fraction(repr(float(np.quantile([float(score) for score in exact], float(share), method="inverted_cdf"))))


def test_every_metric_of_the_grammar_has_its_judge() -> None:
    assert set(JUDGES) == set(KINDS), "a metric has a row in core/gates.KINDS and a judge in runs/gating.JUDGES"


rows = st.tuples(st.integers(0, 20).map(lambda n: n / 20), st.booleans(), st.sampled_from(LANGS))


@given(
    st.lists(rows, min_size=1, max_size=25),
    st.sampled_from(OF_FIGURES),
    st.sampled_from([*LANGS, None]),
    st.integers(1, 99),
)
def test_bounds_hold_the_answer_of_all_verdicts_whatever_is_missing(
    run: list[tuple[float, bool, str]], metric: str, lang: str | None, hundredths: int
) -> None:
    segment = "" if lang is None else f"[lang={lang}]"
    gate = f"mine.{metric}{segment} >= {hundredths / 100}"
    [outcome] = found([row(n, score if is_there else None, its) for n, (score, is_there, its) in enumerate(run)], gate)
    mine = [score for score, _, its in run if lang in (None, its)]
    if not mine:
        assert (outcome.verdict, outcome.bounds) == ("UNDECIDED", None)
        return
    whole = answer(metric, mine)
    assert outcome.bounds is not None
    assert (
        Fraction(repr(outcome.bounds[0])) - Fraction(1, 10**9)
        <= whole
        <= Fraction(repr(outcome.bounds[1])) + Fraction(1, 10**9)
    )
    if outcome.verdict != "UNDECIDED":
        assert (outcome.verdict == "PASS") == (whole >= Fraction(hundredths, 100))


@given(st.lists(rows, min_size=1, max_size=25), st.sampled_from(OF_FIGURES))
def test_with_every_verdict_the_figure_is_the_answer(run: list[tuple[float, bool, str]], metric: str) -> None:
    [outcome] = found([row(n, score) for n, (score, _, _) in enumerate(run)], f"mine.{metric} >= 0.5")
    whole = float(answer(metric, [score for score, _, _ in run]))
    assert (outcome.value, outcome.bounds) == (whole, (whole, whole))


def test_a_gate_has_one_sentence_with_figure_threshold_number_and_what_is_missing() -> None:
    run = [row(n, float(n >= 88)) for n in range(980)] + [row(n, None) for n in range(980, 1000)]
    [outcome] = found(run, "mine.pass_rate >= 0.95")
    assert outcome.sentence == (
        "gate FAIL: mine.pass_rate >= 0.95; it is 0.9102 over 980 items (between 0.892 and 0.912 over all 1,000, whatever the "
        "20 without a verdict would get)"
    )
    assert (outcome.n, outcome.interval) == (980, None)


def test_a_gate_on_each_segment_has_an_outcome_for_each_and_names_the_rows_without_a_value() -> None:
    run = [row(1, 1.0, "fr"), row(2, 0.0, "fr"), row(3, 1.0, "de"), row(4, 0.0, "")]
    assert [(one.gate, one.verdict) for one in found(run, "mine.pass_rate[lang=*] >= 0.6")] == [
        ("mine.pass_rate[lang=] >= 0.6", "FAIL"),
        ("mine.pass_rate[lang=de] >= 0.6", "PASS"),
        ("mine.pass_rate[lang=fr] >= 0.6", "FAIL"),
    ]


def test_a_segment_without_a_row_is_undecided_and_never_passed() -> None:
    assert [
        one.verdict for one in found([row(1, 1.0)], "mine.pass_rate[lang=xx] <= 0.6", "failures[lang=xx] <= 1")
    ] == 2 * ["UNDECIDED"]
    assert [one.sentence for one in found([], "mine.pass_rate[lang=*] >= 0.6", "mine.mean >= 0.5")] == [
        "gate UNDECIDED: mine.pass_rate[lang=*] >= 0.6; there are no items",
        "gate UNDECIDED: mine.mean >= 0.5; there are no items",
    ]


def test_failures_are_counted_in_a_segment_of_all_checks() -> None:
    run = [row(1, None, "fr"), row(2, 1.0, "fr"), row(3, None, "de")]
    outcome, other = found(run, "failures[lang=fr] <= 0", "failures[lang=de] == 0")
    assert (outcome.verdict, outcome.value, outcome.n, other.verdict) == ("FAIL", 1.0, 2, "FAIL")


def test_without_any_verdict_nothing_is_decided() -> None:
    run = [row(n, None) for n in range(4)]
    gates = [f"mine.{metric} >= 0.5" for metric in OF_FIGURES]
    for outcome in found(run, *gates):
        assert (outcome.verdict, outcome.value, outcome.bounds) == ("UNDECIDED", None, (0.0, 1.0))
        assert "nothing was measured (between 0 and 1 over all 4" in outcome.sentence


def test_a_distance_is_judged_on_its_own_scale_where_what_is_missing_may_be_any_number() -> None:
    run = [row(0, None), *(replace(row(n, 1.0), value=12.5 + n, score=None, passed=None) for n in (1, 2))]
    as_distance = {"output": "numeric", "template": "fid_score"}
    gates = ("mine.mean <= 20", "mine.mean <= 4", "mine.median <= 14", "mine.p10 < 20")
    assert [one.verdict for one in found(run, *gates, **as_distance)] == ["UNDECIDED", "FAIL", "UNDECIDED", "PASS"]
    [mean] = found(run[1:], "mine.mean <= 14", **as_distance)
    assert (mean.verdict, mean.value) == ("PASS", 14.0)
    assert "(9.333 or more over all 3" in found(run, "mine.mean <= 20", **as_distance)[0].sentence


# Sampling


@pytest.mark.parametrize(
    ("gate", "alone", "as_sample"),
    [
        ("mine.pass_rate >= 0.9", "PASS", "UNDECIDED"),
        ("mine.pass_rate >= 0.8", "PASS", "PASS"),
        ("mine.pass_rate >= 0.99", "FAIL", "FAIL"),
        ("mine.mean >= 0.9", "PASS", "UNDECIDED"),
        ("mine.p10 >= 0.5", "PASS", "UNDECIDED"),
        ("mine.median >= 0.9", "PASS", "PASS"),
    ],
)
def test_a_confidence_also_asks_for_what_the_rows_are_a_sample_of(gate: str, alone: str, as_sample: str) -> None:
    run = [row(n, float(n % 100 >= 9)) for n in range(200)]
    [before], [after] = found(run, gate), found(run, gate, confidence=0.95)
    assert (before.verdict, before.interval) == (alone, None)
    assert after.verdict == as_sample
    assert after.interval is not None
    assert "; with 95 % confidence it " in after.sentence
    assert after.sentence.endswith("for more rows like these")


def test_a_sample_from_a_known_number_of_rows_is_surer_and_all_of_them_are_sure() -> None:
    run = [row(n, float(n % 100 >= 9)) for n in range(200)]
    widths = []
    for drawn_from in (None, 400, 200):
        [outcome] = found(run, "mine.pass_rate >= 0.9", confidence=0.95, drawn_from=drawn_from)
        assert outcome.interval is not None
        widths.append(outcome.interval[1] - outcome.interval[0])
    assert widths[0] > widths[1] > widths[2] == 0
    assert outcome.verdict == "PASS"
    assert outcome.sentence.endswith("for all 200 rows")


@given(st.lists(rows, min_size=1, max_size=25), st.sampled_from(OF_FIGURES), st.sampled_from([None, 30, 1000]))
def test_an_interval_holds_the_bounds_so_no_missing_verdict_helps(
    run: list[tuple[float, bool, str]], metric: str, drawn_from: int | None
) -> None:
    given_ = [row(n, score if is_there else None) for n, (score, is_there, _) in enumerate(run)]
    [outcome] = found(given_, f"mine.{metric} >= 0.5", confidence=0.9, drawn_from=drawn_from)
    assert outcome.bounds is not None
    assert outcome.interval is not None
    assert outcome.interval[0] <= outcome.bounds[0] + 1e-9
    assert outcome.interval[1] >= outcome.bounds[1] - 1e-9


def test_rows_that_share_one_evaluation_are_worth_one() -> None:
    run = [row(n, 1.0, same_as=0 if n else None) for n in range(300)]
    for gate in ("mine.pass_rate >= 0.9", "mine.mean >= 0.9", "mine.median >= 0.9"):
        assert [one.verdict for one in found(run, gate, confidence=0.95)] == ["UNDECIDED"]


# Values of segments


def items(langs: list[str | None]) -> list[tuple[Item, None]]:
    return [
        (Item(n, f"id-{n}", n + 1, "mine", "mine", None, {"output": "x"}, "f", traits={"lang": lang}), None)
        for n, lang in enumerate(langs)
    ]


def test_a_segment_that_no_row_has_is_refused_before_anything_is_paid() -> None:
    gates = ["mine.pass_rate[lang=frr] >= 0.9", "mine.mean[lang=] >= 0.9"]
    with pytest.raises(PlanError) as error:
        [*segmented(items(["fr", "de"]), gates, "a.csv")]
    first, second = error.value.problems
    assert first == (
        "gate 'mine.pass_rate[lang=frr] >= 0.9': no row of a.csv has 'frr' in lang (it has: fr, de); did you mean 'fr'?"
    )
    assert "no row of a.csv is without a value in lang" in second
    assert len([*segmented(items(["fr", None]), [gates[1]], "a.csv")]) == 2


def test_a_gate_on_each_value_is_refused_where_there_are_too_many() -> None:
    gate = "mine.pass_rate[lang=*] >= 0.9"
    assert [*segmented(items([f"l{n}" for n in range(MOST_VALUES)]), [gate], "a.csv")]
    with pytest.raises(
        PlanError, match=f"lang has {MOST_VALUES + 1} values, and a gate on each takes {MOST_VALUES} at most"
    ):
        [*segmented(items([f"l{n}" for n in range(MOST_VALUES + 1)]), [gate], "a.csv")]
    last = "mine.pass_rate[lang=l8999] >= 0.9"
    assert [*segmented(items([f"l{n}" for n in range(9000)]), [last], "a.csv")], "it is counted, however many there are"


def test_a_gate_on_a_column_that_the_run_did_not_record_is_refused() -> None:
    with pytest.raises(PlanError, match=r"run mine was begun without a gate on lang, so it is not known .* begin anew"):
        require_recorded([{}], ["mine.pass_rate[lang=fr] >= 0.9"], "mine")
    require_recorded([{"lang": "fr"}], ["mine.pass_rate[lang=fr] >= 0.9"], "mine")


@pytest.mark.parametrize(("cell", "text"), [(" fr ", "fr"), (1, "1"), (True, "true"), (None, ""), (2.5, "2.5")])
def test_a_value_is_the_cell_as_text(cell: object, text: str) -> None:
    run = [replace(row(1, 1.0), traits={" lang ": cell})]
    assert [one.verdict for one in found(run, f"mine.pass_rate[lang={text}] >= 0.9")] == ["PASS"]


def test_a_gate_reads_what_it_is_asked_by_its_own_name() -> None:
    assert str(Gate.parse("mine.pass_rate[lang=*] >= 0.9").in_segment("fr")) == "mine.pass_rate[lang=fr] >= 0.9"


# Runs


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "answers.csv").write_text(
        "output,lang,city\n" + "".join(f"text {n},{'fr' if n % 2 else ''},x\n" for n in range(6))
    )
    return "answers.csv"


def tone_plan(dataset: str, **said: Any) -> EvaluationPlan:
    return EvaluationPlan(dataset=dataset, checks=(Check(template="tone"),), run="mine", **said)


def with_verdicts(run: Prepared, *choices: str) -> None:
    run.book.apply([Decided(seq, Scored([choice]), run.ledger.now()) for seq, choice in enumerate(choices)])


def refusal(plan: EvaluationPlan) -> str:
    """The sentences by which a plan is refused, before anything is sent."""
    with pytest.raises(PlanError) as error, prepared(plan):
        raise AssertionError("nothing is prepared")
    return "; ".join(error.value.problems)


def test_a_gate_on_a_segment_keeps_its_column_and_is_refused_where_no_row_has_its_value(answers: str) -> None:
    assert "no row of answers.csv has 'de' in lang" in refusal(tone_plan(answers, gates=("failures[lang=de] <= 1",)))
    assert "column 'language' is not in answers.csv" in refusal(
        tone_plan(answers, gates=("failures[language=de] <= 1",))
    )
    with prepared(tone_plan(answers, gates=("failures[lang=*] <= 1",))) as run:
        assert [item.traits for item in run.book.results()][:2] == [{"lang": ""}, {"lang": "fr"}]
        assert [gate.gate for gate in report_of(run).gates] == ["failures[lang=] <= 1", "failures[lang=fr] <= 1"]


def test_a_run_may_be_carried_on_with_other_gates_on_the_columns_that_it_recorded(answers: str) -> None:
    with prepared(tone_plan(answers, gates=("failures[lang=*] <= 1",))):
        pass
    with prepared(EvaluationPlan(resume="mine", gates=("failures[lang=fr] <= 0", "failures == 0"))) as run:
        assert [gate.gate for gate in report_of(run).gates] == ["failures[lang=fr] <= 0", "failures == 0"]
    refused = {
        "failures[city=x] <= 1": "was begun without a gate on city",
        "failures[lang=xx] <= 1": "no row of run mine",
    }
    for gate, said in refused.items():
        assert said in refusal(EvaluationPlan(resume="mine", gates=(gate,)))


def test_choices_that_are_good_pass_and_may_be_named_after_the_run(answers: str) -> None:
    gates = ("tone.pass_rate >= 0.5",)
    assert "say which choices are good: --good tone=CHOICE" in refusal(tone_plan(answers, gates=gates))
    assert "did you mean 'neutral'?" in refusal(tone_plan(answers, good={"tone": "neutrall"}))
    assert "good tony: there is no check of that name" in refusal(tone_plan(answers, good={"tony": "neutral"}))
    with prepared(tone_plan(answers)) as run:
        with_verdicts(run, "neutral", "anger", "joy")
        assert [result.passed for result in run.book.results()] == [None] * 6
    with prepared(EvaluationPlan(resume="mine", good={"tone": "neutral, joy"}, gates=gates)) as run:
        assert [result.passed for result in run.book.results()] == [True, False, True, None, None, None]
        [gate] = report_of(run).gates
        assert (gate.verdict, gate.value, gate.n, gate.bounds) == ("UNDECIDED", 2 / 3, 3, (1 / 3, 5 / 6))
    with prepared(EvaluationPlan(resume="mine")) as run:
        assert run.run.checks[0].good == ("neutral", "joy"), "it is said once"
        assert [result.passed for result in run.book.results()][:2] == [True, False]
    assert "none of its choices" in refusal(EvaluationPlan(resume="mine", good={"tone": ("nice",)}))


def test_everybody_says_the_same_words_about_a_gate(answers: str) -> None:
    with prepared(
        tone_plan(answers, good={"tone": "joy"}, gates=("tone.pass_rate >= 0.9", "tone.failures <= 1"))
    ) as run:
        with_verdicts(run, "joy", "anger", "joy", "fear")
        outcome = conclude(run, Ended(), seconds=1.0)
    failed, undecided = (gate.sentence for gate in outcome.report.gates)
    assert failed == (
        "gate FAIL: tone.pass_rate >= 0.9; it is 0.5 over 4 items (between 0.3333 and 0.6667 over all 6, whatever the 2 without "
        "a verdict would get)"
    )
    folder = outcome.folder
    junit = ElementTree.parse(folder / "junit.xml").getroot()
    in_markdown = unescape((folder / "report.md").read_text()).replace("\\", "").replace("\N{ZERO WIDTH SPACE}", "")
    said = {
        "exit message, flow state and log": outcome.message,
        "event": str(_gate(outcome.report.gates[0])) + str(_gate(outcome.report.gates[1])),
        "terminal": " ".join(table(outcome.report).split()),
        "summary.json": str([gate["sentence"] for gate in json.loads((folder / "summary.json").read_text())["gates"]]),
        "junit.xml": str([case[0].get("message") or case[0].text for case in junit[0]]),
        "report.html": unescape((folder / "report.html").read_text()),
        "report.md, artifact and comment": in_markdown,
    }
    assert [where for where, text in said.items() if failed not in text or undecided not in text] == []


@given(st.integers(1, 400), st.integers(1, 99), st.sampled_from([">=", ">", "<=", "<"]))
def test_a_gate_that_so_few_rows_can_not_pass_is_named_with_how_many_it_takes(
    n: int, hundredths: int, sign: str
) -> None:
    gate = f"mine.pass_rate {sign} {hundredths / 100}"
    best = [row(number, float(sign in (">=", ">"))) for number in range(n)]
    [outcome] = found(best, gate, confidence=0.95)
    said = [*out_of_reach([gate], n, 0.95)]
    assert (outcome.verdict == "PASS") == (not said)
    if said:
        needed = int(said[0].rpartition("takes ")[2].split()[0].replace(",", ""))
        assert needed >= n
        assert not [*out_of_reach([gate], needed + 1, 0.95)]


def test_a_run_says_before_anything_is_sent_which_gates_its_rows_can_not_pass(answers: str) -> None:
    said = {"gates": ("tone.pass_rate >= 0.95",), "good": {"tone": "joy"}}
    with prepared(tone_plan(answers, **said, confidence=0.95)) as run:
        assert "6 rows can't pass it at 95 % confidence, whatever their verdicts; it takes 73 at least" in str(
            run.run.notices
        )
    with prepared(tone_plan(answers, **said).model_copy(update={"run": "other"})) as run:
        assert "can't pass" not in str(run.run.notices)


def test_gates_that_a_confidence_says_nothing_of_are_named() -> None:
    gates = ["mine.max_drop 2%", "regressions[lang=fr] == 0", "mine.pass_rate >= 0.9", "failures == 0"]
    assert [said.split("'")[1] for said in of_these_rows(gates)] == gates[:2]


def test_an_interval_that_is_rounded_up_to_the_threshold_is_said_in_more_digits() -> None:
    """Else a gate that fails would be said to reach what it asks for."""
    figures = Corrected(0.5, (0.4, 0.5498), 0.95, "ppi++", Confusion(20, 5, 3, 12), 0.6, 0.6)
    corrected = Correction(figures, 100, 100, "mine", is_of_these_items=True, policy="")
    evidence = replace(report([]), corrections={"mine": corrected}), SimpleNamespace()
    failed, other = (by_labels(Gate.parse(f"mine.corrected_pass_rate >= {n}"), *evidence) for n in ("0.55", "0.5"))
    assert failed.verdict == "FAIL"
    assert failed.sentence.endswith("between 0.400 and 0.550 (95 % interval); more exactly between 0.4 and 0.5498")
    assert other.sentence.endswith("between 0.400 and 0.550 (95 % interval)")


def test_what_is_said_of_a_segment_is_said_of_its_rows_among_those_that_were_drawn_from() -> None:
    run = [row(number, 1.0, "fr" if number % 2 else "de") for number in range(200)]
    segment, whole = found(
        run, "mine.pass_rate[lang=fr] >= 0.9", "mine.pass_rate >= 0.9", drawn_from=400, confidence=0.95
    )
    assert segment.sentence.endswith("for all rows of [lang=fr] among the 400")
    assert whole.sentence.endswith("for all 400 rows")
