"""Opening a run: a new one or one to carry on, with its ledger and connection; or one that is only read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from fieval_tasks.core.budget import Budget, HardEnd, budget_of, ends_in_words
from fieval_tasks.core.command_lines import command
from fieval_tasks.core.errors import ExitCode
from fieval_tasks.core.plan import EvaluationPlan, Mode
from fieval_tasks.core.quantities import parse_rate
from fieval_tasks.core.sink_names import tables_in
from fieval_tasks.core.tiers import Tier
from fieval_tasks.data.dataset import Dataset
from fieval_tasks.ledger.book import Book
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.pace.quota import Allowed
from fieval_tasks.report.text import clean, clip
from fieval_tasks.runs import belonging
from fieval_tasks.runs.beginning import begin
from fieval_tasks.runs.connections import WITHOUT_PREFECT, Connection, Openers
from fieval_tasks.runs.continuing import Continuation, carry_on
from fieval_tasks.runs.earlier import evaluated_before, reuse_notice
from fieval_tasks.sinks.following import followed
from fieval_tasks.sinks.opening import opened, telemetry, telemetry_said
from fieval_tasks.sinks.sink import Sink
from fieval_tasks.work.engine import Engine
from fieval_tasks.work.options import Options, Share

if TYPE_CHECKING:
    from fieval_tasks.runs.drawn import Drawn


@dataclass(frozen=True)
class Kept:
    """A run of the ledger that is only read."""

    run: Run
    plan: EvaluationPlan
    ledger: Ledger

    @property
    def run_id(self) -> str:
        return self.run.run_id

    @property
    def book(self) -> Book:
        """The run's items in the ledger."""
        return self.ledger.book(self.run_id)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to ask about: every item has ended, or the run was concluded with some left unsent."""
        return self.is_complete or (self.is_concluded and not self.book.open_chunks())

    @property
    def is_concluded(self) -> bool:
        """Whether the process that worked on the run last has come to its conclusion."""
        return self.run.exit_code not in (None, ExitCode.INTERRUPTED)

    @property
    def to_carry_on(self) -> EvaluationPlan:
        """A plan that resumes this run."""
        return self.plan.model_copy(update={"resume": self.run_id})

    @property
    def sinks(self) -> dict[str, Callable[[], Sink]]:
        """The tables that the plan's `to` names -> what opens them."""
        return {to: partial(opened, to, self.run) for to in tables_in(self.plan.to)}

    @property
    def series(self) -> str:
        """The name that runs on the same data share: the dataset's location, as it was given."""
        return self.plan.dataset or "sample"

    @property
    def folder(self) -> Path:
        """The folder for the run's files."""
        return Path(self.plan.output).expanduser() if self.plan.output else Path("fieval-runs") / self.run_id

    @property
    def resume_command(self) -> str:
        return self._resumed_by()

    @property
    def _words(self) -> tuple[str, ...]:
        return ()

    def _resumed_by(self, *words: str) -> str:
        words = (*words, *self._words)
        goes_on = self.run.plan.get("stop_when_decided") and not self.plan.stop_when_decided
        words = (*words, "--no-stop-when-decided") if goes_on else words  # without it the run would be over at once
        return command("evaluate", "--resume", self.run_id, *words, store=self.store)

    @property
    def collect_command(self) -> str:
        return command("collect", self.run_id, store=self.store)

    @property
    def is_complete(self) -> bool:
        """Whether every item is scored or failed."""
        return all(n == 0 or state.is_final for state, n in self.book.counts().items())

    @property
    def next_command(self) -> str | None:
        """The command that brings the missing verdicts: resume, if items are unsent, with a later end where the run's is reached;
        else collect. None: none are missing."""
        if self.is_complete:
            return None
        if not self.book.count_unsent():
            return self.collect_command
        return self._resumed_by(*(word for end in self.ends_reached for word in (end.option, end.enough)))

    @property
    def budget(self) -> Budget:
        """The hard ends of what the run may spend."""
        models = {check.name: check.model for check in self.run.checks}
        return budget_of(self.plan.max_items, self.plan.max_cost, self.plan.prices, models)

    @property
    def ends_reached(self) -> list[HardEnd]:
        """The hard ends that keep items from being sent; empty where none does."""
        budget = self.budget
        if not budget.is_bounded:
            return []
        sent = self.ledger.spent(self.run_id)
        return budget.ends_reached(sent, {check: n for check in sent if (n := self.book.count_unsent(check=check))})

    @property
    def reused(self) -> tuple[str, ...]:
        """A notice on the verdicts that the run has of earlier ones, where it was to reuse some."""
        return (reuse_notice(self.ledger, self.run_id, self.plan.reuse),) if self.plan.reuse else ()

    @property
    def explain_command(self) -> str:
        return command("explain", self.run_id, "ITEM", store=self.store, last=1)

    @cached_property
    def drawn(self) -> Drawn | None:
        """The verdicts that may settle the run's gates; None where it does not stop early."""
        if not self.plan.stop_when_decided:
            return None
        from fieval_tasks.runs.drawn import Drawn  # it brings scipy, which takes a second

        return Drawn(self.run, self.plan, self.book.draws)

    @property
    def store(self) -> str | None:
        """The ledger's name, where the plan names it: for a command that needs it."""
        return self.ledger.name if self.plan.store else None


@dataclass(frozen=True)
class Prepared(Kept):
    """A run of the ledger with its connection, to be worked on."""

    connection: Connection
    openers: Openers = WITHOUT_PREFECT
    notes: tuple[str, ...] = ()
    """Notes on settings of this call that do not apply, and why."""

    @property
    def _words(self) -> tuple[str, ...]:
        return self.openers.words

    def engine(
        self, mode: Mode | None = None, *, share: Share | None = None, quiet: float | None = None
    ) -> AbstractContextManager[Engine]:
        """A new engine for the run, to be entered. With a `share` it gets its part of the plan's rate and tier.

        Raises PlanError where the run was begun at another server, or with another account's keys.
        """
        plan = self.plan
        belonging.settle(self.ledger, self.run_id, self.connection.account, store=self.store)
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
            budget=self.budget,
            on_lost_reply=plan.on_lost_reply or "resubmit",
            on_stuck=plan.on_stuck or "wait",
            is_decided=self._is_decided,
            share=share,
            quiet=quiet,
        )
        return self._at_work(options)

    @contextmanager
    def _at_work(self, options: Options) -> Iterator[Engine]:
        """An engine, and beside it whatever takes the verdicts on, to the end of which all are recorded."""
        named = self.plan.shared_limit
        open_limit = None if named is None else partial(self.openers.limit, named)
        with ExitStack() as around:
            tells = around.enter_context(telemetry(self.run, self.plan.to))
            audience = around.enter_context(followed(self.sinks.values(), self.book, events=tells.events))
            how = replace(options, audience=audience, within=tells.within)
            yield around.enter_context(Engine(self.run, self.ledger, self.connection.open, how, open_limit=open_limit))

    @property
    def _is_decided(self) -> Callable[[], bool] | None:
        """None where the run does not stop early, or is decided and all that is left of it are failed items to be tried again."""
        if (drawn := self.drawn) is None or (self.plan.retry_failed and drawn.look()):
            return None
        return drawn.look

    def _allowed(self, parts: int) -> Allowed:
        """The tier and the earlier evaluations; with several processes each gets its part of both."""
        tier = None if self.plan.tier is None else Tier.parse(self.plan.tier)
        if not self.connection.may_have_tiers:
            return Allowed(tier)
        before = evaluated_before(self.ledger, self.connection.account, tier)
        part = {model: sorted(ago)[::parts] for model, ago in before.items()}
        return Allowed(None if tier is None else tier.divided(parts), part)

    def described(self) -> list[str]:
        """Lines for the user on what the run will do, before anything is sent."""
        run = self.run
        items = "item" if run.total == 1 else "items"
        lines = [f"run {run.run_id}: {run.total:,} {items} from {run.dataset}, on {self.connection.label}"]
        lines += map(described_check, run.checks)
        plan, models = self.plan, [check.model for check in run.checks]
        ends = ends_in_words(plan.max_items, plan.max_cost, plan.prices, models)
        notes = (*ends, *run.notices, *self.reused, *self.notes)
        lines += (f"  verdicts also go to {to}" for to in tables_in(plan.to))
        lines += (f"  {line}" for line in telemetry_said(plan.to))
        if self.plan.baseline is not None:
            lines.append(f"  compared with the baseline {self.plan.baseline.partition('@sha256:')[0]}")
        return [clean(line) for line in (*lines, *(f"  note: {note}" for note in notes))]


def described_check(check: CheckRecord) -> str:
    """A line on a check: its judge, the columns that fill its keys, and its parameters."""
    judge = f" by {check.model}" if check.model else ""
    what = "" if check.name.partition(":")[0] == check.template else f" ({check.template})"
    set_ = (f"{name} = {_shown(value)}" for name, value in check.params.items())
    filled = (f"{key} <- {column}" for key, column in (*check.sources.items(), *check.param_sources.items()))
    return f"  {check.name}{what}{judge}: {', '.join((*filled, *set_))}"


def _shown(value: object) -> str:
    """A parameter's value for display; not an object's, which may be a request's headers with keys."""
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
    """Open a new run, or one to carry on. Raises PlanError, with every problem, or RunStopped.

    `processes`: how many will share a new run's chunks. `dataset`: the rows, where the plan only names them.

    A flow run that Prefect tries again (`flow_run_id`) carries on the run that it began. A run that this process has open
    under the same plan is yielded as it is: a command prepares its run, and the flow in the same process takes it over.
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
            run, plan, connection, notes = carry_on(asked, ledger, openers)
            opened = Prepared(run, plan, ledger, connection, openers, notes)
        else:
            run, plan, connection = begin(asked, ledger, openers, processes=processes, dataset=dataset)
            opened = Prepared(run, plan, ledger, connection, openers)
        token = _held.set(opened)
        try:
            yield opened
        finally:
            _held.reset(token)


_held: ContextVar[Prepared | None] = ContextVar("held", default=None)
"""The run that a calling context has open, if any."""


@contextmanager
def kept(run: str, store: str | None) -> Iterator[Kept]:
    """Open a run by its name, or `last`, only to be read; needs no keys. Raises PlanError where there is none."""
    with Ledger(store_url(store), must_exist=True) as ledger:
        yield kept_run(ledger, ledger.run(run), store)


def kept_run(ledger: Ledger, run: Run, store: str | None = None) -> Kept:
    """A run of an open ledger. `store`: as it was given, for the commands that its messages name."""
    plan = EvaluationPlan.model_validate({**run.plan, "store": store, "resume": run.run_id})
    return Kept(run, plan, ledger)


def runs_to_collect(store: str | None) -> list[str]:
    """Names of the runs that lack only their report, because their process is gone; then of those that wait for verdicts."""
    with Ledger(store_url(store)) as ledger:
        waiting = [run for run in ledger.unfinished() if ledger.book(run.run_id).open_chunks()]
        return [run.run_id for run in (*ledger.unconcluded(), *waiting)]
