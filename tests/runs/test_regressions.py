"""A run that names a baseline: it is checked before anything is paid, compared at the end, and its gates are judged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fieval_tasks.core.errors import ExitCode, PlanError
from fieval_tasks.core.items import Failed, Scored
from fieval_tasks.core.plan import Check, EvaluationPlan
from fieval_tasks.ledger.changes import Decided, Sending
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.blessing import blessed_run, written_baseline
from fieval_tasks.runs.conclusion import Ended, Outcome, conclude
from fieval_tasks.runs.continuing import Continuation
from fieval_tasks.runs.preparation import Kept, Prepared, kept, prepared
from tests.runs.compared_runs import NOON

STORE = "ledger.db"
Verdicts = Sequence["bool | float | None"]


def plan(name: str, n: int, **said: Any) -> EvaluationPlan:
    """`n` questions with an answer each; `answer`: what each begins with."""
    answer, first = said.pop("answer", "Answer"), said.pop("first", 0)
    rows = [
        {"output": f"{answer} {i}", "context": f"Doc {i}", "lang": "fr" if i % 2 else "de"}
        for i in range(first, first + n)
    ]
    Path("a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    template = said.pop("template", "groundedness")
    known = {"dataset": "a.jsonl", "checks": (Check(template=template),), "connection": "local", "store": STORE}
    return EvaluationPlan(**{**known, "run": name, "output": f"out/{name}", **said})


@contextmanager
def begun(asked: EvaluationPlan | Continuation) -> Iterator[Prepared]:
    with prepared(asked) as run:
        yield run


def concluded(run: Prepared, verdicts: Verdicts) -> Outcome:
    run.book.apply([Sending(tuple(range(len(verdicts))), NOON)])
    told = {
        seq: Scored("Passed" if one else "Failed", float(one), one) if isinstance(one, bool) else Scored(one, one)
        for seq, one in enumerate(verdicts)
        if one is not None
    }
    run.book.apply([Decided(seq, verdict, NOON) for seq, verdict in told.items()])
    return conclude(run, Ended(), seconds=1.0)


def ran(name: str, verdicts: Verdicts, **said: Any) -> Outcome:
    with begun(plan(name, len(verdicts), **said)) as run:
        return concluded(run, verdicts)


def summary(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(Path(f"out/{name}/summary.json").read_text())
    return read


@contextmanager
def opened(name: str) -> Iterator[Kept]:
    with kept(name, STORE) as run:
        yield run


def gate(*verdicts: bool | float | None, old: Verdicts, gate: str, **said: Any) -> dict[str, Any]:
    ran("old", old, **said)
    ran("new", verdicts, baseline="old", gates=(gate,), answer="Another", **said)
    [found] = summary("new")["gates"]
    return found  # type: ignore[no-any-return]


# -- the report ----------------------------------------------------------------------------------------------------


def test_every_file_says_what_changed_and_worse_alone_fails_nothing() -> None:
    ran("old", [True] * 100)
    outcome = ran("new", [True] * 80 + [False] * 20, baseline="old", answer="Another")
    assert outcome.exit_code is ExitCode.OK
    [sentence] = outcome.report.changes.values()
    assert sentence.startswith("groundedness WORSE: its pass rate fell by 20 points, from 1 to 0.8 over 100 pairs")
    assert sentence in outcome.message
    told = summary("new")["comparison"]["checks"]["groundedness"]
    assert (told["verdict"], told["regressions"], told["n_pairs"]) == ("WORSE", 20, 100)
    assert told["flips"][0]["run"]["inputs"]["output"].startswith("Another")
    assert told["flips"][0]["baseline"]["inputs"]["output"].startswith("Answer")
    for file in ("report.html", "report.md", "junit.xml"):
        assert "its pass rate fell by 20 points" in Path(f"out/new/{file}").read_text()
    for file in ("report.html", "report.md"):
        page = Path(f"out/new/{file}").read_text()
        assert "Another 80" in page
        assert "Answer 80" in page


def test_without_a_baseline_nothing_is_said() -> None:
    ran("old", [True])
    assert "comparison" not in summary("old")
    assert "What changed" not in Path("out/old/report.html").read_text()


def test_an_old_baseline_is_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    ran("old", [True, True])
    with Ledger(store_url(STORE)) as ledger:
        ledger.finished("old", exit_code=0, seconds=0.0, complete=True)
    outcome = ran("new", [True, True], baseline="last", baseline_max_age=1e-6)
    assert any("the baseline old is" in notice for notice in outcome.report.notices)


# -- gates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "old", "now", "verdict", "bounds", "said"),
    [
        ("groundedness.", (True, True, False), (True, False, False), "FAIL", [1.0, 1.0], "1 of 3 items passed in the baseline and fails now"),
        ("", (True, True, False), (True, None, False), "UNDECIDED", [0.0, 1.0], "1 without a verdict could have failed, too"),
        ("", (True, None, None), (True, None, False), "PASS", [0.0, 0.0], "0 of 3 items"),
        ("", (True, True, False), (True, True, None), "PASS", [0.0, 0.0], "0 of 3 items"),
    ],
    ids=["one fails", "one may have failed", "it passed in no baseline", "it failed before"],
)  # fmt: skip
def test_no_item_that_passed_may_fail(
    of: str, old: Verdicts, now: Verdicts, verdict: str, bounds: list[float], said: str
) -> None:
    found = gate(*now, old=old, gate=f"{of}regressions == 0")
    assert (found["verdict"], found["value"], found["bounds"]) == (verdict, bounds[0], bounds)
    assert said in found["sentence"]


@pytest.mark.parametrize(("fallen", "verdict"), [(1, "PASS"), (2, "PASS"), (3, "FAIL")])
def test_a_drop_of_exactly_two_points_is_allowed(fallen: int, verdict: str) -> None:
    now = [False] * fallen + [True] * (100 - fallen)
    found = gate(*now, old=[True] * 100, gate="groundedness.max_drop 2%")
    assert found["verdict"] == verdict
    assert f"groundedness dropped by {fallen} point" in found["sentence"]


def test_missing_verdicts_never_help_against_a_drop() -> None:
    now = [True] * 97 + [None] * 3
    found = gate(*now, old=[True] * 100, gate="max_drop 2%")
    assert (found["verdict"], found["bounds"]) == ("UNDECIDED", [0.0, 0.03])


def test_a_mean_may_not_drop_either() -> None:
    old, now = [0.5, 0.75, 1.0, 0.25], [0.5, 0.75, 0.9, 0.25]
    found = gate(*now, old=old, gate="completeness.max_drop 2%", template="completeness", mapping={"input": "context"})
    assert (found["verdict"], found["value"]) == ("FAIL", 0.025)


def test_a_gate_on_each_segment_has_an_outcome_for_each() -> None:
    ran("old", [True] * 20)
    now = [i % 2 == 0 or i > 4 for i in range(20)]
    ran("new", now, baseline="old", gates=("groundedness.regressions[lang=*] == 0",))
    found = {one["gate"]: one["verdict"] for one in summary("new")["gates"]}
    assert found == {
        "groundedness.regressions[lang=de] == 0": "PASS",
        "groundedness.regressions[lang=fr] == 0": "FAIL",
    }


# -- before anything is paid ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"checks": (Check(template="groundedness", model="turing_small"),)}, "judged by turing_small"),
        (
            {"checks": (Check(template="context_adherence", name="groundedness"),)},
            "their figures mean different things",
        ),
        ({"baseline": "nobody"}, "no run 'nobody'"),
        ({"baseline": "blessed"}, "is blessed"),
        ({"baseline": "nowhere.json"}, "can't be read"),
        ({"first": 1_000}, "no row of run new"),
        ({"gates": ("tone.regressions == 0",)}, "there is no check 'tone'"),
    ],
)
def test_what_can_not_be_compared_is_refused_and_leaves_no_run(said: dict[str, Any], why: str) -> None:
    ran("old", [True, True])
    asked = plan("new", 2, **{"baseline": "old", **said})
    with pytest.raises(PlanError, match=why), begun(asked):
        pass
    with Ledger(store_url(STORE)) as ledger:
        assert ledger.names("") == {"old"}


def test_regressions_of_a_check_that_only_scores_are_refused_also_where_a_run_is_carried_on() -> None:
    said = {"template": "completeness", "mapping": {"input": "context"}}
    gates = ("completeness.regressions == 0",)
    ran("old", [0.5], **said)
    ran("new", [0.5], baseline="old", **said)
    for asked in (plan("newer", 1, baseline="old", gates=gates, **said), Continuation("new", STORE, {"gates": gates})):
        with pytest.raises(PlanError, match="gate max_drop 2%"), begun(asked):
            pass


@pytest.mark.parametrize("gates", [("tone.max_drop 2%",), ("max_drop 2%",), ("pass_rate.max_drop 2%",)])
def test_a_drop_of_choices_of_which_nobody_said_which_are_good_is_refused(gates: tuple[str, ...]) -> None:
    said = {"template": "tone"}
    ran("old", [0.5], **said)
    with (
        pytest.raises(PlanError, match="says which choices pass"),
        begun(plan("new", 1, baseline="old", gates=gates, **said)),
    ):
        pass


def test_a_gate_on_one_of_many_values_compares_that_one() -> None:
    """The rows of 60 customers, of whom one must not lose anything: no more is asked, so no more is compared."""
    segment = "groundedness.max_drop[output=Answer 3] 2%"
    ran("old", [True] * 60)
    ran("new", [True] * 60, baseline="old", gates=(segment, "max_drop 2%"))
    assert [one["verdict"] for one in summary("new")["gates"]] == ["PASS", "PASS"]
    assert [*summary("new")["comparison"]["checks"]] == ["groundedness", "groundedness[output=Answer 3]"]


def test_a_segment_that_the_baseline_has_no_row_of_is_said_to_be_so() -> None:
    ran("old", [True] * 3)
    ran("new", [True] * 5, baseline="old", gates=("groundedness.max_drop[output=Answer 4] 2%",))
    [found] = summary("new")["gates"]
    assert found["verdict"] == "UNDECIDED"
    assert "no row of [output=Answer 4] is in the baseline" in found["sentence"]


# -- resumed, collected --------------------------------------------------------------------------------------------


def test_the_baseline_stays_the_same_however_often_the_run_is_carried_on() -> None:
    ran("old", [True] * 4)
    with begun(plan("new", 4, baseline="last")) as run:
        assert run.plan.baseline == "old"
    ran("newer", [False] * 4)
    with begun(Continuation("new", STORE)) as run:
        outcome = concluded(run, [True] * 4)
    assert outcome.report.comparison is not None
    assert outcome.report.comparison.baseline == "old"


def test_a_baseline_file_that_changed_meanwhile_leaves_its_gates_undecided() -> None:
    ran("old", [True] * 4)
    with opened("old") as old:
        written_baseline(old, Path("baseline.json"))
    with begun(plan("new", 4, baseline="baseline.json", gates=("regressions == 0",))) as run:
        Path("baseline.json").write_text(Path("baseline.json").read_text().replace("true", "false", 1))
        outcome = concluded(run, [True] * 4)
    assert outcome.exit_code is ExitCode.INCOMPLETE
    assert any("is not the one that the run began with" in finding for finding in outcome.report.findings)
    [found] = outcome.report.gates
    assert found.verdict == "UNDECIDED"


# -- blessing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "said", "why"),
    [
        ([True, None], {}, "is not at its end"),
        ([True, False], {"gates": ("groundedness.pass_rate >= 0.9",)}, "failed a gate"),
        (
            [True] * 4 + [False],
            {"gates": ("groundedness.pass_rate >= 0.5",), "confidence": 0.95},
            "has a gate that is undecided",
        ),
    ],
)
def test_a_run_that_is_no_good_baseline_is_blessed_only_on_request(
    verdicts: Verdicts, said: dict[str, Any], why: str
) -> None:
    ran("old", verdicts, **said)
    with opened("old") as run:
        with pytest.raises(PlanError, match=why):
            blessed_run(run, "")
        assert blessed_run(run, "all the same", anyway=True).run_id == "old"


def test_a_run_whose_failures_were_allowed_is_a_good_baseline() -> None:
    with begun(plan("old", 2, allow_failures="1")) as run:
        run.book.apply([Sending((1,), NOON), Decided(1, Failed("evaluate", "evaluation_error", "it fell over"), NOON)])
        concluded(run, [True])
    with opened("old") as run:
        assert blessed_run(run, "").run_id == "old"


def test_a_blessed_run_is_what_later_runs_on_its_dataset_are_compared_with() -> None:
    ran("old", [True] * 4)
    ran("newer", [True] * 4)
    with opened("old") as run:
        blessed_run(replace(run), "")
    outcome = ran("new", [True] * 4, baseline="blessed")
    assert outcome.report.comparison is not None
    assert outcome.report.comparison.baseline == "old"
