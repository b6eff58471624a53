"""A run's verdicts in the order in which its rows were drawn, and which of its gates they settle."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from math import isfinite

import numpy as np

from fieval_tasks.core.gates import UNIT, Gate, GateVerdict
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.quantities import percent
from fieval_tasks.core.scales import Scale
from fieval_tasks.decisions.stopping import Settled, Target
from fieval_tasks.ledger.draws import Draw, Draws, End
from fieval_tasks.ledger.run import Run
from fieval_tasks.report.figures import segment_of

# Few chunks are at work at a time.
CHUNKS_READ = 16
"""Chunks that are read from the ledger together."""


def is_watched(gate: Gate, run: Run) -> bool:
    """Whether a gate may be settled before all rows are evaluated: on a pass rate, or a mean on a scale that has two ends."""
    if gate.check is None or gate.metric not in ("pass_rate", "mean"):
        return False
    scale = run.check(gate.check).scale
    return gate.metric == "pass_rate" or (isfinite(scale.low) and isfinite(scale.high))


def notices(run: Run, plan: EvaluationPlan) -> Iterator[str]:
    """What stopping early means for this run, to be said before anything is sent."""
    gates = [Gate.parse(text) for text in plan.gates]
    watched = [gate for gate in gates if is_watched(gate, run)]
    shared = f", shared by {len(watched)} gates" if len(watched) > 1 else ""
    yield (
        f"rows are evaluated in a random order, and no more are sent once a gate fails or all pass, settled at "
        f"{percent(plan.settling_confidence)} confidence{shared}"
    )
    if others := [str(gate) for gate in gates if gate not in watched]:
        only = "so the run stops early only where a gate fails"
        yield f"{' and '.join(others)} can't be settled before all rows are evaluated, {only}"


class Drawn:
    """A run's gates, and the verdicts that may settle them. Reads what is new in the ledger, so it blocks; thread-safe.

    The chance to be wrong is shared evenly by the gates that are watched, so that it holds for all of them together.
    """

    def __init__(self, run: Run, plan: EvaluationPlan, draws: Draws) -> None:
        self._run = run
        self._draws = draws
        self._asked = [Gate.parse(text) for text in plan.gates]
        self._count = 0
        """Gates, one on each value of a column counted for each."""
        self._confidence = plan.settling_confidence
        self._lock = threading.Lock()
        self._watched: list[_Watched] = []
        self._failures: list[_Failures] = []
        self._sizes: Counter[int] = Counter()
        """Chunk -> its items."""
        self._ended: dict[int, int] = {}
        """Chunk -> how many of them had ended when it was read last."""

    def look(self) -> bool:
        """Read what has come; whether the run's outcome is decided: a gate is not met, whatever comes, or all are met."""
        with self._lock:
            if not self._sizes:
                self._begin()
            self._read()
        found = self.settled()
        is_failed = any(not one.is_met for one in found.values()) or any(one.is_broken for one in self._failures)
        return is_failed or 0 < self._count == len(found)

    def settled(self) -> dict[str, Settled]:
        """Gate, as text -> its verdict, of those that are settled by what was read."""
        found = {str(one.gate): one.settled() for one in self._watched}
        return {gate: settled for gate, settled in found.items() if settled is not None}

    def _begin(self) -> None:
        draws = sorted(self._draws.all(), key=lambda draw: (draw.place, draw.seq))
        self._sizes = Counter(draw.chunk for draw in draws)
        self._ended = dict.fromkeys(self._sizes, 0)
        draws = [draw for draw in draws if not draw.repeat]  # an audit counts in no figure
        gates = [*{str(gate): gate for asked in self._asked for gate in asked.for_each(_values(asked, draws))}.values()]
        self._count = len(gates)
        watched = [gate for gate in gates if is_watched(gate, self._run)]
        confidence = 1 - (1 - self._confidence) / max(1, len(watched))
        for gate in gates:
            members = [draw.seq for draw in draws if _is_about(gate, draw)]
            if gate in watched:
                self._watched.append(_Watched(gate, self._run.check(gate.check or "").scale, members, confidence))
            elif gate.metric == "failures":
                self._failures.append(_Failures(gate, frozenset(members)))

    def _read(self) -> None:
        """Read the chunks that had not ended, up to those of which nothing is scored: chunks are sent in their order."""
        chunks = sorted(chunk for chunk, n in self._sizes.items() if self._ended[chunk] < n)
        for start in range(0, len(chunks), CHUNKS_READ):
            ends = self._draws.ends(chunks[start : start + CHUNKS_READ])
            self._ended |= Counter(end.chunk for end in ends)
            for watched in self._watched:
                watched.take(ends)
            for failures in self._failures:
                failures.take(ends)
            if not any(end.is_scored for end in ends):
                break


def _is_about(gate: Gate, draw: Draw) -> bool:
    if gate.check not in (None, draw.check):
        return False
    return gate.segment is None or segment_of(draw.traits, gate.segment.column) == gate.segment.value


def _values(gate: Gate, draws: Sequence[Draw]) -> Iterator[str]:
    """Those that its segment's column has in the rows of the gate's check, or of all."""
    column = gate.segment.column if gate.segment else ""
    return (segment_of(draw.traits, column) for draw in draws if gate.check in (None, draw.check))


class _Watched:
    """A gate on a figure of its rows, and the least and the greatest value that each may have, in the order of drawing."""

    def __init__(self, gate: Gate, scale: Scale, members: Sequence[int], confidence: float) -> None:
        """`members`: the seqs of the gate's items, in the order of drawing."""
        self.gate = gate
        self._is_counted = gate.metric == "pass_rate"
        self._scale = UNIT if self._is_counted else scale
        self._passes = scale.passes
        low, width = Fraction(self._scale.low), Fraction(self._scale.high) - Fraction(self._scale.low)
        self._target = Target(gate.operator, (gate.threshold - low) / width, len(members), self._is_counted, confidence)
        self._places = {seq: place for place, seq in enumerate(members)}
        self._lows, self._highs = np.zeros(len(members)), np.ones(len(members))

    def take(self, ends: Iterable[End]) -> None:
        """Take these verdicts into account; one without a figure stays at its worst, as an item without a verdict."""
        for end in ends:
            place = self._places.get(end.seq)
            if place is not None and end.is_scored and (value := self._value(end)) is not None:
                self._lows[place] = self._highs[place] = value

    def settled(self) -> Settled | None:
        return self._target.settled(self._lows, self._highs)

    def _value(self, end: End) -> float | None:
        """From 0 to 1, however the check's scale goes."""
        if self._is_counted:
            passed = self._passes(end.value) if end.passed is None else end.passed
            return None if passed is None else float(passed)
        low, high = self._scale.low, self._scale.high
        figure = self._scale.figure(end.score, end.value)
        return None if figure is None else (figure - low) / (high - low)


class _Failures:
    """A gate on the number or the share of failed items, which too many of them break for certain."""

    def __init__(self, gate: Gate, members: frozenset[int]) -> None:
        self._gate = gate
        self._members = members
        self._failed: set[int] = set()

    def take(self, ends: Iterable[End]) -> None:
        self._failed.update(end.seq for end in ends if not end.is_scored and end.seq in self._members)

    @property
    def is_broken(self) -> bool:
        all_, failed = len(self._members), len(self._failed)
        return self._gate.verdict(self._gate.counted(failed, all_), self._gate.counted(all_, all_)) is GateVerdict.FAIL
