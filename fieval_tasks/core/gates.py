"""A gate: a condition that a run must meet, judged so that an item without a verdict can never help to meet it."""

from __future__ import annotations

import operator
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction
from math import inf, isinf
from typing import Literal, TypeAlias
from unicodedata import normalize

from fieval_tasks.core.scales import Scale
from fieval_tasks.core.spelling import did_you_mean, nearest

Number: TypeAlias = "Fraction | int | float"
"""Exact, but for an infinity, which a scale may end at."""


@dataclass(frozen=True)
class Kind:
    """What a metric is a figure of."""

    of: Literal["rate", "scores", "items", "drop"]
    """A share of the verdicts, a figure on the check's scale, a number of items (or their share), or a difference."""
    of_all_checks: bool = False
    """The gate may leave the check out, and then means all checks: together, or each."""
    needs: str | None = None
    """The field of the plan without which it can't be judged."""
    needing: str = ""
    """Why, and which option to add."""
    quantile: Fraction | None = None
    """Of a quantile of the scores: the share of the items that lie at or below it."""


_BASELINE = ("baseline", "it compares with a baseline, so name one: --baseline RUN, blessed or last")
KINDS: Mapping[str, Kind] = {
    "pass_rate": Kind("rate"),
    "mean": Kind("scores"),
    "median": Kind("scores", quantile=Fraction(1, 2)),
    "p10": Kind("scores", quantile=Fraction(1, 10)),
    "failures": Kind("items", of_all_checks=True),
    "regressions": Kind("items", True, *_BASELINE),
    "max_drop": Kind("drop", True, *_BASELINE),
    "corrected_pass_rate": Kind("rate"),  # whether labels apply is for `runs/calibrating.require_labels` to say
}
"""A metric's row here makes it part of the grammar. A quantile needs no more; who judges all others stands in
`runs/gating.JUDGES`."""
METRICS = tuple(KINDS)

_OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq}
UNIT = Scale("Pass/Fail")
FLOORS, CEILINGS = (">=", ">"), ("<=", "<")
_DROPPING = ("pass_rate", "mean")
"""Figures of which a gate may bound the drop: `groundedness.mean.max_drop 2%`."""


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
    r"(?:(?P<check>\S.*?)\.)?(?P<metric>[^\s.<>=\[\]]+)\s*"
    r"(?:\[(?P<column>(?:[^=\[\]]|\[[^=\[\]]*\])+)=(?P<value>.*)\]\s*)?"
    rf"(?P<operator>>=|<=|==|>|<|(?<![^\s\]]))\s*(?P<number>{NUMBER})\s*(?P<percent>%)?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Segment:
    """The rows of which a column has one value, or each of its values in turn."""

    column: str
    value: str | None
    """The cell as text, empty for rows that have nothing there. None: each value that is found."""

    def __str__(self) -> str:
        if self.value is None:
            return f"[{self.column}=*]"
        is_plain = self.value == self.value.strip().strip('"') and self.value != "*"
        return f"[{self.column}={self.value}]" if is_plain else f'[{self.column}="{self.value}"]'

    @classmethod
    def of(cls, column: str, value: str) -> Segment:
        """As typed: quotes around a value stand for what is between them, so that `"*"` is a star."""
        value = value.strip()
        if value == "*":
            return cls(column.strip(), None)
        is_quoted = len(value) > 1 and value[0] == value[-1] == '"'
        return cls(column.strip(), value[1:-1] if is_quoted else value)


@dataclass(frozen=True)
class Gate:
    """A condition on one metric of a check, or on the failures of the whole run."""

    check: str | None
    """None: all checks together, or each (see `Kind`)."""
    metric: str
    """One of METRICS."""
    operator: str
    threshold: Fraction
    """Exactly as typed: 99.9% is 999/1000, which no float is."""
    is_share: bool = False
    """`failures` and `regressions` are compared as a share of the items; if False, as their number. The others are none."""
    segment: Segment | None = None
    """None: all rows."""
    dropping: Literal["pass_rate", "mean"] | None = None
    """Of `max_drop`: the figure that may not drop; None: the pass rate where the check has one, else the mean."""
    text: str = field(default="", compare=False)
    """As it was typed."""

    @classmethod
    def parse(cls, text: str) -> Gate:
        """A gate from text such as `groundedness.pass_rate >= 0.95` or `groundedness.pass_rate[lang=fr] >= 90%`.

        Further forms: `completeness.median > 60%`, `failures <= 5`, `failures <= 2%`, `groundedness.regressions == 0`,
        `groundedness.max_drop 2%`, `groundedness.mean.max_drop 2%`.

        Raises ValueError for other text, and for a gate that every run would pass, no run could pass, or errors would
        help to pass. What depends on the check's scale is found by `gate_problems`.
        """
        match = _GATE.fullmatch(normalize("NFC", text.strip()))
        if match is None or match["metric"] not in METRICS or not (match["operator"] or match["metric"] == "max_drop"):
            raise ValueError(f"{text!r} is not a gate: {_not_a_gate(match)}")
        gate = cls._of(match)
        if fault := gate._fault(is_percent=bool(match["percent"])):
            raise ValueError(f"gate {text!r}: {fault}")
        return gate

    @classmethod
    def _of(cls, match: re.Match[str]) -> Gate:
        check, metric, dropping = match["check"], match["metric"], None
        if metric == "max_drop" and check:
            owner, _, figure = check.rpartition(".")
            if figure in _DROPPING:
                check, dropping = owner or None, figure
        return cls(
            check,
            metric,
            match["operator"] or "<=",
            Fraction(match["number"]) / (100 if match["percent"] else 1),
            bool(match["percent"]) and KINDS[metric].of == "items",
            None if match["column"] is None else Segment.of(match["column"], match["value"]),
            dropping,  # type: ignore[arg-type]  # it is in _DROPPING
            match.string,
        )

    @classmethod
    def fault_of(cls, text: str) -> str | None:
        """Why `parse` refuses the text; None where it does not."""
        try:
            cls.parse(text)
        except ValueError as refusal:
            return str(refusal)
        return None

    @property
    def kind(self) -> Kind:
        return KINDS[self.metric]

    @property
    def is_out_of_any_samples_reach(self) -> bool:
        """No interval, however narrow, lies wholly on the good side: of one figure, or of an end of the scale."""
        is_at_an_end = self.threshold == {">=": 1, "<=": 0}.get(self.operator)
        return self.metric in ("pass_rate", "mean") and (self.operator == "==" or is_at_an_end)

    def counted(self, n: int, total: int) -> Fraction:
        """So many of all items as the threshold is meant: their number, or their share."""
        return Fraction(n, max(total, 1) if self.is_share else 1)

    def in_segment(self, value: str) -> Gate:
        """The same gate on one value of its segment's column; its number stays as it was typed, whose digits no float has."""
        match = _GATE.fullmatch(self.text)
        assert self.segment is not None
        assert match is not None
        segment = Segment(self.segment.column, value)
        text = f"{self.text[: match.start('column') - 1]}{segment}{self.text[match.end('value') + 1 :]}"
        return replace(self, segment=segment, text=text)

    def for_each(self, values: Iterable[str]) -> list[Gate]:
        """The gate, or if it is on each value of a column, one for each of these; where there are none, itself."""
        if self.segment is None or self.segment.value is not None:
            return [self]
        return [self.in_segment(value) for value in sorted(set(values))] or [self]

    def __str__(self) -> str:
        """As it was typed, or as `parse` reads it."""
        if self.text:
            return self.text
        names = ".".join(name for name in (self.check, self.dropping, self.metric) if name)
        number = self.threshold * 100 if self.is_share or self.metric == "max_drop" else self.threshold
        unit = "%" if self.is_share or self.metric == "max_drop" else ""
        return f"{names}{self.segment or ''} {self.operator} {float(number):g}{unit}"

    def _fault(self, *, is_percent: bool) -> str | None:
        if self.check is None and not self.kind.of_all_checks:
            return f"name the check, as in groundedness.{self.metric}"
        if self.kind.of == "items":
            return self._fault_of_items()
        if self.kind.of == "drop":
            return self._fault_of_drop(is_percent=is_percent)
        if is_percent and self.threshold > 1:
            return f"a {self.metric} lies {UNIT.limits}"
        # A figure may end above 1: `gate_problems` knows the check's scale.
        return self.fault_on(UNIT if self.kind.of == "rate" or is_percent else replace(UNIT, high=inf))

    def _fault_of_items(self) -> str | None:
        name, what = self.metric, "errors" if self.metric == "failures" else self.metric
        if self.operator in FLOORS or (self.operator == "==" and self.threshold):
            return f"{what} would help to pass it; write a ceiling, such as {name} <= 5 or {name} <= 2%"
        if self.is_share and self.threshold > 1:
            return "a share of the items is 100% at most"
        if self.is_share and self.threshold == 1 and self.operator == "<=":
            return f"every run would pass it: no more than all items can fail; write {name} < 100%, or less"
        if not self.is_share and self.threshold.denominator != 1:
            return f"{name} are counted in whole items; write {name} <= 5, or a share of the items: {name} <= 2%"
        if self.operator == "<" and not self.threshold:
            return f"no run could pass it; write {name} <= 0"
        return None

    def _fault_of_drop(self, *, is_percent: bool) -> str | None:
        if self.operator not in CEILINGS:
            return "a drop would help to pass it; write how much may be lost, such as max_drop 2%"
        if not is_percent and self.threshold > 1:
            return f"write {float(self.threshold):g}% for so many points"
        if self.threshold >= 1:
            return "every run would pass it: no figure drops by more than 100%"
        return "no run could pass it; write max_drop 0%" if self.operator == "<" and not self.threshold else None

    def fault_on(self, scale: Scale) -> str | None:
        """Why no figure on that scale could decide the gate, or only bad ones could meet it; None where neither is so."""
        low, high, name, limits = scale.low, scale.high, self.metric, scale.limits
        if not low <= self.threshold <= high:
            meant = (
                f"; write {float(self.threshold):g}% for that share" if scale.is_unit and self.threshold <= 100 else ""
            )
            return f"a {name} lies {limits}{meant}"
        if (self.operator == ">" and self.threshold == high) or (self.operator == "<" and self.threshold == low):
            return f"no run could pass it: a {name} lies {limits}"
        if self.operator == "<=" and self.threshold == high:
            return f"every run would pass it: a {name} is never more than {high:g}; write >= for a floor"
        if self.operator == ">=" and self.threshold == low:
            return f"every run would pass it: a {name} is never less than {low:g}; write a floor above"
        if scale.turned and self.operator in CEILINGS:
            return f"bad answers would help to pass it: the platform's score is {scale.turned}, so 1 is best; write >= for a floor"
        if scale.better == "lower" and self.operator in FLOORS:
            return f"bad answers would help to pass it: of {self.check} low is good; write <= for a ceiling"
        return None

    def verdict(self, low: Number, high: Number) -> GateVerdict:
        """PASS where the condition holds for every value from `low` to `high`, FAIL where it holds for none."""
        ends = (self._holds(low), self._holds(high))
        if all(ends):
            return GateVerdict.PASS
        is_within = self.operator == "==" and low <= self.threshold <= high
        return GateVerdict.UNDECIDED if any(ends) or is_within else GateVerdict.FAIL

    def _holds(self, figure: Number) -> bool:
        return bool(_OPERATORS[self.operator](figure, self.threshold))


def gate_problems(gates: Iterable[str], scales: Mapping[str, Scale], *, said: Container[str]) -> Iterator[str]:
    """A sentence for each gate that could never be decided, or that only bad answers would meet.

    `scales`: check -> its scale. `said`: the plan's fields that have a value, since some metrics need one.
    """
    for text in gates:
        gate = Gate.parse(text)
        if gate.kind.needs and gate.kind.needs not in said:
            yield f"gate {text!r}: {gate.kind.needing}"
        if "confidence" in said and "stop_when_decided" not in said and gate.is_out_of_any_samples_reach:
            yield f"gate {text!r}: no sample is ever so sure of a {gate.metric}; write a threshold that leaves room, or leave out --confidence"
        if gate.metric == "mean" and "confidence" in said and isinf(getattr(scales.get(gate.check or ""), "high", 1)):
            yield f"gate {text!r}: no sample bounds a mean that has no upper end; gate {gate.check}.median, or leave out --confidence"
        if gate.check is not None and gate.check not in scales:
            meant = did_you_mean(nearest(gate.check, scales))
            yield f"gate {text!r}: there is no check {gate.check!r} (checks: {', '.join(scales)}){meant}"
        elif gate.check is not None and (fault := _undecidable(gate, scales[gate.check])):
            yield f"gate {text!r}: {fault}"


def gate_notices(gates: Iterable[str], scales: Mapping[str, Scale]) -> Iterator[str]:
    """A sentence for each gate that asks for low figures where high ones are good: a slip, or a template turned round."""
    for text in gates:
        gate = Gate.parse(text)
        of_figures = gate.check is not None and gate.kind.of in ("rate", "scores") and gate.operator in CEILINGS
        if of_figures and scales[gate.check or ""].better == "higher":
            yield f"gate {text!r} asks for low figures, and high ones are good of {gate.check}: write >= if that was meant"


# Output types whose verdicts may have no score. Some `choices` templates give one; the catalogue does not say which.
_SCORELESS = {"choices": "choices", "reason": "a text"}


def _undecidable(gate: Gate, scale: Scale) -> str | None:
    """Why verdicts on that scale may never decide the gate, or only bad ones meet it; None where they do."""
    check, metric, words = gate.check, gate.metric, _SCORELESS.get(scale.output)
    of = "scores" if gate.dropping == "mean" else "rate" if gate.dropping else gate.kind.of
    if of == "rate" and not scale.has_passes:
        instead = f"gate {check}.{'failures' if words else 'mean'}"
        if scale.output == "choices":
            instead += f", or say which choices are good: --good {check}=CHOICE,CHOICE"
        return f"{check} does not answer Pass/Fail, so it has no pass rate; {instead}"
    if of == "scores" and words:
        return (
            f"{check} answers with {words}, which need not have a score, so its {gate.dropping or metric} may never be "
            f"known; gate {check}.failures"
        )
    if gate.kind.of == "scores":
        return gate.fault_on(scale)
    return None


def _not_a_gate(match: re.Match[str] | None) -> str:
    """What is wrong with a text that is no gate, or what to write instead."""
    near = nearest(match["metric"].replace("-", "_"), METRICS) if match is not None else []
    if match is None or (match["check"] is None and not near) or match["metric"] in METRICS:
        return "write CHECK.pass_rate >= 0.95, CHECK.mean >= 0.8 or CHECK.failures <= 5"
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"{match['metric']!r} is no figure of a check (there are {', '.join(METRICS)}){meant}"
