"""An evaluation that is triggered in one flow and waited for in another, on any machine that shares the ledger."""

from __future__ import annotations

from typing import Any

from prefect import flow

from fieval_tasks.blocks import EvaluationJob, EvaluationRun
from fieval_tasks.core.plan import EvaluationPlan


@flow
def begin(job: str) -> str:
    """Submit everything and end; the name of the run, which is all that the other flow needs."""
    return EvaluationJob.load(job).trigger().run_id


@flow
def finish(run_id: str) -> dict[str, Any]:
    run = EvaluationRun(run_id)
    run.wait_for_completion()
    return run.fetch_result()


if __name__ == "__main__":
    EvaluationJob(plan=EvaluationPlan(limit=10, connection="local")).save("first-ten-of-the-sample", overwrite=True)
    print(finish(begin("first-ten-of-the-sample"))["items"])
