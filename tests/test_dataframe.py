"""Library use: a DataFrame in, the same DataFrame with verdicts out."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime, timezone
from pathlib import Path
from shutil import rmtree
from time import sleep

import pandas as pd
import pytest

from fieval_tasks.dataframe import evaluate_dataframe
from fieval_tasks.engine import Engine
from fieval_tasks.errors import PlanError, RunStopped
from fieval_tasks.items import Scored, State
from fieval_tasks.plan import Check, EvaluationPlan
from fieval_tasks.preparation import Prepared, prepared
from fieval_tasks.store import Decided

FRAME = pd.DataFrame(
    {"question": ["What is 2 + 2?", "Name a colour.", "Name a city."], "answer": ["2 + 2 is 4.", None, "Paris."]},
    index=["a", "b", "c"],
)
NOON = datetime(2026, 8, 1, 12, tzinfo=timezone.utc)
NAMES = ["value", "score", "passed", "reason", "error"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


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
            assert found.ledger.counts(run)[State.SUBMITTED] == 2
    finally:
        rmtree(Path(store.removeprefix("sqlite:///")).parent)


def test_a_verdict_without_a_usable_score_is_told_to_whoever_takes_the_mean(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def judged(run: Prepared) -> None:
        odd = Scored(27.3, None, None, "of another scale", 1.0)
        run.ledger.apply(
            run.run.run_id, [Decided(0, Scored(0.5, 0.5, None, "so so", 1.0), NOON), Decided(2, odd, NOON)]
        )

    monkeypatch.setattr("fieval_tasks.dataframe.work_on", judged)
    scored = evaluate_dataframe(FRAME, "completeness", connection="local")
    assert scored.loc["c", ["completeness.value", "completeness.score"]].tolist() == [27.3, None]
    assert "completeness: 1 of 2 verdicts has no score from 0 to 1; the mean is of the others only" in caplog.text


def test_nothing_is_left_behind_without_a_store_but_the_local_evaluators_jobs() -> None:
    evaluate_dataframe(FRAME, "completeness", connection="local")
    assert {p.name.partition(".")[0] for p in Path().rglob("*") if p.is_file()} <= {"local"}
