"""How often the interval of a corrected pass rate holds the true rate: `python -m benchmarks.corrected_rates`.

A line for each number of labels and true rate: the share of 2,000 seeded simulations whose 95 % interval holds the rate, and
the interval's mean width; for labels of the very items (PPI++, as it is and as we widen it) and for labels of others.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

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


def measured(interval: Callable[[Confusion, int, int], Interval], labels: int, rate: float, *, elsewhere: bool) -> str:
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
    return f"{np.mean(held):6.1%} {np.mean(width):5.3f}"


def main() -> None:
    print(f"{RUNS:,} runs of {ITEMS:,} items, judge {JUDGE[0]} / {JUDGE[1]}; held and width of what says 95 %")
    print("labels  rate   PPI++ as it is   PPI++, ours      of other items")
    for labels in LABELS:
        for rate in RATES:
            ways = (
                measured(plain, labels, rate, elsewhere=False),
                measured(lambda *of: corrected(*of).interval, labels, rate, elsewhere=False),
                measured(lambda *of: transferred(*of).interval, labels, rate, elsewhere=True),
            )
            print(f"{labels:6} {rate:5}   {'    '.join(ways)}", flush=True)


if __name__ == "__main__":
    main()
