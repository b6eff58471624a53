"""What a flow was given, read as the plan it means.

Flows that use it set `validate_parameters=False`, for Prefect's own reading writes all that it was given into the log.
"""

from __future__ import annotations

from collections.abc import Mapping

from fieval_tasks.blocks import plan_with
from fieval_tasks.errors import PlanError
from fieval_tasks.plan import EvaluationPlan
from fieval_tasks.refusals import spelled


def plan_given(plan: object, credentials: object = None) -> EvaluationPlan:
    """The plan, from Python or from a form, with the name of the keys to use. Raises PlanError, naming parameters."""
    return plan_with(credentials, plan if isinstance(plan, EvaluationPlan) else _read(plan))


def _read(plan: object) -> EvaluationPlan:
    try:
        return _without_defaults(EvaluationPlan.model_validate(plan), plan)
    except PlanError as error:
        told = (spelled(problem, EvaluationPlan, lambda place: f"plan.{place}") for problem in error.problems)
        raise PlanError(*(line if line.startswith("plan.") else f"plan: {line}" for line in told)) from None


def _without_defaults(plan: EvaluationPlan, given: object) -> EvaluationPlan:
    """What a form sends of a plan only because it shows it says nothing about a run that is resumed."""
    if not plan.resume or not isinstance(given, Mapping):
        return plan
    unsaid = {name for name in given if given[name] == ""}
    if given.keys() >= SHOWN:
        unsaid |= {name for name, default in EvaluationPlan() if getattr(plan, name) == default}
    return EvaluationPlan(**{name: getattr(plan, name) for name in plan.model_fields_set - unsaid})


SHOWN = {"mode", "seed", "concurrency", "item_timeout", "retry_failed"}
"""Prefect's form fills these in, each with its default. Whoever writes a plan by hand does not write all of them."""
