"""The JSON around every answer, as the platform writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fieval_tasks.local.catalogue import CATALOGUE
from fieval_tasks.local.jobs import Job
from fieval_tasks.local.verdicts import Verdict

Envelope = dict[str, Any]


class ErrorReply(Exception):
    """An answer that is not 200, raised from wherever the fault is found."""

    def __init__(self, status: int, kind: str, code: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        # The platform says the same text four times over, for old clients.
        texts = dict.fromkeys(("detail", "message", "error", "result"), detail)
        self.body: Envelope = {"status": False, "type": kind, "code": code, **texts, **more}
        self.headers: dict[str, str] = {"WWW-Authenticate": "ApiKey"} if status == 401 else {}


def bad_fields(complaints: Mapping[str, Sequence[str]]) -> ErrorReply:
    """400 with what is wrong by field (`non_field_errors`: the request as a whole); `attr` is the first of them."""
    first = next(iter(complaints))
    attr = {} if first == "non_field_errors" else {"attr": first}
    listed = {field: list(texts) for field, texts in complaints.items()}
    return ErrorReply(
        400, "validation_error", "invalid", "Validation failed", **attr, details=listed, errors=dict(listed)
    )


def invalid(detail: str) -> ErrorReply:
    return ErrorReply(400, "validation_error", "invalid", detail)


def detailed(status: int, kind: str, code: str, detail: str) -> ErrorReply:
    """An error of the API around the evaluations: keys, JSON, addresses, methods."""
    return ErrorReply(status, kind, code, detail, details={"detail": [detail]})


def unable() -> ErrorReply:
    """500, always in the same sentence."""
    return ErrorReply(500, "server_error", "server_error", "Unable to run standalone evaluation. Please try again.")


def done(result: Any) -> Envelope:
    return {"status": True, "result": result}


def submitted(asked: Iterable[Job]) -> Envelope:
    """The reply to an asynchronous POST."""
    return _evaluations(
        {"name": one.template, "output_type": CATALOGUE[one.template].output, "eval_id": one.eval_id} for one in asked
    )


def evaluated(scored: Iterable[tuple[Job, Verdict]]) -> Envelope:
    """The reply to a synchronous POST: values are typed, the runtime is whole milliseconds."""
    return _evaluations(
        {
            "name": one.template,
            "reason": verdict.reason,
            "runtime": int(one.runtime or 0),
            "output": verdict.value,
            "output_type": one.output_type,
            "eval_id": one.eval_id,
        }
        for one, verdict in scored
    )


def state(one: Job) -> Envelope:
    """The reply to a poll: values are text."""
    if one.status in ("pending", "processing"):
        return done({"eval_status": one.status, "result": "Evaluation is being processed."})
    result = {
        "eval_id": one.eval_id,
        "name": one.template,
        # In the order in which the platform's database gives an object's keys back.
        "input_data": {key: one.inputs[key] for key in sorted(one.inputs, key=lambda key: (len(key), key))},
        "reason": one.reason,
        "runtime": one.runtime,
        "model": one.model,
        "output_type": one.output_type,
        "value": one.value,
        "error_localizer_enabled": one.wants_localizer,
    }
    if one.status == "failed":
        result["error_message"] = one.error
    elif one.wants_localizer:
        # No judge here: the analysis stays as empty as the platform's is before its own has run.
        result["error_localizer"] = {"error_analysis": {}, "selected_input_key": None}
    return done({"eval_status": one.status, "result": result})


def _evaluations(entries: Iterable[Envelope]) -> Envelope:
    return done([{"evaluations": list(entries)}])
