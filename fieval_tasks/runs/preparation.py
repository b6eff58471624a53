"""From a plan to a run in the ledger. Everything that can be wrong is found here, before anything is sent."""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from importlib import resources
from importlib.metadata import entry_points
from itertools import islice
from pathlib import Path

from fieval_tasks.core.commands import command
from fieval_tasks.core.errors import ApiError, Lost, NameTaken, PlanError, RunStopped, ServerFault, Throttled
from fieval_tasks.core.lanes import Load, choose, judging_time
from fieval_tasks.core.plan import Check, EvaluationPlan, Mode
from fieval_tasks.core.quantities import parse_rate
from fieval_tasks.core.templates import Catalogue, bundled_catalogue
from fieval_tasks.data import parameters
from fieval_tasks.data.binding import Binding, bind, gate_problems
from fieval_tasks.data.columns import Place, held, inside, place_of
from fieval_tasks.data.dataset import Dataset, Reading, read_dataset
from fieval_tasks.data.intake import items, mark_repeats
from fieval_tasks.ledger.book import Book
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.processes import owner_name
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.pace.permits import Source
from fieval_tasks.report.text import clean, clip
from fieval_tasks.runs import belonging
from fieval_tasks.runs.connections import Connection, connection
from fieval_tasks.work.engine import Engine
from fieval_tasks.work.options import Options, Share
from fieval_tasks.work.submission import longest_pack

SAMPLE_CHECKS = (Check(template="groundedness"), Check(template="completeness"))
SETTLED = (
    "dataset",
    "format",
    "delimiter",
    "rows",
    "checks",
    "mapping",
    "id_column",
    "limit",
    "sample",
    "seed",
    "sharing",
    "chunk_size",
    "keep",
)
"""What can't change once a run has begun."""
OF_A_DATASET = ("checks", "mapping", "id_column", "format", "delimiter", "rows")
"""What is said of a dataset: without one, an unset variable of a CI would have the bundled sample pass its gate. (A gate
alone is not among them: a dataset needs a template, so that whoever names only a gate means the sample.)"""
_SAMPLE = "the bundled sample runs only where nothing is said of a dataset"
MOST_CHUNKS = 150
"""Task runs that Prefect records reliably in one flow run."""
SMALLEST_CHUNK = 20
LARGEST_CHUNK = 500
ROWS_LOOKED_AT = 100
"""A place that none of so many rows has was misspelt."""
LIMITS = "fieval.shared_limits"
"""The entry points that open a limit which processes share. Prefect's is one, so that nothing here imports Prefect."""


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
        return self.ledger.book(self.run.run_id)

    def worked_on_by_others(self) -> str | None:
        """The process that works on this run now, if another one does."""
        claims = self.book.claimed_by_others(owner_name())
        return next((claim.holder for claim in claims if claim.is_live), None)

    @property
    def series(self) -> str:
        """What the run is one of, with all others on the same data: the dataset's location, as it was given."""
        return self.plan.dataset or "sample"

    @property
    def folder(self) -> Path:
        """Where the run's files go."""
        return _folder(self.plan.output) or Path("fieval-runs") / self.run.run_id

    @property
    def resume_command(self) -> str:
        return command("evaluate", "--resume", self.run.run_id, store=self._store)

    @property
    def collect_command(self) -> str:
        return command("collect", self.run.run_id, store=self._store)

    @property
    def explain_command(self) -> str:
        return command("explain", self.run.run_id, "ITEM", store=self._store, last=1)

    @property
    def _store(self) -> str | None:
        return self.ledger.name if self.plan.store else None


@dataclass(frozen=True)
class Prepared(Kept):
    """A run that is in the ledger, with all that is needed to work on it."""

    connection: Connection
    notes: tuple[str, ...] = ()
    """What of this call is not done as it was said, and why."""

    def engine(self, mode: Mode | None = None, *, share: Share | None = None, quiet: float | None = None) -> Engine:
        """What works on the run. Of several with a `share` each, each has its part of the plan's rate.

        Raises PlanError where the run was begun at another server, or with another account's keys.
        """
        plan = self.plan
        belonging.settle(self.ledger, self.run.run_id, self.connection.account, store=self._store)
        rate = None if plan.rate is None else parse_rate(plan.rate) / (share.of if share else 1)
        options = Options(
            mode=mode or plan.mode,
            concurrency=plan.concurrency,
            rate=rate,
            item_timeout=plan.item_timeout,
            timeout=plan.timeout,
            may_have_tiers=self.connection.may_have_tiers,
            on_lost_reply=plan.on_lost_reply or "resubmit",
            on_stuck=plan.on_stuck or "wait",
            share=share,
            quiet=quiet,
        )
        open_limit = None if plan.shared_limit is None else partial(_shared_limit, plan.shared_limit)
        return Engine(self.run, self.ledger, self.connection.open, options, open_limit=open_limit)

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
        return [clean(line) for line in (*lines, *(f"  note: {told}" for told in (*run.notices, *self.notes)))]


def _shown(value: object) -> str:
    """A parameter's value, but no object: it may be the headers of a request, with their keys."""
    return "{…}" if isinstance(value, dict) else clip(json.dumps(value, ensure_ascii=False), 60)


def _shared_limit(name: str) -> Source:
    """The limit of that name, open. Raises PlanError where it can't be used."""
    for opener in entry_points(group=LIMITS):
        opened: Source = opener.load()(name)
        return opened
    raise PlanError(f"the shared limit {name!r} can't be opened: install this package again (pip install -e .)")


@contextmanager
def prepared(
    plan: EvaluationPlan, *, flow_run_id: str | None = None, processes: int = 1, dataset: Dataset | None = None
) -> Iterator[Prepared]:
    """Open the plan's run, new or resumed. Raises PlanError, with every problem, or RunStopped.

    `processes`: how many will share a new run's chunks. `dataset`: the rows themselves, where the plan only names them.

    A flow run that is tried again (`flow_run_id`) carries on the run that it began: nothing is bought twice.
    """
    ledger = Ledger(store_url(plan.store))
    try:
        if flow_run_id and not plan.resume and (begun := ledger.begun_by(flow_run_id)):
            plan = EvaluationPlan(resume=begun, store=plan.store)
        yield _resumed(plan, ledger) if plan.resume else _new(plan, ledger, processes, dataset)
    finally:
        ledger.close()


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


def _folder(output: str | None) -> Path | None:
    return Path(output).expanduser() if output else None


def _require_writable(plan: EvaluationPlan) -> None:
    """Raises PlanError where the run's files could not be written, while nothing is paid for yet."""
    if (folder := _folder(plan.output)) is None:
        return
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise PlanError(f"--output {plan.output}: {there} is no folder; name another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PlanError(f"--output {plan.output}: {there} can't be written to; name another folder")


def _resumed(plan: EvaluationPlan, ledger: Ledger) -> Prepared:
    """A run of the ledger, under its own plan and what this call says differently."""
    run = ledger.run(plan.resume or "last")
    said = {name: value for name, value in plan.model_dump(include=plan.model_fields_set).items() if value is not None}
    begun = EvaluationPlan.model_validate({name: run.plan[name] for name in SETTLED if name in run.plan})
    notes: tuple[str, ...] = ()
    if said.get("mode") == Mode.AUTO:
        del said["mode"]
        notes = (f"mode: auto was decided when the run began, and it stays {run.mode}",)
    whole = EvaluationPlan.model_validate({**run.plan, **said, "resume": run.run_id})
    if changed := [name for name in SETTLED if getattr(whole, name) != getattr(begun, name)]:
        raise PlanError(
            f"run {run.run_id} was begun with another {' and '.join(changed)}: leave that out, or start anew"
        )
    if unfit := [*gate_problems(whole.gates, {check.name: check.output for check in run.checks})]:
        raise PlanError(*unfit)
    if "output" in said:
        _require_writable(whole)
    way = connection(whole, connections=whole.concurrency)
    if plan.same_account:
        belonging.move(ledger, run, way.account)
    else:
        belonging.require_same(run, way.account, store=ledger.name if plan.store else None)
    if plan.retry_failed:
        ledger.book(run.run_id).reopen_failed()
    if whole.mode is Mode.SUBMIT and "mode" not in said and not ledger.book(run.run_id).unsent_chunks():
        whole = whole.model_copy(update={"mode": Mode.ASYNC})  # all that is left to do is to ask
    return Prepared(ledger.run(run.run_id), whole, ledger, way, notes)


def _new(plan: EvaluationPlan, ledger: Ledger, processes: int, given: Dataset | None) -> Prepared:
    if plan.dataset is None and (said := [name for name in OF_A_DATASET if getattr(plan, name)]):
        raise PlanError(
            f"dataset: none is named, though {' and '.join(said)} are given (is a variable empty?); {_SAMPLE}"
        )
    if plan.dataset is not None and not plan.checks:
        raise PlanError("no template is named: add --template NAME, such as --template groundedness")
    whole = plan if plan.checks or plan.dataset else plan.model_copy(update={"checks": SAMPLE_CHECKS})
    _require_writable(whole)
    way = connection(whole, connections=whole.concurrency)
    with given or _dataset(whole) as dataset:
        catalogue, notices = templates_of(way)
        bindings = bind(whole, dataset.columns, catalogue)
        _require_places(dataset, bindings)
        keep = _kept_places(whole.keep, dataset)
        whole = whole.model_copy(update={"keep": tuple(map(str, keep))})
        count = min(whole.limit or dataset.size, whole.sample or dataset.size, dataset.size)
        whole, why = _in_a_lane(whole, bindings, count)
        run = Run(
            run_id=whole.run or "",
            created_at=utc_now(),
            dataset=dataset.name if whole.dataset is not None else "the bundled sample",
            dataset_fingerprint=dataset.fingerprint,
            mode=whole.mode.value,
            connection=way.label,
            checks=tuple(_recorded(b) for b in bindings),
            plan=whole.model_copy(update={"connection": way.name}).model_dump(
                mode="json", exclude={"store", "resume", "retry_failed", "same_account"}
            ),
            notices=(
                *way.notices,
                *dataset.notices,
                *notices,
                *why,
                *_unfilled(bindings),
                *_passed_over(bindings),
                *_unchecked(bindings),
            ),
        )
        size = whole.chunk_size or chunk_size(count * len(bindings), processes)
        for name in [whole.run] if whole.run else _fresh_names(ledger, whole.dataset):
            rows = items(
                dataset,
                bindings,
                id_column=whole.id_column,
                limit=whole.limit,
                sample=whole.sample,
                seed=whole.seed,
                keep=keep,
            )
            try:
                shared = mark_repeats(rows) if whole.sharing else rows
                written = ledger.create(replace(run, run_id=name), shared, chunk_size=size)
                break
            except NameTaken:  # by another process, a moment ago
                if whole.run:
                    raise
    return Prepared(written, whole, ledger, way)


@contextmanager
def _dataset(plan: EvaluationPlan) -> Iterator[Dataset]:
    reading = Reading(format=plan.format, delimiter=plan.delimiter, rows=plan.rows)
    sample = resources.files("fieval_tasks").joinpath("data/sample.jsonl")
    with resources.as_file(sample) as bundled, read_dataset(plan.dataset or str(bundled), reading) as dataset:
        yield dataset


def chunk_size(total: int, processes: int = 1) -> int:
    """Items in each submit task: enough tasks to share the work, never more than Prefect records reliably."""
    comfortable = min(LARGEST_CHUNK, max(SMALLEST_CHUNK, math.ceil(total / (16 * processes))))
    return max(comfortable, math.ceil(total / MOST_CHUNKS))


def templates_of(way: Connection) -> tuple[Catalogue, tuple[str, ...]]:
    """What the server offers; the bundled copy, with a notice, where the server is there and its list is not."""

    async def ask() -> Catalogue:
        async with way.open() as client:
            return await client.templates()

    try:
        with ThreadPoolExecutor(1) as aside:  # a caller's thread may have a running loop of its own
            return aside.submit(asyncio.run, ask()).result(), ()
    except (ServerFault, Throttled, Lost) as error:
        notice = f"the server's list of templates can't be had ({error}): checked against the bundled copy"
        return bundled_catalogue(), (notice,)
    except ApiError as error:
        raise RunStopped(str(error)) from error


def _in_a_lane(plan: EvaluationPlan, bindings: Sequence[Binding], rows: int) -> tuple[EvaluationPlan, tuple[str, ...]]:
    """The plan with its mode decided, and why."""
    if plan.mode is not Mode.AUTO:
        return plan, ()
    packed = [1 if b.param_sources else longest_pack(b.sources) for b in bindings]
    loads = [Load(rows, size, judging_time(b.model)) for size, b in zip(packed, bindings, strict=True)]
    lane = choose(loads, concurrency=plan.concurrency, rate=None if plan.rate is None else parse_rate(plan.rate))
    return plan.model_copy(update={"mode": lane.mode}), (f"mode: {lane.reason}",)


def _unfilled(bindings: Sequence[Binding]) -> Iterator[str]:
    """The server takes a request without an optional key, and some of its judges then fail on it."""
    for binding in bindings:
        empty = [key for key in binding.template.optional if key not in binding.sources]
        if empty:
            keys = " and ".join(empty)
            yield f"{binding.check}: nothing fills {keys}, which is optional; if its judge fails, --map {empty[0]}=COLUMN"


def _passed_over(bindings: Sequence[Binding]) -> Iterator[str]:
    """Where more than one column could fill a key."""
    for binding in bindings:
        for key, source in binding.sources.items():
            if source.passed_over:
                others = " or ".join(source.passed_over)
                yield f"{binding.check}: {key} is filled by {source.column}, and {others} could be meant: say which by --map {key}=COLUMN"


def _require_places(dataset: Dataset, bindings: Sequence[Binding]) -> None:
    """Raises PlanError for each place inside of a column at which none of the first rows holds anything."""
    sources = (source for b in bindings for source in (*b.sources.values(), *b.param_sources.values()))
    deep = {source.place for source in sources if source.place.path}
    if not deep:
        return
    first = [row.values for row in islice(dataset.rows(), ROWS_LOOKED_AT) if row.problem is None]
    empty = sorted((place for place in deep if not inside(place, first)), key=str)
    if empty:
        raise PlanError(
            *(
                f"--map …={place}: none of the first {len(first):,} rows of {dataset.name} holds anything there"
                f" ({held(place, first[0])})"
                for place in empty
            )
        )


def _unchecked(bindings: Sequence[Binding]) -> Iterator[str]:
    """The server takes any parameter, and ignores in silence what it does not know."""
    for binding in bindings:
        if binding.params and parameters.rules(binding.template) is None:
            names = ", ".join(binding.params)
            yield f"{binding.check}: its template names no parameters, so {names} could not be checked"


def _kept_places(named: Sequence[str], dataset: Dataset) -> list[Place]:
    """The columns to keep, `all` meaning every one. Raises PlanError for those that are not there."""
    names = dict.fromkeys(column for name in named for column in (dataset.columns if name == "all" else (name,)))
    found = {name: place_of(name, dataset.columns) for name in names}
    if unknown := [name for name, place in found.items() if place is None]:
        has = ", ".join(dataset.columns[:20])
        raise PlanError(
            *(f"--keep {name}: there is no such column in {dataset.name} (it has: {has})" for name in unknown)
        )
    return [place for place in found.values() if place is not None]


def _recorded(binding: Binding) -> CheckRecord:
    return CheckRecord(
        name=binding.check,
        template=binding.template.name,
        model=binding.model,
        params=dict(binding.params),
        output=binding.template.output,
        sources={key: source.column for key, source in binding.sources.items()},
        models=binding.template.models,
        param_sources={name: source.column for name, source in binding.param_sources.items()},
    )


def name_stem(dataset: str | None) -> str:
    """What a run on this dataset is called, before its time is added."""
    if dataset is None:
        return "sample"
    stem = "stdin" if dataset == "-" else Path(dataset.splitlines()[0]).name.split(".")[0]
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in stem).strip("-")[:40] or "run"


def _fresh_names(ledger: Ledger, dataset: str | None) -> Iterator[str]:
    """Readable names that no run has, each for the case that another process takes those before it."""
    name = f"{name_stem(dataset)}-{datetime.now():%Y%m%d-%H%M%S}"
    taken = ledger.names(name)
    return (n for n in (name, *(f"{name}-{i}" for i in range(2, 10_000))) if n not in taken)
