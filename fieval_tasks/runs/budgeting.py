"""A run's budget in figures and sentences: what it has cost, and whether its hard ends are reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction

from fieval_tasks.core.budget import Budget, written
from fieval_tasks.core.commands import command
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
    budget = kept.budget
    if not budget.is_bounded:
        return None
    sent = kept.ledger.spent(kept.run_id)
    left = {check: n for check in sent if (n := kept.book.count_unsent(check=check))}
    if all(budget.room(sent, check, 1) for check in left):
        return None
    total = sum(left.values())
    ends, words = [], []
    for option, bound, wanted in _ends(budget, sent, left):
        ends.append(f"{option} {bound}")
        words += [option, wanted]
    items = "item was" if total == 1 else "items were"
    again = command("evaluate", "--resume", kept.run_id, *words, store=kept.store)
    return f"the end set by {' and '.join(ends)} is reached, and {total:,} {items} not sent; to go on: {again}"


def _ends(budget: Budget, sent: dict[str, int], left: dict[str, int]) -> Iterable[tuple[str, str, str]]:
    """Option, its bound, and the bound that would do for all that is left if nothing is sent twice: for each end that is near."""
    after = Counter(sent) + Counter(left)
    if budget.evaluations is not None and after.total() > budget.evaluations:
        yield "--max-items", str(budget.evaluations), str(after.total())
    if budget.cost is not None and budget.cost_of(after) > budget.cost:
        yield "--max-cost", _plain(budget.cost), _plain(budget.cost_of(after))


def _plain(exact: Fraction) -> str:
    return written(exact).replace(",", "")
