"""Labels and runs: which labels say something of a run's judge, what its rate comes to, and what a gate makes of it."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from fieval_tasks.core.errors import ExitCode, PlanError
from fieval_tasks.core.items import Failed, Item, Scored, Ticket
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.decisions import labels as statistics
from fieval_tasks.ledger.calibrations import Calibrations, LabelDraw
from fieval_tasks.ledger.changes import Decided, Sending, Submitted
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.calibrating import checked_labels, record, require_labels
from fieval_tasks.runs.conclusion import Ended, Outcome, conclude
from fieval_tasks.runs.preparation import Kept
from fieval_tasks.runs.sheets import draw

NOON = datetime(2026, 8, 1, 12, tzinfo=timezone.utc)
CHECK = CheckRecord("tone", "tone", "turing_flash", {"strict": True}, "Pass/Fail", {"output": "answer"})
ITEMS = 400


def truth(n: int) -> bool:
    """What people say of an item: 70 % of them pass."""
    return random.Random(n).random() < 0.7


def verdict(n: int, seed: int = 0) -> bool:
    """What the judge says: right on 90 % of what passes, and on 70 % of what fails."""
    is_right = random.Random(10_000 * (seed + 1) + n).random() < (0.9 if truth(n) else 0.7)
    return is_right == truth(n)


def begun(
    ledger: Ledger, name: str = "first", *, check: CheckRecord = CHECK, rows: str = "f" * 64, scored: int = ITEMS, first: int = 0, **plan: Any
) -> Kept:  # fmt: skip
    """A run whose first `scored` items have a verdict, and whose others have none yet. `first`: the number of its first item."""
    asked = EvaluationPlan(**plan)
    run = Run(name, NOON, "a.csv", rows, "async", "local", (check,), asked.model_dump(mode="json"), (), address="local")
    numbers = range(first, first + ITEMS)
    of = [(Item(n - first, f"id-{n}", n + 1, "tone", "tone", None, {"output": f"{n}"}, f"{n}"), None) for n in numbers]
    ledger.create(run, of, chunk_size=ITEMS)
    book = ledger.book(name)
    book.apply([Sending((*range(ITEMS),)), Submitted(tuple(Ticket(n, f"e-{n}") for n in range(ITEMS)), NOON)])
    judge(ledger, name, range(scored), first)
    return Kept(ledger.run(name), asked, ledger)


def judge(ledger: Ledger, name: str, seqs: Sequence[int], first: int = 0, at: datetime = NOON) -> None:
    told = {seq: verdict(first + seq) for seq in seqs}
    ledger.book(name).apply(
        [
            Decided(seq, Scored("Passed" if passed else "Failed", float(passed), passed, None, 1.0), at)
            for seq, passed in told.items()
        ]
    )


def drawn(kept: Kept, n: int = 100, policy: str = "") -> LabelDraw:
    items, of = draw(kept.book, "tone", n=n, seed=0)
    made = LabelDraw(kept.run_id, "tone", NOON + timedelta(hours=1), policy, 0, of, [one.item_id for one in items])
    Calibrations(kept.ledger.database).record_draw(made)
    return made


def labelled(made: LabelDraw, *, blank: int = 0, flipped: bool = False, name: str = "sheet.csv") -> str:
    """A file with the labels that people gave, all but the last few."""
    with Path(name).open("w", newline="") as file:
        sheet = csv.writer(file)
        sheet.writerow(["item_id", "label", "check", "run", "policy"])
        for place, item in enumerate(made.items):
            passed = not verdict(int(item[3:])) if flipped else truth(int(item[3:]))
            label = "" if place >= len(made.items) - blank else "pass" if passed else "fail"
            sheet.writerow([item, label, made.check_name, made.run_id, made.policy])
    return name


def read(kept: Kept, sheet: str, **plan: Any) -> None:
    given = checked_labels(kept.ledger, kept.plan.model_copy(update={"labels": sheet, **plan}), kept.run)
    assert given is not None
    record(kept.ledger, kept.run_id, given)


def concluded(kept: Kept, *gates: str, **plan: Any) -> Outcome:
    return conclude(replace(kept, plan=kept.plan.model_copy(update={"gates": gates, **plan})), Ended(), seconds=0.0)


def rate_of(kept: Kept) -> dict[str, Any] | None:
    concluded(kept)
    summary = json.loads((kept.folder / "summary.json").read_text())
    found: dict[str, Any] | None = summary["checks"]["tone"].get("corrected_pass_rate")
    return found


def verdict_of(kept: Kept, gate: str, **plan: Any) -> str:
    [outcome] = concluded(kept, gate, **plan).report.gates
    return outcome.verdict


# -- a run's own labels --------------------------------------------------------------------------------------------


def test_labels_of_a_run_correct_its_pass_rate_in_every_report(ledger: Ledger) -> None:
    kept = begun(ledger)
    read(kept, labelled(drawn(kept)))
    found = rate_of(kept)
    assert found is not None
    assert (found["method"], found["n_labels"], found["labelled_run"], found["policy"]) == ("ppi++", 100, "first", None)
    assert found["interval"][0] < 0.7 < found["interval"][1]
    assert found["bounds"] == pytest.approx(found["interval"])
    assert sum(found["confusion"].values()) == 100
    for name in ("report.md", "report.html"):
        assert f"corrected by 100 labels {found['value']:.3f}" in (kept.folder / name).read_text()


def test_a_run_without_labels_says_nothing_of_them(ledger: Ledger) -> None:
    kept = begun(ledger)
    assert rate_of(kept) is None
    assert "label" not in (kept.folder / "report.md").read_text()


def test_the_newest_labels_count(ledger: Ledger) -> None:
    kept = begun(ledger)
    made = drawn(kept)
    read(kept, labelled(made, blank=60))
    read(kept, labelled(made))
    assert (rate_of(kept) or {})["n_labels"] == 100
    assert len(Calibrations(ledger.database).all()) == 2


def test_items_that_were_left_blank_are_counted_and_named(ledger: Ledger) -> None:
    kept = begun(ledger)
    read(kept, labelled(drawn(kept), blank=80))
    report = concluded(kept).report
    assert report.corrections["tone"].figures.confusion.n == 20
    assert any("80 of 100 drawn items have no label" in said for said in report.notices)
    assert any(f"fewer than {statistics.TRIED} labels" in said for said in report.notices)


def test_a_judge_that_is_no_better_than_chance_corrects_nothing(ledger: Ledger) -> None:
    kept = begun(ledger)
    read(kept, labelled(drawn(kept), flipped=True))
    outcome = concluded(kept, "tone.corrected_pass_rate >= 0.1")
    assert not outcome.report.corrections
    assert any("no better than chance" in said for said in outcome.report.notices)
    assert (outcome.report.gates[0].verdict, outcome.exit_code) == ("UNDECIDED", ExitCode.INCOMPLETE)


# -- gates ---------------------------------------------------------------------------------------------------------


def test_a_gate_is_decided_outside_of_the_interval_only(ledger: Ledger) -> None:
    kept = begun(ledger)
    read(kept, labelled(drawn(kept)))
    low, high = (rate_of(kept) or {})["interval"]
    gate = "tone.corrected_pass_rate >= {:.3f}".format
    assert verdict_of(kept, gate(low - 0.01)) == "PASS"
    assert verdict_of(kept, gate(high + 0.01)) == "FAIL"
    assert verdict_of(kept, gate(0.5 * (low + high))) == "UNDECIDED"
    assert verdict_of(kept, gate(low - 0.01), confidence=0.999) == "UNDECIDED"


def test_the_gate_s_sentence_names_both_rates(ledger: Ledger) -> None:
    kept = begun(ledger)
    read(kept, labelled(drawn(kept)))
    [gate] = concluded(kept, "tone.corrected_pass_rate >= 0.2").report.gates
    assert "judge alone 0." in gate.sentence
    assert "corrected by 100 labels 0." in gate.sentence


def test_missing_verdicts_never_help(ledger: Ledger) -> None:
    whole, partly = begun(ledger), begun(ledger, "second", scored=300)
    read(whole, labelled(drawn(whole)))
    read(partly, labelled(drawn(partly)))
    low = (rate_of(whole) or {})["interval"][0]
    found = rate_of(partly)
    assert found is not None
    assert found["n"] == 300
    assert found["bounds"] == pytest.approx([found["interval"][0] * 0.75, found["interval"][1] * 0.75 + 0.25])
    gate = f"tone.corrected_pass_rate >= {low - 0.02:.3f}"
    assert (verdict_of(whole, gate), verdict_of(partly, gate)) == ("PASS", "UNDECIDED")


def test_verdicts_that_come_after_the_draw_are_not_what_was_drawn_from(ledger: Ledger) -> None:
    """Items that are slow are not like others: the labels don't speak of them."""
    kept = begun(ledger, scored=300)
    read(kept, labelled(drawn(kept)))
    judge(ledger, "first", range(300, ITEMS), at=NOON + timedelta(hours=2))
    found = rate_of(kept)
    assert found is not None
    assert (found["n"], found["n_labels"]) == (300, 100)
    assert found["bounds"][1] > found["interval"][1]


def test_labels_that_are_read_later_still_know_when_they_were_drawn(ledger: Ledger) -> None:
    kept = begun(ledger, scored=300)
    made = drawn(kept)
    judge(ledger, "first", range(300, ITEMS), at=NOON + timedelta(hours=2))
    read(kept, labelled(made))
    assert (rate_of(kept) or {})["n"] == 300


def test_failed_items_are_missing_verdicts(ledger: Ledger) -> None:
    kept = begun(ledger, scored=390)
    ledger.book("first").apply(
        [Decided(n, Failed("evaluate", "evaluation_error", "no"), NOON) for n in range(390, ITEMS)]
    )
    read(kept, labelled(drawn(kept)))
    assert (rate_of(kept) or {})["n"] == 390


# -- other runs ----------------------------------------------------------------------------------------------------


def test_labels_of_an_earlier_run_are_applied_to_the_same_judge_on_other_rows(ledger: Ledger) -> None:
    first = begun(ledger)
    read(first, labelled(drawn(first, 300)))
    rate_of(first)
    second = begun(ledger, "second", rows="e" * 64, first=5000)
    found = rate_of(second)
    assert found is not None
    assert (found["method"], found["labelled_run"], found["n_labels"]) == ("rogan-gladen", "first", 300)
    assert found["interval"][0] < 0.7 < found["interval"][1]
    assert "corrected by 300 labels of other items, in run first," in (second.folder / "report.md").read_text()
    assert verdict_of(second, "tone.corrected_pass_rate >= 0.1") == "PASS"


CHANGES = [
    (replace(CHECK, model="turing_large"), "judge model turing_flash and not turing_large"),
    (replace(CHECK, params={"strict": False}), "parameters strict=True and not strict=False"),
    (replace(CHECK, good=("joy", "neutral")), "good choices none and not joy, neutral"),
]


@pytest.mark.parametrize(("check", "said"), CHANGES)
def test_labels_expire_when_the_judge_changes(ledger: Ledger, check: CheckRecord, said: str) -> None:
    first = begun(ledger)
    read(first, labelled(drawn(first)))
    rate_of(first)
    second = begun(ledger, "second", check=check, rows="e" * 64, first=5000)
    outcome = concluded(second)
    assert not outcome.report.corrections
    assert any(
        f"100 labels of run first are not applied, since they were made with {said}" in one
        for one in outcome.report.notices
    )


def test_labels_expire_when_the_policy_changes(ledger: Ledger) -> None:
    first = begun(ledger)
    read(first, labelled(drawn(first, policy="strict")))
    assert (rate_of(first) or {})["policy"] == "strict"
    second = begun(ledger, "second", rows="e" * 64, first=5000)
    assert (rate_of(second) or {})["policy"] == "strict"
    outcome = concluded(second, labelling_policy="lenient")
    assert not outcome.report.corrections
    assert any("labelling policy 'strict' and not labelling policy 'lenient'" in one for one in outcome.report.notices)
    assert not concluded(first, labelling_policy="lenient").report.corrections


def test_labels_of_another_template_are_no_matter(ledger: Ledger) -> None:
    first = begun(ledger)
    read(first, labelled(drawn(first)))
    rate_of(first)
    outcome = concluded(begun(ledger, "second", check=replace(CHECK, template="groundedness")))
    assert not outcome.report.corrections
    assert not outcome.report.notices


def test_labels_are_taken_over_by_a_run_of_the_same_rows_whatever_its_judge(ledger: Ledger) -> None:
    first = begun(ledger)
    sheet = labelled(drawn(first))
    second = begun(ledger, "second", check=replace(CHECK, model="turing_large"))
    read(second, sheet)
    found = rate_of(second)
    assert found is not None
    assert (found["method"], found["n_labels"]) == ("ppi++", 100)


def test_labels_of_other_rows_are_refused_for_another_judge(ledger: Ledger) -> None:
    first = begun(ledger)
    sheet = labelled(drawn(first))
    second = begun(ledger, "second", check=replace(CHECK, model="turing_large"), rows="e" * 64, first=5000)
    with pytest.raises(PlanError, match="judge model turing_flash and not turing_large, and on other rows"):
        read(second, sheet)


def test_labels_of_other_rows_are_taken_for_the_same_judge(ledger: Ledger) -> None:
    first = begun(ledger)
    sheet = labelled(drawn(first))
    second = begun(ledger, "second", rows="e" * 64, first=5000)
    read(second, sheet)
    assert (rate_of(second) or {})["method"] == "rogan-gladen"


def test_a_sheet_of_another_check_or_policy_is_refused(ledger: Ledger) -> None:
    first = begun(ledger)
    sheet = labelled(drawn(first, policy="strict"))
    with pytest.raises(PlanError, match="was drawn under labelling policy 'strict', and labelling_policy is 'lenient'"):
        read(first, sheet, labelling_policy="lenient")
    with pytest.raises(PlanError, match=r"has labels of tone, which is no check of this run \(checks: mood"):
        read(begun(ledger, "second", check=replace(CHECK, name="mood")), sheet)


def test_labels_go_with_their_run(ledger: Ledger) -> None:
    first = begun(ledger)
    read(first, labelled(drawn(first)))
    ledger.forget("first")
    assert Calibrations(ledger.database).all() == []


# -- before anything is paid ---------------------------------------------------------------------------------------


def required(kept: Kept, gate: str, sheet: str | None = None) -> None:
    plan = kept.plan.model_copy(update={"gates": (gate,), "labels": sheet})
    require_labels(kept.ledger, plan, kept.run, checked_labels(kept.ledger, plan, kept.run))


def test_a_gate_that_no_labels_could_decide_is_refused(ledger: Ledger) -> None:
    kept = begun(ledger)
    with pytest.raises(PlanError, match=r"there are no labels of tone: .* --labels FILE"):
        required(kept, "tone.corrected_pass_rate >= 0.9")
    sheet = labelled(drawn(kept))
    required(kept, "tone.corrected_pass_rate >= 0.9", sheet)
    read(kept, sheet)
    required(kept, "tone.corrected_pass_rate >= 0.9")


def test_labels_of_another_judge_do_not_let_a_gate_begin(ledger: Ledger) -> None:
    first = begun(ledger)
    read(first, labelled(drawn(first)))
    rate_of(first)
    second = begun(ledger, "second", check=replace(CHECK, model="turing_large"), rows="e" * 64, first=5000)
    with pytest.raises(PlanError, match="not applied, since they were made with judge model turing_flash"):
        required(second, "tone.corrected_pass_rate >= 0.9")


def test_a_gate_on_a_segment_is_refused(ledger: Ledger) -> None:
    kept = begun(ledger)
    with pytest.raises(PlanError, match=r"not of a segment; leave out \[lang=fr\]"):
        required(kept, "tone.corrected_pass_rate[lang=fr] >= 0.9", labelled(drawn(kept)))


def test_other_gates_need_no_labels(ledger: Ledger) -> None:
    required(begun(ledger), "tone.pass_rate >= 0.9")
