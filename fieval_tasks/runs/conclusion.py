"""How a run ends: its files written, its accounts drawn up, its exit code decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import partial
from pathlib import Path

from fieval_tasks.core.errors import ExitCode, FievalError, RunStopped
from fieval_tasks.core.gates import Gate, GateVerdict
from fieval_tasks.core.quantities import allowed_failures
from fieval_tasks.ledger.book import Book
from fieval_tasks.ledger.processes import owner_name
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.amendments import Standing, amendments
from fieval_tasks.report.columns import kinds
from fieval_tasks.report.folder import held
from fieval_tasks.report.output import write_report, write_results
from fieval_tasks.report.summary import GateOutcome, Items, Report, Requests, RunFacts, summarise
from fieval_tasks.report.tally import Counts
from fieval_tasks.report.text import clean
from fieval_tasks.report.words import failures_found, figure_found, gate_said
from fieval_tasks.runs.preparation import Kept

LAST_CHUNK = -1
"""None of a run's own. Whoever concludes the run claims it: nobody else need do so meanwhile."""
LEASE = 600.0
"""Seconds; the largest report takes less."""


@dataclass(frozen=True)
class Ended:
    """How the work on a run ended in this process."""

    stopped: FievalError | None = None
    """What stopped it before its end, if anything did."""
    notices: tuple[str, ...] = ()
    """What came up on the way and a reader must know."""
    waited: bool = True
    """Verdicts were waited for."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    report: Report
    exit_code: ExitCode
    sentence: str
    """For the last line in the terminal."""
    folder: Path
    """Where the run's files are."""
    stopped: FievalError | None = None
    """What stopped the run before its end, if anything did."""
    is_news: bool = True
    """It differs from what was concluded before."""

    @property
    def message(self) -> str:
        """For the log and the flow's final state: with all that came up on the way, and where the report is."""
        gates = (gate_said(gate) for gate in self.report.gates if gate.verdict != GateVerdict.PASS.value)
        told = "\n".join((*self.report.facts.news, *self.report.findings, *gates, self.sentence))
        return f"run {self.report.facts.run_id}: {told}\nreport: {clean(str((self.folder / 'report.html').resolve()))}"

    @property
    def is_good(self) -> bool:
        return self.exit_code is ExitCode.OK


def conclude(prepared: Kept, ended: Ended, *, seconds: float) -> Outcome:
    """Write the run's files from the ledger and say how it went. `seconds` is what this process spent on it.

    Raises RunStopped where they can't be written; the run has no exit code then, by which a collector finds it.
    """
    with _claimed(prepared), ExitStack() as afterwards:
        with _writing(prepared):
            afterwards.enter_context(held(prepared.folder))
        return _concluded(prepared, ended, seconds)


def _concluded(prepared: Kept, ended: Ended, seconds: float) -> Outcome:
    ledger, run_id = prepared.ledger, prepared.run_id
    complete = _is_complete(prepared)
    ledger.finished(run_id, exit_code=None, seconds=seconds, complete=complete)
    run = ledger.run(run_id)
    with _writing(prepared):
        facts = _facts(prepared, run, ended, complete)
        now = utc_now()
        decide = partial(_decided, prepared, ended, now)
        report = write_results(facts, prepared.book.results(with_inputs=True), prepared.folder, decide=decide)
        write_report(report, prepared.folder)
    standing, exit_code = report.standing, ExitCode(report.facts.exit_code or 0)
    is_news = ended.stopped is not None or _is_news(ledger, run_id, exit_code, standing, now)
    if is_news:
        ledger.add_conclusion(run_id, now, exit_code, standing)
    ledger.finished(run_id, exit_code=exit_code, seconds=0.0, complete=complete)
    sentence = _sentence(prepared, report.items, prepared.book.count_unsent(), ended.stopped)
    return Outcome(report, exit_code, clean(sentence), prepared.folder, ended.stopped, is_news)


@contextmanager
def _claimed(prepared: Kept) -> Iterator[None]:
    """No collector takes the run for one that was left without a report."""
    owner = owner_name()
    prepared.book.claim([LAST_CHUNK], owner, lease=LEASE)
    try:
        yield
    finally:
        prepared.book.release(owner)


@contextmanager
def _writing(prepared: Kept) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunStopped(
            f"the files of run {prepared.run_id} can't be written to {prepared.folder} ({error}): see to that, or name "
            f"another folder; its verdicts are kept, and are written by {prepared.resume_command} --output DIR"
        ) from error


def _is_news(ledger: Ledger, run_id: str, exit_code: ExitCode, standing: Standing, now: datetime) -> bool:
    last = next(reversed(ledger.conclusions(run_id)), None)
    if last is None or last.exit_code != exit_code:
        return True
    return amendments([(last.at, last.standing), (now, standing)]) != ()


def report_of(prepared: Kept) -> Report:
    """How a run stands at this moment, read from the ledger. Nothing is written anywhere."""
    run = prepared.ledger.run(prepared.run_id)
    facts = _facts(prepared, run, Ended(), _is_complete(prepared))
    counted = summarise(facts, prepared.book.results(with_inputs=True))
    return _decided(prepared, Ended(), utc_now(), counted)


def _decided(prepared: Kept, ended: Ended, at: datetime, report: Report) -> Report:
    """The report with its gates judged and its exit code, as it stands `at` this moment."""
    gates = [judged(text, report) for text in prepared.plan.gates]
    exit_code = _exit_code(prepared, report.items, gates, ended)
    earlier = _earlier_reports(prepared.ledger, prepared.run_id)
    return report.with_outcome(exit_code, gates).amended(earlier, at)


def _is_complete(prepared: Kept) -> bool:
    counts = prepared.book.counts()
    return all(n == 0 or state.is_final for state, n in counts.items())


def judged(text: str, report: Report) -> GateOutcome:
    """What a gate comes to over the best and the worst that the items without a verdict could still be."""
    gate = Gate.parse(text)
    if gate.metric == "failures":
        return _judged_by_failures(text, gate, report.items if gate.check is None else report.checks[gate.check])
    check = report.checks[gate.check or ""]
    figure = check.rate if gate.metric == "pass_rate" else check.average
    value, bounds = figure.value, figure.bounds(check.total)
    verdict = GateVerdict.UNDECIDED if bounds is None or check.no_score else gate.verdict(*bounds)
    return GateOutcome(
        gate=text,
        verdict=verdict.value,
        value=None if value is None else float(value),
        bounds=None if bounds is None else (float(bounds[0]), float(bounds[1])),
        sentence=figure_found(bounds, gate.threshold, check.no_score),
    )


def _judged_by_failures(text: str, gate: Gate, counts: Counts) -> GateOutcome:
    low, high = counts.failed, counts.failed + counts.pending + counts.skipped
    of = max(counts.total, 1) if gate.is_share else 1
    verdict = gate.verdict(Fraction(low, of), Fraction(high, of))
    return GateOutcome(text, verdict.value, low / of, (low / of, high / of), failures_found(counts))


def _earlier_reports(ledger: Ledger, run_id: str) -> list[tuple[datetime, Standing]]:
    return [(report.at, report.standing) for report in ledger.conclusions(run_id)]


def _exit_code(prepared: Kept, items: Items, gates: Sequence[GateOutcome], ended: Ended) -> ExitCode:
    if ended.stopped is not None:
        return ended.stopped.exit_code
    verdicts = {gate.verdict for gate in gates}
    if GateVerdict.FAIL.value in verdicts:
        return ExitCode.GATE_FAILED
    missing = items.failed + (items.pending if ended.waited else 0)
    undecided = GateVerdict.UNDECIDED.value in verdicts and (ended.waited or not items.pending)
    allowed = allowed_failures(prepared.plan.allow_failures, total=items.total)
    return ExitCode.INCOMPLETE if undecided or missing > allowed else ExitCode.OK


def _sentence(prepared: Kept, items: Items, unsent: int, stopped: FievalError | None) -> str:
    counted = f"{items.scored:,} of {items.total:,} items scored"
    counted += f", {items.failed:,} failed" if items.failed else ""
    counted += f", {items.pending:,} pending" if items.pending else ""
    if stopped is not None:
        return f"{stopped}\n{counted}; to carry on: {prepared.resume_command}"
    if unsent and items.pending:
        counted += f", {unsent:,} of them still to be sent; to send them: {prepared.resume_command}"
    elif items.pending:
        counted += f"; to fetch their verdicts: {prepared.collect_command}"
    return counted


def _next_command(prepared: Kept) -> str:
    is_sent = not prepared.book.count_unsent()
    return prepared.collect_command if is_sent else prepared.resume_command


def _shared(book: Book) -> Iterator[str]:
    if n := book.count_repeats():
        yield f"{n:,} items repeat others of this run exactly: they were not sent, and share the others' verdicts"


def _facts(prepared: Kept, run: Run, ended: Ended, complete: bool) -> RunFacts:
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
        notices=(*run.notices, *_shared(prepared.book), *ended.notices),
        news=ended.notices,
        mapping={c.name: dict(c.sources) for c in run.checks},
        gates=prepared.plan.gates,
        kept=kinds(prepared.book.kept()) if prepared.plan.keep else {},
        resume_command=None if complete else _next_command(prepared),
        explain_command=prepared.explain_command,
        planned=run.total,
    )
