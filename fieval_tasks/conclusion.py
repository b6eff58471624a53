"""How a run ends: its files written, its accounts drawn up, its exit code decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fieval_tasks.errors import ExitCode, FievalError
from fieval_tasks.plan import Mode, allowed_failures
from fieval_tasks.preparation import Prepared
from fieval_tasks.report.files import write_report, write_results
from fieval_tasks.report.summary import Items, Report, Requests, RunFacts, summarise
from fieval_tasks.store import Ledger, Run


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    report: Report
    exit_code: ExitCode
    sentence: str
    """For the log, the flow's final state and the last line in the terminal."""
    folder: Path
    """Where the run's files are."""

    @property
    def is_good(self) -> bool:
        return self.exit_code is ExitCode.OK


def conclude(prepared: Prepared, stopped: FievalError | None, *, seconds: float) -> Outcome:
    """Write the run's files from the ledger and say how it went. `seconds` is what this process spent on it."""
    ledger, run_id = prepared.ledger, prepared.run.run_id
    counts = ledger.counts(run_id)
    complete = all(n == 0 or state.is_final for state, n in counts.items())
    ledger.finished(run_id, exit_code=None, seconds=seconds, complete=complete)
    run = ledger.run(run_id)
    write_results(ledger.results(run), prepared.folder)
    report = summarise(_facts(prepared, run, complete), ledger.results(run, with_inputs=True))
    exit_code = _exit_code(prepared, report.summary.items, stopped)
    ledger.finished(run_id, exit_code=exit_code, seconds=0.0, complete=complete)
    report = report.with_outcome(exit_code)
    write_report(report, lambda: ledger.results(run), prepared.folder)
    return Outcome(
        report,
        exit_code,
        _sentence(prepared, report.summary.items, ledger.count_unsent(run_id), stopped),
        prepared.folder,
    )


def _exit_code(prepared: Prepared, items: Items, stopped: FievalError | None) -> ExitCode:
    if stopped is not None:
        return stopped.exit_code
    missing = items.failed + (0 if prepared.plan.mode is Mode.SUBMIT else items.pending)
    allowed = allowed_failures(prepared.plan.allow_failures, total=items.total)
    return ExitCode.OK if missing <= allowed else ExitCode.INCOMPLETE


def _sentence(prepared: Prepared, items: Items, unsent: int, stopped: FievalError | None) -> str:
    counted = f"{items.scored:,} of {items.total:,} items scored"
    counted += f", {items.failed:,} failed" if items.failed else ""
    counted += f", {items.pending:,} pending" if items.pending else ""
    if stopped is not None:
        return f"{stopped}\n{counted}; to carry on: {prepared.resume_command}"
    if not items.pending:
        return counted
    if unsent:
        return f"{counted}, {unsent:,} of them not sent; to send them: {prepared.resume_command}"
    return f"{counted}; to fetch their verdicts: {prepared.collect_command}"


def _shared(ledger: Ledger, run: Run) -> Iterator[str]:
    if n := ledger.count_repeats(run.run_id):
        yield f"{n:,} items repeat others of this run exactly: they were not sent, and share the others' verdicts"


def _facts(prepared: Prepared, run: Run, complete: bool) -> RunFacts:
    return RunFacts(
        run_id=run.run_id,
        flow_run_id=run.flow_run_id,
        dataset=run.dataset,
        mode=run.mode,
        connection=run.connection,
        started_at=run.started_at or run.created_at,
        finished_at=run.finished_at,
        wall_seconds=run.wall_seconds,
        requests=Requests(
            submits=run.submits,
            polls=run.polls,
            retries=run.retries,
            throttled=run.throttled,
            possible_duplicates=run.possible_duplicates,
        ),
        checks={c.name: (c.template, c.model, c.output) for c in run.checks},
        notices=(*run.notices, *_shared(prepared.ledger, run)),
        mapping={c.name: dict(c.sources) for c in run.checks},
        resume_command=None if complete else prepared.resume_command,
        planned=run.total,
    )
