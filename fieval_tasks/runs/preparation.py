"""A run that is open: new or carried on, to be worked on; or only to be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fieval_tasks.core.commands import command
from fieval_tasks.core.plan import EvaluationPlan, Mode
from fieval_tasks.core.quantities import parse_rate
from fieval_tasks.core.tiers import Tier
from fieval_tasks.data.dataset import Dataset
from fieval_tasks.ledger.book import Book
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.processes import owner_name
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.pace.quota import Allowed
from fieval_tasks.report.text import clean, clip
from fieval_tasks.runs import belonging
from fieval_tasks.runs.beginning import begin
from fieval_tasks.runs.connections import WITHOUT_PREFECT, Connection, Openers
from fieval_tasks.runs.continuing import Continuation, carry_on
from fieval_tasks.runs.earlier import evaluated_before
from fieval_tasks.work.engine import Engine
from fieval_tasks.work.options import Options, Share


@dataclass(frozen=True)
class Kept:
    """A run that is in the ledger, to be read."""

    run: Run
    plan: EvaluationPlan
    ledger: Ledger

    @property
    def run_id(self) -> str:
        return self.run.run_id

    @property
    def book(self) -> Book:
        """What the ledger holds of the run's items."""
        return self.ledger.book(self.run_id)

    def worked_on_by_others(self) -> str | None:
        """The process that works on this run now, if another one does."""
        claims = self.book.claims.of_others(owner_name())
        return next((claim.holder for claim in claims if claim.is_live), None)

    @property
    def to_carry_on(self) -> EvaluationPlan:
        """The plan by which a flow carries this run on."""
        return self.plan.model_copy(update={"resume": self.run_id})

    @property
    def series(self) -> str:
        """What the run is one of, with all others on the same data: the dataset's location, as it was given."""
        return self.plan.dataset or "sample"

    @property
    def folder(self) -> Path:
        """Where the run's files go."""
        return Path(self.plan.output).expanduser() if self.plan.output else Path("fieval-runs") / self.run_id

    @property
    def resume_command(self) -> str:
        return command("evaluate", "--resume", self.run_id, store=self._store)

    @property
    def collect_command(self) -> str:
        return command("collect", self.run_id, store=self._store)

    @property
    def is_complete(self) -> bool:
        """Each item has its verdict, or has failed."""
        return all(n == 0 or state.is_final for state, n in self.book.counts().items())

    @property
    def next_command(self) -> str | None:
        """What brings the verdicts that are missing: a collector sends nothing. None: there are none."""
        if self.is_complete:
            return None
        return self.resume_command if self.book.count_unsent() else self.collect_command

    @property
    def explain_command(self) -> str:
        return command("explain", self.run_id, "ITEM", store=self._store, last=1)

    @property
    def _store(self) -> str | None:
        return self.ledger.name if self.plan.store else None


@dataclass(frozen=True)
class Prepared(Kept):
    """A run that is in the ledger, with all that is needed to work on it."""

    connection: Connection
    openers: Openers = WITHOUT_PREFECT
    notes: tuple[str, ...] = ()
    """What of this call is not done as it was said, and why."""

    def engine(self, mode: Mode | None = None, *, share: Share | None = None, quiet: float | None = None) -> Engine:
        """What works on the run. Of several with a `share` each, each has its part of the plan's rate and tier.

        Raises PlanError where the run was begun at another server, or with another account's keys.
        """
        plan = self.plan
        belonging.settle(self.ledger, self.run_id, self.connection.account, store=self._store)
        parts = share.of if share else 1
        rate = None if plan.rate is None else parse_rate(plan.rate) / parts
        options = Options(
            mode=mode or plan.mode,
            concurrency=plan.concurrency,
            rate=rate,
            item_timeout=plan.item_timeout,
            timeout=plan.timeout,
            may_have_tiers=self.connection.may_have_tiers,
            allowed=self._allowed(parts),
            on_lost_reply=plan.on_lost_reply or "resubmit",
            on_stuck=plan.on_stuck or "wait",
            share=share,
            quiet=quiet,
        )
        open_limit = None if plan.shared_limit is None else partial(self.openers.limit, plan.shared_limit)
        return Engine(self.run, self.ledger, self.connection.open, options, open_limit=open_limit)

    def _allowed(self, parts: int) -> Allowed:
        """What this process may have evaluated; of several, each its part of the tier, less its part of what was before."""
        tier = None if self.plan.tier is None else Tier.parse(self.plan.tier)
        if not self.connection.may_have_tiers:
            return Allowed(tier)
        before = evaluated_before(self.ledger, self.connection.account, tier)
        part = {model: sorted(ago)[::parts] for model, ago in before.items()}
        return Allowed(None if tier is None else tier.divided(parts), part)

    def described(self) -> list[str]:
        """What is about to happen, for the user, before anything is sent."""
        run = self.run
        items = "item" if run.total == 1 else "items"
        lines = [f"run {run.run_id}: {run.total:,} {items} from {run.dataset}, on {self.connection.label}"]
        for check in run.checks:
            judge = f" by {check.model}" if check.model else ""
            what = "" if check.name.partition(":")[0] == check.template else f" ({check.template})"
            set_ = (f"{name} = {_shown(value)}" for name, value in check.params.items())
            filled = (f"{key} <- {column}" for key, column in (*check.sources.items(), *check.param_sources.items()))
            lines.append(f"  {check.name}{what}{judge}: {', '.join((*filled, *set_))}")
        return [clean(line) for line in (*lines, *(f"  note: {note}" for note in (*run.notices, *self.notes)))]


def _shown(value: object) -> str:
    """A parameter's value, but no object: it may be the headers of a request, with their keys."""
    return "{…}" if isinstance(value, dict) else clip(json.dumps(value, ensure_ascii=False), 60)


@contextmanager
def prepared(
    asked: EvaluationPlan | Continuation,
    *,
    flow_run_id: str | None = None,
    processes: int = 1,
    dataset: Dataset | None = None,
    openers: Openers = WITHOUT_PREFECT,
) -> Iterator[Prepared]:
    """Open the run that is asked for, new or carried on. Raises PlanError, with every problem, or RunStopped.

    `processes`: how many will share a new run's chunks. `dataset`: the rows themselves, where the plan only names them.

    A flow run that is tried again (`flow_run_id`) carries on the run that it began: nothing is bought twice. What this
    process holds open under the same plan is given as it is: a command prepares its run, and the flow takes it over.
    """
    held = _held.get()
    if held is not None and asked == held.to_carry_on:
        yield held
        return
    if isinstance(asked, EvaluationPlan) and asked.resume:
        asked = Continuation.from_plan(asked)
    with Ledger(store_url(asked.store)) as ledger:
        if isinstance(asked, EvaluationPlan) and flow_run_id and (begun := ledger.begun_by(flow_run_id)):
            asked = Continuation(begun, asked.store)
        if isinstance(asked, Continuation):
            run, plan, way, notes = carry_on(asked, ledger, openers)
            opened = Prepared(run, plan, ledger, way, openers, notes)
        else:
            run, plan, way = begin(asked, ledger, openers, processes=processes, dataset=dataset)
            opened = Prepared(run, plan, ledger, way, openers)
        token = _held.set(opened)
        try:
            yield opened
        finally:
            _held.reset(token)


_held: ContextVar[Prepared | None] = ContextVar("held", default=None)
"""The run that is open around here."""


@contextmanager
def kept(run: str, store: str | None) -> Iterator[Kept]:
    """The run of that name, or the last, only to be read: no keys are needed. Raises PlanError where there is none."""
    with Ledger(store_url(store), must_exist=True) as ledger:
        found = ledger.run(run)
        plan = EvaluationPlan.model_validate({**found.plan, "store": store, "resume": found.run_id})
        yield Kept(found, plan, ledger)


def runs_to_collect(store: str | None) -> list[str]:
    """The runs that only lack their report, for who worked on them is gone; then those that wait for verdicts."""
    with Ledger(store_url(store)) as ledger:
        waiting = [run for run in ledger.unfinished() if ledger.book(run.run_id).open_chunks()]
        return [run.run_id for run in (*ledger.unconcluded(), *waiting)]
