"""Reading a flow's parameters, from Python or from Prefect's form, as a plan.

Flows that use it set `validate_parameters=False`, because Prefect's own validation logs the values that it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import EvaluationPlan, unfolded
from fieval_tasks.core.refusals import spelled
from fieval_tasks.on_prefect.keys import plan_with


def plan_given(plan: object, credentials: object = None) -> EvaluationPlan:
    """The plan with the name of the keys to use. Raises PlanError, whose sentences name the parameters."""
    return plan_with(credentials, plan if isinstance(plan, EvaluationPlan) else _read(plan))


def _read(plan: object) -> EvaluationPlan:
    try:
        return _without_defaults(EvaluationPlan.model_validate(plan), unfolded(plan))
    except PlanError as error:
        lines = (spelled(problem, EvaluationPlan, lambda place: f"plan.{place}") for problem in error.problems)
        raise PlanError(*(line if line.startswith("plan.") else f"plan: {line}" for line in lines)) from None


def _without_defaults(plan: EvaluationPlan, given: object) -> EvaluationPlan:
    """A plan that resumes a run, without the defaults that a form sends for every field that it shows."""
    if not plan.resume or not isinstance(given, Mapping):
        return plan
    unsaid = {name for name in given if given[name] == ""}
    if given.keys() >= SHOWN:
        unsaid |= {name for name, default in EvaluationPlan() if getattr(plan, name) == default}
    return EvaluationPlan(**{name: getattr(plan, name) for name in plan.model_fields_set - unsaid})


def in_parameters(text: str) -> str:
    """A message with options of the command line replaced by parameters: `--map input=q` by `plan.mapping {"input": "q"}`."""
    for option, field in _OPTIONS:
        text = option.sub(field, text)
    return text


_OPTIONS: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"--map '([\w.…-]+)=([^']+)'"), r'plan.mapping {"\1": "\2"}'),
    (re.compile(r"--map ([\w.…-]+)=([^\s:;,)]+)"), r'plan.mapping {"\1": "\2"}'),
    (re.compile(r"--map\b"), "plan.mapping"),
    (re.compile(r"--param ([\w.-]+)=(\w+)"), r'plan.checks [{"params": {"\1": \2}}]'),
    (re.compile(r"--param\b"), "plan.checks.params"),
    (re.compile(r"--check (\w+)=([\w./-]+)"), r'plan.checks [{"name": "\1", "template": "\2"}]'),
    (re.compile(r", or --model MODEL for every check"), ""),
    (re.compile(r"--template ([\w./-]+):([\w./-]+)"), r'plan.checks [{"template": "\1", "model": "\2"}]'),
    (re.compile(r"--template ([\w./-]+)"), r'plan.checks [{"template": "\1"}]'),
    (re.compile(r"--id (?=[^\s-])"), "plan.id_column "),
    (re.compile(r"--good ([\w.-]+)=([\w,]+)"), r'plan.good {"\1": "\2"}'),
    (re.compile(r"--gate (?=[^:]+: column )"), "plan.gates, "),
    (
        re.compile(
            r"--(connection|timeout|limit|format|delimiter|rows|keep|base-url|baseline|confidence|on-lost-reply|on-stuck)\b"
        ),
        lambda option: f"plan.{option[1].replace('-', '_')}",
    ),
]
"""Option in a message -> parameter. Whole commands in messages stay: they are for a terminal."""

SHOWN = {"mode", "seed", "concurrency", "item_timeout", "retry_failed"}
"""Fields that Prefect's form sends with their defaults; a plan that has all of them comes from a form."""
