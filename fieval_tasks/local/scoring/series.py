"""Scores of a series of numbers (`output`) against the true one (`expected`)."""

from __future__ import annotations

from math import sqrt

from fieval_tasks.local.scoring.readings import pairs
from fieval_tasks.local.verdicts import Inputs, Params, Verdict


def rmse(inputs: Inputs, params: Params) -> Verdict:
    """Score: 1 / (1 + RMSE)."""
    output, expected = pairs(inputs, "output", "expected")
    error = sqrt(_squares(output, expected) / len(expected))
    return Verdict(1 / (1 + error), f"RMSE={error:.4f}")


def r2_score(inputs: Inputs, params: Params) -> Verdict:
    """Score: the coefficient of determination, no lower than 0."""
    output, expected = pairs(inputs, "output", "expected", at_least=2)
    mean = sum(expected) / len(expected)
    spread, error = _squares(expected, [mean] * len(expected)), _squares(output, expected)
    r2 = 1 - error / spread if spread else float(error == 0)
    return Verdict(max(0.0, r2), f"R2={r2:.4f}")


def pearson_correlation(inputs: Inputs, params: Params) -> Verdict:
    """Score: the coefficient moved from -1..1 to 0..1."""
    r = _correlation(*pairs(inputs, "output", "expected", at_least=2))
    return Verdict((r + 1) / 2, f"Pearson r={r:.4f}")


def spearman_correlation(inputs: Inputs, params: Params) -> Verdict:
    """Score: the coefficient moved from -1..1 to 0..1; ties share their mean rank."""
    output, expected = pairs(inputs, "output", "expected", at_least=2)
    rho = _correlation(_ranks(output), _ranks(expected))
    return Verdict((rho + 1) / 2, f"Spearman rho={rho:.4f}")


def _squares(one: list[float], other: list[float]) -> float:
    return sum((left - right) ** 2 for left, right in zip(one, other, strict=True))


def _correlation(one: list[float], other: list[float]) -> float:
    """Pearson's coefficient; 0 where a series is constant."""
    mean, mean_other = sum(one) / len(one), sum(other) / len(other)
    left, right = [value - mean for value in one], [value - mean_other for value in other]
    spread = sqrt(sum(value**2 for value in left)) * sqrt(sum(value**2 for value in right))
    product = sum(a * b for a, b in zip(left, right, strict=True))
    return max(-1.0, min(1.0, product / spread)) if spread else 0.0


def _ranks(values: list[float]) -> list[float]:
    ordered = sorted(values)
    first = {value: place for place, value in reversed(list(enumerate(ordered, start=1)))}
    last = {value: place for place, value in enumerate(ordered, start=1)}
    return [(first[value] + last[value]) / 2 for value in values]
