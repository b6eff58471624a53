"""Library use: a DataFrame in, the same DataFrame with verdicts out."""

from __future__ import annotations

import asyncio
import re
import shlex
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from time import sleep
from typing import Any

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pytest

from fieval_tasks.core.errors import PlanError, RunStopped
from fieval_tasks.core.items import Scored, State
from fieval_tasks.core.plan import Check, EvaluationPlan
from fieval_tasks.dataframe import _rows_of, evaluate_dataframe
from fieval_tasks.decisions.statistics import wilson_interval
from fieval_tasks.ledger.changes import Decided
from fieval_tasks.runs.conclusion import report_of
from fieval_tasks.runs.preparation import Prepared, kept, prepared
from fieval_tasks.runs.workers import work_on
from fieval_tasks.work.engine import Engine

FRAME = pd.DataFrame(
    {"question": ["What is 2 + 2?", "Name a colour.", "Name a city."], "answer": ["2 + 2 is 4.", None, "Paris."]},
    index=["a", "b", "c"],
)
NOON = datetime(2026, 8, 1, 12, tzinfo=timezone.utc)
NAMES = ["value", "score", "passed", "reason", "error"]


def test_the_frame_comes_back_with_five_columns_a_check_and_its_own_rows_and_index() -> None:
    scored = evaluate_dataframe(FRAME, ["completeness", "is_json"], mapping={"text": "answer"}, connection="local")
    new = [f"{check}.{name}" for check in ("completeness", "is_json") for name in NAMES]
    assert list(scored.columns) == ["question", "answer", *new]
    pd.testing.assert_frame_equal(scored[["question", "answer"]], FRAME)
    assert scored.loc["a", "completeness.score"] == 1.0
    assert scored.loc["c", "is_json.passed"] is False


def test_an_item_without_a_verdict_has_an_error_and_no_score() -> None:
    scored = evaluate_dataframe(FRAME, "completeness", connection="local")
    assert str(scored.loc["b", "completeness.error"]).startswith("blank: row 2")
    assert scored.loc["b", "completeness.score"] is None
    assert scored.loc["a", "completeness.error"] is None


def test_cells_that_no_file_could_hold_break_nothing_and_are_named_where_they_are_wanted() -> None:
    endless: list[Any] = []
    endless.append(endless)
    odd = [10**5_000, {("a", 1): 2}, {1: "a", "b": 2}, endless]
    frame = pd.DataFrame({"text": ["1", "2", "3", "4"], "odd": odd})
    scored = evaluate_dataframe(frame, "is_json", connection="local")
    assert scored["is_json.passed"].tolist() == [True] * 4
    mapped = evaluate_dataframe(frame, "is_json", mapping={"text": "odd"}, connection="local")
    assert "row 1: 'text' (column 'odd') holds a number of more digits" in mapped["is_json.error"][0]
    assert "nested too deeply" in mapped["is_json.error"][3]


def test_each_row_has_its_own_parameter_and_a_wrong_one_is_never_sent() -> None:
    frame = pd.DataFrame(
        {"text": ["a refund", "a refund", "a total", "a total"], "word": ["refund", "total", "total", ""]}
    )
    checks = [
        Check(template="contains", name="own"),
        Check(template="contains", name="fixed", params={"keyword": "total"}),
    ]
    scored = evaluate_dataframe(
        frame, checks, mapping={"own.keyword": "word"}, connection="local", store="l.db", run="words"
    )
    assert scored["own.passed"].tolist() == [True, False, True, None]
    assert scored["own.error"][3] == (
        "wrong_parameter: row 4: parameter 'keyword' (column 'word') will not do: it is blank, and the template needs one"
    )
    assert scored["fixed.passed"].tolist() == [False, False, True, True]
    with kept("words", "l.db") as found:
        attempts = [result.attempts for result in found.book.results()]
        assert attempts == [1, 1, 0, 0, 1, 0, 0, 0], "what is the same shares an evaluation, whoever gave the parameter"
        past = found.book.pasts(row=1)[0]
        assert (past.item.params, found.run.check("own").param_sources) == ({"keyword": "refund"}, {"keyword": "word"})


def test_two_checks_that_ask_the_same_share_evaluations_and_each_counts_its_own() -> None:
    frame = pd.DataFrame({"text": ["a refund", "a total", "a total"]})
    checks = tuple(Check(template="contains", name=name, params={"keyword": "total"}) for name in ("one", "two"))
    plan = EvaluationPlan(dataset="frame", checks=checks, connection="local", store="l.db", run="r")
    with prepared(plan, dataset=_rows_of(frame)) as run:
        assert run.ledger.book("r").count_unsent() == 2
        work_on(run)
        one, two = report_of(run).checks.values()
    assert (one.total, one.scored, one.evaluations, one.passed) == (3, 3, 2, 2)
    assert two.to_json() == one.to_json()


@pytest.mark.parametrize(("sharing", "evaluated"), [(True, 1), (False, 5)])
def test_copies_of_a_row_share_an_evaluation_unless_that_is_switched_off(sharing: bool, evaluated: int) -> None:
    frame = pd.DataFrame({"text": ["{}x"] * 5})
    plan = EvaluationPlan(
        dataset="frame", checks=(Check(template="is_json"),), connection="local", store="l.db", run="r", sharing=sharing
    )
    with prepared(plan, dataset=_rows_of(frame)) as run:
        assert run.ledger.book("r").count_unsent() == evaluated
    with prepared(EvaluationPlan(resume="r", store="l.db")) as resumed:
        assert resumed.plan.sharing is sharing
        work_on(resumed)
        report = report_of(resumed)
    check = report.checks["is_json"]
    assert (check.total, check.scored, check.evaluations) == (5, 5, evaluated)
    assert report.facts.requests.possible_duplicates == 0
    assert check.pass_rate_interval == wilson_interval(0, evaluated)
    with (
        pytest.raises(PlanError, match="begun with another sharing"),
        prepared(EvaluationPlan(resume="r", store="l.db", sharing=not sharing)),
    ):
        pass


def test_a_mode_that_there_is_not_is_a_plan_error() -> None:
    with pytest.raises(PlanError, match="mode"):
        evaluate_dataframe(FRAME, "is_json", mode="nope", connection="local")


def test_modes_agree_and_a_running_event_loop_is_no_obstacle() -> None:
    async def inside() -> pd.DataFrame:
        return evaluate_dataframe(FRAME, "completeness", connection="local", mode="sync")

    pd.testing.assert_frame_equal(
        asyncio.run(inside()), evaluate_dataframe(FRAME, "completeness", connection="local", mode="async")
    )


def test_checks_take_parameters_and_models() -> None:
    checks = [Check(template="contains", params={"keyword": "Paris"}), "completeness:turing_small"]
    scored = evaluate_dataframe(FRAME, checks, mapping={"text": "answer"}, connection="local")
    assert scored["contains.passed"].tolist() == [False, None, True]


def test_a_wrong_call_names_every_problem_before_anything_is_sent() -> None:
    with pytest.raises(PlanError) as raised:
        evaluate_dataframe(FRAME, ["completness", "contains"], mapping={"input": "q"}, connection="local")
    assert len(raised.value.problems) >= 2
    assert not list(Path().rglob("results*"))


@pytest.mark.parametrize("end", [KeyboardInterrupt(), RunStopped("the credit is gone")])
def test_what_was_paid_for_before_the_run_was_cut_short_is_kept_and_named(
    end: BaseException, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def cut_short(engine: Engine, show: object = None) -> int:
        while not engine.progress.waiting:
            sleep(0.01)
        raise end

    monkeypatch.setattr(Engine, "settle", cut_short)
    with pytest.raises(type(end)):
        evaluate_dataframe(FRAME, "completeness", connection="local")
    monkeypatch.undo()
    [run, store] = re.findall(r"--resume (\S+) --store (\S+)", caplog.text)[0]
    try:
        with prepared(EvaluationPlan(resume=run, store=store, connection="local")) as found:
            assert found.ledger.book(run).counts()[State.SUBMITTED] == 2
    finally:
        rmtree(Path(store.removeprefix("sqlite:///")).parent)


def test_a_verdict_without_a_usable_score_is_told_to_whoever_takes_the_mean(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def judged(run: Prepared) -> None:
        odd = Scored(27.3, None, None, "of another scale", 1.0)
        run.book.apply([Decided(0, Scored(0.5, 0.5, None, "so so", 1.0), NOON), Decided(2, odd, NOON)])

    monkeypatch.setattr("fieval_tasks.dataframe.work_on", judged)
    scored = evaluate_dataframe(FRAME, "completeness", connection="local")
    assert scored.loc["c", ["completeness.value", "completeness.score"]].tolist() == [27.3, None]
    assert "completeness: 1 of 2 verdicts has no score from 0 to 1; the mean is of the others only" in caplog.text


def collected(scored: pd.DataFrame) -> list[str]:
    """The statuses of a run whose verdicts are fetched by the command that the frame names, pasted as it is."""
    told = scored.attrs["fieval"]
    words = shlex.split(told["command"])
    assert words[:4] == ["python", "-m", "flows.collect", told["run"]]
    try:
        with prepared(EvaluationPlan(resume=told["run"], store=words[5])) as run:
            work_on(run)
            return sorted(result.status for result in run.book.results())
    finally:
        rmtree(Path(told["store"].removeprefix("sqlite:///")).parent)


def test_what_is_only_submitted_stays_in_a_ledger_that_the_frame_names(caplog: pytest.LogCaptureFixture) -> None:
    scored = evaluate_dataframe(FRAME, "completeness", connection="local", mode="submit")
    told = scored.attrs["fieval"]["command"]
    assert told in caplog.text
    assert scored.loc["a", "completeness.error"] == f"pending: no verdict yet; to fetch it: {told}"
    assert collected(scored) == ["failed", "scored", "scored"]


def test_a_frame_whose_hard_end_is_reached_names_the_command_that_goes_on() -> None:
    frame = pd.DataFrame({"text": [f"[{n}]" for n in range(9)]})
    scored = evaluate_dataframe(frame, "is_json", connection="local", store="ledger.db", max_items=5)
    words = shlex.split(scored.attrs["fieval"]["command"])
    assert words[words.index("--max-items") + 1] == "9", "with the same end it would send nothing"
    with prepared(EvaluationPlan(resume=scored.attrs["fieval"]["run"], store="ledger.db", max_items=9)) as run:
        assert "--max-items" not in str(run.next_command), "there is room"
        work_on(run)
        assert run.next_command is None


def test_items_past_their_time_stay_in_a_ledger_that_the_frame_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Engine, "settle", lambda self, show=None: 0)  # as if no verdict came in time
        scored = evaluate_dataframe(FRAME, "completeness", connection="local")
    assert collected(scored) == ["failed", "scored", "scored"]


def test_verdicts_that_can_not_be_put_into_the_frame_are_not_thrown_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def out_of_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("fieval_tasks.dataframe._with_verdicts", out_of_memory)
    with pytest.raises(MemoryError):
        evaluate_dataframe(FRAME, "completeness", connection="local")
    [(run, store)] = re.findall(r"--resume (\S+) --store (\S+)", caplog.text)
    with kept(run, store) as found:
        assert found.ledger.book(run).counts()[State.SCORED] == 2
    rmtree(Path(store.removeprefix("sqlite:///")).parent)


def test_with_a_store_of_ones_own_nothing_else_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aside = tmp_path / "aside"
    aside.mkdir()
    monkeypatch.setattr("fieval_tasks.dataframe.mkdtemp", lambda prefix: mkdtemp(prefix=prefix, dir=aside))
    scored = evaluate_dataframe(FRAME, "completeness", connection="local", mode="submit", store="mine.db")
    assert shlex.split(scored.attrs["fieval"]["command"])[-1] == f"sqlite:///{tmp_path / 'mine.db'}"
    assert list(aside.iterdir()) == []


def test_nothing_is_left_behind_without_a_store_but_the_local_evaluators_jobs() -> None:
    evaluate_dataframe(FRAME, "completeness", connection="local")
    assert {p.name.partition(".")[0] for p in Path().rglob("*") if p.is_file()} <= {"local"}


class Document:
    """As a retriever's: no text, and a circle."""

    def __init__(self) -> None:
        self.me = self


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1e-11, 0.123456789012345], ["1e-11", "0.123456789012345"]),
        ([Decimal("1.10"), Decimal("12345678901234567890.12")], ["1.10", "12345678901234567890.12"]),
        (pd.to_datetime(["2026-08-01 12:30:00.123456"]), ["2026-08-01T12:30:00.123456"]),
        (pd.array([7, 2**40], dtype="Int64"), ["7", str(2**40)]),
        ([Path("/a/b")], ["/a/b"]),
        ([{"b", "a", "c"}], ['["a", "b", "c"]']),
        ([["a", 1], {"k": None}], ['["a", 1]', '{"k": null}']),
    ],
)
def test_what_fills_a_key_is_the_text_that_a_file_would_give(values: Any, texts: list[str]) -> None:
    frame = pd.DataFrame({"text": values, "expected_text": texts})
    scored = evaluate_dataframe(frame, "equals", connection="local")
    assert scored["equals.passed"].tolist() == [True] * len(texts)
    pd.testing.assert_frame_equal(scored[["text", "expected_text"]], frame)


@pytest.mark.parametrize("value", [Document(), b"\x89PNG\xff", 2**70, {1, 2}, float("inf")])
def test_columns_that_fill_no_key_are_left_alone(value: object) -> None:
    frame = FRAME.assign(other=pd.Series([value] * 3, index=FRAME.index, dtype=object))
    scored = evaluate_dataframe(frame, "completeness", connection="local")
    assert scored.loc["a", "completeness.error"] is None
    assert scored["other"].tolist() == [value] * 3


def test_what_has_no_text_is_that_items_own_error() -> None:
    frame = pd.DataFrame({"text": ["{}", Document()]})
    scored = evaluate_dataframe(frame, "is_json", connection="local", mapping={"text": "text"})
    assert "is a Document, which has no text" in str(scored.loc[1, "is_json.error"])


def test_verdicts_of_an_earlier_call_are_replaced() -> None:
    once = evaluate_dataframe(FRAME, "completeness", connection="local")
    once["completeness.score"] = 0.25
    again = evaluate_dataframe(once, ["completeness"], connection="local")
    assert list(again.columns) == list(once.columns)
    assert again.loc["a", "completeness.score"] == 1.0


def test_a_column_of_ones_own_is_not_replaced() -> None:
    with pytest.raises(PlanError, match=r"the frame has a column 'completeness\.score', where a verdict would go"):
        evaluate_dataframe(FRAME.assign(**{"completeness.score": 1}), "completeness", connection="local")


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ([{"question": "q", "answer": "a"}], "a pandas.DataFrame is needed, and this is a list: make one by pandas"),
        (pa.table({"answer": ["a"]}), "this is a pyarrow.Table: make one by its to_pandas"),
        (pd.DataFrame([["a", "b"]], columns=pd.MultiIndex.from_tuples([("x", "q"), ("y", "a")])), "several levels"),
        (pd.DataFrame([["a", "b"]], columns=["answer", "answer"]), "'answer' is the name of columns 1 and 2"),
        (FRAME.iloc[:0], "the frame is empty"),
    ],
)
def test_a_frame_that_is_none_is_refused_in_a_sentence(frame: Any, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        evaluate_dataframe(frame, "completeness", connection="local")


@pytest.mark.parametrize(
    "options",
    [
        {"gates": ("completeness.mean >= 0.9",)},
        {"output": "x"},
        {"dataset": "a.csv"},
        {"rows": "a"},
        {"resume": "last"},
    ],
)
def test_what_a_frame_has_no_use_for_is_refused_and_not_ignored(options: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=f"{next(iter(options))}: of a DataFrame it is of no use"):
        evaluate_dataframe(FRAME, "completeness", connection="local", **options)


def test_rows_of_a_frame_are_chosen_by_its_own_columns() -> None:
    options = {"where": "question.startswith('Name') and answer is not None", "connection": "local"}
    scored = evaluate_dataframe(FRAME, "completeness", **options)  # type: ignore[arg-type]
    out = "left_out: where, limit or sample took other rows"
    assert scored["completeness.error"].tolist() == [out, out, None]
    with pytest.raises(PlanError, match="there is no column 'anwser'; did you mean 'answer'"):
        evaluate_dataframe(FRAME, "completeness", where="anwser is None", connection="local")


def test_a_row_that_a_limit_leaves_out_says_so() -> None:
    scored = evaluate_dataframe(FRAME, "completeness", connection="local", limit=1)
    assert scored["completeness.error"].tolist() == [None, *["left_out: where, limit or sample took other rows"] * 2]


def test_columns_may_be_numbers() -> None:
    frame = pd.DataFrame([["How many legs?", "Eight legs."]])
    scored = evaluate_dataframe(frame, "completeness", connection="local", mapping={"input": "0", "output": "1"})
    assert list(scored.columns)[:2] == [0, 1]
    assert scored["completeness.error"].tolist() == [None]
