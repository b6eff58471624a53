"""What a plan's `to` names, opened for one run. What is not named costs nothing: no driver is imported for it."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext

from fieval_tasks.core.sink_names import OTEL, TableName
from fieval_tasks.ledger.run import Run
from fieval_tasks.sinks.sink import SILENT, Sink, Telemetry


def telemetry(run: Run, to: Collection[str]) -> AbstractContextManager[Telemetry]:
    """Around the work on a run: what tells OpenTelemetry of it, where `to` says so."""
    if OTEL not in to:
        return nullcontext(SILENT)
    from fieval_tasks.sinks.telemetry import traced  # its API takes a tenth of a second

    return traced(run)


def telemetry_said(to: Collection[str]) -> list[str]:
    """A line for the user where OpenTelemetry is to be told: that it is, or what is missing."""
    if OTEL not in to:
        return []
    from fieval_tasks.sinks.telemetry import NOT_CONFIGURED, is_configured

    return ["verdicts also go to OpenTelemetry" if is_configured() else f"note: {NOT_CONFIGURED}"]


def opened(to: str, run: Run) -> Sink:
    """What `--to` names, for this run's verdicts. Raises SinkError where it needs a package that is not installed."""
    name = TableName.parse(to)
    if name.backend == "duckdb":
        from fieval_tasks.sinks.duck_table import DuckTable

        return DuckTable(name, run.run_id)
    from fieval_tasks.sinks.sql_table import SqlTable

    return SqlTable(name, run.run_id)
