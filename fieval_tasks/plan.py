"""What is evaluated and how, for other programs: see `fieval_tasks`."""

from fieval_tasks.core.plan import Check, EvaluationPlan, Mode

__all__ = ["Check", "EvaluationPlan", "Mode"]

if __name__ == "__main__":  # into docs/plan.schema.json
    from fieval_tasks.data.plan_schema import as_json

    print(as_json(), end="")
