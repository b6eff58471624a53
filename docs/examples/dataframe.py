"""Answers of your own application, evaluated inside of a task of your own flow."""

from __future__ import annotations

import pandas as pd
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from fieval_tasks.dataframe import evaluate_dataframe


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


@task(cache_policy=NO_CACHE)  # a verdict is bought anew each time; the ledger, not Prefect's cache, keeps it
def evaluated(answers: pd.DataFrame) -> pd.DataFrame:
    return evaluate_dataframe(answers, ["groundedness", "completeness"], connection="local")


@flow
def check_todays_answers() -> list[str]:
    """The questions whose answers are not grounded, or could not be judged: an error is never a pass."""
    answers = evaluated(todays_answers())
    return [str(question) for question in answers.loc[answers["groundedness.passed"] != True, "question"]]  # noqa: E712


if __name__ == "__main__":
    print(check_todays_answers())
