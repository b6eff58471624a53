"""What changed between two runs, for people and machines: each check's comparison, and both answers of what flipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fieval_tasks.core.errors import ExitCode
from fieval_tasks.core.items import Result, Value
from fieval_tasks.core.quantities import percent
from fieval_tasks.report.record import finite
from fieval_tasks.report.text import count, share

if TYPE_CHECKING:  # it imports scipy, which takes a second
    from fieval_tasks.decisions.comparison import Compared, Terms


@dataclass(frozen=True)
class JudgedAnswer:
    """What was judged of an item on one side, and how."""

    value: Value
    score: float | None
    passed: bool | None
    reason: str | None
    inputs: Mapping[str, str] | None

    @classmethod
    def of(cls, result: Result) -> JudgedAnswer:
        return cls(result.value, result.score, result.passed, result.reason, result.inputs)

    def to_json(self) -> dict[str, Any]:
        return {name: finite(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Flip:
    """An item whose verdict is another one than in the baseline."""

    item_id: str
    row: int
    is_regression: bool
    run: JudgedAnswer
    baseline: JudgedAnswer | None
    """None: of a baseline that is a file, which holds no answers."""

    def to_json(self) -> dict[str, Any]:
        return {
            "item_id": self.item_id,
            "row": self.row,
            "change": "regression" if self.is_regression else "fix",
            "run": self.run.to_json(),
            "baseline": None if self.baseline is None else self.baseline.to_json(),
        }


@dataclass(frozen=True)
class CheckChange:
    """One check, or one segment of it, in both runs."""

    compared: Compared
    flips: tuple[Flip, ...] = ()
    """Regressions first, and those that changed most; so many at most as `Caps.flips_kept`. Of a segment none."""
    moved: Mapping[int, bool] = field(default_factory=dict)
    """Every item of the run that changed, by its seq -> whether it is a regression. Of a segment none."""
    unpaired: tuple[int, int] = (0, 0)
    """Items that only the run has, and that only the baseline has."""
    without_verdict: tuple[str, ...] = ()
    """The first ids of paired items that lack a verdict in one of the runs."""
    doubtful: int = 0
    """Items that may be in both and can't be recognised: of `Compared.missing`, for what they would say is not known."""

    @property
    def flipped(self) -> int:
        """How many items changed, of which `flips` holds the first."""
        return self.compared.regressions + self.compared.fixes

    def to_json(self) -> dict[str, Any]:
        """As `compare --json` and summary.json have it."""
        found = self.compared
        same = ("n_pairs", "metric", "run", "baseline", "difference")
        return {
            **{name: finite(getattr(found, name)) for name in same},
            "interval": found.interval and list(found.interval),
            **{name: finite(getattr(found, name)) for name in ("p_value", "p_holm")},
            "verdict": found.verdict.value,
            "regressions": found.regressions,
            "fixes": found.fixes,
            "detectable": found.detectable,
            "pairs_needed": found.pairs_needed,
            "missing": found.missing,
            "missing_ids": list(self.without_verdict),
            "not_recognised": self.doubtful,
            "is_open": found.is_open,
            "bounds": found.bounds and list(found.bounds),
            "only_in_run": self.unpaired[0],
            "only_in_baseline": self.unpaired[1],
            "flips": [flip.to_json() for flip in self.flips],
        }


@dataclass(frozen=True)
class Comparison:
    """A run beside its baseline."""

    run: str
    """The run's name."""
    baseline: str
    """The baseline's name: a run's, or that of the run that a file was made from."""
    terms: Terms
    checks: Mapping[str, CheckChange] = field(default_factory=dict)
    """By the check's name, and for a segment as in gates: `tone[lang=fr]`."""
    notices: tuple[str, ...] = ()
    """What a reader must know of how they were paired, before believing a number."""

    @property
    def exit_code(self) -> ExitCode:
        """1 where a check is worse; 3 where missing verdicts keep one from being told."""
        found = [change.compared for change in self.checks.values()]
        if any(one.verdict.value == "WORSE" for one in found):
            return ExitCode.GATE_FAILED
        return ExitCode.INCOMPLETE if any(one.is_open for one in found) else ExitCode.OK

    @property
    def sentences(self) -> dict[str, str]:
        """Check, or segment of one -> what is said of it."""
        return {name: change_sentence(name, change, self.terms) for name, change in self.checks.items()}

    def to_json(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "baseline": self.baseline,
            "checks": {name: change.to_json() for name, change in self.checks.items()},
            "margin": self.terms.margin,
            "notices": list(self.notices),
        }


# -- in words ------------------------------------------------------------------------------------------------------


def points(difference: float) -> str:
    """`2 points`: a difference of rates or of scores from 0 to 1."""
    number = f"{abs(100 * difference):.1f}".removesuffix(".0")
    return f"{'<0.1' if number == '0' and difference else number} {'point' if number == '1' else 'points'}"


def change_sentence(name: str, change: CheckChange, terms: Terms) -> str:
    """`tone WORSE: its pass rate fell from 0.91 to 0.86 …`, with what missing verdicts and few pairs leave open."""
    found = change.compared
    said = "CAN'T TELL" if found.verdict.value == "CANT_TELL" else found.verdict.value
    return f"{name} {said}: {'; '.join(_parts(change, terms))}"


def _parts(change: CheckChange, terms: Terms) -> list[str]:
    found = change.compared
    if found.run is None or found.baseline is None or found.difference is None:
        return [f"none of {count(found.missing, 'item')} has a verdict in both runs", *_without(change)]
    metric = "pass rate" if found.metric == "pass_rate" else "mean score"
    went = "rose" if found.difference > 0 else "fell" if found.difference < 0 else "stayed"
    by = f" by {points(found.difference)}" if found.difference else ""
    reach = (
        ""
        if found.interval is None
        else f" ({percent(1 - terms.alpha)}: {_signed(found.interval[0])} to {_signed(found.interval[1])} points)"
    )
    parts = [
        f"its {metric} {went}{by}, from {found.baseline:.4g} to {found.run:.4g} over {count(found.n_pairs, 'pair')}{reach}"
    ]
    if found.metric == "pass_rate":
        parts.append(f"{count(found.regressions, 'regression')} and {count(found.fixes, 'fix', 'fixes')}")
    if found.p_value is not None and found.p_holm is not None:
        holm = "" if found.p_holm == found.p_value else f", {_p(found.p_holm)} with Holm's correction"
        parts.append(f"p {_p(found.p_value)}{holm}")
    if found.verdict.value == "SAME":
        parts.append(f"that is within {points(terms.margin)}")
    parts += _without(change)
    if found.verdict.value == "CANT_TELL" and not found.is_open:
        parts.append(_seen(change, terms))
    return parts


def _without(change: CheckChange) -> list[str]:
    """What is said of pairs that are not known."""
    lacking = change.compared.missing - change.doubtful
    parts = [f"{count(lacking, 'item lacks', 'items lack')} a verdict in one of the runs"] if lacking else []
    if change.doubtful:
        have = count(change.doubtful, "item has", "items have")
        parts.append(f"{have} another answer and can't be recognised, so give rows an id (--id COLUMN)")
    if not parts:
        return []
    could = "which could change the answer" if change.compared.is_open else "and none of that could change the answer"
    return [f"{' and '.join(parts)}, {could}"]


def _seen(change: CheckChange, terms: Terms) -> str:
    found = change.compared
    could = "so few pairs show no change, however large"
    if found.detectable is not None:
        could = f"so many pairs show a change of {points(found.detectable)} or more"
    if found.pairs_needed is not None and found.pairs_needed > found.n_pairs:
        return f"{could}; for {points(terms.margin)} evaluate {max(found.pairs_needed, terms.least_for_same):,} pairs"
    if found.n_independent < terms.least_for_same:
        return f"{could}; that there is none of {points(terms.margin)} takes {terms.least_for_same:,} independent pairs at least"
    return could


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def verdict_of(answer: JudgedAnswer) -> str:
    """`Passed`, `Failed`, or the score."""
    if answer.passed is not None:
        return "Passed" if answer.passed else "Failed"
    return "no score" if answer.score is None else f"score {share(answer.score)}"


def told(answer: JudgedAnswer, other: JudgedAnswer | None) -> str:
    """What is to be seen on one side of a flip: the inputs that the other side has otherwise, then the judge's reason."""
    texts = answer.inputs or {}
    before = {} if other is None else other.inputs or {}
    changed = [f"{key}: {text}" for key, text in texts.items() if other is None or before.get(key) != text]
    return (
        " · ".join([*changed, *([f"({answer.reason})"] if answer.reason else [])]) or "the same inputs, and no reason"
    )


NO_ANSWER = "the baseline is a file, which holds no answers"


def as_lines(comparison: Comparison, *, shown: int = 5) -> Iterator[str]:
    """The comparison for a terminal, each text on one line."""
    yield f"run {comparison.run} compared with the baseline {comparison.baseline}"
    yield from (f"note: {notice}" for notice in comparison.notices)
    yield from comparison.sentences.values()
    for name, change in comparison.checks.items():
        if change.without_verdict:
            more = change.compared.missing - change.doubtful - len(change.without_verdict)
            yield f"{name}, without a verdict in one of the runs: {', '.join(change.without_verdict)}" + (
                f" and {more:,} more" if more else ""
            )
        for flip in change.flips[:shown]:
            what = "regression" if flip.is_regression else "fix"
            yield f"{name}, {what}: row {flip.row}, item {flip.item_id}"
            yield (
                f"  then {verdict_of(flip.baseline)}: {told(flip.baseline, flip.run)}"
                if flip.baseline
                else f"  then: {NO_ANSWER}"
            )
            yield f"  now {verdict_of(flip.run)}: {told(flip.run, flip.baseline)}"
        if (left := change.flipped - min(len(change.flips), shown)) and change.flips:
            worse = change.compared.regressions - sum(flip.is_regression for flip in change.flips[:shown])
            which = f", {count(worse, 'regression')} among them" if worse else ""
            all_ = "them" if change.flipped == len(change.flips) else f"the first {len(change.flips):,}"
            yield f"{name}: {left:,} more changed{which}; --json has {all_}"
