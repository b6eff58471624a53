"""A gate: a condition that a run must meet, judged so that an item without a verdict can never help to meet it."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Literal, get_args
from unicodedata import normalize

from fieval_tasks.core.spelling import did_you_mean, nearest

Metric = Literal["pass_rate", "mean", "failures"]
METRICS: tuple[str, ...] = get_args(Metric)


_OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq}


class GateVerdict(str, Enum):
    """The result of a gate."""

    PASS = "PASS"
    """The condition holds, whatever verdicts the items without one would have got."""
    FAIL = "FAIL"
    """The condition does not hold, whatever verdicts the items without one would have got."""
    UNDECIDED = "UNDECIDED"
    """It depends on the verdicts that are missing."""


# A threshold or a share as it is typed. Bounded to 15 digits: Python refuses to convert numbers of thousands of digits.
NUMBER = r"(?:[0-9]{1,15}(?:\.[0-9]{1,15})?|\.[0-9]{1,15})"
_GATE = re.compile(
    rf"(?:(?P<check>\S.*)\.)?(?P<metric>[^\s.<>=]+)\s*(?P<operator>>=|<=|==|>|<)\s*(?P<number>{NUMBER})\s*(?P<percent>%)?"
)


@dataclass(frozen=True)
class Gate:
    """A condition on one metric of a check, or on the failures of the whole run."""

    check: str | None
    """None: all checks together."""
    metric: Metric
    operator: str
    threshold: Fraction
    """Exactly as typed: 99.9% is 999/1000, which no float is."""
    is_share: bool = False
    """`failures` is compared as a share of the items; if False, as their number. The other metrics are always shares."""

    @classmethod
    def parse(cls, text: str) -> Gate:
        """`groundedness.pass_rate >= 0.95`, `completeness.mean > 60%`, `failures <= 5`, `failures <= 2%`.

        Raises ValueError for other text, and for a gate that every run would pass, no run could pass, or errors would
        help to pass.
        """
        match = _GATE.fullmatch(normalize("NFC", text.strip()))
        if match is None or match["metric"] not in METRICS:
            raise ValueError(f"{text!r} is not a gate: {_not_a_gate(match)}")
        threshold = Fraction(match["number"]) / (100 if match["percent"] else 1)
        is_share = bool(match["percent"]) and match["metric"] == "failures"
        gate = cls(match["check"], match["metric"], match["operator"], threshold, is_share)  # type: ignore[arg-type]
        if fault := gate._fault_of_failures() if gate.metric == "failures" else gate._fault_of_share(text):
            raise ValueError(f"gate {text!r}: {fault}")
        return gate

    @classmethod
    def fault_of(cls, text: str) -> str | None:
        """Why `parse` refuses the text; None where it does not."""
        try:
            cls.parse(text)
        except ValueError as refusal:
            return str(refusal)
        return None

    def _fault_of_failures(self) -> str | None:
        if self.operator in (">", ">=") or (self.operator == "==" and self.threshold):
            return "errors would help to pass it; write a ceiling, such as failures <= 5 or failures <= 2%"
        if self.is_share and self.threshold > 1:
            return "a share of the items is 100% at most"
        if self.is_share and self.threshold == 1 and self.operator == "<=":
            return "every run would pass it: no more than all items can fail; write failures < 100%, or less"
        if not self.is_share and self.threshold.denominator != 1:
            return "failures are counted in whole items; write failures <= 5, or a share of the items: failures <= 2%"
        if self.operator == "<" and not self.threshold:
            return "no run could pass it; write failures <= 0"
        return None

    def _fault_of_share(self, text: str) -> str | None:
        name = self.metric
        if self.check is None:
            return f"name the check, as in groundedness.{name}"
        if self.threshold > 1:
            meant = "" if "%" in text or self.threshold > 100 else f"; write {float(self.threshold):g}% for that share"
            return f"a {name} lies between 0 and 1 (100%){meant}"
        if (self.operator == ">" and self.threshold == 1) or (self.operator == "<" and not self.threshold):
            return f"no run could pass it: a {name} lies between 0 and 1"
        if self.operator == "<=" and self.threshold == 1:
            return f"every run would pass it: a {name} is never more than 1; write >= for a floor"
        if self.operator == ">=" and not self.threshold:
            return f"every run would pass it: a {name} is never less than 0; write a floor above"
        return None

    def verdict(self, low: Fraction | int, high: Fraction | int) -> GateVerdict:
        """PASS where the condition holds for every value from `low` to `high`, FAIL where it holds for none."""
        ends = (self._holds(low), self._holds(high))
        if all(ends):
            return GateVerdict.PASS
        is_within = self.operator == "==" and low <= self.threshold <= high
        return GateVerdict.UNDECIDED if any(ends) or is_within else GateVerdict.FAIL

    def _holds(self, figure: Fraction | int) -> bool:
        return bool(_OPERATORS[self.operator](figure, self.threshold))


def gate_problems(gates: Iterable[str], outputs: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each gate that could never be decided. `outputs`: check -> its template's output type."""
    for text in gates:
        gate = Gate.parse(text)
        if gate.check is None:
            continue
        if gate.check not in outputs:
            meant = did_you_mean(nearest(gate.check, outputs))
            yield f"gate {text!r}: there is no check {gate.check!r} (checks: {', '.join(outputs)}){meant}"
        elif fault := _undecidable(gate.check, gate.metric, outputs[gate.check]):
            yield f"gate {text!r}: {fault}"


# Output types whose verdicts may have no score. Some `choices` templates give one; the catalogue does not say which.
_SCORELESS = {"choices": "choices", "reason": "a text"}


def _undecidable(check: str, metric: Metric, output: str) -> str | None:
    """Why verdicts of that output type may never decide a gate on the metric; None where they do."""
    words = _SCORELESS.get(output)
    instead = f"gate {check}.{'failures' if words else 'mean'}"
    if metric == "pass_rate" and output != "Pass/Fail":
        return f"{check} does not answer Pass/Fail, so it has no pass rate; {instead}"
    if metric == "mean" and words:
        return f"{check} answers with {words}, which need not have a score, so its mean may never be known; {instead}"
    return None


def _not_a_gate(match: re.Match[str] | None) -> str:
    """What is wrong with a text that is no gate, or what to write instead."""
    near = nearest(match["metric"].replace("-", "_"), METRICS) if match is not None else []
    if match is None or (match["check"] is None and not near):
        return "write CHECK.pass_rate >= 0.95, CHECK.mean >= 0.8 or CHECK.failures <= 5"
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"{match['metric']!r} is no figure of a check (there are {', '.join(METRICS)}){meant}"
