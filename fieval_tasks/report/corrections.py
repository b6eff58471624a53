"""A check's pass rate as people's labels correct it, for every page and file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fieval_tasks.core.quantities import percent
from fieval_tasks.decisions.agreement import Corrected
from fieval_tasks.decisions.statistics import Interval
from fieval_tasks.report.text import between, count, share


@dataclass(frozen=True)
class Correction:
    """A corrected pass rate, with where its labels come from."""

    figures: Corrected
    """Of the items that have a verdict."""
    measured: int
    """Those items."""
    total: int
    """All items of the check."""
    labelled_run: str
    """The run whose items people labelled."""
    is_of_these_items: bool
    """They are this run's own items; else the labels say how often the judge is right, on other items."""
    policy: str
    """The labelling policy's name; empty where none was named."""

    @property
    def bounds(self) -> Interval:
        """Where the rate of all items lies: at the interval's ends, with each item that has no verdict failed, or passed."""
        low, high = (end * self.measured for end in self.figures.interval)
        return low / self.total, min(1.0, (high + self.total - self.measured) / self.total)

    def to_json(self) -> dict[str, Any]:
        """As in summary.json."""
        figures, confusion = self.figures, self.figures.confusion
        return {
            "value": figures.value,
            "interval": list(figures.interval),
            "confidence": figures.confidence,
            "bounds": list(self.bounds),
            "method": figures.method,
            "n_labels": confusion.n,
            "kappa": figures.kappa,
            "true_positive_rate": confusion.true_positive_rate,
            "true_negative_rate": confusion.true_negative_rate,
            "confusion": dict(
                zip(("both_passed", "judge_only", "person_only", "both_failed"), confusion.cells, strict=True)
            ),
            "judge_pass_rate": figures.judge_rate,
            "n": self.measured,
            "labelled_run": self.labelled_run,
            "policy": self.policy or None,
        }

    @property
    def sentence(self) -> str:
        """`judge alone 0.840; corrected by 100 labels 0.720, between 0.680 and 0.760 (95 %)`."""
        figures = self.figures
        whose = "" if self.is_of_these_items else f" of other items, in run {self.labelled_run},"
        under = f" under policy {self.policy}" if self.policy else ""
        said = (
            f"judge alone {share(figures.judge_rate)}; corrected by {count(figures.confusion.n, 'label')}{whose}{under} "
            f"{share(figures.value)}, between {between(figures.interval)} ({percent(figures.confidence)} interval)"
        )
        if self.measured < self.total:
            missing = count(self.total - self.measured, "item has", "items have")
            said += f"; {missing} no verdict, so over all {self.total:,} between {between(self.bounds)}"
        return said

    @property
    def agreement(self) -> str:
        """`the judge passes 92 % of what people pass, and fails 71 % of what they fail; kappa 0.61`."""
        return f"the judge {self.figures.confusion.in_words}; kappa {self.figures.kappa:.2f}"
