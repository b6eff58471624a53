"""Fields of a plan that don't go together, and what to do about each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_DISAGREEMENTS: tuple[tuple[Callable[[Any], object], str], ...] = (  # of an EvaluationPlan, whose module asks this one
    (
        lambda plan: plan.retry_failed and not plan.resume,
        "retry_failed: needs resume, the run whose failed items are to be tried again",
    ),
    (
        lambda plan: plan.same_account and not plan.resume,
        "same_account: needs resume, the run whose keys or address are new",
    ),
    (
        lambda plan: plan.stop_when_decided and not (plan.gates or plan.resume),
        "stop_when_decided: needs a gate to be decided, such as groundedness.pass_rate >= 0.95",
    ),
    (
        lambda plan: plan.stop_when_decided and plan.mode == "submit",
        "stop_when_decided: mode submit waits for no verdict, so nothing would be decided; take async",
    ),
    (
        lambda plan: plan.stop_when_decided and plan.repeats > 1,
        "stop_when_decided counts one verdict of each row, and repeats asks for more: leave one of them out",
    ),
    (
        lambda plan: plan.stratify and not (plan.sample or plan.precision),
        "stratify: needs sample or precision, by which rows are drawn in the shares of that column",
    ),
    (
        lambda plan: plan.audit and plan.repeats > 1,
        "audit judges a part twice, and repeats all of it more than once: leave one of them out",
    ),
    (
        lambda plan: plan.reuse and not plan.sharing,
        "reuse would give all copies of a row one earlier verdict, and no sharing asks for one each: leave one of them out",
    ),
    (
        lambda plan: plan.baseline_max_age and not plan.baseline,
        "baseline_max_age: needs baseline, what the run is compared with",
    ),
    (
        lambda plan: plan.run and plan.resume not in (None, plan.run),
        "run names a new run and resume is one to carry on: leave one of them out",
    ),
)
"""A test of a plan, and the sentence where it is met."""


def disagreements(plan: Any) -> list[str]:
    """A sentence for each, of an EvaluationPlan."""
    return [sentence for is_met, sentence in _DISAGREEMENTS if is_met(plan)]
