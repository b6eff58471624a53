"""Scores of predicted class labels (`output`) against the true ones (`expected`)."""

from __future__ import annotations

from collections import Counter
from math import log, sqrt
from typing import Final

from fieval_tasks.local.scoring.readings import labels, pairs, parsed, text
from fieval_tasks.local.verdicts import Inputs, Params, Unscorable, Verdict

MOST_RATERS: Final = 10**6
_EPSILON: Final = 1e-15


def accuracy(inputs: Inputs, params: Params) -> Verdict:
    found, true = _both(inputs)
    right = _agreeing(found, true)
    return Verdict(right / len(true), f"Accuracy: {right / len(true):.4f} ({right}/{len(true)})")


def balanced_accuracy(inputs: Inputs, params: Params) -> Verdict:
    """The mean, over the true classes, of each one's recall."""
    found, true = _both(inputs)
    classes = Counter(true)
    hits = Counter(label for label, other in zip(true, found, strict=True) if label == other)
    score = sum(hits[label] / count for label, count in classes.items()) / len(classes)
    return Verdict(score, f"Balanced accuracy: {score:.4f} over {len(classes)} classes")


def precision_score(inputs: Inputs, params: Params) -> Verdict:
    precision, _ = _precision_recall(inputs, params)
    return Verdict(precision, f"Precision: {precision:.4f}")


def f_beta_score(inputs: Inputs, params: Params) -> Verdict:
    precision, recall = _precision_recall(inputs, params)
    beta = float(params["beta"])
    weighed = beta**2 * precision + recall
    score = (1 + beta**2) * precision * recall / weighed if weighed else 0.0
    return Verdict(min(1.0, score), f"F{beta:g}: {score:.4f} (P={precision:.4f}, R={recall:.4f})")


def cohen_kappa(inputs: Inputs, params: Params) -> Verdict:
    """Score: the coefficient moved from -1..1 to 0..1."""
    found, true = _both(inputs)
    n = len(true)
    counts, true_counts = Counter(found), Counter(true)
    by_chance = sum(counts[label] * true_counts[label] for label in counts) / n**2
    kappa = _beyond_chance(_agreeing(found, true) / n, by_chance)
    return Verdict((kappa + 1) / 2, f"Cohen's kappa: {kappa:.4f}")


def matthews_correlation(inputs: Inputs, params: Params) -> Verdict:
    """Score: Gorodkin's R_K, of which the two-class coefficient is a case, moved from -1..1 to 0..1."""
    found, true = _both(inputs)
    n, right = len(true), _agreeing(found, true)
    counts, true_counts = Counter(found), Counter(true)
    covariance = right * n - sum(counts[label] * true_counts[label] for label in counts)
    spread = sqrt(_spread(counts, n)) * sqrt(_spread(true_counts, n))
    mcc = max(-1.0, min(1.0, covariance / spread)) if spread else 0.0
    return Verdict((mcc + 1) / 2, f"MCC: {mcc:.4f}")


def log_loss(inputs: Inputs, params: Params) -> Verdict:
    """Score: 1 / (1 + loss), for probabilities against labels 0 and 1."""
    found, true = pairs(inputs, "output", "expected")
    if not all(0 <= p <= 1 for p in found) or not set(true) <= {0, 1}:
        raise Unscorable("'output' must hold probabilities from 0 to 1, and 'expected' labels 0 or 1")
    chances = [p if label else 1 - p for p, label in zip(found, true, strict=True)]
    loss = -sum(log(max(p, _EPSILON)) for p in chances) / len(chances)
    return Verdict(min(1.0, 1 / (1 + loss)), f"Log Loss={loss:.4f}")


def fleiss_kappa(inputs: Inputs, params: Params) -> Verdict:
    """Score: the coefficient moved from -1..1 to 0..1; rows are subjects, columns counts of raters per category."""
    rows = _ratings(text(inputs, "output"))
    raters = sum(rows[0])
    per_subject = [sum(count * (count - 1) for count in row) / (raters * (raters - 1)) for row in rows]
    shares = [sum(column) / (len(rows) * raters) for column in zip(*rows, strict=True)]
    kappa = _beyond_chance(sum(per_subject) / len(rows), sum(share**2 for share in shares))
    return Verdict((kappa + 1) / 2, f"Fleiss' kappa: {kappa:.4f}")


def _both(inputs: Inputs) -> tuple[list[str], list[str]]:
    found, true = labels(inputs, "output"), labels(inputs, "expected")
    if len(found) != len(true) or not true:
        raise Unscorable(f"'output' has {len(found)} labels and 'expected' {len(true)}: they must be as many")
    return found, true


def _agreeing(found: list[str], true: list[str]) -> int:
    return sum(one == other for one, other in zip(found, true, strict=True))


def _precision_recall(inputs: Inputs, params: Params) -> tuple[float, float]:
    found, true = _both(inputs)
    positive = str(params["positive_label"]).strip().lower()
    hits = sum(one == other == positive for one, other in zip(found, true, strict=True))
    return hits / max(found.count(positive), 1), hits / max(true.count(positive), 1)


def _beyond_chance(observed: float, by_chance: float) -> float:
    if by_chance >= 1:
        return float(observed >= 1)
    return max(-1.0, (observed - by_chance) / (1 - by_chance))


def _spread(counts: Counter[str], n: int) -> int:
    return n**2 - sum(count**2 for count in counts.values())


def _ratings(value: str) -> list[list[int]]:
    rows = parsed(value)
    well_formed = (
        isinstance(rows, list)
        and rows
        and all(
            isinstance(row, list) and all(type(count) is int and 0 <= count < MOST_RATERS for count in row)
            for row in rows
        )
        and len({len(row) for row in rows}) == 1
        and len({sum(row) for row in rows}) == 1
        and sum(rows[0]) > 1
    )
    if not well_formed:
        raise Unscorable(
            "'output' must be a matrix of rater counts: rows as long, and the same two raters or more in each"
        )
    ratings: list[list[int]] = rows
    return ratings
