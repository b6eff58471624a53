"""A run of the ledger is carried on: under its own plan, with what is said differently this time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.gates import gate_problems
from fieval_tasks.core.plan import EvaluationPlan, Mode
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs import belonging
from fieval_tasks.runs.beginning import require_writable
from fieval_tasks.runs.connections import Connection, Openers, connection

SETTLED = (
    "dataset", "format", "delimiter", "rows", "checks", "mapping", "id_column", "limit", "sample", "seed", "sharing",
    "chunk_size", "keep",
)  # fmt: skip
"""Fields of a plan that can't change once its run has begun: they decided what its items are."""


@dataclass(frozen=True)
class Continuation:
    """A run that is to be carried on."""

    run: str
    """Its name, or `last`."""
    store: str | None = None
    """The ledger that holds it, as for a plan."""
    said: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a plan, which go before what the run began with."""
    retry_failed: bool = False
    """Its failed items get another chance."""
    same_account: bool = False
    """The keys or the address are new, and the account is the one that the run began with."""

    @classmethod
    def from_plan(cls, plan: EvaluationPlan) -> Continuation:
        """What is asked for by a plan that names a run to resume."""
        said = plan.model_dump(include=plan.model_fields_set, exclude_none=True)
        return cls(plan.resume or "last", plan.store, said, plan.retry_failed, plan.same_account)


def carry_on(
    wanted: Continuation, ledger: Ledger, openers: Openers
) -> tuple[Run, EvaluationPlan, Connection, tuple[str, ...]]:
    """The run, the whole plan it goes on with, the way to its server, and what of `wanted` is not done as it was said.

    Raises PlanError where there is no such run, it can't change as it is to, or it belongs to another account.
    """
    run = ledger.run(wanted.run)
    said = dict(wanted.said)
    notes: tuple[str, ...] = ()
    if said.get("mode") == Mode.AUTO:
        del said["mode"]
        notes = (f"mode: auto was decided when the run began, and it stays {run.mode}",)
    plan = EvaluationPlan.model_validate({**run.plan, "store": wanted.store, **said, "resume": run.run_id})
    _require_the_same_items(run, plan)
    if "output" in said:
        require_writable(plan)
    way = connection(plan, openers)
    # Before anything of the run is changed: who has other keys can't even reopen its failed items.
    if wanted.same_account:
        belonging.move(ledger, run, way.account)
    else:
        belonging.require_same(run, way.account, store=ledger.name if wanted.store else None)
    book = ledger.book(run.run_id)
    if wanted.retry_failed:
        book.reopen_failed()
    if plan.mode is Mode.SUBMIT and "mode" not in said and not book.unsent_chunks():
        plan = plan.model_copy(update={"mode": Mode.ASYNC})  # all that is left to do is to ask
    return ledger.run(run.run_id), plan, way, notes


def _require_the_same_items(run: Run, plan: EvaluationPlan) -> None:
    """Raises PlanError where the plan means other items than the run has, or gates of checks that it has not."""
    begun = EvaluationPlan.model_validate({name: run.plan[name] for name in SETTLED if name in run.plan})
    if changed := [name for name in SETTLED if getattr(plan, name) != getattr(begun, name)]:
        raise PlanError(
            f"run {run.run_id} was begun with another {' and '.join(changed)}: leave that out, or start anew"
        )
    if unfit := [*gate_problems(plan.gates, {check.name: check.output for check in run.checks})]:
        raise PlanError(*unfit)
