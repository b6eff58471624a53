"""The steps of a run, put together in a flow of your own."""

from __future__ import annotations

from time import monotonic

from prefect import flow, get_run_logger, unmapped
from prefect.task_runners import ThreadPoolTaskRunner

from fieval_tasks.conclusion import Ended, conclude
from fieval_tasks.plan import Check, EvaluationPlan
from fieval_tasks.preparation import prepared
from fieval_tasks.report.artifacts import publish
from fieval_tasks.tasks import submit
from flows.poll import poll_evaluations


@flow(task_runner=ThreadPoolTaskRunner(max_workers=4), persist_result=False)  # type: ignore[arg-type]
def pass_rate_of(dataset: str, template: str, connection: str = "local") -> float | None:
    """The share of a dataset's rows that pass a template, of those that could be judged."""
    plan = EvaluationPlan(dataset=dataset, checks=(Check(template=template),), connection=connection)
    began = monotonic()
    with prepared(plan) as run:  # everything that is wrong with the plan is said here, before anything is sent
        with run.engine() as engine:
            submit.map(engine.to_submit(), run_id=unmapped(run.run.run_id)).result()  # one task run for each chunk
            poll_evaluations(run.run.run_id)  # a subflow, with live progress
            ended = Ended(notices=engine.notices)
        outcome = conclude(run, ended, seconds=monotonic() - began)  # the files in fieval-runs/RUN/
        publish(outcome.report, run.folder)  # the artifacts in the UI
    get_run_logger().info(outcome.message)
    return outcome.report.summary.checks[template].pass_rate


if __name__ == "__main__":
    import sys

    print(pass_rate_of(*sys.argv[1:]))
