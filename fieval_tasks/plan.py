"""What is evaluated and how, for other programs: see `fieval_tasks`."""

from fieval_tasks.core.plan import Check, EvaluationPlan, Mode

__all__ = ["Check", "EvaluationPlan", "Mode"]
