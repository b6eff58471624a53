"""Evaluations of LLM answers, by the thousand: what other programs may import stands here, and stays.

Each name is imported when it is asked for, so that a command that needs little of it starts quickly.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fieval_tasks.api.client import Credentials, EvalClient
    from fieval_tasks.core.errors import ApiError, ExitCode, FievalError, PlanError, RunStopped
    from fieval_tasks.core.items import Failed, Pending, Scored
    from fieval_tasks.core.plan import Check, EvaluationPlan, Mode
    from fieval_tasks.dataframe import evaluate_dataframe
    from fieval_tasks.runs.frames import results, runs

__all__ = [
    "ApiError",
    "Check",
    "Credentials",
    "EvalClient",
    "EvaluationPlan",
    "ExitCode",
    "Failed",
    "FievalError",
    "Mode",
    "Pending",
    "PlanError",
    "RunStopped",
    "Scored",
    "evaluate_dataframe",
    "results",
    "runs",
]

_HOMES = {
    "fieval_tasks.api.client": ("Credentials", "EvalClient"),
    "fieval_tasks.core.errors": ("ApiError", "ExitCode", "FievalError", "PlanError", "RunStopped"),
    "fieval_tasks.core.items": ("Failed", "Pending", "Scored"),
    "fieval_tasks.core.plan": ("Check", "EvaluationPlan", "Mode"),
    "fieval_tasks.dataframe": ("evaluate_dataframe",),
    "fieval_tasks.runs.frames": ("results", "runs"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
