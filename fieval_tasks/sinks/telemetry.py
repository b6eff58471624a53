"""A run in OpenTelemetry: an event for each verdict, and spans for the run, its chunks and its polling.

The events are `gen_ai.evaluation.result` of the semantic conventions for generative AI, version 1.42.0-dev (in development; they
have a repository of their own, open-telemetry/semantic-conventions-genai). An event is there what the logs data model calls
one: a log record with an event name, in the context of a span. Events of spans are deprecated.

Only the API package is used: without a provider, which its user configures with the SDK, nothing is emitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from math import isfinite
from typing import Any

from opentelemetry import _logs, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, StatusCode, Tracer

from fieval_tasks.core.items import Result
from fieval_tasks.ledger.run import Run
from fieval_tasks.report.columns import sound
from fieval_tasks.report.record import utc
from fieval_tasks.report.tally import choices_in
from fieval_tasks.sinks.sink import SILENT, Sink, Telemetry

EVENT = "gen_ai.evaluation.result"
SCHEMA = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev"
RESPONSE_ID = "gen_ai.response.id"
"""Also the name of the column, kept by `--keep`, that holds the id of the completion that was evaluated."""
SCOPE = "fieval_tasks"
NOT_CONFIGURED = (
    "--to otel: OpenTelemetry has no provider in this process, so nothing is emitted; install opentelemetry-distro and "
    "opentelemetry-exporter-otlp, name the collector in OTEL_EXPORTER_OTLP_ENDPOINT, and put opentelemetry-instrument before "
    "the command"
)


def is_configured() -> bool:
    """Whether somebody has set a provider of log records or of spans: the API's own do nothing."""
    return _is_foreign(_logs.get_logger_provider()) or _is_foreign(trace.get_tracer_provider())


def _is_foreign(provider: object) -> bool:
    return not type(provider).__module__.startswith(("opentelemetry._logs", "opentelemetry.trace"))


@contextmanager
def traced(run: Run) -> Iterator[Telemetry]:
    """Yields what tells of the run's work during the block, which is a span."""
    if not is_configured():
        yield SILENT
        return
    tracer = trace.get_tracer(SCOPE, schema_url=SCHEMA)
    with _span(tracer, "fieval run", {"fieval.run": run.run_id, "fieval.items": run.total}) as span:
        context = trace.set_span_in_context(span)
        yield Telemetry(partial(_span, tracer, context=context), partial(EvaluationEvents, run, context))


@contextmanager
def _span(
    tracer: Tracer, name: str, attributes: Mapping[str, str | int], *, context: Context | None = None
) -> Iterator[Span]:
    """An error ends it with its kind alone: a message may repeat what a server or a row said."""
    known = sound_values(attributes)
    with tracer.start_as_current_span(
        name, context, attributes=known, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise


class EvaluationEvents(Sink):
    """The sink that emits an event for each verdict that this process has settled.

    An event can't be taken back or emitted anew, so what the run has from earlier processes, or from the beginning, is not told.
    """

    def __init__(self, run: Run, context: Context) -> None:
        self._outputs = {check.name: check.output for check in run.checks}
        self._context = context
        self._logger = _logs.get_logger(SCOPE, schema_url=SCHEMA)

    def take(self, results: Sequence[Result]) -> None:
        for result in results:
            if result.status in ("scored", "failed"):  # else it has been taken back meanwhile
                self._logger.emit(
                    timestamp=_nanoseconds(result.finished_at),
                    context=self._context,
                    event_name=EVENT,
                    attributes=attributes_of(result, self._outputs.get(result.check, "")),
                )


def attributes_of(result: Result, output: str) -> dict[str, Any]:
    """What the convention names of a result, and nothing else: no inputs. `output`: the template's output type."""
    found = {
        "gen_ai.evaluation.name": result.check,
        "gen_ai.evaluation.score.value": _score(result),
        "gen_ai.evaluation.score.label": _label(result, output),
        "gen_ai.evaluation.explanation": result.reason,
        "error.type": (result.error or {}).get("kind"),
        RESPONSE_ID: (result.kept or {}).get(RESPONSE_ID),
    }
    return sound_values({name: value for name, value in found.items() if value not in (None, "")})


def _score(result: Result) -> float | None:
    value = result.value if result.score is None else result.score
    return float(value) if isinstance(value, int | float) and isfinite(value) else None


def _label(result: Result, output: str) -> str | None:
    """`pass` or `fail`, or the choices; a judge's free text is none, for there is no end of labels then."""
    if output == "choices" and result.status == "scored":
        return ", ".join(sorted(choices_in(result.value)))
    return None if result.passed is None else "pass" if result.passed else "fail"


def sound_values(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What an exporter can write: it would drop a whole batch for half an emoji."""
    return {name: sound(value) for name, value in attributes.items()}


def _nanoseconds(when: datetime | None) -> int | None:
    return None if when is None else int(utc(when).timestamp() * 1_000_000) * 1_000
