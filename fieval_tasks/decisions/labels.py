"""Correcting a judge's pass rate by people's labels. The only module that uses truescore, which takes a second to import."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from truescore.agreement import cohen_kappa
from truescore.correct import Estimate, ppi_estimate

from fieval_tasks.core.quantities import percent
from fieval_tasks.decisions.agreement import Confusion, Corrected
from fieval_tasks.decisions.statistics import Interval, normal_reach, wilson_interval

# truescore's own least: the spread of fewer labels, or of fewer items without one, can't be estimated.
LEAST = 2
# The smallest number at which the simulations hold their level (tests/decisions/test_labels.py).
TRIED = 30
"""Labels below which an interval may hold less than its confidence says."""
# The ends of an interval differ by a hundredth of its width from those of ten times as many.
DRAWS = 20_000
_JUDGE, _PERSON = (1, 1, 0, 0), (1, 0, 1, 0)
"""What each of them said of the items in the cells of a confusion: 1 is passed."""


class NotCorrectable(ValueError):
    """The labels do not allow a correction; the message says why."""


def corrected(confusion: Confusion, passed: int, failed: int, confidence: float = 0.95) -> Corrected:
    """The rate by labels of a random part of the very items: prediction-powered inference, PPI++.

    `passed` and `failed`: the judge's verdicts of the items without a label. Angelopoulos, Duchi and Zrnic, "PPI++:
    Efficient Prediction-Powered Inference", arXiv:2311.01453. It holds for any judge, however bad. Raises NotCorrectable
    with fewer than two labels, and where the judge is no better than chance.
    """
    _require_use(confusion)
    judge_rate = (confusion.both_passed + confusion.judge_only + passed) / (confusion.n + passed + failed)
    build = partial(
        Corrected, confusion=confusion, kappa=kappa(confusion), judge_rate=judge_rate, confidence=confidence
    )
    if passed + failed < LEAST:  # (nearly) everything is labelled
        interval = wilson_interval(confusion.passed, confusion.n, confidence)
        assert interval is not None
        return build(confusion.passed / confusion.n, interval, method="labels")
    value = ppi(confusion.cells, passed, failed).point
    # Half a label more in each of the four cells, as Haldane and Anscombe (1956) add it to a table of two by two before
    # taking logarithms, and Jeffreys' prior to a rate. Without it the interval of 30 labels holds the rate in 91.6 % of
    # cases where 95 are said, and in 78.8 % at a true rate of 0.95; with it in 94.7 and 97.5 % (`python -m
    # benchmarks corrected`). All counts are doubled to stay whole, which makes the variance half as large.
    doubled = ppi([2 * n + 1 for n in confusion.cells], 2 * passed, 2 * failed)
    assert doubled.standard_error is not None
    reach = normal_reach(confidence) * doubled.standard_error * math.sqrt(2)
    centre = _within(doubled.point)  # else an estimate far outside of 0..1 would leave an interval of no width
    return build(_within(value), _around(value, centre - reach, centre + reach), method="ppi++")


def transferred(confusion: Confusion, passed: int, failed: int, confidence: float = 0.95) -> Corrected:
    """The rate of other items than those that were labelled, by how often the judge was right on those.

    `passed` and `failed`: the judge's verdicts of these items. W. J. Rogan and B. Gladen, "Estimating prevalence from the
    results of a screening test", Am. J. Epidemiology 107 (1978) 71-76, recommended for judges whose labels come from
    another population by arXiv:2511.21140 and arXiv:2601.05420. truescore's takes labels of the same items only. It stands
    on the judge being right as often here as there. Raises NotCorrectable where the labels are all of one kind, where there
    are no verdicts, and where the judge is no better than chance.
    """
    _require_use(confusion)
    if not confusion.passed or not confusion.failed:
        kind = "passed" if confusion.passed else "failed"
        raise NotCorrectable(f"all {confusion.n} labelled items are {kind}, so how it judges the others is not known")
    if not passed + failed:
        raise NotCorrectable("there are no verdicts")
    rates = passed, confusion.both_passed, confusion.both_failed
    of = passed + failed, confusion.passed, confusion.failed
    found, right_on_passed, right_on_failed = (rate / n for rate, n in zip(rates, of, strict=True))
    value = (found + right_on_failed - 1) / (right_on_passed + right_on_failed - 1)
    low, high = interval = _drawn_interval(rates, of, confidence)
    if low == high:
        raise NotCorrectable(
            f"it passes {percent(round(found, 2))} of these items, which by the labels of other items can't be: it is not right as often here"
        )
    return Corrected(
        _within(value), _around(value, *interval), confidence, "rogan-gladen", confusion, kappa(confusion), found
    )


def _drawn_interval(rates: Sequence[int], of: Sequence[int], confidence: float) -> Interval:
    """Of the rates that come of the three when each is drawn from what its counts leave likely, by Jeffreys' prior.

    M. Flor, M. Weiss, T. Selhorst, C. Mueller-Graf and M. Greiner, "Comparison of Bayesian and frequentist methods for
    prevalence estimation under misclassification", BMC Public Health 20 (2020) 1135. `python -m
    benchmarks corrected` finds the rate in 94.2 to 98.6 % of them where 95 are said.
    """
    random = np.random.default_rng(0)  # the same labels give the same interval
    draws = (random.beta(k + 0.5, n - k + 0.5, DRAWS) for k, n in zip(rates, of, strict=True))
    found, right_on_passed, right_on_failed = draws
    worth = right_on_passed + right_on_failed - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.clip((found + right_on_failed - 1) / worth, 0, 1)
    # A judge that may be worth nothing leaves every rate as likely as another.
    drawn = np.where(worth > 0, drawn, random.random(DRAWS))
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def ppi(cells: Sequence[int], passed: int, failed: int) -> Estimate:
    """truescore's PPI++ of labelled items, as in `Confusion.cells`, and of the judge's verdicts of all others."""
    judge = np.repeat([*_JUDGE, 1, 0], [*cells, passed, failed])
    person = np.repeat(_PERSON, cells)
    return ppi_estimate(judge, person, np.arange(len(person)))


def kappa(confusion: Confusion) -> float:
    """Cohen's kappa of judge and person."""
    return float(cohen_kappa(np.repeat(_JUDGE, confusion.cells), np.repeat(_PERSON, confusion.cells)))


def _require_use(confusion: Confusion) -> None:
    if confusion.n < LEAST:
        raise NotCorrectable(f"{LEAST} labels at least are needed, and there {'is 1' if confusion.n else 'are none'}")
    if confusion.is_no_better_than_chance:
        raise NotCorrectable(f"by {confusion.n} labels the judge is no better than chance: it {confusion.in_words}")


def _within(rate: float) -> float:
    return min(1.0, max(0.0, rate))


def _around(value: float, low: float, high: float) -> Interval:
    """The interval within 0..1, with the value in it."""
    return min(_within(low), _within(value)), max(_within(high), _within(value))
