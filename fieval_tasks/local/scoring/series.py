"""Scores of series: of labels or numbers (`output`) against the true ones (`expected`), of a ranking against what is relevant."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping
from math import log, log2, sqrt
from statistics import StatisticsError, correlation, mean
from typing import Any, Final

from fieval_tasks.local.scoring.readings import numbers, parsed, text, texts
from fieval_tasks.local.scoring.shapes import Scorer, as_many, measured, unit
from fieval_tasks.local.verdicts import Inputs, Params, Unscorable

# Least probability in a logarithm, as scikit-learn has it.
_EPSILON: Final = 1e-15


# -- labels ------------------------------------------------------------------------------------------------------------


def _labels(inputs: Inputs, params: Params) -> tuple[list[str], list[str], Params]:
    """Lower-case; text that is not a JSON array is one label."""
    sides = []
    for key in ("output", "expected"):
        found = parsed(inputs[key]) if isinstance(inputs[key], str) else inputs[key]
        sides.append([str(item).strip().lower() for item in (found if isinstance(found, list) else [inputs[key]])])
    return *as_many(sides[0], sides[1], "labels"), params


def _accuracy(found: list[str], true: list[str], params: Params) -> float:
    return mean(float(one == other) for one, other in zip(found, true, strict=True))


def _balanced_accuracy(found: list[str], true: list[str], params: Params) -> float:
    """The mean over the true classes of each one's recall."""
    hits = Counter(one for one, other in zip(true, found, strict=True) if one == other)
    return mean(hits[label] / total for label, total in Counter(true).items())


def _of_class(found: list[str], true: list[str], params: Params) -> tuple[float, float, float]:
    """F-beta, precision and recall of the class that `positive_label` names."""
    positive = str(params["positive_label"]).strip().lower()
    hits = sum(one == other == positive for one, other in zip(found, true, strict=True))
    precision, recall = hits / max(found.count(positive), 1), hits / max(true.count(positive), 1)
    return f_measure(precision, recall, float(params.get("beta", 1.0))), precision, recall


def f_measure(precision: float, recall: float, beta: float) -> float:
    """The harmonic mean of both, recall weighed beta times as much (van Rijsbergen 1979)."""
    weighed = beta**2 * precision + recall
    return (1 + beta**2) * precision * recall / weighed if weighed else 0.0


def _by_chance(found: list[str], true: list[str]) -> float:
    """How often two who draw from the same labels would agree."""
    counts = Counter(true)
    return sum(total * counts[label] for label, total in Counter(found).items()) / len(true) ** 2


def _kappa(observed: float, by_chance: float) -> float:
    """Agreement beyond chance, moved to 0..1 (Cohen 1960, Fleiss 1971)."""
    return unit((observed - by_chance) / (1 - by_chance)) if by_chance < 1 else float(observed >= 1)


def _matthews(found: list[str], true: list[str], params: Params) -> float:
    """Gorodkin's R_K, of which the two-class coefficient is a case, moved to 0..1."""
    spread = sqrt((1 - _by_chance(found, found)) * (1 - _by_chance(true, true)))
    return unit((_accuracy(found, true, params) - _by_chance(found, true)) / spread) if spread else 0.5


def _ratings(inputs: Inputs, params: Params) -> tuple[Any]:
    """Rows are subjects, columns counts of raters per category."""
    rows = parsed(text(inputs, "output"))
    is_matrix = isinstance(rows, list) and rows and all(isinstance(row, list) for row in rows)
    if not is_matrix or not all(type(cell) is int and 0 <= cell < 10**6 for row in rows for cell in row):
        raise Unscorable("'output' must be a matrix of rater counts")
    if len({(len(row), sum(row)) for row in rows}) != 1 or sum(rows[0]) < 2:
        raise Unscorable("'output' must be a matrix of rater counts: the same two raters or more in each row")
    return (rows,)


def _fleiss(rows: list[list[int]]) -> float:
    raters = sum(rows[0])
    observed = mean(sum(cell * (cell - 1) for cell in row) / (raters * (raters - 1)) for row in rows)
    return _kappa(observed, sum((sum(column) / (len(rows) * raters)) ** 2 for column in zip(*rows, strict=True)))


# -- numbers -----------------------------------------------------------------------------------------------------------


def _numbers(inputs: Inputs, params: Params) -> tuple[list[float], list[float]]:
    return as_many(numbers(inputs, "output"), numbers(inputs, "expected"), "numbers")


def _several(inputs: Inputs, params: Params) -> tuple[list[float], list[float]]:
    return as_many(*_numbers(inputs, params), "numbers", at_least=2)


def _log_loss(found: list[float], true: list[float]) -> tuple[float, float]:
    if not all(0 <= p <= 1 for p in found) or not set(true) <= {0, 1}:
        raise Unscorable("'output' must hold probabilities from 0 to 1, and 'expected' labels 0 or 1")
    chances = [p if label else 1 - p for p, label in zip(found, true, strict=True)]
    loss = -mean(log(max(p, _EPSILON)) for p in chances)
    return 1 / (1 + loss), loss


def _rmse(found: list[float], true: list[float]) -> tuple[float, float]:
    error = sqrt(_squares(found, true) / len(true))
    return 1 / (1 + error), error


def _r2(found: list[float], true: list[float]) -> float:
    spread, error = _squares(true, [mean(true)] * len(true)), _squares(found, true)
    return 1 - error / spread if spread else float(error == 0)


def _squares(one: list[float], other: list[float]) -> float:
    return sum((left - right) ** 2 for left, right in zip(one, other, strict=True))


def _pearson(one: list[float], other: list[float]) -> float:
    """Moved to 0..1; in the middle where a series is constant."""
    try:
        return unit(correlation(one, other))
    except StatisticsError:
        return 0.5


def _ranks(values: list[float]) -> list[float]:
    """Ties share their mean rank."""
    ordered = sorted(values)
    return [(bisect_left(ordered, value) + 1 + bisect_right(ordered, value)) / 2 for value in values]


# -- rankings ----------------------------------------------------------------------------------------------------------


def _ranking(inputs: Inputs, params: Params) -> tuple[list[int], int, int]:
    """The ranks from 1 at which a relevant item first appears (one counts once, else scores would pass 1), how many of the
    retrieved (`hypothesis`) are looked at, and how many are relevant (`reference`)."""
    relevant, retrieved = set(texts(inputs, "reference")), texts(inputs, "hypothesis")
    top = retrieved[: params.get("k") or len(retrieved)]
    first = {item: rank for rank, item in reversed([*enumerate(top, start=1)])}
    return sorted(first[item] for item in relevant & first.keys()), len(top), len(relevant)


def _gain(hits: list[int], top: int, relevant: int) -> tuple[float, float, float, int]:
    gain, ideal = (sum(1 / log2(rank + 1) for rank in ranks) for ranks in (hits, range(1, min(relevant, top) + 1)))
    return gain / ideal if ideal else 0.0, gain, ideal, top


SCORERS: Final[Mapping[str, Scorer]] = {
    **measured(
        _labels,
        {
            "accuracy": ("Accuracy: {0:.4f}", _accuracy),
            "balanced_accuracy": ("Balanced accuracy: {0:.4f}", _balanced_accuracy),
            "cohen_kappa": (
                "Cohen's kappa, moved to 0..1: {0:.4f}",
                lambda found, true, params: _kappa(_accuracy(found, true, params), _by_chance(found, true)),
            ),
            "matthews_correlation": ("MCC, moved to 0..1: {0:.4f}", _matthews),
            "precision_score": ("Precision: {0:.4f}", lambda *given: _of_class(*given)[1]),
            "f_beta_score": ("F-beta: {0:.4f} (P={1:.4f}, R={2:.4f})", _of_class),
        },
    ),
    **measured(_ratings, {"fleiss_kappa": ("Fleiss' kappa, moved to 0..1: {0:.4f}", _fleiss)}),
    **measured(_numbers, {"log_loss": ("Log Loss={1:.4f}", _log_loss), "rmse": ("RMSE={1:.4f}", _rmse)}),
    **measured(
        _several,
        {
            "r2_score": ("R2={0:.4f}", _r2),
            "pearson_correlation": ("Pearson r, moved to 0..1: {0:.4f}", _pearson),
            "spearman_correlation": (
                "Spearman rho, moved to 0..1: {0:.4f}",
                lambda one, other: _pearson(_ranks(one), _ranks(other)),
            ),
        },
    ),
    **measured(
        _ranking,
        {
            "precision_at_k": (
                "Precision@{2}: {0:.3f} ({1}/{2} items in the top are relevant)",
                lambda hits, top, relevant: (len(hits) / max(top, 1), len(hits), top),
            ),
            "recall_at_k": (
                "Recall@{2}: {0:.3f} ({1}/{3} relevant items in top {2})",
                lambda hits, top, relevant: (len(hits) / max(relevant, 1), len(hits), top, relevant),
            ),
            "ndcg_at_k": ("NDCG@{3}: {0:.3f} (DCG={1:.3f}, IDCG={2:.3f})", _gain),
            "hit_rate": ("Hit rate: {0:.0f}", lambda hits, top, relevant: bool(hits)),
            "mrr": ("MRR: {0:.3f}", lambda hits, top, relevant: 1 / hits[0] if hits else 0),
            "mean_average_precision": (
                "MAP: {0:.4f}",
                lambda hits, top, relevant: sum(n / rank for n, rank in enumerate(hits, 1)) / max(relevant, 1),
            ),
        },
    ),
}
