"""Carrying on a run of the ledger, under its recorded plan with the fields that this call overrides."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fieval_tasks.core.budget import budget_problems
from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.gates import Gate, gate_problems
from fieval_tasks.core.plan import EvaluationPlan, Mode
from fieval_tasks.core.scales import Offer, choice_problems, good_of
from fieval_tasks.core.templates import bundled_catalogue
from fieval_tasks.ledger.book import Book
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs import belonging
from fieval_tasks.runs.baselines import COMPARING, require_comparable
from fieval_tasks.runs.calibrating import checked_labels, record, require_labels
from fieval_tasks.runs.connections import Connection, Openers, connection_of
from fieval_tasks.runs.outline import require_writable, with_sinks
from fieval_tasks.runs.segments import require_recorded, segments_in

SETTLED = (
    "dataset", "format", "delimiter", "rows", "checks", "mapping", "id_column", "where", "limit", "sample", "precision",
    "stratify", "seed", "sharing", "reuse", "repeats", "audit", "chunk_size", "keep", "cluster",
)  # fmt: skip
"""Fields of a plan that can't change once its run has begun, because they determine its items."""


@dataclass(frozen=True)
class Continuation:
    """A run that is to be carried on."""

    run: str
    """Its name, or `last`."""
    store: str | None = None
    """The ledger that holds it, as for a plan."""
    said: Mapping[str, Any] = field(default_factory=dict)
    """Plan fields that override the recorded ones."""
    retry_failed: bool = False
    """Also send the failed items again."""
    same_account: bool = False
    """The keys or the address are new, and belong to the account that the run began with."""

    @classmethod
    def from_plan(cls, plan: EvaluationPlan) -> Continuation:
        """The continuation that a plan with `resume` asks for."""
        said = plan.model_dump(include=plan.model_fields_set, exclude_none=True)
        return cls(plan.resume or "last", plan.store, said, plan.retry_failed, plan.same_account)


def carry_on(
    wanted: Continuation, ledger: Ledger, openers: Openers
) -> tuple[Run, EvaluationPlan, Connection, tuple[str, ...]]:
    """The run, its whole plan, its connection, and notes on settings of `wanted` that do not apply.

    Raises PlanError where there is no such run, a setting can't change any more, or the run belongs to another account.
    """
    run = ledger.run(wanted.run)
    said = {name: value for name, value in wanted.said.items() if name != "to" or value}  # forms send an empty one
    notes: tuple[str, ...] = ()
    if said.get("mode") == Mode.AUTO:
        del said["mode"]
        notes = (f"mode: auto was decided when the run began, and it stays {run.mode}",)
    plan = EvaluationPlan.model_validate({**run.plan, "store": wanted.store, **said, "resume": run.run_id})
    if "good" in said:
        run = _with_good(run, plan)
    plan, old = _checked(run, plan, ledger, said)
    connection = connection_of(plan, openers)
    # Before anything of the run is changed: with another account's keys not even its failed items are reopened.
    if wanted.same_account:
        belonging.move(ledger, run, connection.account)
    else:
        belonging.require_same(run, connection.account, store=ledger.name if wanted.store else None)
    if "to" in said:  # whoever collects late verdicts takes them there, too
        run = replace(run, plan={**run.plan, "to": [*plan.to]})
    if not {"good", "to"}.isdisjoint(said):
        ledger.amend(run)
    plan = _with_labels(run, plan, ledger, connection)
    book = ledger.book(run.run_id)
    if wanted.retry_failed:
        _reopen_failed(book, run, plan)
    if not plan.stop_when_decided:
        book.draws.take_back_in()
        if run.plan.get("stop_when_decided"):
            notes = (*notes, "with --no-stop-when-decided that end is given up: the rows that are left are sent, too")
    if plan.mode is Mode.SUBMIT and "mode" not in said and not book.unsent_chunks():
        plan = plan.model_copy(update={"mode": Mode.ASYNC})  # everything is sent, so verdicts can only be asked for
    return ledger.run(run.run_id), plan, connection, (*notes, *old)


def _checked(
    run: Run, plan: EvaluationPlan, ledger: Ledger, said: Collection[str]
) -> tuple[EvaluationPlan, tuple[str, ...]]:
    """The plan with its baseline named for good, and notes on that. Raises PlanError for what can't change any more.

    `said`: the fields that this call overrides.
    """
    _require_the_same_items(run, plan)
    if "gates" in said and (on_segments := [text for text, _ in segments_in(plan.gates)]):
        traits = (result.traits or {} for result in ledger.book(run.run_id).results())
        require_recorded(traits, on_segments, run.run_id)
    _require_the_same_question(run, plan)
    old: tuple[str, ...] = ()
    is_asked = "gates" in said and any(Gate.parse(text).metric in COMPARING for text in plan.gates)
    if plan.baseline is not None and (is_asked or plan.baseline != run.plan.get("baseline")):
        plan, _, old = require_comparable(run, plan, ledger)
    if "output" in said:
        require_writable(plan)
    doubts: tuple[str, ...] = ()
    if "to" in said:
        plan, doubts = with_sinks(plan, run, is_new=False)
    return plan, (*old, *doubts)


def _with_labels(run: Run, plan: EvaluationPlan, ledger: Ledger, connection: Connection) -> EvaluationPlan:
    """The plan without its labels, which the ledger has from now on. Raises PlanError where they are worth nothing."""
    at_server = replace(run, address=run.address or connection.account.address)
    given = checked_labels(ledger, plan, at_server)
    if given is not None or tuple(run.plan.get("gates", ())) != plan.gates:  # a collector asks for nothing new
        require_labels(ledger, plan, at_server, given)
    if given is None:
        return plan
    record(ledger, run.run_id, given)
    return plan.model_copy(update={"labels": None})


def _reopen_failed(book: Book, run: Run, plan: EvaluationPlan) -> None:
    """Reopen the failed items. Of a run that is decided nothing else is sent, unless they are what had decided it."""
    if not plan.stop_when_decided:
        book.reopen_failed()
        return
    from fieval_tasks.runs.drawn import Drawn  # it brings scipy, which takes a second

    if Drawn(run, plan, book.draws).look():
        book.draws.leave_out()  # a process that was killed had not come to it
    book.reopen_failed()
    if not Drawn(run, plan, book.draws).look():
        book.draws.take_back_in()


def _require_the_same_question(run: Run, plan: EvaluationPlan) -> None:
    """Raises PlanError where a run would stop early for what was not fixed before its first verdict."""
    if not plan.stop_when_decided:
        return
    if not run.plan.get("stop_when_decided"):
        raise PlanError(
            f"run {run.run_id} was begun without --stop-when-decided, so its rows are in no random order and say nothing of "
            f"those that are left: leave it out, or start anew"
        )
    begun = EvaluationPlan.model_validate({**run.plan, "resume": run.run_id})
    if changed := [
        name for name in ("gates", "confidence", "good") if getattr(plan, name, None) != getattr(begun, name, None)
    ]:
        raise PlanError(
            f"run {run.run_id} stops when its gates are decided, so they and their confidence were fixed before its first "
            f"verdict: leave {' and '.join(changed)} as they were, or add --no-stop-when-decided"
        )


def _with_good(run: Run, plan: EvaluationPlan) -> Run:
    """The run with other good choices: its verdicts are the same, and which of them pass is not. Raises PlanError."""
    known = bundled_catalogue()  # the server's may have others by now, and is not asked again
    offers = {
        check.name: Offer(
            check.template, check.output, known[check.template].choices if check.template in known else ()
        )
        for check in run.checks
    }
    if problems := [*choice_problems(plan.good, offers)]:
        raise PlanError(*problems)
    checks = tuple(replace(check, good=good_of(plan.good, check.name, check.template)) for check in run.checks)
    return replace(run, checks=checks, plan={**run.plan, "good": {name: [*good] for name, good in plan.good.items()}})


def _require_the_same_items(run: Run, plan: EvaluationPlan) -> None:
    """Raises PlanError where the plan would have other items than the run, or gates on checks that the run has not."""
    begun = EvaluationPlan.model_validate({name: run.plan[name] for name in SETTLED if name in run.plan})
    if changed := [name for name in SETTLED if getattr(plan, name) != getattr(begun, name)]:
        raise PlanError(
            f"run {run.run_id} was begun with another {' and '.join(changed)}: leave that out, or start anew"
        )
    gates = gate_problems(plan.gates, {check.name: check.scale for check in run.checks}, said=plan.filled)
    spending = budget_problems(plan.max_cost, plan.prices, [check.model for check in run.checks])
    if unfit := [*gates, *spending]:
        raise PlanError(*unfit)
