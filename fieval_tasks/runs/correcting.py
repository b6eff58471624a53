"""A run's pass rates as people's labels correct them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from fieval_tasks.decisions.agreement import Confusion
from fieval_tasks.ledger.calibrations import Calibration, Calibrations
from fieval_tasks.ledger.run import CheckRecord
from fieval_tasks.report.corrections import Correction
from fieval_tasks.runs.calibrating import applying, has_same_items
from fieval_tasks.runs.preparation import Kept


def corrections(kept: Kept) -> tuple[dict[str, Correction], tuple[str, ...]]:
    """Check -> its corrected pass rate, where labels apply; and sentences on labels that do not, or that say little."""
    if not (known := Calibrations(kept.ledger.database).all()):
        return {}, ()
    run = kept.ledger.run(kept.run_id)  # which has its server's address by now
    found: dict[str, Correction] = {}
    notices: list[str] = []
    for check in kept.run.checks:
        labels = applying(known, run, check, kept.plan) if check.scale.has_passes else None
        if isinstance(labels, str):
            notices.append(labels)
        elif labels is not None:
            from fieval_tasks.decisions.labels import NotCorrectable  # with scipy and truescore, which take a second

            try:
                found[check.name] = _corrected(kept, labels, check)
            except NotCorrectable as error:
                notices.append(f"{check.name}: its pass rate is not corrected; {error}")
                continue
            notices += _cautions(labels, found[check.name])
    return found, tuple(notices)


def _corrected(kept: Kept, labels: Calibration, check: CheckRecord) -> Correction:
    """Raises NotCorrectable."""
    from fieval_tasks.decisions.labels import corrected, transferred

    is_of_these = _is_of_these_items(kept, labels, check)
    labelled, outside = (labels.labels, {*labels.outside}) if is_of_these else ({}, set[str]())
    total, pairs, others = 0, list[tuple[bool, bool]](), Counter[bool]()
    for one in kept.book.results():
        if one.check != check.name or one.repeat:
            continue
        total += 1
        if one.passed is None or one.item_id in outside:
            continue
        if one.item_id in labelled:
            pairs.append((one.passed, labelled[one.item_id]))
        else:
            others[one.passed] += 1
    confusion = Confusion.of(pairs) if is_of_these else Confusion(*labels.cells or ())
    figures = (corrected if is_of_these else transferred)(
        confusion, others[True], others[False], kept.plan.usual_confidence
    )
    if is_of_these and labels.run_id == kept.run_id and tuple(labels.cells or ()) != confusion.cells:
        Calibrations(kept.ledger.database).set_cells(labels, confusion.cells)
    measured = len(pairs) + others.total()
    return Correction(figures, measured, total, labels.labelled_run, is_of_these, labels.policy)


def _is_of_these_items(kept: Kept, labels: Calibration, check: CheckRecord) -> bool:
    """Whether this run has the very items that were labelled; else the labels tell only how often the judge is right."""
    if not labels.is_of_these_items or labels.run_id == kept.run_id:
        return labels.is_of_these_items
    return labels.check_name == check.name and has_same_items(kept.run, kept.ledger.run(labels.run_id), check)


def _cautions(labels: Calibration, correction: Correction) -> Iterator[str]:
    from fieval_tasks.decisions.labels import TRIED

    if blank := labels.drawn - len(labels.labels):
        yield (
            f"{labels.check_name}: {blank:,} of {labels.drawn:,} drawn items have no label; if those are the hard ones, the "
            f"corrected rate is wrong"
        )
    if correction.figures.confusion.n < TRIED:
        yield f"{labels.check_name}: there are fewer than {TRIED} labels, and intervals of so few were not tried"
