"""Beginning a run: the plan, dataset and templates are checked, and the run is written to the ledger; nothing is sent."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from fieval_tasks.core.budget import budget_problems
from fieval_tasks.core.commands import option_name
from fieval_tasks.core.errors import ApiError, Lost, NameTaken, PlanError, RunStopped, ServerFault, Throttled
from fieval_tasks.core.gates import gate_notices
from fieval_tasks.core.items import Failed, Item
from fieval_tasks.core.mode_choice import Load, choose_mode, judging_time
from fieval_tasks.core.plan import Check, EvaluationPlan, Mode
from fieval_tasks.core.quantities import parse_precision, parse_rate, parse_share, points
from fieval_tasks.core.templates import Catalogue, bundled_catalogue
from fieval_tasks.data import parameters
from fieval_tasks.data.binding import Binding, bind
from fieval_tasks.data.dataset import Dataset, Reading, read_dataset
from fieval_tasks.data.intake import Evaluations, first_drawn, in_random_order, items, mark_copies
from fieval_tasks.data.places import Place, is_in_a_row, place_of, where_path_ends
from fieval_tasks.data.selection import Selection, audited, candidates, choose
from fieval_tasks.ledger.reuse import Earlier
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.baselines import require_comparable, require_pairs
from fieval_tasks.runs.calibrating import Handed, handed, record, require_labels
from fieval_tasks.runs.connections import WITHOUT_PREFECT, Connection, Openers, connection
from fieval_tasks.runs.earlier import reusable
from fieval_tasks.runs.reach import out_of_reach
from fieval_tasks.runs.run_tuning import DEFAULT_TUNING, RunTuning
from fieval_tasks.runs.segments import segmented, wanted
from fieval_tasks.runs.sides import Side
from fieval_tasks.work.lanes import longest_pack

Rows: TypeAlias = Iterable[tuple[Item, Failed | None]]

SAMPLE_CHECKS = (Check(template="groundedness"), Check(template="completeness"))
OF_A_DATASET = ("checks", "mapping", "id_column", "format", "delimiter", "rows")
"""Fields that only make sense with a dataset, so that they are refused without one."""
# Else an unset variable in a CI job would have the bundled sample pass its gate. `gates` is not among them: a dataset also
# needs a template, so a plan with nothing but a gate means the sample.
USUAL_CONFIDENCE = 0.95
"""At which --precision is meant where --confidence says nothing."""
OF_ONE_CALL = {"store", "resume", "retry_failed", "same_account", "labels"}
"""Fields of a plan that concern one call, and are not recorded with the run."""


@dataclass(frozen=True)
class Outline:
    """A run that is checked and not written: all of it but its items."""

    run: Run
    """Its name is empty unless the plan has one."""
    plan: EvaluationPlan
    """The plan with its mode and its sample decided."""
    way: Connection
    read: Callable[[], Rows]
    """Reads the items; while the outline's context is open."""
    rows: int
    """Rows that are evaluated."""
    population: int
    """Rows of which these were chosen, or could have been drawn."""
    chunk_size: int
    given: Handed | None
    """People's labels that the plan names, checked and not recorded."""
    baseline: Side | None = None
    """What the run will be compared with; judged alike, and its rows not looked at yet."""


def begin(
    plan: EvaluationPlan,
    ledger: Ledger,
    openers: Openers = WITHOUT_PREFECT,
    *,
    processes: int = 1,
    dataset: Dataset | None = None,
    tuning: RunTuning = DEFAULT_TUNING,
) -> tuple[Run, EvaluationPlan, Connection]:
    """Write the plan's run to the ledger; the run, the plan with its mode decided, and its connection.

    `processes`: how many will share its chunks. `dataset`: the rows, where the plan only names them. Raises PlanError with
    every problem.
    """
    with outlined(plan, ledger, openers, processes=processes, dataset=dataset, tuning=tuning) as outline:
        create = partial(ledger.create, chunk_size=outline.chunk_size, earlier=earlier_verdicts(outline, ledger))
        run = _written(ledger, outline.run, outline.read, create)
    if outline.baseline is not None:
        _require_pairs(ledger, run, outline.baseline)
    if outline.given is not None:
        record(ledger, run.run_id, outline.given)
    return run, outline.plan, outline.way


def _require_pairs(ledger: Ledger, run: Run, baseline: Side) -> None:
    try:
        require_pairs(run, baseline, ledger)
    except BaseException:
        ledger.forget(run.run_id)
        raise


@contextmanager
def outlined(
    plan: EvaluationPlan,
    ledger: Ledger,
    openers: Openers = WITHOUT_PREFECT,
    *,
    processes: int = 1,
    dataset: Dataset | None = None,
    tuning: RunTuning = DEFAULT_TUNING,
) -> Iterator[Outline]:
    """Yields the plan's run as `begin` would write it. Raises PlanError with every problem but those of single rows."""
    _require_agreement(plan)
    if plan.dataset is None and not plan.checks:
        plan = plan.model_copy(update={"checks": SAMPLE_CHECKS})
    require_writable(plan)
    way = connection(plan, openers)
    # The rows are looked at before the server is asked: a misspelt path needs no network to be found.
    with dataset or _dataset(plan) as rows:
        catalogue, found = templates_of(way)
        bindings = bind(plan, rows.columns, catalogue)
        if unfit := [*budget_problems(plan.max_cost, plan.prices, [binding.model for binding in bindings])]:
            raise PlanError(*unfit)
        _require_places(rows, bindings, tuning.rows_looked_at)
        keep = _places("--keep", plan.keep, rows)
        traits = [place for option, names in dividing(plan).items() for place in _places(option, names, rows)]
        plan = plan.model_copy(update={"keep": tuple(map(str, keep))})
        plan, drawn = _with_precision(plan, rows)
        chosen = choose(rows, _selection(plan, rows))
        count, population = len(chosen.numbers), len(chosen.candidates)
        plan, why = _with_mode(plan, bindings, count * plan.repeats)
        run = Run(
            run_id=plan.run or "",
            created_at=ledger.now(),
            dataset=rows.name if plan.dataset is not None else "the bundled sample",
            dataset_fingerprint=rows.fingerprint,
            mode=plan.mode.value,
            connection=way.label,
            checks=tuple(map(_recorded, bindings)),
            plan=plan.model_copy(update={"connection": way.name}).model_dump(mode="json", exclude=OF_ONE_CALL),
            population=population if count < population else None,
            notices=(
                *way.notices,
                *rows.notices,
                *chosen.notices,
                *drawn,
                *found,
                *why,
                *_notices(plan, bindings, count, population),
            ),
        )
        if plan.stop_when_decided:
            from fieval_tasks.runs.drawn import notices  # it brings scipy, which takes a second

            run = replace(run, notices=(*run.notices, *notices(run, plan)))
        given = handed(ledger, plan, run, way.account.address)
        require_labels(ledger, plan, run, given, way.account.address)
        side = None
        if plan.baseline is not None:
            plan, side, old = require_comparable(run, plan, ledger)
            run = replace(run, plan={**run.plan, "baseline": plan.baseline}, notices=(*run.notices, *old))
        read = partial(
            items,
            rows,
            bindings,
            chosen,
            id_column=plan.id_column,
            keep=keep,
            traits=traits,
            evaluations=_evaluations(plan, bindings, chosen.numbers),
        )
        draw = partial(in_random_order, numbers=chosen.numbers, width=len(bindings), seed=plan.seed)
        yield Outline(
            run=run,
            plan=plan.model_copy(update={"labels": None}),  # from now on the ledger has the labels
            way=way,
            read=partial(_read, read, plan, rows.name, draw if plan.stop_when_decided else None),
            rows=count,
            population=population,
            chunk_size=plan.chunk_size or tuning.chunk_size(count * len(bindings) * plan.repeats, processes),
            given=given,
            baseline=side,
        )


def earlier_verdicts(outline: Outline, ledger: Ledger) -> Earlier | None:
    """The verdicts that the run may reuse; None where its plan does not ask for any."""
    within = outline.plan.reuse
    return reusable(ledger, outline.way.account, outline.run.checks, within) if within else None


def _read(read: Callable[[], Rows], plan: EvaluationPlan, dataset: str, draw: Callable[[Rows], Rows] | None) -> Rows:
    """The items as they are written to the ledger. Drawn ones are read twice: of those that are the same, any may come first."""

    def drawn() -> Rows:
        rows = segmented(read(), plan.gates, dataset)
        return rows if draw is None else draw(rows)

    if not plan.sharing:
        return drawn()
    return mark_copies(drawn(), None if draw is None else first_drawn(drawn()))


def _written(ledger: Ledger, run: Run, read: Callable[[], Rows], create: Callable[[Run, Rows], Run]) -> Run:
    """The run in the ledger, under the name that was chosen, or a fresh one."""
    for name in [run.run_id] if run.run_id else _fresh_names(ledger, run.plan["dataset"]):
        try:
            return create(replace(run, run_id=name), read())
        except NameTaken:  # by another process, a moment ago
            if run.run_id:
                raise
    raise NameTaken("there are thousands of runs of this second: name this one with --run")


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


def templates_of(way: Connection) -> tuple[Catalogue, tuple[str, ...]]:
    """The server's catalogue; the bundled one, with a notice, where the server answers but its list can't be read."""

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


def _with_precision(plan: EvaluationPlan, dataset: Dataset) -> tuple[EvaluationPlan, tuple[str, ...]]:
    """The plan with the sample that its precision needs, and a notice that says how many rows that are."""
    if plan.precision is None:
        return plan, ()
    from fieval_tasks.decisions.sizes import sample_size  # statsmodels takes a second

    found, _ = candidates(dataset, _selection(plan, dataset))
    confidence = plan.confidence or USUAL_CONFIDENCE
    size = sample_size(float(parse_precision(plan.precision)), len(found), confidence)
    question = f"--precision {plan.precision}: {points(plan.precision)} at {100 * confidence:g} %"
    said = f"{question}, in the worst case (a rate of 50 %), takes {size:,} of {len(found):,} rows"
    return plan.model_copy(update={"sample": size}), (said,)


def _with_mode(plan: EvaluationPlan, bindings: Sequence[Binding], rows: int) -> tuple[EvaluationPlan, tuple[str, ...]]:
    """The plan with `mode` auto resolved, and a notice that says why."""
    if plan.mode is not Mode.AUTO:
        return plan, ()
    packed = [1 if b.param_sources else longest_pack(b.sources) for b in bindings]
    loads = [Load(rows, size, judging_time(b.model)) for size, b in zip(packed, bindings, strict=True)]
    lane = choose_mode(loads, concurrency=plan.concurrency, rate=None if plan.rate is None else parse_rate(plan.rate))
    return plan.model_copy(update={"mode": lane.mode}), (f"mode: {lane.reason}",)


def _notices(plan: EvaluationPlan, bindings: Sequence[Binding], rows: int, population: int) -> Iterator[str]:
    """Notices on gates and bindings that are valid and may be mistakes."""
    yield from gate_notices(plan.gates, {binding.check: binding.scale for binding in bindings})
    if plan.confidence is not None and not plan.stop_when_decided and rows == population:
        yield from out_of_reach(plan.gates, rows, plan.confidence)
    for (
        binding
    ) in bindings:  # the server takes a request without an optional key, and some of its judges then fail on it
        empty = [key for key in binding.template.optional if key not in binding.sources]
        if empty:
            keys = " and ".join(empty)
            yield f"{binding.check}: nothing fills {keys}, which is optional; if its judge fails, --map {empty[0]}=COLUMN"
    for binding in bindings:
        for key, source in binding.sources.items():
            if source.passed_over:
                others = " or ".join(source.passed_over)
                yield f"{binding.check}: {key} is filled by {source.column}, and {others} could be meant: say which by --map {key}=COLUMN"
    for binding in bindings:  # the server takes any parameter, and ignores in silence what it does not know
        if binding.params and parameters.rules(binding.template) is None:
            names = ", ".join(binding.params)
            yield f"{binding.check}: its template names no parameters, so {names} could not be checked"


def _require_places(dataset: Dataset, bindings: Sequence[Binding], rows: int) -> None:
    """Raises PlanError for each place inside of a column at which none of the first rows has a value."""
    sources = (source for b in bindings for source in (*b.sources.values(), *b.param_sources.values()))
    deep = {source.place for source in sources if source.place.path}
    if not deep:
        return
    first = [row.values for row in islice(dataset.rows(), rows) if row.problem is None]
    empty = sorted((place for place in deep if not is_in_a_row(place, first)), key=str)
    if empty:
        nowhere = f"none of the first {len(first):,} rows of {dataset.name} holds anything there"
        raise PlanError(*(f"--map …={place}: {nowhere} ({where_path_ends(place, first[0])})" for place in empty))


def dividing(plan: EvaluationPlan) -> dict[str, tuple[str, ...]]:
    """Option -> the columns that it names by which the results will be divided, so that the ledger keeps them."""
    named = {"--stratify": plan.stratify, "--cluster": plan.cluster}
    return {
        **{option: (column,) if column else () for option, column in named.items()},
        "--gate": tuple(wanted(plan.gates)),
    }


def _evaluations(plan: EvaluationPlan, bindings: Sequence[Binding], numbers: Sequence[int]) -> Evaluations:
    """How many evaluations an item has. Raises PlanError for an audit without a judge: plain code always says the same."""
    if plan.audit is None:
        return lambda row, check: plan.repeats
    if not any(binding.model for binding in bindings):
        raise PlanError("--audit: none of the checks has a judge, and plain code says the same each time; leave it out")
    twice = audited(numbers, parse_share(plan.audit), plan.seed)
    return lambda row, check: 1 + (row in twice and check.model is not None)


def _selection(plan: EvaluationPlan, dataset: Dataset) -> Selection:
    stratify = _places("--stratify", [plan.stratify], dataset) if plan.stratify else [None]
    return Selection(plan.where, plan.limit, plan.sample, plan.seed, *stratify)


def _places(option: str, named: Sequence[str], dataset: Dataset) -> list[Place]:
    """The columns that an option names, `all` meaning every one for --keep. Raises PlanError for those that are not there."""
    names = dict.fromkeys(
        column for name in named for column in (dataset.columns if (option, name) == ("--keep", "all") else (name,))
    )
    found = {name: place_of(name, dataset.columns) for name in names}
    if unknown := [name for name, place in found.items() if place is None]:
        has = ", ".join(dataset.columns[:20])
        raise PlanError(
            *(f"{option} {name}: there is no such column in {dataset.name} (it has: {has})" for name in unknown)
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
        good=binding.good,
    )


def name_stem(dataset: str | None) -> str:
    """The first part of the name that is made for a run on this dataset; its time follows."""
    if dataset is None:
        return "sample"
    stem = "stdin" if dataset == "-" else Path(dataset.splitlines()[0]).name.split(".")[0]
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in stem).strip("-")[:40] or "run"


def _fresh_names(ledger: Ledger, dataset: str | None) -> Iterator[str]:
    """Readable names that no run has yet; the next one is tried where another process has taken the first."""
    name = f"{name_stem(dataset)}-{datetime.now():%Y%m%d-%H%M%S}"
    taken = ledger.names(name)
    return (n for n in (name, *(f"{name}-{i}" for i in range(2, 10_000))) if n not in taken)
