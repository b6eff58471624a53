"""A gate: what a run must reach to be good, judged so that an item without a verdict can never help it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Literal

Metric = Literal["pass_rate", "mean", "failures"]


class GateVerdict(str, Enum):
    """What a gate comes to."""

    PASS = "PASS"
    """Whatever the items without a verdict would have got."""
    FAIL = "FAIL"
    """Whatever the items without a verdict would have got."""
    UNDECIDED = "UNDECIDED"
    """They decide it."""


_GATE = re.compile(
    r"(?:(?P<check>\S.*)\.)?(?P<metric>pass_rate|mean|failures)\s*(?P<operator>>=|<=|==|>|<)\s*"
    r"(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<percent>%)?"
)


@dataclass(frozen=True)
class Gate:
    """A condition on one figure of a check, or on the failures of the whole run."""

    check: str | None
    """None: all checks together."""
    metric: Metric
    operator: str
    threshold: float

    @classmethod
    def parse(cls, text: str) -> Gate:
        """`groundedness.pass_rate >= 0.95`, `completeness.mean > 60%`, `failures <= 5`. Raises ValueError."""
        match = _GATE.fullmatch(text.strip())
        if match is None:
            raise ValueError(
                f"{text!r} is not a gate: write CHECK.pass_rate >= 0.95, CHECK.mean >= 0.8 or CHECK.failures <= 5"
            )
        number = float(match["number"]) / (100 if match["percent"] else 1)
        gate = cls(match["check"], match["metric"], match["operator"], number)  # type: ignore[arg-type]
        if fault := gate._fault:
            raise ValueError(f"gate {text!r}: {fault}")
        return gate

    @property
    def _fault(self) -> str | None:
        if self.metric != "failures":
            if self.check is None:
                return f"name the check, as in groundedness.{self.metric}"
            if self.threshold > 1:
                return f"a {self.metric} lies between 0 and 1"
        return None

    def verdict(self, low: float, high: float) -> GateVerdict:
        """PASS where the condition holds for every figure from `low` to `high`, FAIL where for none."""
        ends = (self._holds(low), self._holds(high))
        if self.operator == "==":
            within = low <= self.threshold <= high
            return GateVerdict.PASS if all(ends) else GateVerdict.UNDECIDED if within else GateVerdict.FAIL
        return GateVerdict.PASS if all(ends) else GateVerdict.UNDECIDED if any(ends) else GateVerdict.FAIL

    def _holds(self, figure: float) -> bool:
        return {
            ">=": figure >= self.threshold,
            "<=": figure <= self.threshold,
            ">": figure > self.threshold,
            "<": figure < self.threshold,
            "==": figure == self.threshold,
        }[self.operator]
