"""A run's outline: its plan, dataset and templates are checked, and nothing is written or sent."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import resources
from itertools import islice
from math import ceil
from pathlib import Path

from fieval_tasks.core.budget import budget_problems
from fieval_tasks.core.command_lines import option_name
from fieval_tasks.core.errors import (
    ApiError,
    Lost,
    NameTaken,
    PlanError,
    RowsUnwanted,
    RunStopped,
    ServerFault,
    SinkError,
    Throttled,
)
from fieval_tasks.core.gates import CEILINGS, Gate, GateVerdict, gate_notices
from fieval_tasks.core.mode_choice import Load, choose_mode, judging_time
from fieval_tasks.core.plan import Check, EvaluationPlan, Mode
from fieval_tasks.core.quantities import parse_rate, percent
from fieval_tasks.core.sink_names import at_home, tables_in
from fieval_tasks.core.templates import Catalogue, bundled_catalogue
from fieval_tasks.data import parameters
from fieval_tasks.data.binding import Binding, bind
from fieval_tasks.data.dataset import Dataset, Reading, read_dataset
from fieval_tasks.data.places import is_in_a_row, where_path_ends
from fieval_tasks.decisions.statistics import normal_reach, wilson_interval
from fieval_tasks.ledger.reuse import Earlier
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.baselines import COMPARING, require_comparable
from fieval_tasks.runs.calibrating import CheckedLabels, checked_labels, require_labels
from fieval_tasks.runs.choosing import ChosenRows, Rows, chosen_rows, reading
from fieval_tasks.runs.connections import Connection, Openers, connection_of
from fieval_tasks.runs.earlier import reusable
from fieval_tasks.runs.run_tuning import DEFAULT_TUNING
from fieval_tasks.runs.sides import Side
from fieval_tasks.sinks.opening import opened
from fieval_tasks.work.lanes import longest_pack

SAMPLE_CHECKS = (Check(template="groundedness"), Check(template="completeness"))
OF_A_DATASET = ("checks", "mapping", "id_column", "format", "delimiter", "rows")
"""Fields that only make sense with a dataset, so that they are refused without one."""
# Else an unset variable in a CI job would have the bundled sample pass its gate. `gates` is not among them: a dataset also
# needs a template, so a plan with nothing but a gate means the sample.
OF_ONE_CALL = {"store", "resume", "retry_failed", "same_account", "labels"}
"""Fields of a plan that concern one call, and are not recorded with the run."""


@dataclass(frozen=True)
class Outline:
    """A run that is checked and not written: all of it but its items."""

    run: Run
    """Its name is empty unless the plan has one."""
    plan: EvaluationPlan
    """The plan with its mode and its sample decided."""
    connection: Connection
    read: Callable[[], Rows]
    """Reads the items; while the outline's context is open."""
    rows: int
    """Rows that are evaluated."""
    population: int
    """Rows of which these were chosen, or could have been drawn."""
    chunk_size: int
    given: CheckedLabels | None
    """People's labels that the plan names, checked and not recorded."""
    baseline: Side | None = None
    """What the run will be compared with; judged alike, and its rows not looked at yet."""


@contextmanager
def outlined(
    plan: EvaluationPlan,
    ledger: Ledger,
    openers: Openers,
    *,
    processes: int = 1,
    dataset: Dataset | None = None,
) -> Iterator[Outline]:
    """Yields the plan's run as `begin` would write it. Raises PlanError with every problem but those of single rows."""
    # First: a table that has this run's verdicts would be a worse reason.
    if plan.run and plan.run in ledger.names(plan.run):
        raise NameTaken(f"there is a run {plan.run!r} already: choose another --run, or --resume it")
    _require_agreement(plan)
    if plan.dataset is None and not plan.checks:
        plan = plan.model_copy(update={"checks": SAMPLE_CHECKS})
    require_writable(plan)
    connection = connection_of(plan, openers)
    # The rows are looked at before the server is asked: a misspelt path needs no network to be found.
    with dataset or _dataset(plan) as rows:
        catalogue, unread = templates_of(connection)
        bindings = bind(plan, rows.columns, catalogue, dataset=rows.name)
        if unfit := [*budget_problems(plan.max_cost, plan.prices, [binding.model for binding in bindings])]:
            raise PlanError(*unfit)
        _require_places(rows, bindings)
        found = chosen_rows(plan, rows)
        plan, why = _with_mode(found.plan, bindings, found.count * plan.repeats)
        said = (*connection.notices, *rows.notices, *found.notices, *unread, *why, *_notices(bindings, found, plan))
        run = _run(plan, rows, connection, bindings, found, said, at=ledger.now())
        plan, doubts = with_sinks(plan, run, is_new=True)
        run = replace(run, plan={**run.plan, "to": [*plan.to]}, notices=(*run.notices, *doubts))
        at_server = replace(run, address=connection.account.address)  # which is recorded before the first request
        given = checked_labels(ledger, plan, at_server)
        require_labels(ledger, plan, at_server, given)
        plan, run, side = _beside_baseline(plan, run, ledger)
        yield Outline(
            run=run,
            plan=plan.model_copy(update={"labels": None}),  # from now on the ledger has the labels
            connection=connection,
            read=reading(found, rows, bindings),
            rows=found.count,
            population=found.population,
            chunk_size=plan.chunk_size
            or DEFAULT_TUNING.chunk_size(found.count * len(bindings) * plan.repeats, processes),
            given=given,
            baseline=side,
        )


def _run(
    plan: EvaluationPlan,
    dataset: Dataset,
    connection: Connection,
    bindings: Sequence[Binding],
    found: ChosenRows,
    notices: tuple[str, ...],
    *,
    at: datetime,
) -> Run:
    run = Run(
        run_id=plan.run or "",
        created_at=at,
        dataset=dataset.name if plan.dataset is not None else "the bundled sample",
        dataset_fingerprint=dataset.fingerprint,
        mode=plan.mode.value,
        connection=connection.label,
        checks=tuple(map(_recorded, bindings)),
        plan=plan.model_copy(update={"connection": connection.name}).model_dump(mode="json", exclude=OF_ONE_CALL),
        population=found.population if found.count < found.population else None,
        notices=notices,
    )
    if not plan.stop_when_decided:
        return run
    from fieval_tasks.runs.drawn import notices as of_drawn  # it brings scipy, which takes a second

    return replace(run, notices=(*notices, *of_drawn(run, plan)))


def _beside_baseline(plan: EvaluationPlan, run: Run, ledger: Ledger) -> tuple[EvaluationPlan, Run, Side | None]:
    """The plan and the run with their baseline named for good, and the baseline; None where the plan names none."""
    if plan.baseline is None:
        return plan, run, None
    plan, side, old = require_comparable(run, plan, ledger)
    return plan, replace(run, plan={**run.plan, "baseline": plan.baseline}, notices=(*run.notices, *old)), side


def earlier_verdicts(outline: Outline, ledger: Ledger) -> Earlier | None:
    """The verdicts that the run may reuse; None where its plan does not ask for any."""
    within = outline.plan.reuse
    return reusable(ledger, outline.connection.account, outline.run.checks, within) if within else None


def _require_agreement(plan: EvaluationPlan) -> None:
    """Raises PlanError for fields of a dataset without a dataset, and for a dataset without a check."""
    if plan.dataset is None and (said := [option_name(name) for name in OF_A_DATASET if getattr(plan, name)]):
        raise PlanError(
            f"dataset: none is named, though {' and '.join(said)} {'are' if said[1:] else 'is'} given (is a variable empty?); the bundled sample "
            f"runs only where nothing is said of a dataset"
        )
    if plan.precision and plan.sample:
        raise PlanError(
            "--precision draws as many rows as its answer needs, and --sample N rows: leave one of them out"
        )
    if plan.dataset is not None and not plan.checks:
        raise PlanError("no template is named: add --template NAME, such as --template groundedness")


def with_sinks(plan: EvaluationPlan, run: Run, *, is_new: bool) -> tuple[EvaluationPlan, tuple[str, ...]]:
    """The plan with whole paths in its `to`, and notices on tables that may take some verdicts only. Raises PlanError where
    something that it names there can't take any."""
    plan = plan.model_copy(update={"to": tuple(dict.fromkeys(map(at_home, plan.to)))})
    problems, doubts = list[str](), list[str]()
    for to in tables_in(plan.to):
        try:
            with closing(opened(to, run)) as sink:
                sink.check(is_new=is_new)
        except RowsUnwanted as error:  # its own constraints may be about what the rows say, which those tried made up
            doubts.append(
                f"{error}: so it refuses rows made up to try it; of this run's, those that it refuses are told"
            )
        except SinkError as error:
            problems.append(str(error))
    if problems:
        raise PlanError(*problems)
    return plan, tuple(doubts)


def require_writable(plan: EvaluationPlan) -> None:
    """Raises PlanError where the run's files could not be written, before anything is paid for."""
    if not plan.output:
        return
    folder = Path(plan.output).expanduser().absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise PlanError(f"--output {plan.output}: {there} is no folder; name another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PlanError(f"--output {plan.output}: {there} can't be written to; name another folder")


@contextmanager
def _dataset(plan: EvaluationPlan) -> Iterator[Dataset]:
    reading = Reading(format=plan.format, delimiter=plan.delimiter, rows=plan.rows)
    sample = resources.files("fieval_tasks").joinpath("data/sample.jsonl")
    with resources.as_file(sample) as bundled, read_dataset(plan.dataset or str(bundled), reading) as dataset:
        yield dataset


def templates_of(connection: Connection) -> tuple[Catalogue, tuple[str, ...]]:
    """The server's catalogue; the bundled one, with a notice, where the server answers but its list can't be read."""

    async def ask() -> Catalogue:
        async with connection.open() as client:
            return await client.templates()

    try:
        with ThreadPoolExecutor(1) as aside:  # a caller's thread may have a running loop of its own
            return aside.submit(asyncio.run, ask()).result(), ()
    except (ServerFault, Throttled, Lost) as error:
        notice = f"the server's list of templates can't be had ({error}): checked against the bundled copy"
        return bundled_catalogue(), (notice,)
    except ApiError as error:
        raise RunStopped(str(error)) from error


def _with_mode(plan: EvaluationPlan, bindings: Sequence[Binding], rows: int) -> tuple[EvaluationPlan, tuple[str, ...]]:
    """The plan with `mode` auto resolved, and a notice that says why."""
    if plan.mode is not Mode.AUTO:
        return plan, ()
    packed = [1 if b.param_sources else longest_pack(b.sources) for b in bindings]
    loads = [Load(rows, size, judging_time(b.model)) for size, b in zip(packed, bindings, strict=True)]
    lane = choose_mode(loads, concurrency=plan.concurrency, rate=None if plan.rate is None else parse_rate(plan.rate))
    return plan.model_copy(update={"mode": lane.mode}), (f"mode: {lane.reason}",)


def _notices(bindings: Sequence[Binding], found: ChosenRows, plan: EvaluationPlan) -> Iterator[str]:
    """Notices on gates and bindings that are valid and may be mistakes."""
    yield from gate_notices(plan.gates, {binding.check: binding.scale for binding in bindings})
    if plan.confidence is not None and not plan.stop_when_decided:
        yield from of_these_rows(plan.gates)
        if found.count == found.population:
            yield from out_of_reach(plan.gates, found.count, plan.confidence)
    yield from _unfilled(bindings)
    yield from _passed_over(bindings)
    yield from _unchecked(bindings)


def out_of_reach(gates: Iterable[str], rows: int, confidence: float) -> Iterator[str]:
    """A sentence for each gate on a pass rate that these rows can't pass even with the best verdicts."""
    for gate in map(Gate.parse, gates):
        if gate.metric != "pass_rate" or gate.segment is not None or gate.is_out_of_any_samples_reach:
            continue
        is_ceiling = gate.operator in CEILINGS
        best = wilson_interval(0 if is_ceiling else rows, rows, confidence)
        if best is not None and gate.verdict(*best) is not GateVerdict.PASS:
            # Of n rows of which all pass, Wilson's interval begins at n / (n + z^2).
            share = float(1 - gate.threshold if is_ceiling else gate.threshold)
            needed = ceil(normal_reach(confidence) ** 2 * share / (1 - share))
            yield (
                f"gate {str(gate)!r}: {rows:,} rows can't pass it at {percent(confidence)} confidence, whatever their verdicts; "
                f"it takes {needed:,} at least"
            )


def of_these_rows(gates: Iterable[str]) -> Iterator[str]:
    """A sentence for each gate that is judged by these rows alone, whatever confidence is asked for."""
    for text in gates:
        if Gate.parse(text).metric in COMPARING:
            yield (
                f"gate {text!r} is about these very rows: --confidence says nothing of it, and the comparison has the interval for more "
                f"rows like these"
            )


def _unfilled(bindings: Sequence[Binding]) -> Iterator[str]:
    # The server takes a request without an optional key, and some of its judges then fail on it.
    for binding in bindings:
        if empty := [key for key in binding.template.optional if key not in binding.sources]:
            keys = " and ".join(empty)
            yield f"{binding.check}: nothing fills {keys}, which is optional; if its judge fails, --map {empty[0]}=COLUMN"


def _passed_over(bindings: Sequence[Binding]) -> Iterator[str]:
    for binding in bindings:
        for key, source in binding.sources.items():
            if source.passed_over:
                others = " or ".join(source.passed_over)
                yield f"{binding.check}: {key} is filled by {source.column}, and {others} could be meant: say which by --map {key}=COLUMN"


def _unchecked(bindings: Sequence[Binding]) -> Iterator[str]:
    for binding in bindings:  # the server takes any parameter, and ignores in silence what it does not know
        if binding.params and parameters.rules(binding.template) is None:
            names = ", ".join(binding.params)
            yield f"{binding.check}: its template names no parameters, so {names} could not be checked"


def _require_places(dataset: Dataset, bindings: Sequence[Binding]) -> None:
    """Raises PlanError for each place inside of a column at which none of the first rows has a value."""
    sources = (source for b in bindings for source in (*b.sources.values(), *b.param_sources.values()))
    deep = {source.place for source in sources if source.place.path}
    if not deep:
        return
    first = [row.values for row in islice(dataset.rows(), DEFAULT_TUNING.rows_looked_at) if row.problem is None]
    empty = sorted((place for place in deep if not is_in_a_row(place, first)), key=str)
    if empty:
        nowhere = f"none of the first {len(first):,} rows of {dataset.name} holds anything there"
        raise PlanError(*(f"--map …={place}: {nowhere} ({where_path_ends(place, first[0])})" for place in empty))


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
        good=binding.good,
    )
