"""What a confidence asks of gates, said before anything is paid for: more rows than there are, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil

from fieval_tasks.core.gates import CEILINGS, Gate, GateVerdict
from fieval_tasks.core.quantities import percent
from fieval_tasks.decisions.statistics import normal_reach, wilson_interval
from fieval_tasks.runs.baselines import COMPARING


def out_of_reach(gates: Iterable[str], rows: int, confidence: float) -> Iterator[str]:
    """A sentence for each gate on a pass rate that these rows can't pass even with the best verdicts."""
    for gate in map(Gate.parse, gates):
        if gate.metric != "pass_rate" or gate.segment is not None or gate.is_out_of_any_samples_reach:
            continue
        is_ceiling = gate.operator in CEILINGS
        best = wilson_interval(0 if is_ceiling else rows, rows, confidence)
        if best is not None and gate.verdict(*best) is not GateVerdict.PASS:
            # Of n rows of which all pass, Wilson's interval begins at n / (n + z^2).
            share = float(1 - gate.threshold if is_ceiling else gate.threshold)
            needed = ceil(normal_reach(confidence) ** 2 * share / (1 - share))
            yield (
                f"gate {str(gate)!r}: {rows:,} rows can't pass it at {percent(confidence)} confidence, whatever their verdicts; "
                f"it takes {needed:,} at least"
            )


def of_these_rows(gates: Iterable[str]) -> Iterator[str]:
    """A sentence for each gate that is judged by these rows alone, whatever confidence is asked for."""
    for text in gates:
        if Gate.parse(text).metric in COMPARING:
            yield (
                f"gate {text!r} is about these very rows: --confidence says nothing of it, and the comparison has the interval for more "
                f"rows like these"
            )
