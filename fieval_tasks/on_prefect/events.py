"""Prefect events about a run's end and its gates, for automations and alerts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from prefect.events import emit_event

from fieval_tasks.core.errors import ExitCode
from fieval_tasks.core.gates import GateVerdict
from fieval_tasks.report.endings import ENDINGS
from fieval_tasks.report.summary import GateOutcome, Report
from fieval_tasks.runs.conclusion import Outcome

GATES = {GateVerdict.FAIL.value: "fieval.gate.failed", GateVerdict.UNDECIDED.value: "fieval.gate.undecided"}


def announce(outcome: Outcome) -> None:
    """Emit `fieval.run.completed` or `fieval.run.stopped`, and one event for each gate that was not passed."""
    report, run_id = outcome.report, outcome.report.facts.run_id
    said = {"exit_code": int(outcome.exit_code), "message": outcome.message, **_figures(report)}
    _emit(f"fieval.run.{ENDINGS[outcome.exit_code].event}", run_id, said)
    for gate in report.gates:
        if gate.verdict in GATES:
            _emit(GATES[gate.verdict], run_id, _gate(gate))


def announce_cancelled(run_id: str) -> None:
    """Emit `fieval.run.cancelled`: nothing was counted, and the run can be resumed."""
    _emit("fieval.run.cancelled", run_id, {"exit_code": int(ExitCode.INTERRUPTED)})


def _emit(event: str, run_id: str, payload: Mapping[str, Any]) -> None:
    resource = {"prefect.resource.id": f"fieval.run.{run_id}", "prefect.resource.name": run_id}
    # Half a character of a row, such as a gate's segment may name, is nothing that can be sent.
    sound = json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace")
    emit_event(event, resource=resource, payload=json.loads(sound))


def _figures(report: Report) -> dict[str, Any]:
    plain = report.to_json()
    return {"items": plain["items"], "checks": plain["checks"], "requests": plain["requests"]}


def _gate(gate: GateOutcome) -> dict[str, Any]:
    return {
        "gate": gate.gate,
        "verdict": gate.verdict,
        "value": gate.value,
        "bounds": gate.bounds,
        "sentence": gate.sentence,
    }
