"""A run at work is told of in its own flow run's log and artifacts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from fieval_tasks.core.progress import Progress
from fieval_tasks.on_prefect.times import PrefectTimes
from tests.flows.test_evaluate import ROWS, dataset, evaluated, plan_of


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def at(settled: int, *, failed: int = 0, waiting: int = 0, total: int = 500, paused: bool = False) -> Progress:
    return Progress(total=total, scored=settled - failed, failed=failed, waiting=waiting, paused=paused)


def told(shown: list[tuple[float, Progress]]) -> list[str]:
    """The lines that come of what is shown at so many seconds after the beginning."""
    from fieval_tasks.on_prefect.showing import ProgressLog

    clock, lines = Clock(), []
    log = ProgressLog(lines.append, clock)
    for seconds, progress in shown:
        clock.now = 1000.0 + seconds
        log.note(progress)
    return lines


def test_a_line_has_the_counts_the_rate_and_the_time_left(prefect_home: object) -> None:
    assert told([(0, at(0)), (30, at(90)), (60, at(240, failed=3, waiting=60)), (80, at(300))]) == [
        "240 of 500 items settled, 3 of them failed; 60 wait for a verdict; 4 a second, about 1 min 5 s left"
    ]


def test_no_line_is_written_where_nothing_has_changed_and_the_next_change_is_told_at_once(prefect_home: object) -> None:
    assert told([(0, at(0)), (70, at(0)), (300, at(0)), (301, at(0, waiting=1)), (302, at(1))]) == [
        "0 of 500 items settled; 1 waits for a verdict"
    ]


def test_a_day_is_told_in_few_lines_and_its_first_minutes_in_one_each(prefect_home: object) -> None:
    day = [(float(second), at(second, total=100_000)) for second in range(86_400)]
    assert len(told(day[:600])) == 9
    assert 60 < len(told(day)) < 160


def test_a_pause_is_told_as_what_it_is(prefect_home: object) -> None:
    assert "nothing more is submitted" in told([(0, at(0)), (61, at(1, paused=True))])[0]


def test_the_runs_own_flow_run_has_the_progress_and_the_lines_though_a_subflow_waits_for_the_verdicts(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType

    monkeypatch.setattr("fieval_tasks.on_prefect.showing.TIMES", PrefectTimes(line_every=0.0))
    caplog.set_level(logging.INFO)
    state = evaluated(plan_of(dataset=dataset(workplace, ROWS), run="shown", rate="5/s"))
    run_id = state.state_details.flow_run_id
    with get_client(sync_client=True) as client:
        mine = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]), type=ArtifactFilterType(any_=["progress"])
        )
        [progress] = client.read_artifacts(artifact_filter=mine)
    assert (progress.key, float(str(progress.data))) == ("fieval-answers-jsonl-progress", 100.0)
    lines: list[Any] = [record for record in caplog.records if "of 6 items settled" in record.getMessage()]
    assert lines
    assert {record.flow_run_id for record in lines} == {str(run_id)}
