"""Scores of a series of labels or numbers (`output`) against the true one (`expected`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import log, sqrt
from statistics import StatisticsError, correlation, mean
from typing import Any, Final

from fieval_tasks.local.scoring.readings import numbers, parsed, text
from fieval_tasks.local.verdicts import Inputs, Params, Unscorable, Verdict

Scorer = Callable[[Inputs, Params], Verdict]

_EPSILON: Final = 1e-15
"""Least probability in a logarithm, as scikit-learn has it."""


# -- labels ------------------------------------------------------------------------------------------------------------


def _of_labels(name: str, measure: Callable[[list[str], list[str]], float], *, is_signed: bool = False) -> Scorer:
    """A measure of two lists of class labels; one from -1 to 1 is moved to 0..1."""

    def score(inputs: Inputs, params: Params) -> Verdict:
        value = measure(*_labels(inputs))
        return Verdict((value + 1) / 2 if is_signed else value, f"{name}: {value:.4f}")

    return score


def _of_class(inputs: Inputs, params: Params) -> tuple[float, float]:
    """Precision and recall of the class that `positive_label` names."""
    found, true = _labels(inputs)
    positive = str(params["positive_label"]).strip().lower()
    hits = sum(one == other == positive for one, other in zip(found, true, strict=True))
    return hits / max(found.count(positive), 1), hits / max(true.count(positive), 1)


def _precision(inputs: Inputs, params: Params) -> Verdict:
    precision, _ = _of_class(inputs, params)
    return Verdict(precision, f"Precision: {precision:.4f}")


def _f_beta(inputs: Inputs, params: Params) -> Verdict:
    precision, recall = _of_class(inputs, params)
    score = f_measure(precision, recall, float(params["beta"]))
    return Verdict(score, f"F{params['beta']:g}: {score:.4f} (P={precision:.4f}, R={recall:.4f})")


def f_measure(precision: float, recall: float, beta: float) -> float:
    """The harmonic mean of both, recall weighed beta times as much (van Rijsbergen 1979)."""
    weighed = beta**2 * precision + recall
    return min(1.0, (1 + beta**2) * precision * recall / weighed) if weighed else 0.0


def _accuracy(found: list[str], true: list[str]) -> float:
    return mean(float(one == other) for one, other in zip(found, true, strict=True))


def _balanced_accuracy(found: list[str], true: list[str]) -> float:
    """The mean over the true classes of each one's recall."""
    hits = Counter(one for one, other in zip(true, found, strict=True) if one == other)
    return mean(hits[label] / count for label, count in Counter(true).items())


def _cohen_kappa(found: list[str], true: list[str]) -> float:
    counts, of_truth = Counter(found), Counter(true)
    return _beyond_chance(
        _accuracy(found, true), sum(counts[label] * of_truth[label] for label in counts) / len(true) ** 2
    )


def _matthews(found: list[str], true: list[str]) -> float:
    """Gorodkin's R_K, of which the two-class coefficient is a case."""
    counts, of_truth, n = Counter(found), Counter(true), len(true)
    shared = sum(counts[label] * of_truth[label] for label in counts)
    spreads = [n**2 - sum(count**2 for count in each.values()) for each in (counts, of_truth)]
    spread = sqrt(spreads[0]) * sqrt(spreads[1])
    return max(-1.0, min(1.0, (_accuracy(found, true) * n**2 - shared) / spread)) if spread else 0.0


def _fleiss_kappa(inputs: Inputs, params: Params) -> Verdict:
    """Rows are subjects, columns counts of raters per category."""
    rows = parsed(text(inputs, "output"))
    if not _is_ratings(rows):
        raise Unscorable(
            "'output' must be a matrix of rater counts: rows as long, and the same two raters or more in each"
        )
    raters = sum(rows[0])
    observed = mean(sum(count * (count - 1) for count in row) / (raters * (raters - 1)) for row in rows)
    by_chance = sum((sum(column) / (len(rows) * raters)) ** 2 for column in zip(*rows, strict=True))
    kappa = _beyond_chance(observed, by_chance)
    return Verdict((kappa + 1) / 2, f"Fleiss' kappa: {kappa:.4f}")


def _is_ratings(rows: Any) -> bool:
    return (
        isinstance(rows, list)
        and bool(rows)
        and all(
            isinstance(row, list) and all(type(count) is int and 0 <= count < 10**6 for count in row) for row in rows
        )
        and len({(len(row), sum(row)) for row in rows}) == 1
        and sum(rows[0]) > 1
    )


def _labels(inputs: Inputs) -> tuple[list[str], list[str]]:
    """Lower-case; text that is not a JSON array is one label."""
    both = []
    for key in ("output", "expected"):
        found = parsed(inputs[key]) if isinstance(inputs[key], str) else inputs[key]
        both.append([str(item).strip().lower() for item in (found if isinstance(found, list) else [inputs[key]])])
    if len(both[0]) != len(both[1]) or not both[0]:
        raise Unscorable(f"'output' has {len(both[0])} labels and 'expected' {len(both[1])}: they must be as many")
    return both[0], both[1]


def _beyond_chance(observed: float, by_chance: float) -> float:
    if by_chance >= 1:
        return float(observed >= 1)
    return max(-1.0, (observed - by_chance) / (1 - by_chance))


# -- numbers -----------------------------------------------------------------------------------------------------------


def _of_numbers(
    reason: str,
    measure: Callable[[list[float], list[float]], float],
    score: Callable[[float], float],
    at_least: int = 1,
) -> Scorer:
    """A measure of two series of numbers, and how it becomes a score from 0 to 1."""

    def scored(inputs: Inputs, params: Params) -> Verdict:
        found, true = numbers(inputs, "output"), numbers(inputs, "expected")
        if len(found) != len(true) or len(found) < at_least:
            counts = f"{len(found)} and {len(true)}"
            raise Unscorable(f"'output' and 'expected' need at least {at_least} paired numbers, not {counts}")
        value = measure(found, true)
        return Verdict(score(value), reason.format(value))

    return scored


def _log_loss(found: list[float], true: list[float]) -> float:
    if not all(0 <= p <= 1 for p in found) or not set(true) <= {0, 1}:
        raise Unscorable("'output' must hold probabilities from 0 to 1, and 'expected' labels 0 or 1")
    chances = [p if label else 1 - p for p, label in zip(found, true, strict=True)]
    return max(0.0, -mean(log(max(p, _EPSILON)) for p in chances))


def _r2(found: list[float], true: list[float]) -> float:
    """The coefficient of determination."""
    spread, error = _squares(true, [mean(true)] * len(true)), _squares(found, true)
    return 1 - error / spread if spread else float(error == 0)


def _squares(one: Sequence[float], other: Sequence[float]) -> float:
    return sum((left - right) ** 2 for left, right in zip(one, other, strict=True))


def _pearson(one: Sequence[float], other: Sequence[float]) -> float:
    """0 where a series is constant."""
    try:
        return max(-1.0, min(1.0, correlation(one, other)))
    except StatisticsError:
        return 0.0


def _ranks(values: list[float]) -> list[float]:
    """Ties share their mean rank."""
    ordered = sorted(values)
    first = {value: place for place, value in reversed([*enumerate(ordered)])}
    last = {value: place for place, value in enumerate(ordered)}
    return [(first[value] + last[value]) / 2 for value in values]


SCORERS: Final[Mapping[str, Scorer]] = {
    "accuracy": _of_labels("Accuracy", _accuracy),
    "balanced_accuracy": _of_labels("Balanced accuracy", _balanced_accuracy),
    "cohen_kappa": _of_labels("Cohen's kappa", _cohen_kappa, is_signed=True),
    "matthews_correlation": _of_labels("MCC", _matthews, is_signed=True),
    "fleiss_kappa": _fleiss_kappa,
    "precision_score": _precision,
    "f_beta_score": _f_beta,
    "log_loss": _of_numbers("Log Loss={:.4f}", _log_loss, lambda loss: 1 / (1 + loss)),
    "rmse": _of_numbers(
        "RMSE={:.4f}", lambda one, other: sqrt(_squares(one, other) / len(one)), lambda error: 1 / (1 + error)
    ),
    "r2_score": _of_numbers("R2={:.4f}", _r2, lambda r2: max(0.0, r2), at_least=2),
    "pearson_correlation": _of_numbers("Pearson r={:.4f}", _pearson, lambda r: (r + 1) / 2, at_least=2),
    "spearman_correlation": _of_numbers(
        "Spearman rho={:.4f}",
        lambda one, other: _pearson(_ranks(one), _ranks(other)),
        lambda r: (r + 1) / 2,
        at_least=2,
    ),
}
