"""A DataFrame's rows put to checks, for other programs: see `fieval_tasks`."""

from fieval_tasks.runs.dataframe import evaluate_dataframe

__all__ = ["evaluate_dataframe"]
