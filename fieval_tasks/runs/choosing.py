"""Which rows of its dataset a plan means, and the items that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.items import Failed, Item
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.quantities import parse_precision, parse_share, percent, plus_minus
from fieval_tasks.data.binding import Binding
from fieval_tasks.data.dataset import Dataset
from fieval_tasks.data.intake import Evaluations, first_drawn, in_random_order, items, mark_copies
from fieval_tasks.data.places import Place, not_there, place_of
from fieval_tasks.data.selection import Chosen, Selection, audited, candidates, choose
from fieval_tasks.decisions.sizes import sample_size
from fieval_tasks.runs.segments import segmented, wanted

Rows: TypeAlias = Iterable[tuple[Item, Failed | None]]


@dataclass(frozen=True)
class ChosenRows:
    """The rows and columns of a dataset that a plan means."""

    plan: EvaluationPlan
    """The plan with its sample decided, and `keep` spelled as the columns are."""
    chosen: Chosen
    keep: Sequence[Place]
    """Columns for the results, as --keep names them."""
    traits: Sequence[Place]
    """Columns that the results are divided by."""
    notices: tuple[str, ...]

    @property
    def count(self) -> int:
        """Rows that are evaluated."""
        return len(self.chosen.numbers)

    @property
    def population(self) -> int:
        """Rows of which these were chosen, or could have been drawn."""
        return len(self.chosen.candidates)


def chosen_rows(plan: EvaluationPlan, dataset: Dataset) -> ChosenRows:
    """Raises PlanError for columns that are not there, and as `choose` does."""
    keep = _places("--keep", plan.keep, dataset)
    traits = [place for option, names in _dividing(plan).items() for place in _places(option, names, dataset)]
    plan, drawn = _with_precision(plan.model_copy(update={"keep": tuple(map(str, keep))}), dataset)
    chosen = choose(dataset, _selection(plan, dataset))
    return ChosenRows(plan, chosen, keep, traits, (*chosen.notices, *drawn))


def reading(found: ChosenRows, dataset: Dataset, bindings: Sequence[Binding]) -> Callable[[], Rows]:
    """Reads the items as they are written to the ledger; while the dataset is open. Raises PlanError for an audit of nothing."""
    plan, numbers = found.plan, found.chosen.numbers
    read = partial(
        items,
        dataset,
        bindings,
        found.chosen,
        id_column=plan.id_column,
        keep=found.keep,
        traits=found.traits,
        evaluations=_evaluations(plan, bindings, numbers),
    )
    draw = partial(in_random_order, numbers=numbers, width=len(bindings), seed=plan.seed)
    return partial(_read, read, plan, dataset.name, draw if plan.stop_when_decided else None)


def _read(read: Callable[[], Rows], plan: EvaluationPlan, dataset: str, draw: Callable[[Rows], Rows] | None) -> Rows:
    """Drawn ones are read twice: of those that are the same, any may come first."""

    def drawn() -> Rows:
        rows = segmented(read(), plan.gates, dataset)
        return rows if draw is None else draw(rows)

    if not plan.sharing:
        return drawn()
    return mark_copies(drawn(), None if draw is None else first_drawn(drawn()))


def _evaluations(plan: EvaluationPlan, bindings: Sequence[Binding], numbers: Sequence[int]) -> Evaluations:
    """How many evaluations an item has. Raises PlanError for an audit without a judge: plain code always says the same."""
    if plan.audit is None:
        return lambda row, check: plan.repeats
    if not any(binding.model for binding in bindings):
        raise PlanError("--audit: none of the checks has a judge, and plain code says the same each time; leave it out")
    twice = audited(numbers, parse_share(plan.audit), plan.seed)
    return lambda row, check: 1 + (row in twice and check.model is not None)


def _with_precision(plan: EvaluationPlan, dataset: Dataset) -> tuple[EvaluationPlan, tuple[str, ...]]:
    """The plan with the sample that its precision needs, and a notice that says how many rows that are."""
    if plan.precision is None:
        return plan, ()
    found, _ = candidates(dataset, _selection(plan, dataset))
    size = sample_size(float(parse_precision(plan.precision)), len(found), plan.usual_confidence)
    question = f"--precision {plan.precision}: {plus_minus(plan.precision)} at {percent(plan.usual_confidence)}"
    said = f"{question}, in the worst case (a rate of 50 %), takes {size:,} of {len(found):,} rows"
    return plan.model_copy(update={"sample": size}), (said,)


def _selection(plan: EvaluationPlan, dataset: Dataset) -> Selection:
    stratify = _places("--stratify", [plan.stratify], dataset) if plan.stratify else [None]
    return Selection(plan.where, plan.limit, plan.sample, plan.seed, *stratify)


def _dividing(plan: EvaluationPlan) -> dict[str, tuple[str, ...]]:
    """Option -> the columns that it names by which the results will be divided, so that the ledger keeps them."""
    named = {"--stratify": plan.stratify, "--cluster": plan.cluster}
    return {
        **{option: (column,) if column else () for option, column in named.items()},
        "--gate": tuple(wanted(plan.gates)),
    }


def _places(option: str, named: Sequence[str], dataset: Dataset) -> list[Place]:
    """The columns that an option names, `all` meaning every one for --keep. Raises PlanError for those that are not there."""
    names = dict.fromkeys(
        column for name in named for column in (dataset.columns if (option, name) == ("--keep", "all") else (name,))
    )
    found = {name: place_of(name, dataset.columns) for name in names}
    if unknown := [name for name, place in found.items() if place is None]:
        raise PlanError(*(f"{option} {name}: {not_there(name, dataset.columns, dataset.name)}" for name in unknown))
    return [place for place in found.values() if place is not None]
