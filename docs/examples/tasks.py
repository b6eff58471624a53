"""The steps of an evaluation as tasks of a flow of your own."""

from __future__ import annotations

from prefect import flow

from fieval_tasks.core.plan import Check, EvaluationPlan
from fieval_tasks.tasks import poll, publish, submit


@flow
def pass_rate_of(dataset: str, template: str, connection: str = "local") -> float | None:
    """The share of a dataset's rows that pass a template, of those that could be judged."""
    plan = EvaluationPlan(dataset=dataset, checks=(Check(template=template),), connection=connection)
    run = submit(plan)  # what is wrong with the plan is said before anything is sent; the run's name comes back
    poll(run)  # until each item has its verdict: here, or later in another flow, process or machine
    summary = publish(run)  # the report as artifacts in the UI, beside the files in fieval-runs/RUN/
    return summary["checks"][template]["pass_rate"]


if __name__ == "__main__":
    import sys

    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python tasks.py DATASET TEMPLATE [CONNECTION], such as answers.csv groundedness")
    print(pass_rate_of(*sys.argv[1:]))
