"""Comparing two sides: whether they can be, which items pair, what changed, and both answers of what flipped.

Imported only where runs are compared: numpy and scipy take a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.gates import Segment
from fieval_tasks.core.scales import Scale
from fieval_tasks.decisions.comparison import Compared, Figures, Paired, Terms, compare
from fieval_tasks.report.caps import CAPS
from fieval_tasks.report.differences import CheckChange, Comparison, Flip, JudgedAnswer
from fieval_tasks.report.tally import Wanted
from fieval_tasks.report.text import count
from fieval_tasks.runs.pairing import Pairs, Recognised, paired, recognised
from fieval_tasks.runs.segments import MOST_VALUES
from fieval_tasks.runs.sides import Side, Table, problems

_UNDIVIDED: Wanted = {}


def compared(
    run: Side,
    baseline: Side,
    *,
    terms: Terms,
    cluster: str | None = None,
    by: Wanted = _UNDIVIDED,
    across_models: bool = False,
) -> Comparison:
    """The comparison of all checks that both have, and of these segments of them.

    Raises PlanError, with every reason, where they can't be compared.
    """
    if reasons := [*problems(run, baseline, across_models=across_models)]:
        raise PlanError(*reasons)
    columns = [*by, *([cluster] if cluster else [])]
    mine, theirs, rows = recognised(run, baseline, columns)
    pairs = {name: paired(mine[name], theirs[name], rows) for name in mine}
    _require_columns(run, mine, columns)
    asked = _asked(run, mine, theirs, pairs, cluster, by)
    apart = [name for name in pairs if name not in asked]
    if not asked:
        raise PlanError(
            f"{', '.join(apart)}: no verdict has a score from 0 to 1, or passes or fails, so there is nothing to compare; "
            "of a check that answers with choices, say which are good by --good"
        )
    found = compare(asked, terms)
    changes = {
        name: _change(found[name], asked[name], (run, mine[name], baseline, theirs[name]), pairs[name])
        if name in pairs
        else CheckChange(found[name])
        for name in asked
    }
    notices = [
        *_of_judges(run, baseline, list(pairs)),
        *_of_rows(mine, theirs, rows, pairs),
        *_left_out(run, baseline, apart),
    ]
    return Comparison(run.name, baseline.name, terms, changes, tuple(notices))


def _asked(
    run: Side, mine: Mapping[str, Table], theirs: Mapping[str, Table], pairs: Mapping[str, Pairs], cluster: str | None,
    by: Wanted,
) -> dict[str, Paired]:  # fmt: skip
    """The figures of each check that has some, and of each segment of it."""
    asked: dict[str, Paired] = {}
    for name, one in pairs.items():
        figures = _figures(run.checks[name].scale, mine[name], theirs[name], one, cluster)
        if figures is not None:
            asked[name] = figures
            asked |= {f"{name}{segment}": _part(figures, at) for segment, at in _segments(mine[name], one, by)}
    return asked


def _require_columns(run: Side, tables: Mapping[str, Table], columns: Sequence[str]) -> None:
    missing = [name for name in columns if any(None in table.columns.get(name, [None]) for table in tables.values())]
    if missing:
        raise PlanError(
            *(
                f"run {run.name} did not keep the column {name!r}: evaluate with --cluster {name} or --keep {name}"
                for name in missing
            )
        )


# -- figures -------------------------------------------------------------------------------------------------------


def _figures(scale: Scale, run: Table, baseline: Table, pairs: Pairs, cluster: str | None) -> Paired | None:
    """The pairs' figures: passes where there are any, else scores; None where there are neither, as of a distance.

    After the pairs stand the doubtful items, without a verdict: what they would say is not known of a pair.
    """
    if not scale.is_unit:
        return None

    def of_pairs(figures: Callable[[Table], Figures]) -> tuple[Figures, Figures]:
        doubtful = np.full(pairs.doubtful, np.nan)
        sides = ((run, pairs.run), (baseline, pairs.baseline))
        now, then = (np.append(figures(table)[places], doubtful) for table, places in sides)
        return now, then

    passed, before = of_pairs(_passes)
    is_rate = scale.has_passes or not np.isnan(passed).all() or not np.isnan(before).all()
    clusters = _clusters(run, baseline, pairs, cluster)
    if is_rate:
        return Paired(passed, before, is_rate=True, unrecognised=pairs.doubtful, clusters=clusters)
    scores, former = of_pairs(lambda table: np.array(table.scores, dtype=np.float64))
    if not scale.has_scores and np.isnan(scores).all() and np.isnan(former).all():
        return None
    return Paired(scores, former, is_rate=False, unrecognised=pairs.doubtful, clusters=clusters)


def _passes(table: Table) -> Figures:
    passed = np.array(table.passed, dtype=np.float64)
    passed[passed < 0] = np.nan
    return passed


def _clusters(run: Table, baseline: Table, pairs: Pairs, cluster: str | None) -> NDArray[np.int64] | None:
    """The numbers of the column's values; without a column, of the evaluations, where pairs share theirs on both sides.

    A row without a value is a cluster of its own. Copies of a row share both evaluations. Other rows may share one: a new
    prompt that refuses answers many questions with the same words, and each of them has changed.
    """
    alone = -1 - len(run.ids) - np.arange(pairs.doubtful)
    if cluster is not None:
        numbers: dict[str, int] = {}
        values = run.columns[cluster]
        found = [numbers.setdefault(value, len(numbers)) if (value := values[i]) else -1 - i for i in pairs.run]
        return np.append(np.array(found, dtype=np.int64), alone)
    if not pairs.run:
        return None
    both = np.stack([np.array(run.evaluations)[pairs.run], np.array(baseline.evaluations)[pairs.baseline]])
    _, numbered = np.unique(both, axis=1, return_inverse=True)
    is_shared = len(numbered) > numbered.max() + 1
    return np.append(numbered.ravel(), alone).astype(np.int64) if is_shared else None


def _segments(table: Table, pairs: Pairs, by: Wanted) -> Iterator[tuple[Segment, NDArray[np.bool_]]]:
    for column, named in by.items():
        values = [table.columns[column][place] or "" for place in pairs.run]
        found = sorted(set(values) if named is None else named.intersection(values))
        if len(found) > MOST_VALUES:
            raise PlanError(
                f"{column} has {len(found):,} values, and each would be a comparison: name a column of {MOST_VALUES} at most"
            )
        for value in found:
            yield Segment(column, value), np.array([one == value for one in values] + [True] * pairs.doubtful)


def _part(whole: Paired, at: NDArray[np.bool_]) -> Paired:
    clusters = None if whole.clusters is None else whole.clusters[at]
    return replace(whole, run=whole.run[at], baseline=whole.baseline[at], clusters=clusters)


# -- what is shown of them -----------------------------------------------------------------------------------------


def _change(found: Compared, figures: Paired, tables: tuple[Side, Table, Side, Table], pairs: Pairs) -> CheckChange:
    run, mine, baseline, theirs = tables
    better = (figures.run - figures.baseline) * (1 if figures.higher_is_better else -1)
    moved = np.flatnonzero(~np.isnan(better) & (better != 0))
    first = sorted(moved, key=lambda place: (better[place] > 0, -abs(better[place])))[: CAPS.flips_kept]
    seqs = {int(place): (mine.seqs[pairs.run[place]], theirs.seqs[pairs.baseline[place]]) for place in first}
    now = {result.seq: result for result in run.results(seq for seq, _ in seqs.values())}
    before = {result.seq: result for result in baseline.results(seq for _, seq in seqs.values())}
    flips = tuple(
        Flip(
            item_id=now[seq].item_id,
            row=now[seq].row,
            is_regression=bool(better[place] < 0),
            run=JudgedAnswer.of(now[seq]),
            baseline=JudgedAnswer.of(before[former]) if former in before else None,
        )
        for place, (seq, former) in seqs.items()
    )
    missing = np.flatnonzero(np.isnan(better[: len(pairs.run)]))[: CAPS.lost_named]
    return CheckChange(
        found,
        flips,
        {mine.seqs[pairs.run[place]]: bool(better[place] < 0) for place in moved},
        (len(mine.ids) - len(pairs.run), len(theirs.ids) - len(pairs.run)),
        tuple(mine.ids[pairs.run[place]] for place in missing),
        pairs.doubtful,
    )


def _of_judges(run: Side, baseline: Side, names: Sequence[str]) -> Iterator[str]:
    judges = [name for name in names if run.checks[name].model != baseline.checks[name].model]
    if judges or run.is_local != baseline.is_local:
        said = "; ".join(f"{name}: {baseline.checks[name].model} then, {run.checks[name].model} now" for name in judges)
        which = said or "local heuristics and the platform's judges"
        yield f"the judges differ, so a difference may be theirs and not the answers' ({which})"
    if run.dataset != baseline.dataset:
        yield f"the datasets have other names: {run.dataset}, and {baseline.dataset} in the baseline"


def _of_rows(
    mine: Mapping[str, Table], theirs: Mapping[str, Table], rows: Recognised, pairs: Mapping[str, Pairs]
) -> Iterator[str]:
    if rows.by_inputs:
        have = count(len(rows.by_inputs), "row has", "rows have")
        yield f"{have} another id in the baseline (--id COLUMN gives lasting ones), paired by the inputs without the answer"
    for name, one in pairs.items():
        run, baseline = mine[name], theirs[name]
        places = zip(one.run, one.baseline, strict=True)
        if asked := sum(_differ(run.asked[here], baseline.asked[there]) for here, there in places):
            yield f"{name}: {count(asked, 'pair')} with the same id have other inputs than in the baseline, beside the answer"
        for table, of, other in ((run, "the run", "the baseline"), (baseline, "the baseline", "the run")):
            if alone := len(table.ids) - len(one.run) - one.doubtful:
                yield f"{name}: {count(alone, f'item of {of} is', f'items of {of} are')} not in {other}"
        if run.further:
            yield f"{name}: each item's first evaluation is compared, and not the {run.further:,} further ones"


def _differ(asked: bytes, before: bytes) -> bool:
    return bool(asked and before) and asked != before


def _left_out(run: Side, baseline: Side, apart: Sequence[str]) -> Iterator[str]:
    for name in apart:
        yield f"{name} is left out: its verdicts have neither a score from 0 to 1 nor pass or fail (--good says which choices pass)"
    for side, other in ((run, baseline), (baseline, run)):
        if only := [name for name in side.checks if name not in other.checks]:
            yield f"only {'the run' if side is run else 'the baseline'} has {', '.join(only)}"
