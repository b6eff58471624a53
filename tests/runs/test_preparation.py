"""A run is prepared once, whoever asks for it meanwhile, and carried on under its own plan."""

from __future__ import annotations

import pytest

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import EvaluationPlan, Mode
from fieval_tasks.runs.continuing import Continuation
from fieval_tasks.runs.preparation import prepared
from fieval_tasks.runs.run_tuning import RunTuning


def test_a_run_that_is_open_is_taken_over_and_stays_open() -> None:
    with prepared(EvaluationPlan()) as run:
        with prepared(run.to_carry_on) as taken_over:
            assert taken_over is run
        assert run.ledger.run(run.run_id) == run.run


def test_under_another_plan_it_is_opened_anew() -> None:
    with prepared(EvaluationPlan()) as run, prepared(Continuation(run.run_id, said={"concurrency": 3})) as again:
        assert (again.run_id, again.plan.concurrency) == (run.run_id, 3)
        assert again.ledger is not run.ledger


def test_what_a_continuation_says_goes_before_what_the_run_began_with_and_nothing_else_changes() -> None:
    with prepared(EvaluationPlan(rate="5/s", concurrency=7, mode=Mode.SYNC)) as run:
        begun = run.plan
    with prepared(EvaluationPlan(resume="last", rate="9/s")) as again:
        assert again.plan == begun.model_copy(update={"rate": "9/s", "resume": run.run_id, "connection": "local"})
    with pytest.raises(PlanError, match="begun with another limit"), prepared(EvaluationPlan(resume="last", limit=2)):
        pass


@pytest.mark.parametrize(
    ("total", "processes", "size"),
    [(1, 1, 20), (1_000, 1, 63), (1_000, 10, 20), (40_000, 1, 500), (1_000_000, 1, 6_667)],
)
def test_a_run_has_enough_chunks_to_share_and_never_more_than_prefect_records(
    total: int, processes: int, size: int
) -> None:
    assert RunTuning().chunk_size(total, processes) == size
