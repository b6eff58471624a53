"""A run's budget in figures and sentences: what it has cost, and whether its hard ends are reached."""

from __future__ import annotations

from collections import Counter

from fieval_tasks.report.summary import Cost
from fieval_tasks.runs.preparation import Kept


def cost_of(kept: Kept) -> Cost | None:
    """What the run has cost so far, at the worst; None where the plan has no prices."""
    if not kept.plan.prices:
        return None  # without a look at the ledger
    judges = {check.name: check.model for check in kept.run.checks}
    by_model: Counter[str | None] = Counter()
    for check, n in kept.ledger.spent(kept.run_id).items():
        by_model[judges.get(check)] += n
    return Cost.of(by_model, kept.plan.prices, judges.values())


def end_reached(kept: Kept) -> str | None:
    """A sentence on the hard end that keeps items from being sent, with the command that goes on; None where none does."""
    if not (ends := kept.ends_reached):
        return None
    total = kept.book.count_unsent()
    items = "item was" if total == 1 else "items were"
    reached = " and ".join(f"{end.option} {end.bound}" for end in ends)
    return f"the end set by {reached} is reached, and {total:,} {items} not sent; to go on: {kept.next_command}"
