"""Verdicts as events of OpenTelemetry, read back by the SDK's exporters in memory: once each, and never with inputs."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fieval_tasks.core.errors import PlanError, RunStopped
from fieval_tasks.core.items import Result
from fieval_tasks.core.plan import Check, EvaluationPlan, Mode
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.runs.continuing import Continuation
from fieval_tasks.runs.preparation import prepared
from fieval_tasks.runs.workers import work_on
from fieval_tasks.sinks.opening import telemetry
from fieval_tasks.sinks.sink import SILENT
from fieval_tasks.sinks.telemetry import attributes_of, is_configured

SECRET = "what nobody else may read"
NOON = datetime(2026, 8, 1, 12, tzinfo=timezone.utc)
SCORED = Result(
    "row-1", 1, "tone", "tone", "turing_flash", "scored", "Passed", 1.0, True, "It is kind.", 12.0, "e-1", None, None, 1, NOON, NOON,
    {"output": SECRET},
)  # fmt: skip
RUN = Run("r", NOON, "a.csv", "f" * 64, "async", "local", (CheckRecord("tone", "tone", None, {}, "", {}),), {}, ())


class Collector:
    """What a user would have exported."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.logs, self.traces = InMemoryLogRecordExporter(), InMemorySpanExporter()
        events, spans = LoggerProvider(shutdown_on_exit=False), TracerProvider(shutdown_on_exit=False)
        events.add_log_record_processor(SimpleLogRecordProcessor(self.logs))
        spans.add_span_processor(SimpleSpanProcessor(self.traces))
        # A process can set them once.
        monkeypatch.setattr(_logs._internal, "_LOGGER_PROVIDER", events)
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans)

    @property
    def events(self) -> list[Any]:
        return [one.log_record for one in self.logs.get_finished_logs()]

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.traces.get_finished_spans() if span.name == name]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Collector:
    return Collector(monkeypatch)


@pytest.fixture
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_logs._internal, "_LOGGER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluationPlan:
    """Six rows, one of them blank, on the embedded evaluator."""
    monkeypatch.chdir(tmp_path)
    rows = [{"output": f"{SECRET} {n}" if n else "", "gen_ai.response.id": f"chat-{n}"} for n in range(6)]
    Path("a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return EvaluationPlan(
        dataset="a.jsonl",
        checks=(Check(template="toxicity"),),
        connection="local",
        keep=("gen_ai.response.id",),
        chunk_size=3,
        run="r",
        to=("otel",),
    )


# -- what an event holds -----------------------------------------------------------------------------------------------


def test_an_event_holds_what_the_convention_names_and_nothing_else() -> None:
    assert attributes_of(SCORED, "Pass/Fail") == {
        "gen_ai.evaluation.name": "tone",
        "gen_ai.evaluation.score.value": 1.0,
        "gen_ai.evaluation.score.label": "pass",
        "gen_ai.evaluation.explanation": "It is kind.",
    }


@pytest.mark.parametrize(
    ("changed", "output", "label", "score"),
    [
        ({"passed": False, "score": 0.0}, "Pass/Fail", "fail", 0.0),
        ({"passed": None, "value": 0.25, "score": None}, "score", None, 0.25),
        ({"passed": None, "value": ["joy", "anger"], "score": None}, "choices", "anger, joy", None),
        ({"passed": True, "value": {"choice": "joy", "score": 0.5}, "score": 0.5}, "choices", "joy", 0.5),
        ({"passed": None, "value": "a long story", "score": None}, "reason", None, None),
        ({"passed": None, "value": float("nan"), "score": None}, "score", None, None),
    ],
)
def test_the_label_is_pass_or_fail_or_the_choices_and_never_a_text_of_its_own(
    changed: dict[str, Any], output: str, label: str | None, score: float | None
) -> None:
    found = attributes_of(replace(SCORED, **changed), output)
    told = [found.get(f"gen_ai.evaluation.score.{name}") for name in ("label", "value")]
    assert told == [label, score]


def test_an_item_without_a_verdict_has_the_kind_of_its_error() -> None:
    failed = replace(
        SCORED, status="failed", value=None, score=None, passed=None, reason=None, error={"kind": "hollow", "message": "?"}
    )  # fmt: skip
    assert attributes_of(failed, "Pass/Fail") == {"gen_ai.evaluation.name": "tone", "error.type": "hollow"}


def test_half_an_emoji_does_not_cost_the_whole_batch() -> None:
    assert attributes_of(replace(SCORED, reason="\ud83d"), "")["gen_ai.evaluation.explanation"] == "?"


# -- a run -------------------------------------------------------------------------------------------------------------


def test_each_verdict_is_an_event_below_the_runs_span_beside_those_of_its_chunks_and_its_polling(
    plan: EvaluationPlan, collector: Collector
) -> None:
    with prepared(plan) as run:
        work_on(run)
    [of_run] = collector.spans("fieval run")
    assert of_run.attributes == {"fieval.run": "r", "fieval.items": 6}
    below = [*collector.spans("fieval chunk"), *collector.spans("fieval poll")]
    assert {span.parent.span_id for span in below if span.parent} == {of_run.context.span_id}
    assert sorted(span.attributes["fieval.chunk"] for span in collector.spans("fieval chunk") if span.attributes) == [
        0,
        1,
    ]
    assert collector.spans("fieval poll")
    events = collector.events
    assert {event.event_name for event in events} == {"gen_ai.evaluation.result"}
    assert {event.span_id for event in events} == {of_run.context.span_id}
    assert sorted(event.attributes["gen_ai.response.id"] for event in events) == [f"chat-{n}" for n in range(1, 6)]
    assert SECRET not in str([dict(event.attributes) for event in events])
    assert all(event.timestamp for event in events)


def test_late_verdicts_are_told_by_whoever_collects_them_and_earlier_ones_not_again(
    plan: EvaluationPlan, collector: Collector
) -> None:
    with prepared(plan.model_copy(update={"mode": Mode.SUBMIT})) as run:
        work_on(run)
    before = len(collector.events)
    with prepared(Continuation("r", None)) as run, run.engine(Mode.ASYNC) as engine:
        engine.settle()
    assert len(collector.events) == 5
    with prepared(EvaluationPlan(resume="r")) as run:
        work_on(run)
    assert (before, len(collector.events)) == (0, 5)
    assert len(collector.spans("fieval run")) == 3


def test_an_error_ends_a_span_with_its_kind_and_not_with_its_message(collector: Collector) -> None:
    with pytest.raises(RunStopped), telemetry(RUN, ("otel",)):
        raise RunStopped(SECRET)
    [span] = collector.spans("fieval run")
    assert (span.status.is_ok, span.status.description, [*span.events]) == (False, None, [])
    assert dict(span.attributes or {}) == {"fieval.run": "r", "fieval.items": 0, "error.type": "RunStopped"}


def test_without_a_provider_a_run_says_so_once_and_tells_nobody(
    plan: EvaluationPlan, unconfigured: None, caplog: pytest.LogCaptureFixture
) -> None:
    with telemetry(RUN, ("otel",)) as found:
        assert found is SILENT
    with prepared(plan) as run:
        notes = [line for line in run.described() if "OpenTelemetry has no provider" in line]
        work_on(run)
    assert len(notes) == 1
    assert "opentelemetry-instrument" in notes[0]
    assert not caplog.records


def test_nobody_is_asked_about_telemetry_that_is_not_wanted(plan: EvaluationPlan, collector: Collector) -> None:
    assert is_configured()
    with prepared(plan.model_copy(update={"to": ()})) as run:
        work_on(run)
        assert not [line for line in run.described() if "OpenTelemetry" in line]
    assert not collector.events
    assert not collector.traces.get_finished_spans()


def test_otel_is_written_so_and_no_otherwise() -> None:
    with pytest.raises(PlanError, match="or otel"):
        EvaluationPlan(to=("OTEL",))
