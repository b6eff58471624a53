"""One run of ours, in a process of its own, which prints as its last line what the run took.

Without Prefect it is what `evaluate_dataframe` does, from a file; with it, the command `python -m flows.evaluate`.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from io import TextIOBase
from pathlib import Path
from time import thread_time
from typing import TYPE_CHECKING, Any, TextIO, cast

from benchmarks import dataset
from benchmarks.judge import TEMPLATE
from benchmarks.usage import Usage

if TYPE_CHECKING:
    from fieval_tasks.core.progress import Progress
    from fieval_tasks.runs.conclusion import Outcome
    from fieval_tasks.runs.display import Display


def run_engine(options: argparse.Namespace) -> dict[str, Any]:
    """The engine alone. `cpu` and `ended` are of the work between the plan being ready and the last commit."""
    from fieval_tasks.core.plan import Check, EvaluationPlan, Mode
    from fieval_tasks.runs.preparation import prepared
    from fieval_tasks.runs.workers import work_on

    plan = EvaluationPlan(
        dataset=options.dataset,
        checks=(Check(template=TEMPLATE),),
        connection="env",
        mode=Mode.ASYNC,
        store=options.store,
        tier=options.tier,
        to=() if options.otel is None else ("otel",),
        **({} if options.concurrency is None else {"concurrency": options.concurrency}),
    )
    exported = export_to_memory() if options.otel == "sdk" else None
    began = Usage.now()
    with prepared(plan) as run, drawn_on_nothing() if options.drawn else nullcontext() as drawing:
        ready = Usage.now()
        work_on(run)
        ended = Usage.now()
        told = ({"row": r.row, "value": r.value} for r in run.book.results())
        return {
            "preparation_cpu": (ready - began).cpu,
            "cpu": (ended - ready).cpu,
            "ended": ended.at,
            "peak": ended.peak,
            "wrong": wrong(told, options.items, options.size),
            "drawing_cpu": drawing.cpu if drawing else 0.0,
            "events": 0 if exported is None else exported(),
        }


class Drawing:
    """The live table of a terminal that shows nothing, and the CPU that drawing it takes, in seconds."""

    def __init__(self, screen: Display) -> None:
        self.cpu = 0.0
        self._screen = screen

    def show(self, progress: Progress) -> None:
        began = thread_time()
        self._screen.show(progress)
        self.cpu += thread_time() - began

    def conclude(self, outcome: Outcome) -> None:
        self._screen.conclude(outcome)


@contextmanager
def drawn_on_nothing() -> Iterator[Drawing]:
    from fieval_tasks.runs.display import display
    from fieval_tasks.terminal.live import shown

    class Terminal(TextIOBase):
        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            return len(text)

    os.environ["TERM"] = "xterm-256color"
    with shown(stream=cast(TextIO, Terminal())) as screen:
        token = display.set(drawing := Drawing(screen))
        try:
            yield drawing
        finally:
            display.reset(token)


def export_to_memory() -> Callable[[], int]:
    """OpenTelemetry as its user would configure it, with the SDK's batches, and exporters to memory; what counts the events."""
    from opentelemetry import _logs, trace
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    events, spans = LoggerProvider(), TracerProvider()
    kept = InMemoryLogRecordExporter()
    events.add_log_record_processor(BatchLogRecordProcessor(kept))
    spans.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    _logs.set_logger_provider(events)
    trace.set_tracer_provider(spans)

    def count() -> int:
        events.force_flush()
        return len(kept.get_finished_logs())

    return count


def run_command(options: argparse.Namespace) -> dict[str, Any]:
    """The whole command. `cpu` is all that this process used: imports, preparation and report included."""
    output = Path("output")
    sys.argv = ["flows.evaluate", options.dataset, "--template", TEMPLATE, "--connection", "env"]
    sys.argv += ["--mode", "async", "--store", options.store, "--output", str(output)]
    sys.argv += [] if options.tier is None else ["--tier", options.tier]
    sys.argv += [] if options.concurrency is None else ["--concurrency", str(options.concurrency)]
    code: object = 0
    try:
        runpy.run_module("flows.evaluate", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    ended = Usage.now()
    if code not in (0, 3):
        raise SystemExit(f"python -m flows.evaluate ended with {code}")
    with (output / "results.jsonl").open(encoding="utf-8") as lines:
        mistakes = wrong((json.loads(line) for line in lines), options.items, options.size)
    return {"cpu": ended.cpu, "ended": ended.at, "peak": ended.peak, "wrong": mistakes}


def wrong(told: Iterable[dict[str, Any]], items: int, size: int) -> int:
    """Items without a verdict, with another's, or with more than one."""
    right = list(dataset.right_verdicts(items, size))
    good = bytearray(items)
    mistakes = 0
    for one in told:
        place = one["row"] - 1
        if one["value"] == right[place] and not good[place]:
            good[place] = 1
        elif one["value"] is not None:
            mistakes += 1
    return max(mistakes, items - sum(good))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ours", description=__doc__)
    add = parser.add_argument
    add("dataset", help="as benchmarks.dataset wrote it; the server is FI_BASE_URL")
    add("--items", type=int, required=True)
    add("--size", type=int, required=True, help="as it was written with, to know the right verdicts")
    add("--store", default="ledger.db")
    add("--concurrency", type=int)
    add("--tier", help="as the plan has it; without it, limits are found")
    add("--drawn", action="store_true", help="with the live table of a terminal")
    add("--otel", choices=("none", "sdk"), help="--to otel, without a provider or with the SDK's")
    add("--prefect", action="store_true", help="the whole command, not only the engine")
    return parser.parse_args()


if __name__ == "__main__":
    chosen = parsed()
    print(json.dumps(run_command(chosen) if chosen.prefect else run_engine(chosen)))
