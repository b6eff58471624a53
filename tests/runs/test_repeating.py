"""Items that are evaluated more than once: by `--repeats` to count, by `--audit` to see how noisy the judge is."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.items import Failed, Item, Result
from fieval_tasks.core.plan import Check, EvaluationPlan
from fieval_tasks.data.intake import mark_copies
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.summary import GateOutcome, Report, summarise
from fieval_tasks.report.table import table
from fieval_tasks.report.words import standing
from fieval_tasks.runs.biography import as_text, biographies
from fieval_tasks.runs.conclusion import Ended, conclude
from fieval_tasks.runs.preparation import prepared
from fieval_tasks.runs.workers import work_on
from fieval_tasks.work.lanes import packs
from tests.report.report_examples import facts, judged, scored

JUDGE = Check(template="completeness")
CODE = Check(template="is_json", name="code")


def plan(rows: int, *checks: Check, copies: int = 0, **said: Any) -> EvaluationPlan:
    texts = [*range(rows), *range(copies)]
    lines = [
        {"id": f"r{n}", "question": "Why?", "answer": f"Because of {t}.", "text": f"[{t}]"} for n, t in enumerate(texts)
    ]
    Path("d.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    fields = {
        "dataset": "d.jsonl",
        "checks": checks or (JUDGE,),
        "id_column": "id",
        "connection": "local",
        "run": "mine",
    }
    return EvaluationPlan(**fields | {"store": "ledger.db"} | said)


def evaluated(asked: EvaluationPlan) -> Report:
    with prepared(asked) as run:
        work_on(run)
        return conclude(run, Ended(), seconds=1.0).report


def lines(run: str = "mine") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("fieval-runs", run, "results.jsonl").read_text().splitlines()]


# Every row K times


def test_every_item_is_evaluated_so_many_times_and_copies_share_each_with_their_twin() -> None:
    report = evaluated(plan(5, copies=2, repeats=3))
    assert report.items.total == report.items.scored == 21
    assert Counter((line["item_id"], line["repeat"]) for line in lines()) == {
        (f"r{n}", repeat): 1 for n in range(7) for repeat in range(3)
    }
    assert Counter(line["repeat"] for line in lines() if line["attempts"]) == {0: 5, 1: 5, 2: 5}
    assert len({line["eval_id"] for line in lines()}) == 15
    with Ledger("sqlite:///ledger.db") as ledger:
        assert len({item.fingerprint for item in map(ledger.book("mine").item, range(15))}) == 5
    agreement = report.to_json()["checks"]["completeness"]["self_agreement"]
    assert (agreement["items"], agreement["unanimous"], agreement["pairwise"]) == (5, 5, 1.0), (
        "a copy is not counted twice"
    )
    assert "completeness: 5 items were judged more than once, and 0 of them did not get the same" in " ".join(
        report.findings
    )


def test_evaluations_of_one_row_never_go_in_one_request() -> None:
    items = [
        Item(n, f"i{n // 3}", n // 3 + 1, "tone", "tone", None, {"output": "x"}, "f", repeat=n % 3) for n in range(12)
    ]
    for pack in packs(items):
        assert len({item.row for item in pack}) == len(pack)
        assert len({item.repeat for item in pack}) == 1


def test_a_row_that_can_t_be_sent_is_there_once() -> None:
    asked = plan(3, repeats=2)
    with Path("d.jsonl").open("a") as file:
        file.write('{"id": "bad", "question": "Why?", "answer": ""}\n')
    report = evaluated(asked)
    assert (report.items.total, report.items.failed) == (7, 1)


def test_an_interval_takes_all_evaluations_of_a_row_as_one() -> None:
    once = [judged(row, row % 4 > 0) for row in range(100)]
    thrice = [again for result in once for again in repeated(result, 3)]
    one, three = (summarise(facts(), results).checks["groundedness"] for results in (once, thrice))
    assert three.pass_rate == one.pass_rate
    assert three.pass_rate_interval == one.pass_rate_interval
    assert (three.total, three.scored) == (300, 300)


def repeated(result: Result, times: int) -> list[Result]:
    from dataclasses import replace

    return [replace(result, repeat=n) for n in range(times)]


def test_a_run_keeps_its_number_of_evaluations() -> None:
    with prepared(plan(3, repeats=2)):
        pass  # and the process is killed here
    for said in ({"repeats": 3}, {"audit": "50%", "repeats": 1}):
        with pytest.raises(PlanError, match="was begun with another"):
            evaluated(EvaluationPlan(resume="mine", store="ledger.db", **said))
    assert evaluated(EvaluationPlan(resume="mine", store="ledger.db")).items.scored == 6


def test_each_evaluation_has_a_biography() -> None:
    evaluated(plan(1, repeats=2))
    with Ledger("sqlite:///ledger.db") as ledger:
        first, second = map(as_text, biographies(ledger, ledger.run("mine"), "r0"))
    assert "evaluation 2 of the row" in second
    assert "evaluation 2 of the row" not in first


def test_the_first_evaluation_may_be_reused_and_the_further_ones_are_bought() -> None:
    evaluated(plan(4, run="monday"))
    report = evaluated(plan(4, run="tuesday", repeats=3, reuse="7d"))
    assert report.items.reused == 4
    assert {line["repeat"] for line in lines("tuesday") if line["attempts"]} == {1, 2}
    assert report.to_json()["checks"]["completeness"]["self_agreement"]["items"] == 4


def test_a_frame_lists_the_values_of_all_evaluations() -> None:
    import pandas as pd

    from fieval_tasks.dataframe import evaluate_dataframe

    frame = pd.DataFrame({"question": ["Why?", "Why?"], "answer": ["Because.", None]})
    scored = evaluate_dataframe(frame, "completeness", connection="local", repeats=2)
    assert scored["completeness.repeats"][0] == [scored["completeness.value"][0]] * 2
    assert scored["completeness.repeats"][1] == [None]
    again = evaluate_dataframe(scored, "completeness", connection="local", repeats=3)
    assert len(again["completeness.repeats"][0]) == 3
    assert list(again.columns) == list(scored.columns)
    with pytest.raises(PlanError, match="audit: of a DataFrame it is of no use, no report comes of it"):
        evaluate_dataframe(frame, "completeness", connection="local", audit="5%")


# A part of them twice


def test_a_part_is_judged_twice_and_counts_in_no_figure_of_its_check() -> None:
    report = evaluated(plan(20, JUDGE, CODE, audit="23%"))
    check, code = report.checks["completeness"], report.checks["code"]
    assert (check.total, check.audited.total, check.audited.scored) == (20, 5, 5)
    assert (code.total, code.audited.total) == (20, 0), "plain code says the same each time"
    assert (report.items.total, report.items.scored, report.facts.planned) == (45, 45, 45)
    assert not report.mistakes
    again = [line["row"] for line in lines() if line["repeat"]]
    assert len(again) == len({*again}) == 5
    assert again != [1, 2, 3, 4, 5]
    assert "5 items were judged more than once" in table(report).replace("\n  ", " ")
    assert report.to_json()["checks"]["completeness"]["self_agreement"]["items"] == 5
    assert "self_agreement" not in report.to_json()["checks"]["code"]


def test_an_audit_needs_a_judge_and_a_share() -> None:
    with pytest.raises(PlanError, match="--audit: none of the checks has a judge"):
        evaluated(plan(3, CODE, audit="5%"))
    with pytest.raises(PlanError, match="audit: '5' is not a share: write a percentage such as 5%"):
        plan(3, audit="5")
    with pytest.raises(PlanError, match="audit judges a part twice, and repeats all of it"):
        plan(3, audit="5%", repeats=2)


def test_copies_of_an_audited_row_are_audited_on_their_own_first_evaluation() -> None:
    first = Item(0, "a", 1, "tone", "tone", None, {"output": "x"}, "f" * 64)
    from dataclasses import replace

    rows: list[tuple[Item, Failed | None]] = [
        (first, None), (replace(first, seq=1, row=2), None), (replace(first, seq=2, row=2, repeat=1), None)
    ]  # fmt: skip
    assert [item.same_as for item, _ in mark_copies(rows)] == [None, 0, None]


def test_a_gate_within_the_noise_of_its_judge_says_so() -> None:
    results = [again for row in range(100) for again in audited(row)]
    report = summarise(facts(is_audited=True), results)
    assert standing(report) == "110 items (10 are evaluations of the audit): 110 scored"
    assert report.checks["groundedness"].pass_rate == 0.9
    for threshold, is_close in (("0.89", True), ("0.5", False)):
        gate = GateOutcome(f"groundedness.pass_rate >= {threshold}", "PASS", 0.9, (0.9, 0.9), "it is 0.9")
        found = " ".join(report.with_outcome(0, [gate]).findings)
        assert ("its judge's own noise could decide it" in found) is is_close
    assert "10 items were judged more than once, and 2 of them did not get the same verdict each time" in found


def audited(row: int) -> list[Result]:
    """Nine of ten rows pass; each tenth is judged twice, and two of these ten change their verdict."""
    from dataclasses import replace

    one = judged(row, row % 10 > 0)
    return [one, replace(judged(row, row in (50, 70)), repeat=1)] if row % 10 == 0 else [one]


def test_scores_are_compared_by_how_far_they_are_apart() -> None:
    from dataclasses import replace

    results = [two for row in range(10) for two in (scored(row, 0.5), replace(scored(row, 0.6), repeat=1))]
    check = summarise(facts(is_audited=True), results).checks["fluency"]
    assert check.mean == 0.5
    found = check.to_json()["self_agreement"]
    assert found["mean_difference"] == pytest.approx(0.1)
    assert found["kappa"] is None


def test_missing_verdicts_of_an_audit_are_missing_and_help_no_gate() -> None:
    from dataclasses import replace

    from tests.report.report_examples import failed, reported

    results = [judged(1, True), replace(failed(1), repeat=1)]
    report = reported(results, is_audited=True, planned=2)
    assert (report.items.total, report.items.failed) == (2, 1)
    assert report.checks["groundedness"].bounds == (1.0, 1.0)
    assert sum(group.count for group in report.failures) == 1
    assert not report.findings
