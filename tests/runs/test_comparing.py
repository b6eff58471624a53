"""Which items of two runs are the same, what can't be compared, and what is said of what changed."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from scipy import stats

from fieval_tasks.core.errors import ExitCode, PlanError
from fieval_tasks.decisions.comparison import Terms
from fieval_tasks.ledger.blessings import Blessing, bless
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.differences import Comparison, as_lines
from fieval_tasks.runs.baselines import baseline_of, too_old
from fieval_tasks.runs.comparing import compared
from fieval_tasks.runs.sides import FileSide, RunSide, write_baseline
from tests.runs.compared_runs import CHECK, NOON, Told, a_run, told

TERMS = Terms()


def beside(ledger: Ledger, run: str = "new", baseline: str = "old", **said: Any) -> Comparison:
    now, before = (RunSide(ledger, ledger.run(name)) for name in (run, baseline))
    return compared(now, before, terms=said.pop("terms", TERMS), **said)


# -- pairing -------------------------------------------------------------------------------------------------------


def test_the_same_rows_pair_by_their_ids(ledger: Ledger) -> None:
    a_run(ledger, "old", told(True, True, False, True))
    a_run(ledger, "new", told(True, False, True, True))
    found = beside(ledger)
    change = found.checks["tone"]
    assert (change.compared.n_pairs, change.compared.regressions, change.compared.fixes) == (4, 1, 1)
    assert [(flip.item_id, flip.is_regression) for flip in change.flips] == [
        (RunItem(ledger, 1), True),
        (RunItem(ledger, 2), False),
    ]
    assert found.notices == ()


def RunItem(ledger: Ledger, seq: int, run: str = "new") -> str:  # noqa: N802 - reads as a noun
    return next(result.item_id for result in ledger.book(run).results(of=[seq]))


def test_another_prompt_changes_answers_and_so_ids_and_rows_pair_by_their_questions(ledger: Ledger) -> None:
    a_run(ledger, "old", [Told(True, f"q{n}", "Short.") for n in range(30)])
    rows = [Told(n > 3, f"q{n}", "Short." if n < 2 else "Another answer.") for n in reversed(range(30))]
    a_run(ledger, "new", rows)
    change = beside(ledger).checks["tone"]
    assert (change.compared.n_pairs, change.compared.regressions) == (30, 4)
    flip = change.flips[-1]
    assert flip.baseline is not None
    assert (flip.run.inputs or {})["input"] == (flip.baseline.inputs or {})["input"]
    assert (
        beside(ledger).notices[0].startswith("28 rows have another id in the baseline (--id COLUMN gives lasting ones)")
    )


def test_rows_with_the_same_question_are_not_paired_at_random(ledger: Ledger) -> None:
    a_run(ledger, "old", [Told(True, "same", "a"), Told(True, "same", "b"), Told(True, "other", "c")])
    a_run(ledger, "new", [Told(False, "same", "x"), Told(True, "same", "y"), Told(True, "other", "z")])
    found = beside(ledger)
    assert found.checks["tone"].compared.n_pairs == 1
    assert found.checks["tone"].unpaired == (2, 2)
    assert found.checks["tone"].doubtful == 2
    assert "2 items have another answer and can't be recognised" in "\n".join(as_lines(found))


def test_changed_rows_that_can_not_be_recognised_leave_the_answer_open(ledger: Ledger) -> None:
    """A template that takes nothing but the answer: the rows that changed are the very ones that have another id."""
    check = replace(CHECK, sources={"output": "answer"})
    a_run(ledger, "old", [Told(True, f"q{n}") for n in range(300)], check=check)
    a_run(ledger, "new", [Told(n > 9, f"q{n}", "Sorry." if n <= 9 else "An answer.") for n in range(300)], check=check)
    found = beside(ledger)
    assert found.checks["tone"].compared.verdict.value == "CANT_TELL"
    assert found.exit_code is ExitCode.INCOMPLETE


def test_a_row_that_one_check_recognises_is_recognised_for_all(ledger: Ledger) -> None:
    rows = [[Told(True, f"q{n}", "A." if n else f"{name}!") for n in range(5)] for name in ("old", "new")]
    for name, told_of in zip(("old", "new"), rows, strict=True):
        a_run(
            ledger, name, told_of, also=replace(CHECK, name="refusal", template="is_refusal", sources={"output": "a"})
        )
    found = beside(ledger)
    assert {name: change.compared.n_pairs for name, change in found.checks.items()} == {"tone": 5, "refusal": 5}


def test_new_rows_and_those_that_left_are_named_and_leave_nothing_open(ledger: Ledger) -> None:
    a_run(ledger, "old", [Told(True, f"q{n}") for n in range(200)])
    a_run(ledger, "new", [Told(True, f"q{n}") for n in range(5, 205)])
    found = beside(ledger)
    assert (found.checks["tone"].compared.verdict.value, found.checks["tone"].doubtful) == ("SAME", 0)
    assert found.notices == (
        "tone: 5 items of the run are not in the baseline",
        "tone: 5 items of the baseline are not in the run",
    )


def test_ids_of_a_column_say_themselves_what_is_the_same(ledger: Ledger) -> None:
    plan = {"id_column": "id"}
    a_run(ledger, "old", [Told(True, "q1", item_id="1"), Told(True, "q2", item_id="2")], plan=plan)
    a_run(ledger, "new", [Told(True, "q2", item_id="1"), Told(True, "q9", item_id="3")], plan=plan)
    found = beside(ledger)
    assert found.checks["tone"].unpaired == (1, 1)
    assert any("1 pair with the same id have other inputs" in notice for notice in found.notices)


def test_further_evaluations_of_an_item_pair_with_none(ledger: Ledger) -> None:
    a_run(ledger, "old", [Told(True, "q"), Told(False, "q", repeat=1), Told(True, "r")])
    a_run(ledger, "new", [Told(True, "q"), Told(False, "q", repeat=1), Told(True, "r")])
    found = beside(ledger)
    assert (found.checks["tone"].compared.n_pairs, found.checks["tone"].compared.fixes) == (2, 0)
    assert "not the 1 further ones" in " ".join(found.notices)


def test_copies_that_share_an_evaluation_are_one_witness(ledger: Ledger) -> None:
    copies = [Told(True, "q"), *[Told(True, "q", item_id=f"c{n}", same_as=0) for n in range(40)]]
    a_run(ledger, "old", [replace(row, verdict=True) for row in copies] + [Told(True, "r")])
    a_run(ledger, "new", [replace(row, verdict=False) for row in copies] + [Told(True, "r")])
    change = beside(ledger).checks["tone"].compared
    assert (change.n_pairs, change.n_independent, change.verdict.value) == (42, 2, "CANT_TELL")


# -- what can't be compared ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ({"check": replace(CHECK, template="toxicity")}, "their figures mean different things"),
        ({"check": replace(CHECK, output="score")}, "their figures mean different things"),
        ({"check": replace(CHECK, params={"k": 1})}, "other parameters"),
        ({"check": replace(CHECK, param_sources={"k": "column"})}, "other parameters"),
        ({"check": replace(CHECK, good=("joy",))}, "other good choices"),
        ({"check": replace(CHECK, model="turing_small")}, "--across-models"),
        ({"check": replace(CHECK, name="other")}, "no check of the same name"),
        ({"connection": "https://api.futureagi.com"}, "heuristics"),
        ({"rows": [Told(True, "another")]}, "no row of run new"),
    ],
)
def test_what_would_mean_something_else_is_refused(ledger: Ledger, new: dict[str, Any], said: str) -> None:
    a_run(ledger, "old", told(True, True))
    a_run(ledger, "new", **{"rows": told(True, True), **new})
    with pytest.raises(PlanError, match=said):
        beside(ledger)


def test_the_same_good_choices_may_be_typed_in_another_order(ledger: Ledger) -> None:
    for name, good in (("old", ("neutral", "joy")), ("new", ("Joy", "neutral"))):
        a_run(ledger, name, told(True, False), check=replace(CHECK, output="choices", good=good))
    assert beside(ledger).checks["tone"].compared.metric == "pass_rate"


def test_a_distance_that_grew_is_never_called_better(ledger: Ledger) -> None:
    """Also one that lies from 0 to 1 looks like a score, and isn't: 0 is best of it, and it has no end above."""
    check = replace(CHECK, name="fid", template="fid_score", output="numeric")
    for name, distance in (("old", 0.1), ("new", 0.9)):
        a_run(ledger, name, told(*[distance] * 20), check=check, also=CHECK)
    found = beside(ledger)
    assert [*found.checks] == ["tone"]
    assert any(notice.startswith("fid is left out") for notice in found.notices)


def test_judges_are_compared_on_purpose(ledger: Ledger) -> None:
    a_run(ledger, "old", told(True, False))
    a_run(ledger, "new", told(False, False), check=replace(CHECK, model="turing_small"))
    found = beside(ledger, across_models=True)
    assert found.checks["tone"].compared.regressions == 1
    assert "turing_flash then, turing_small now" in found.notices[0]


def test_a_column_that_was_not_kept_is_refused(ledger: Ledger) -> None:
    a_run(ledger, "old", told(True))
    a_run(ledger, "new", told(True))
    with pytest.raises(PlanError, match="did not keep the column 'talk'"):
        beside(ledger, cluster="talk")


# -- what is said --------------------------------------------------------------------------------------------------


def verdicts(seed: int, share: float, n: int = 400) -> list[bool]:
    rng = Random(seed)
    return [rng.random() < share for _ in range(n)]


def test_figures_and_words_agree_with_scipy(ledger: Ledger) -> None:
    before, now = verdicts(1, 0.9), verdicts(2, 0.78)
    a_run(ledger, "old", told(*before))
    a_run(ledger, "new", told(*now))
    found = beside(ledger)
    worse = sum(1 for was, is_ in zip(before, now, strict=True) if was and not is_)
    better = sum(1 for was, is_ in zip(before, now, strict=True) if is_ and not was)
    mid_p = stats.binomtest(worse, worse + better).pvalue - stats.binom.pmf(worse, worse + better, 0.5)
    told_of = found.to_json()["checks"]["tone"]
    assert (told_of["regressions"], told_of["fixes"], told_of["verdict"]) == (worse, better, "WORSE")
    assert told_of["p_value"] == pytest.approx(mid_p)
    assert told_of["difference"] == pytest.approx((better - worse) / 400)
    [sentence] = [line for line in as_lines(found) if line.startswith("tone WORSE")]
    assert f"{worse} regressions and {better} fixes" in sentence
    assert found.exit_code is ExitCode.GATE_FAILED


def test_json_has_the_documented_fields(ledger: Ledger) -> None:
    a_run(ledger, "old", told(True, False))
    a_run(ledger, "new", told(True, True))
    said = json.loads(json.dumps(beside(ledger).to_json(), allow_nan=False))
    assert {"run", "baseline", "checks"} <= said.keys()
    assert {
        *("n_pairs", "metric", "run", "baseline", "difference", "interval", "p_value", "p_holm", "verdict"),
        *("regressions", "fixes", "detectable"),
    } <= said["checks"]["tone"].keys()
    [flip] = said["checks"]["tone"]["flips"]
    assert (flip["change"], flip["run"]["passed"], flip["baseline"]["passed"]) == ("fix", True, False)


def test_too_few_pairs_say_how_many_would_do(ledger: Ledger) -> None:
    a_run(ledger, "old", told(*[True] * 94, *[False] * 6))
    a_run(ledger, "new", told(*[True] * 97, *[False] * 3))
    lines = "\n".join(as_lines(beside(ledger)))
    assert "tone CAN'T TELL" in lines
    assert "for 2 points evaluate" in lines


def test_changes_that_the_terminal_leaves_out_are_counted_and_so_are_the_regressions_among_them(ledger: Ledger) -> None:
    a_run(ledger, "old", told(*[True] * 8, *[False] * 3))
    a_run(ledger, "new", told(*[False] * 8, *[True] * 3))
    assert [*as_lines(beside(ledger))][-1] == "tone: 6 more changed, 3 regressions among them; --json has them"


def test_pairs_that_are_too_few_to_be_called_the_same_say_how_many_that_takes(ledger: Ledger) -> None:
    """So narrow an interval, within the margin: without the reason it reads as the same, and 13 pairs would do."""
    a_run(ledger, "old", told(*[0.5] * 16), check=replace(CHECK, output="score"))
    a_run(ledger, "new", told(*[0.5] * 12, *[0.51, 0.49] * 2), check=replace(CHECK, output="score"))
    [sentence] = [line for line in as_lines(beside(ledger)) if "CAN'T TELL" in line]
    assert sentence.endswith("that there is none of 2 points takes 183 independent pairs at least")


def test_missing_verdicts_are_named_and_exit_3_where_they_could_matter(ledger: Ledger) -> None:
    a_run(ledger, "old", told(*[True] * 200))
    a_run(ledger, "new", told(*[True] * 180, *[None] * 20))
    found = beside(ledger)
    assert found.exit_code is ExitCode.INCOMPLETE
    assert found.checks["tone"].compared.missing == len(found.checks["tone"].without_verdict) == 20
    assert "20 items lack a verdict in one of the runs, which could change the answer" in "\n".join(as_lines(found))


def test_no_verdict_at_all_is_said(ledger: Ledger) -> None:
    a_run(ledger, "old", told(True, True))
    a_run(ledger, "new", told(None, None), exit_code=None)
    found = beside(ledger)
    assert "none of 2 items has a verdict in both runs" in "\n".join(as_lines(found))
    assert found.exit_code is ExitCode.INCOMPLETE


def test_scores_are_compared_by_their_means_and_segments_each(ledger: Ledger) -> None:
    check = replace(CHECK, output="score", template="completeness")
    rng = Random(3)
    old = [rng.uniform(0.4, 0.9) for _ in range(120)]
    lang = [{"lang": "fr" if n % 2 else "de"} for n in range(120)]
    rows = [Told(score, f"q{n}", traits=lang[n]) for n, score in enumerate(old)]
    a_run(ledger, "old", rows, check=check)
    fallen = [replace(row, verdict=row.verdict - 0.1 if n % 2 else row.verdict) for n, row in enumerate(rows)]  # type: ignore[operator]
    a_run(ledger, "new", fallen, check=check)
    found = beside(ledger, by={"lang": None})
    said = {name: change.compared.verdict.value for name, change in found.checks.items()}
    assert said == {"tone": "WORSE", "tone[lang=de]": "CANT_TELL", "tone[lang=fr]": "WORSE"}
    assert found.checks["tone"].compared.difference == pytest.approx(-0.05)


def test_turns_of_a_conversation_are_one_witness(ledger: Ledger) -> None:
    talks = [{"talk": f"t{n // 20}"} for n in range(100)]
    a_run(ledger, "old", [Told(True, f"q{n}", traits=talks[n]) for n in range(100)])
    a_run(ledger, "new", [Told(n >= 20, f"q{n}", traits=talks[n]) for n in range(100)])
    assert beside(ledger).checks["tone"].compared.verdict.value == "WORSE"
    clustered = beside(ledger, cluster="talk").checks["tone"].compared
    assert (clustered.n_independent, clustered.verdict.value) == (5, "CANT_TELL")


# -- baselines -----------------------------------------------------------------------------------------------------


def test_blessed_is_the_newest_mark_of_the_dataset(ledger: Ledger) -> None:
    for name in ("one", "two", "three"):
        a_run(ledger, name, told(True), dataset="b.csv" if name == "three" else "a.csv")
    new = a_run(ledger, "new", told(True))
    with pytest.raises(PlanError, match=r"no run on a\.csv is blessed"):
        baseline_of("blessed", ledger, new)
    for n, (name, dataset) in enumerate((("two", "a.csv"), ("one", "a.csv"), ("three", "b.csv"), ("two", "a.csv"))):
        bless(ledger.database, Blessing(name, dataset, NOON + timedelta(days=n), ""))
    side, pinned = baseline_of("blessed", ledger, new)
    assert (side.name, pinned) == ("two", "two")


def test_last_is_the_last_concluded_run_with_the_same_checks_and_judges(ledger: Ledger) -> None:
    a_run(ledger, "good", told(True))
    a_run(ledger, "other-judge", told(True), check=replace(CHECK, model="turing_small"))
    a_run(ledger, "other-data", told(True), dataset="b.csv")
    a_run(ledger, "unfinished", told(None), exit_code=None)
    new = a_run(ledger, "new", told(True))
    a_run(ledger, "later", told(True))
    assert baseline_of("last", ledger, new)[1] == "good"
    with pytest.raises(PlanError, match="its own baseline"):
        baseline_of("new", ledger, new)
    with pytest.raises(PlanError, match="no earlier concluded run"):
        baseline_of("last", ledger, ledger.run("good"))


def written(ledger: Ledger, name: str) -> str:
    file = io.StringIO()
    write_baseline(file, RunSide(ledger, ledger.run(name)))
    return file.getvalue()


def test_a_baseline_file_compares_as_its_run_does_and_holds_no_text(ledger: Ledger, tmp_path: Path) -> None:
    check = replace(CHECK, params={"headers": {"Authorization": "secret"}})
    rows = [Told(n % 9 > 0, f"q{n}", "A private answer.") for n in range(60)]
    a_run(ledger, "old", rows, check=check)
    new = a_run(ledger, "new", [Told(n % 7 > 0, f"q{n}", "Another one.") for n in range(60)], check=check)
    text = written(ledger, "old")
    assert text == written(ledger, "old")
    assert not any(said in text for said in ("private", "secret", "q1", str(tmp_path)))
    file = tmp_path / "baseline.json"
    file.write_text(text)
    side, pinned = baseline_of(str(file), ledger, new)
    found, of_run = compared(RunSide(ledger, new), side, terms=TERMS), beside(ledger)
    assert found.checks["tone"].compared == of_run.checks["tone"].compared
    assert found.checks["tone"].flips[0].baseline is None
    assert baseline_of(pinned, ledger, new)[0].name == "old"
    file.write_text(text.replace("true", "false", 1))
    with pytest.raises(PlanError, match="not the one that the run began with"):
        baseline_of(pinned, ledger, new)


def test_a_baseline_file_of_an_earlier_version_does_not_say_which_column_gave_a_parameter(
    ledger: Ledger, tmp_path: Path
) -> None:
    a_run(ledger, "old", told(True, True), check=replace(CHECK, param_sources={"k": "before"}))
    new = RunSide(ledger, a_run(ledger, "new", told(True, True), check=replace(CHECK, param_sources={"k": "now"})))
    file, text = tmp_path / "baseline.json", written(ledger, "old")
    file.write_text(text)
    with pytest.raises(PlanError, match="other parameters"):
        compared(new, FileSide(file), terms=TERMS)
    file.write_text(text.replace(', "by_row": ["k=before"]', ""))
    assert compared(new, FileSide(file), terms=TERMS).checks["tone"].compared.n_pairs == 2


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"format": "fieval baseline 9"}', '{"format": 1, "run": null}', "[" * 100_000],
    ids=("empty", "a list", "an object", "a later format", "no format", "too deep"),
)
def test_a_file_that_is_no_baseline_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "baseline.json"
    file.write_text(content)
    with pytest.raises(PlanError, match=r"is no baseline"):
        FileSide(file)


def test_a_date_without_a_zone_in_a_baseline_file_is_taken_to_be_utc(ledger: Ledger, tmp_path: Path) -> None:
    a_run(ledger, "old", told(True))
    file = io.StringIO()
    write_baseline(file, RunSide(ledger, ledger.run("old")))
    known = json.loads(file.getvalue())
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(known | {"at": "2026-08-01"}))
    assert too_old(FileSide(path), 3600.0, NOON) is not None


def test_an_old_baseline_is_a_warning(ledger: Ledger) -> None:
    side = RunSide(ledger, replace(a_run(ledger, "old", told(True)), finished_at=NOON))
    assert too_old(side, 86400.0, NOON + timedelta(hours=20)) is None
    assert "old is 72 h 0 min old" in (too_old(side, 86400.0, NOON + timedelta(days=3)) or "")


def test_the_same_refusal_to_many_questions_is_as_many_changes(ledger: Ledger) -> None:
    a_run(ledger, "old", [Told(True, f"q{n}", f"Answer {n}.") for n in range(60)])
    refused = [Told(False, f"q{n}", "Sorry.", same_as=0 if 0 < n < 20 else None) for n in range(20)]
    a_run(ledger, "new", refused + [Told(True, f"q{n}", f"Answer {n}.") for n in range(20, 60)])
    change = beside(ledger).checks["tone"].compared
    assert (change.n_independent, change.regressions, change.verdict.value) == (60, 20, "WORSE")
