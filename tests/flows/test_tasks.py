"""The tasks that stand alone, in a flow of a user's own."""

from __future__ import annotations

import asyncio
import re
import runpy
import threading
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from fieval_tasks.core.errors import Interrupted, PlanError
from fieval_tasks.core.plan import Mode
from fieval_tasks.ledger.store import Ledger
from tests.conftest import PATIENCE
from tests.flows.test_evaluate import ROWS, dataset, lines, plan_of, summary
from tests.platform import Platform
from tests.work.test_engine import a_run

GUIDE = Path(__file__).parents[2] / "docs" / "prefect.md"


def test_the_flow_in_the_guide_runs_as_it_stands(workplace: Path) -> None:
    [code] = [block for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL) if "my_eval" in block]
    Path("mine.py").write_text(code, encoding="utf-8")
    Path("answers.csv").write_text("question,answer,docs\nWhat?,A lamp.,It is a lamp.\nWhere?,Far away.,Here.\n")
    assert runpy.run_path("mine.py")["my_evaluation"]() == 0.5


def test_a_run_is_shown_as_it_stands_before_and_after_its_verdicts_have_come(workplace: Path) -> None:
    from prefect import flow

    from fieval_tasks.tasks import poll, publish, submit

    @flow
    def mine() -> tuple[Any, Any, Any]:
        run = submit(plan_of(dataset=dataset(workplace, ROWS), run="mine", gates=("failures == 0",)))
        return publish(run), poll(run), publish(run)

    before, left, after = mine()
    assert (before["items"]["pending"], before["gates"][0]["verdict"]) == (6, "UNDECIDED")
    assert left == 0
    assert (after["items"]["scored"], after["gates"][0]["verdict"], after["exit_code"]) == (6, "PASS", 0)
    shown, written = ({**figures, "finished_at": None} for figures in (after, summary("mine")))
    assert shown == written
    assert len(lines("mine")) == 6
    assert artifacts("fieval-answers-jsonl-") >= {f"fieval-answers-jsonl-{what}" for what in ("summary", "worst-rows")}


def test_each_run_of_a_deployment_is_a_version_of_the_same_artifacts(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    from flows.evaluate import evaluate

    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__NAME", "Every night!")
    for run, rows in (("one", "a.jsonl"), ("two", "b.jsonl")):
        assert evaluate(plan_of(dataset=dataset(workplace, ROWS, rows), run=run), return_state=True).is_completed()
    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["fieval-every-night-summary"]))
        found = client.read_artifacts(artifact_filter=wanted)
    assert sorted(str(artifact.description)[:4] for artifact in found) == ["one:", "two:"]


@pytest.mark.filterwarnings("ignore:Logger 'prefect.task_runs':UserWarning")
def test_a_task_that_is_called_outside_of_a_flow_does_its_work_and_says_where_it_belongs(
    workplace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from fieval_tasks.tasks import submit

    assert submit(plan_of(dataset=dataset(workplace, ROWS), run="alone")) == "alone"
    assert [r.levelname for r in caplog.records if "call it in a function with Prefect's @flow" in r.getMessage()] == [
        "WARNING"
    ]


def artifacts(beginning: str) -> set[str | None]:
    """The keys that begin so. (Unfiltered, the server tells of any 200 that the session has left on it.)"""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(like_=f"{beginning}%"))
        return {artifact.key for artifact in client.read_artifacts(artifact_filter=wanted)}


def test_a_wrong_plan_is_an_exception_before_anything_is_sent(workplace: Path) -> None:
    from prefect import flow

    from fieval_tasks.tasks import submit

    @flow
    def mine() -> str:
        return submit(plan_of(dataset=dataset(workplace, ROWS), checks=[{"template": "groundednes"}]))

    with pytest.raises(PlanError, match="groundedness"):
        mine()


def test_a_stop_ends_the_pause_before_a_chunks_next_try_at_once(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import flow
    from prefect.task_runners import ThreadPoolTaskRunner

    from fieval_tasks.pace.pace_tuning import PaceTuning
    from fieval_tasks.work.engine import Engine
    from fieval_tasks.work.options import Options
    from fieval_tasks.work.work_tuning import WorkTuning
    from flows.evaluate import sent, start_submitting

    monkeypatch.setattr("fieval_tasks.tasks.TUNING", WorkTuning(chunk_rests=3_600.0))
    resting = threading.Event()

    def rest(self: Engine, seconds: float) -> None:
        resting.set()
        self._done(partial(asyncio.sleep, seconds))

    monkeypatch.setattr(Engine, "rest", rest)
    platform = Platform(trouble=lambda *_: httpx.ConnectError("refused"))

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=4))  # type: ignore[arg-type]
    def mine() -> None:
        with Ledger(f"sqlite:///{workplace / 'ledger.db'}") as ledger:
            run = a_run(ledger, ["one", "two"], chunk_size=1)
            work = WorkTuning(pause=lambda faults: 0.001)
            quickly = Options(mode=Mode.SUBMIT, pace_tuning=PaceTuning(longest_away_pause=0.001), work_tuning=work)
            with Engine(run, ledger, platform.client, quickly) as engine:
                submissions = start_submitting(run.run_id, engine.to_submit())
                assert resting.wait(timeout=PATIENCE)
                engine.stop(Interrupted("a worker's SIGTERM"), hurry=True)
                for submission in submissions:
                    sent(submission)

    with pytest.raises(Interrupted, match="a worker's SIGTERM"):
        mine()


def test_a_chunk_of_a_run_that_somebody_stopped_is_cancelled_and_no_error(workplace: Path) -> None:
    from fieval_tasks.runs.preparation import prepared
    from fieval_tasks.tasks import submit_chunk

    late: Any = submit_chunk.fn(0, "gone")
    assert late.is_cancelled()
    assert late.message == "run gone had stopped before this began; nothing of it was sent"
    with prepared(plan_of(dataset=dataset(workplace, ROWS), run="stopped")) as run, run.engine() as engine:
        engine.stop(Interrupted("suspended in Prefect"))
        ended: Any = submit_chunk.fn(0, "stopped")
        assert (ended.is_cancelled(), ended.message) == (True, "suspended in Prefect")
