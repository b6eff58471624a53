"""How a run ends, and ends again when more verdicts have come."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.errors import ExitCode, KeysRefused, PlanError, RunStopped
from fieval_tasks.core.gates import Gate
from fieval_tasks.core.items import Item, Result, Scored, Ticket
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.quantities import allowed_failures
from fieval_tasks.decisions.statistics import wilson_interval
from fieval_tasks.ledger.changes import Counted, Decided, Requeued, Sending, Submitted
from fieval_tasks.ledger.processes import described, owner_name
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.output import write_results
from fieval_tasks.report.summary import Report, summarise
from fieval_tasks.report.table import table
from fieval_tasks.runs.conclusion import Ended, Outcome, conclude
from fieval_tasks.runs.connections import Connection
from fieval_tasks.runs.gating import JUDGES
from fieval_tasks.runs.preparation import Prepared
from fieval_tasks.runs.preparation import prepared as resumed
from tests.report import report_examples as examples
from tests.report.report_examples import facts

OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq}
NOON = datetime(2026, 8, 1, 12, tzinfo=timezone.utc)
CHECK = CheckRecord("tone", "tone", "turing_flash", {}, "Pass/Fail", {"output": "answer"})


@pytest.fixture
def prepared(tmp_path: Path) -> Iterator[Prepared]:
    """A run of three items, all submitted."""
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        plan = EvaluationPlan(output=str(tmp_path / "out"), store="ledger.db")
        run = Run("mine", NOON, "a.csv", "f" * 64, "async", "local", (CHECK,), {}, ())
        rows = [(Item(n, f"id-{n}", n + 1, "tone", "tone", None, {"output": "x"}, f"{n}"), None) for n in range(3)]
        run = ledger.create(run, rows, chunk_size=3)
        ledger.book("mine").apply([Sending((0, 1, 2)), Submitted(tuple(Ticket(n, f"e-{n}") for n in range(3)), NOON)])
        yield Prepared(run, plan, ledger, Connection("local", "local", open=_nowhere))


def _nowhere() -> Any:
    raise AssertionError("a run that is concluded asks nobody")


def concluded(prepared: Prepared) -> Outcome:
    return conclude(prepared, Ended(), seconds=1.0)


def decide(prepared: Prepared, *verdicts: bool, first: int = 0) -> None:
    told = [Scored("Passed" if passed else "Failed", float(passed), passed, None, 1.0) for passed in verdicts]
    prepared.ledger.book("mine").apply([Decided(seq, verdict, NOON) for seq, verdict in enumerate(told, first)])


def summary(prepared: Prepared) -> dict[str, Any]:
    return dict(json.loads((prepared.folder / "summary.json").read_text()))


def test_late_verdicts_amend_the_report_for_every_reader(prepared: Prepared) -> None:
    decide(prepared, True)
    assert "amended" not in table(concluded(prepared).report)
    assert summary(prepared)["amendments"] == []
    decide(prepared, False, True, first=1)
    outcome = concluded(prepared)
    assert "amended: tone: pass rate 1.000 -> 0.667, 2 more verdicts; pending 2 -> 0" in table(outcome.report)
    assert [change["after"]["items"] for change in summary(prepared)["amendments"]] == [{"scored": 3, "pending": 0}]
    for name in ("report.html", "report.md"):
        assert "Amendments" in (prepared.folder / name).read_text()


def test_a_conclusion_that_changes_nothing_shows_nothing(prepared: Prepared) -> None:
    decide(prepared, True)
    for polls in (1, 2):
        prepared.ledger.book("mine").apply([Counted(polls=polls)])
        assert "amended" not in table(concluded(prepared).report)
    assert summary(prepared)["amendments"] == []


def test_a_run_that_only_submits_is_whole_where_everything_is_sent(prepared: Prepared) -> None:
    book, submitting = prepared.ledger.book("mine"), Ended(waited=False)
    book.apply([Requeued(2)])
    found = [conclude(prepared, submitting, seconds=1.0).exit_code]
    book.apply([Sending((2,)), Submitted((Ticket(2, "e-2"),), NOON)])
    found.append(conclude(prepared, submitting, seconds=1.0).exit_code)
    assert found == [ExitCode.INCOMPLETE, ExitCode.OK], "a hard end or a stopped check had left one unsent"


def test_a_run_cut_off_before_any_report_has_no_amendment(prepared: Prepared) -> None:
    decide(prepared, True)
    prepared.ledger.finished("mine", exit_code=ExitCode.INTERRUPTED, seconds=1.0, complete=False)
    decide(prepared, True, True, first=1)
    concluded(prepared)
    assert summary(prepared)["amendments"] == []


def test_a_report_that_was_not_written_is_not_counted_as_one(prepared: Prepared) -> None:
    prepared.folder.write_text("in the way of the folder")
    with pytest.raises(RunStopped, match=r"can't be written to .*out .*--resume mine .*--output DIR"):
        concluded(prepared)
    assert prepared.ledger.conclusions("mine") == []


@pytest.mark.parametrize("written", ["write_results", "write_report"])
def test_a_run_whose_files_are_not_all_written_has_no_exit_code(
    prepared: Prepared, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    decide(prepared, True, True, True)
    prepared.ledger.started("mine", flow_run_id=None)
    monkeypatch.setattr(f"fieval_tasks.runs.conclusion.{written}", full)
    with pytest.raises(RunStopped, match="No space left"):
        concluded(prepared)
    assert [run.run_id for run in prepared.ledger.unconcluded()] == ["mine"]


def test_a_run_is_somebodys_while_its_files_are_written_and_nobodys_after(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watched(*given: Any, **said: Any) -> Report:
        seen.append(prepared.book.claims.holder())
        return write_results(*given, **said)

    monkeypatch.setattr("fieval_tasks.runs.conclusion.write_results", watched)
    concluded(prepared)
    assert seen == [described(owner_name())]
    assert prepared.book.claims.holder() is None


def test_a_conclusion_is_news_where_figures_or_exit_code_differ_from_the_last(prepared: Prepared) -> None:
    keys = Ended(KeysRefused("no keys"))

    def is_news(ended: Ended = Ended()) -> bool:  # noqa: B008 - frozen
        before = len(prepared.ledger.conclusions("mine"))
        outcome = conclude(prepared, ended, seconds=1.0)
        assert len(prepared.ledger.conclusions("mine")) == before + outcome.is_news
        return outcome.is_news

    assert [is_news(), is_news()] == [True, False]
    decide(prepared, True)
    assert [is_news(), is_news()] == [True, False]
    assert [is_news(keys), is_news(keys), is_news(), is_news()] == [True, True, True, False]


def test_what_came_up_on_the_way_is_told_by_the_report_of_that_time(prepared: Prepared) -> None:
    notice = "tone was stopped: 10 refusals in a row"
    outcome = conclude(prepared, Ended(notices=(notice,)), seconds=1.0)
    assert f"note: {notice}" in table(outcome.report)
    assert outcome.message.startswith(f"run {outcome.report.facts.run_id}: {notice}")
    assert notice in (prepared.folder / "report.html").read_text()
    assert notice not in table(concluded(prepared).report)
    assert notice not in (prepared.folder / "report.html").read_text()


def test_the_ledger_tells_the_report_which_items_share_an_evaluation(prepared: Prepared) -> None:
    run = replace(prepared.run, run_id="copies")
    rows = [Item(n, f"id-{n}", n + 1, "tone", "tone", None, {"output": "x"}, "f", 0 if n else None) for n in range(4)]
    run = prepared.ledger.create(run, [(row, None) for row in rows], chunk_size=4)
    verdict = Scored("Passed", 1.0, True, None, 1.0)
    prepared.ledger.book("copies").apply([Decided(seq, verdict, NOON, "e") for seq in range(4)])
    check = concluded(replace(prepared, run=run)).report.checks["tone"]
    assert (check.scored, check.evaluations, check.pass_rate_interval) == (4, 1, wilson_interval(1, 1))


def gated(prepared: Prepared, *gates: str) -> Outcome:
    return concluded(replace(prepared, plan=prepared.plan.model_copy(update={"gates": gates})))


def test_a_gate_that_the_missing_verdicts_decide_is_undecided(prepared: Prepared) -> None:
    decide(prepared, True, False)
    outcome = gated(prepared, "tone.pass_rate >= 0.5", "tone.failures <= 1")
    assert [gate.verdict for gate in outcome.report.gates] == ["UNDECIDED", "PASS"]
    assert outcome.exit_code is ExitCode.INCOMPLETE
    assert (
        "gate UNDECIDED: tone.pass_rate >= 0.5; it is 0.5 over 2 items (between 0.3333 and 0.6667 over all 3, "
        in outcome.message
    )
    assert "gate PASS: tone.failures <= 1" in table(outcome.report)


def test_a_gate_that_no_verdict_can_save_has_failed_before_they_come(prepared: Prepared) -> None:
    decide(prepared, False, False)
    outcome = gated(prepared, "tone.mean > 0.4")
    assert outcome.exit_code is ExitCode.GATE_FAILED
    assert "gate FAIL: tone.mean > 0.4" in outcome.message


def test_a_gate_that_no_verdict_can_harm_has_passed_and_the_run_is_still_incomplete(prepared: Prepared) -> None:
    decide(prepared, True, True)
    outcome = gated(prepared, "tone.pass_rate >= 60%")
    assert [gate.verdict for gate in outcome.report.gates] == ["PASS"]
    assert outcome.exit_code is ExitCode.INCOMPLETE


def test_a_run_that_reaches_its_gates_is_good(prepared: Prepared) -> None:
    decide(prepared, True, True, True)
    outcome = gated(prepared, "tone.pass_rate >= 1", "failures == 0")
    assert outcome.exit_code is ExitCode.OK
    assert "gate" not in outcome.message


def test_what_the_counting_found_wrong_is_told_to_a_log_too(prepared: Prepared) -> None:
    odd = Scored(0.7, 0.7, None, None, 1.0)
    prepared.ledger.book("mine").apply([Decided(0, odd, NOON)])
    decide(prepared, True, True, first=1)
    assert "tone: 1 of 3 verdicts has no Passed or Failed" in concluded(prepared).message


def test_a_run_begun_with_a_gate_that_is_now_refused_is_resumed_with_another(prepared: Prepared) -> None:
    """An earlier version took gates that errors help."""
    old = replace(prepared.run, run_id="old", plan={"gates": ["failures >= 3"], "connection": "local"})
    row = Item(0, "id-0", 1, "tone", "tone", None, {"output": "x"}, "f")
    prepared.ledger.create(old, [(row, None)], chunk_size=1)
    store = prepared.ledger.name
    with pytest.raises(PlanError, match="errors would help"), resumed(EvaluationPlan(resume="old", store=store)):
        raise AssertionError("its own gate is not taken in silence")
    with resumed(EvaluationPlan(resume="old", store=store, gates=("failures <= 3",))) as run:
        assert run.plan.gates == ("failures <= 3",)


def judged_of(text: str, run: list[Result]) -> tuple[str, str]:
    gate = Gate.parse(text)
    kept = SimpleNamespace(plan=EvaluationPlan())  # no ledger is needed
    outcome = JUDGES[gate.metric](gate, summarise(facts(), run), kept)  # type: ignore[arg-type]
    assert outcome.sentence.startswith(f"gate {outcome.verdict}: {text}; ")
    return outcome.verdict, outcome.sentence.partition("; ")[2]


@pytest.mark.parametrize("n", [1000, 2000, 3000])
def test_a_rate_that_is_exactly_reached_passes_its_gate(n: int) -> None:
    run = [examples.judged(row, row % 1000 > 0) for row in range(n)]
    assert judged_of("groundedness.pass_rate >= 99.9%", run) == ("PASS", f"it is 0.999 over {n:,} items")
    assert judged_of("groundedness.mean == 0.999", run)[0] == "PASS"
    assert judged_of("groundedness.pass_rate >= 99.91%", run) == ("FAIL", f"it is 0.999 over {n:,} items")


@pytest.mark.parametrize("score", [0.1, 0.7, 0.29, 0.667, 1e-7])
def test_a_mean_of_equal_scores_is_that_score_to_its_gate(score: float) -> None:
    for n in (3, 10, 999):
        run = [examples.scored(row, score) for row in range(n)]
        verdicts = {sign: judged_of(f"fluency.mean {sign} {score:.7f}", run)[0] for sign in (">=", "<=", "==", ">")}
        assert verdicts == {">=": "PASS", "<=": "PASS", "==": "PASS", ">": "FAIL"}


@given(
    st.tuples(*3 * [st.integers(0, 40)]).filter(any),
    st.sampled_from(sorted(OPERATORS)),
    st.integers(1, 999),
)
def test_a_gate_on_a_pass_rate_holds_for_every_verdict_that_the_unmeasured_could_still_get(
    counts: tuple[int, int, int], sign: str, thousandths: int
) -> None:
    passed, not_passed, unmeasured = counts
    run = [examples.judged(row, row < passed) for row in range(passed + not_passed)]
    run += [examples.failed(row) if row % 2 else examples.item(row) for row in range(unmeasured)]
    threshold = Fraction(thousandths, 1000)
    rates = [Fraction(passed + more, len(run)) for more in range(unmeasured + 1)]
    holds = [OPERATORS[sign](rate, threshold) for rate in rates]
    verdict, _ = judged_of(f"groundedness.pass_rate {sign} {thousandths / 10}%", run)
    assert (verdict == "PASS") == all(holds)
    assert not any(holds) if verdict == "FAIL" else any(holds) or sign == "=="


def test_failures_in_percent_are_a_share_of_the_items() -> None:
    run = [examples.judged(row, True) for row in range(95)] + [examples.failed(row) for row in range(5)]
    assert judged_of("failures <= 5%", run) == ("PASS", "5 of 100 items ended without a verdict")
    assert judged_of("groundedness.failures <= 5%", run)[0] == "PASS"
    assert judged_of("failures <= 4.9%", run)[0] == "FAIL"
    assert judged_of("failures <= 5", run)[0] == "PASS"
    waiting = [*run, examples.item(1)]
    assert judged_of("failures <= 5%", waiting) == (
        "UNDECIDED",
        "5 of 101 items ended without a verdict, 1 still waits for one",
    )
    assert judged_of("failures <= 0%", []) == ("PASS", "0 of 0 items ended without a verdict")


@given(st.lists(st.sampled_from(["scored", "failed", "pending"]), min_size=1, max_size=30), st.integers(0, 999))
def test_a_gate_and_an_allowance_of_the_same_share_are_the_same_number_of_items(kinds: list[str], tenths: int) -> None:
    made: dict[str, Callable[[int], Result]] = {
        "scored": lambda row: examples.judged(row, True), "failed": examples.failed, "pending": examples.item,
    }  # fmt: skip
    share, failed, pending = f"{tenths / 10}%", kinds.count("failed"), kinds.count("pending")
    verdict, _ = judged_of(f"failures <= {share}", [made[kind](row) for row, kind in enumerate(kinds)])
    allowed = allowed_failures(share, total=len(kinds))
    assert (verdict == "PASS") == (failed + pending <= allowed)
    assert (verdict == "FAIL") == (failed > allowed)


@pytest.mark.parametrize("gate", ["fluency.mean >= 0.1", "fluency.mean <= 0.99", "fluency.mean >= 1"])
def test_a_gate_is_undecided_while_a_verdict_has_no_usable_score(gate: str) -> None:
    run = [*(examples.scored(row, 0.5) for row in range(99)), replace(examples.scored(99, 0.0), score=None, value=27.0)]
    assert judged_of(gate, run) == ("UNDECIDED", "it is 0.5 over 99 items, and 1 verdict can't be counted in it")


def test_a_gate_on_a_pass_rate_is_undecided_while_a_verdict_is_neither_passed_nor_failed() -> None:
    run = [examples.judged(1, True), examples.item(2, status="scored", value=0.9, score=0.9)]
    assert judged_of("groundedness.pass_rate >= 0.5", run)[0] == "UNDECIDED"


def test_a_stop_is_told_without_what_would_steer_a_terminal(prepared: Prepared) -> None:
    outcome = conclude(prepared, Ended(KeysRefused("no \x1b[2J keys \u202e")), seconds=1.0)
    assert outcome.exit_code is ExitCode.STOPPED
    assert outcome.sentence.startswith("no \ufffd[2J keys \ufffd\n")
    assert "--resume mine" in outcome.sentence


def test_possible_duplicates_name_the_command_that_explains_them(prepared: Prepared) -> None:
    prepared.ledger.book("mine").apply([Requeued(0, doubtful=True), Sending((0,))])
    concluded(prepared)
    told = (prepared.folder / "report.md").read_text()
    assert re.search(r"python -m flows\.explain mine --store \S+ -- ITEM\n", told)
