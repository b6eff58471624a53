"""Items that were evaluated more than once: how steady their judge is, in figures and in sentences."""

from __future__ import annotations

from typing import Any

from fieval_tasks.core.gates import Gate
from fieval_tasks.core.items import Result
from fieval_tasks.decisions.self_agreement import SelfAgreement
from fieval_tasks.report.record import value_text
from fieval_tasks.report.text import between, count, share


class Repeated:
    """Gathers the evaluations of each item of one check. They come one after the other, the first with `repeat` 0."""

    def __init__(self) -> None:
        self._counted = SelfAgreement()
        self._verdicts: list[str] = []
        self._figures: list[float] = []
        self._are_named = True

    def add(self, result: Result, figure: float | None) -> None:
        """`figure`: 1 or 0 for Passed or Failed, else the verdict's number on its scale; None where it has none."""
        if result.repeat == 0:
            self._close()
        elif result.same_as is not None:  # a copy's: these evaluations are counted where they were made
            return
        if result.status == "scored":
            self._verdicts.append(f"{result.passed}" if result.passed is not None else value_text(result.value) or "")
            self._are_named = result.passed is not None or not isinstance(result.value, (int, float))
            self._figures += [] if figure is None else [figure]

    def _close(self) -> None:
        self._counted.add(self._verdicts, self._figures, are_named=self._are_named)
        self._verdicts, self._figures = [], []

    @property
    def found(self) -> SelfAgreement | None:
        """None where no item has two verdicts."""
        self._close()
        return self._counted if self._counted.items else None


def as_fields(found: SelfAgreement) -> dict[str, Any]:
    """As in summary.json."""
    interval = found.changed_interval
    return {
        "items": found.items,
        "unanimous": found.unanimous,
        "changed_interval": interval and list(interval),
        "pairwise": found.pairwise,
        "kappa": found.kappa,
        "mean_difference": found.mean_difference,
    }


def steadiness(check: str, found: SelfAgreement) -> str:
    """`tone: 25 items were judged more than once, and 2 of them did not get the same verdict each time (a share of 0.080, …`."""
    said = f"{check}: {count(found.items, 'item was', 'items were')} judged more than once"
    if found.changed_interval is not None:
        said += f", and {found.changed:,} of them did not get the same verdict each time (a share of "
        said += f"{share(found.changed / found.items)}, 95 % interval {between(found.changed_interval, 'to')})"
    if found.are_named:
        said += f"; a share of {share(found.pairwise)} of pairs of verdicts on one item are the same"
        said += "" if found.kappa is None else f", kappa {found.kappa:.2f}"
    elif found.mean_difference is not None:
        said += f"; two scores of one item are {found.mean_difference:.3f} apart on average"
    return said


def within_noise(gate: Gate, value: float | None, found: SelfAgreement, evaluations: int) -> str | None:
    """A sentence where the judge's own noise could move a figure over its gate's threshold; None where it could not."""
    noise, threshold = found.noise(evaluations), float(gate.threshold)
    if not noise or value is None or abs(value - threshold) > noise:
        return None
    return (
        f"gate {gate}: its judge's own noise could decide it: judged anew, the same rows would come to a figure that differs "
        f"by up to {noise:.4f} (95 %), and it is {abs(value - threshold):.4f} from the threshold; decide on more rows, or "
        f"with --repeats"
    )
