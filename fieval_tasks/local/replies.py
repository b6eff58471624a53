"""Answers that are 200."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fieval_tasks.local.catalogue import TEMPLATES
from fieval_tasks.local.store import PENDING, Outcome, Row
from fieval_tasks.local.verdicts import Verdict

Reply = dict[str, Any]


def done(result: Any) -> Reply:
    return {"status": True, "result": result}


def submitted(rows: Iterable[Row]) -> Reply:
    """The reply to an asynchronous POST."""
    return _evaluations(
        {"name": row.request.template, "output_type": _output_type(row), "eval_id": row.eval_id} for row in rows
    )


def evaluated(scored: Iterable[tuple[Row, Verdict]]) -> Reply:
    """The reply to a synchronous POST: values are typed, the runtime is whole milliseconds."""
    return _evaluations(
        {
            "name": row.request.template,
            "reason": verdict.reason,
            "runtime": int(row.outcome.runtime or 0),
            "output": verdict.value,
            "output_type": _output_type(row),
            "eval_id": row.eval_id,
        }
        for row, verdict in scored
    )


def state(row: Row, *, is_running: bool) -> Reply:
    """The reply to a poll: values are text."""
    if row.outcome == PENDING:
        status = "processing" if is_running else "pending"
        return done({"eval_status": status, "result": "Evaluation is being processed."})
    return done({"eval_status": row.outcome.status, "result": _settled(row)})


def _settled(row: Row) -> Reply:
    outcome = row.outcome
    return {
        "eval_id": row.eval_id,
        "name": row.request.template,
        "input_data": {key: row.request.inputs[key] for key in sorted(row.request.inputs, key=_as_stored)},
        "reason": outcome.reason,
        "runtime": outcome.runtime,
        "model": row.request.model,
        "output_type": outcome.output_type,
        "value": outcome.value,
        "error_localizer_enabled": row.request.wants_localizer,
        **_ending(row, outcome),
    }


def _ending(row: Row, outcome: Outcome) -> Reply:
    if outcome.status == "failed":
        return {"error_message": outcome.error}
    if row.request.wants_localizer:
        # No judge here: the analysis stays as empty as the platform's is before its own has run.
        return {"error_localizer": {"error_analysis": {}, "selected_input_key": None}}
    return {}


def _as_stored(key: str) -> tuple[int, str]:
    """The order in which the platform's database gives an object's keys back."""
    return len(key), key


def _output_type(row: Row) -> str:
    return TEMPLATES[row.request.template].output


def _evaluations(entries: Iterable[Reply]) -> Reply:
    return done([{"evaluations": list(entries)}])
