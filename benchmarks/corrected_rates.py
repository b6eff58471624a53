"""How often the 95 % interval of a corrected pass rate holds the true rate, in 2,000 seeded simulations, and how wide it is: for
labels of the very items (PPI++, as it is and as we widen it), and for labels of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from benchmarks.measures import Measure, Table
from fieval_tasks.decisions.agreement import Confusion
from fieval_tasks.decisions.labels import NotCorrectable, corrected, ppi, transferred
from fieval_tasks.decisions.statistics import Interval

RUNS, ITEMS = 2000, 1000
LABELS, RATES = (30, 100, 300), (0.5, 0.72, 0.8, 0.9, 0.95)
JUDGE = 0.9, 0.7
"""How often the judge is right on what people pass, and on what they fail."""
CALIBRATED_AT = 0.6
"""The true rate of the other items, whose labels are transferred."""


def judged(random: np.random.Generator, n: int, rate: float) -> Confusion:
    passed = random.binomial(n, rate)
    both, none = random.binomial(passed, JUDGE[0]), random.binomial(n - passed, JUDGE[1])
    return Confusion(both, n - passed - none, passed - both, none)


def plain(confusion: Confusion, passed: int, failed: int) -> Interval:
    found = ppi(confusion.cells, passed, failed)
    reach = 1.96 * (found.standard_error or 0.0)
    return found.point - reach, found.point + reach


WAYS: Mapping[str, tuple[Callable[[Confusion, int, int], Interval], bool]] = {
    "PPI++ as it is": (plain, False),
    "PPI++, ours": (lambda *of: corrected(*of).interval, False),
    "of other items": (lambda *of: transferred(*of).interval, True),
}
"""How the interval is computed, and whether its labels are of other items."""


def measured(way: str, labels: int, rate: float) -> Iterator[Measure]:
    """How often the interval holds the rate, and how wide it is."""
    interval, elsewhere = WAYS[way]
    random = np.random.default_rng(labels)
    held, width = [], []
    for _ in range(RUNS):
        confusion = judged(random, labels, CALIBRATED_AT if elsewhere else rate)
        others = judged(random, ITEMS if elsewhere else ITEMS - labels, rate)
        passed = others.both_passed + others.judge_only
        try:
            low, high = interval(confusion, passed, others.n - passed)
        except NotCorrectable:
            continue
        held.append(low <= rate <= high)
        width.append(min(high, 1) - max(low, 0))
    yield Measure(f"a rate of {rate}, {way}: held", float(np.mean(held)), unit="%")
    yield Measure(f"a rate of {rate}, {way}: mean width", float(np.mean(width)))


def corrected_rates() -> Iterator[Table]:
    """A table for each number of labels."""
    for labels in LABELS:
        measures = [one for rate in RATES for way in WAYS for one in measured(way, labels, rate)]
        yield Table(
            f"corrected: {RUNS:,} runs of {ITEMS:,} items, judge {JUDGE[0]} / {JUDGE[1]}, {labels} labels", measures
        )
