"""Answers of your own application, evaluated in a flow of your own."""

from __future__ import annotations

import pandas as pd
from prefect import flow, task

from fieval_tasks.tasks import evaluate_dataframe


@task
def todays_answers() -> pd.DataFrame:
    """Stands for a query of yours."""
    return pd.DataFrame(
        {
            "question": ["What is the capital of France?", "Is there parking?"],
            "answer": ["The capital of France is Paris.", "Yes, and a helipad."],
            "docs": ["Paris is the capital of France.", "There is parking behind the shop."],
        }
    )


@flow
def check_todays_answers() -> list[str]:
    """The questions whose answers are not grounded, or could not be judged: an error is never a pass."""
    answers = evaluate_dataframe(todays_answers(), ["groundedness", "completeness"], connection="local")
    return [str(question) for question in answers.loc[answers["groundedness.passed"] != True, "question"]]  # noqa: E712


if __name__ == "__main__":
    print(check_todays_answers())
