"""Concluding a run: its files are written, its gates judged and its exit code decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from fieval_tasks.core.errors import ExitCode, FievalError, RunStopped, Unexpected
from fieval_tasks.core.gates import GateVerdict
from fieval_tasks.core.items import Result
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.quantities import allowed_failures
from fieval_tasks.ledger.history import History
from fieval_tasks.ledger.processes import owner_name
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Conclusion
from fieval_tasks.report.columns import kinds
from fieval_tasks.report.differences import Comparison
from fieval_tasks.report.figures import Counts
from fieval_tasks.report.folder import locked_folder
from fieval_tasks.report.output import write_report, write_results
from fieval_tasks.report.page_data import PageData
from fieval_tasks.report.summary import Cost, GateOutcome, Report, Requests, RunFacts, summarise
from fieval_tasks.report.tally import Wanted
from fieval_tasks.report.text import clean, count
from fieval_tasks.runs.correcting import corrections
from fieval_tasks.runs.gating import outcomes
from fieval_tasks.runs.kept_figures import AskedRows, figures_of
from fieval_tasks.runs.preparation import Kept
from fieval_tasks.runs.regressions import beside_baseline
from fieval_tasks.runs.run_tuning import DEFAULT_TUNING
from fieval_tasks.runs.segments import wanted
from fieval_tasks.sinks.following import CatchingUp
from fieval_tasks.sinks.sink_tuning import TUNING, SinkTuning

LAST_CHUNK = -1
"""The pseudo-chunk that a process claims while it concludes the run, so that no collector does too."""


@dataclass(frozen=True)
class Ended:
    """How the work on a run ended in this process."""

    stopped: FievalError | None = None
    """The error that stopped the work; None where it went to its end."""
    notices: tuple[str, ...] = ()
    """Sentences for the report on what happened in this process."""
    waited: bool = True
    """The process waited for verdicts; False for `--mode submit`."""
    is_behind: bool = False
    """Something that the plan's `to` names lacks verdicts of the run."""
    is_recorded: bool = False
    """It was concluded before: nobody has worked on the run since."""

    def to_json(self) -> dict[str, Any]:
        """What the ledger keeps of it."""
        stopped = None if self.stopped is None else str(self.stopped)
        return {"stopped": stopped, "notices": [*self.notices], "waited": self.waited}

    @classmethod
    def recorded(cls, conclusion: Conclusion) -> Ended:
        """How the work had ended that came to this conclusion."""
        kept = conclusion.ended or {}
        error = {ExitCode.STOPPED: RunStopped, ExitCode.UNEXPECTED: Unexpected}.get(ExitCode(conclusion.exit_code or 0))
        stopped = error and error(kept.get("stopped") or "the run was stopped")
        return cls(stopped, tuple(kept.get("notices", ())), kept.get("waited", True), is_recorded=True)


@dataclass(frozen=True)
class Outcome:
    """A concluded run: its report, where its files are, and what stopped it."""

    report: Report
    sentence: str
    """The last line in the terminal."""
    folder: Path
    """The folder with the run's files."""
    stopped: FievalError | None = None
    """The error that stopped the run; None where it went to its end."""
    is_news: bool = True
    """The figures or the exit code differ from the run's previous conclusion."""
    run: Run | None = None
    """The run as the ledger had it, with its plan; None for one that is made up."""

    @property
    def message(self) -> str:
        """The text for the log and the flow's final state: the sentence, notices and the report's place. Gates and news may
        name what a row holds: it is clean."""
        lines = "\n".join(
            (*self.report.facts.news, *self.report.findings, *self.report.changes.values(), *self.told_at_least)
        )
        return clean(f"run {self.report.facts.run_id}: {lines}\nreport: {(self.folder / 'report.html').resolve()}")

    @property
    def told_at_least(self) -> tuple[str, ...]:
        """The sentence, after those on gates that are not passed."""
        gates = (gate.sentence for gate in self.report.gates if gate.verdict != GateVerdict.PASS.value)
        return (*gates, self.sentence)

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode(self.report.facts.exit_code or 0)

    @property
    def is_good(self) -> bool:
        return self.exit_code is ExitCode.OK


def conclude(prepared: Kept, ended: Ended, *, seconds: float, tuning: SinkTuning = TUNING) -> Outcome:
    """Write the run's files from the ledger, and record its conclusion. `seconds`: how long this process worked on it.

    Raises RunStopped where the files can't be written; the run then has no exit code, so that a collector concludes it.
    """
    with _claimed(prepared), ExitStack() as afterwards:
        if ended.stopped is None and (drawn := prepared.drawn) is not None and drawn.look():
            prepared.book.draws.leave_out()  # what a process left unsent that was killed, or that heard of it late
        behind = handed_on(prepared, tuning)
        with _writing(prepared):
            afterwards.enter_context(locked_folder(prepared.folder))
        return _concluded(prepared, ended, behind, seconds)


def _concluded(prepared: Kept, ended: Ended, behind: Sequence[str], seconds: float) -> Outcome:
    ledger, run_id, now = prepared.ledger, prepared.run_id, prepared.ledger.now()
    as_it_was = ended.to_json()
    ended = replace(ended, notices=(*ended.notices, *behind), is_behind=bool(behind))
    complete = prepared.is_complete
    # Without an exit code until its files are written: should they not be, a collector finds the run by that.
    ledger.finished(run_id, exit_code=None, seconds=seconds, complete=complete)
    earlier = ledger.conclusions(run_id)
    with _writing(prepared):
        compared = beside_baseline(prepared)
        decide = partial(_decided, prepared, ended, earlier, now, compared)
        asked = AskedRows(prepared.run)
        results = asked.watched(prepared.book.results(with_inputs=True))
        facts = facts_of(prepared, ended)
        report = write_results(facts, results, prepared.folder, decide=decide, comparison=compared[0])
        write_report(report, prepared.folder)
    sentence = _sentence(prepared, report.items, ended)
    outcome = Outcome(report, clean(sentence), prepared.folder, ended.stopped, run=prepared.run)
    figures = figures_of(prepared, report, asked)
    is_the_same = earlier and earlier[-1].exit_code == outcome.exit_code and not report.is_amended
    if is_the_same and (ended.stopped is None or ended.is_recorded):
        outcome = replace(outcome, is_news=False)
        History(ledger.database).record(run_id, figures)  # an older program may have concluded it, and counted none
    else:
        ledger.add_conclusion(run_id, now, outcome.exit_code, report.standing, figures, ended=as_it_was)
    ledger.finished(run_id, exit_code=outcome.exit_code, seconds=0.0, complete=complete, is_behind=ended.is_behind)
    return outcome


def interrupted(run: Kept, *, seconds: float) -> str:
    """Record that the work on the run was cut off, quickly: no report is written, since the ledger has everything. What to say."""
    run.ledger.finished(run.run_id, exit_code=ExitCode.INTERRUPTED, seconds=seconds, complete=False)
    return f"run {run.run_id} was interrupted; to carry on: {run.resume_command}"


def handed_on(prepared: Kept, tuning: SinkTuning = TUNING) -> list[str]:
    """Bring what the plan's `to` names up to date; a sentence for each that could not be."""
    found = {to: CatchingUp(sink, prepared.book, tuning).fault() for to, sink in prepared.sinks.items()}
    return [
        f"{to} lacks verdicts of this run, which its ledger and files have ({why.removeprefix(f'--to {to}: ')}); "
        f"to write them there, too: {prepared.collect_command}"
        for to, why in found.items()
        if why is not None
    ]


@contextmanager
def _claimed(prepared: Kept) -> Iterator[None]:
    """Claim the run's conclusion, so that no collector concludes it too."""
    owner = owner_name()
    prepared.book.claims.take([LAST_CHUNK], owner, lease=DEFAULT_TUNING.lease)
    try:
        yield
    finally:
        prepared.book.claims.release(owner)


@contextmanager
def _writing(prepared: Kept) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunStopped(
            f"the files of run {prepared.run_id} can't be written to {prepared.folder} ({error}): see to that, or name "
            f"another folder; its verdicts are kept, and are written by {prepared.resume_command} --output DIR"
        ) from error


def concluded_again(run: Kept) -> Outcome:
    """The outcome of a run that is over, with its files written anew: what has come since, such as labels, is in it."""
    recorded = run.ledger.conclusions(run.run_id) if run.is_concluded else []
    return conclude(run, Ended.recorded(recorded[-1]) if recorded else Ended(), seconds=0.0)


def report_of(prepared: Kept) -> Report:
    """The run's report at this moment, read from the ledger. Writes nothing."""
    compared = beside_baseline(prepared)
    return _reported(prepared, prepared.book.results(with_inputs=True), compared, PageData(compared[0]))


def count_anew(prepared: Kept) -> None:
    """Keep what a run came to that ended before figures were kept."""
    asked = AskedRows(prepared.run)
    results = asked.watched(prepared.book.results(with_inputs=True))
    report = _reported(prepared, results, beside_baseline(prepared))
    History(prepared.ledger.database).record(prepared.run_id, figures_of(prepared, report, asked))


def _reported(
    prepared: Kept, results: Iterable[Result], compared: tuple[Comparison | None, str], page: PageData | None = None
) -> Report:
    counted = summarise(facts_of(prepared, Ended()), results, page=page)
    earlier = prepared.ledger.conclusions(prepared.run_id)
    return _decided(prepared, Ended(), earlier, prepared.ledger.now(), compared, counted)


def _decided(
    prepared: Kept, ended: Ended, earlier: Sequence[Conclusion], at: datetime, compared: tuple[Comparison | None, str],
    report: Report,
) -> Report:  # fmt: skip
    """The report with its comparison, its gates judged, its exit code, and what differs from the `earlier` conclusions."""
    found, remarks = corrections(prepared)
    comparison, why_none = compared
    report = replace(report, corrections=found, remarks=remarks, comparison=comparison, no_comparison=why_none)
    gates = [*outcomes(report, prepared)]
    decided = report.with_outcome(_exit_code(prepared, report.items, gates, ended), gates)
    return decided.amended([(one.at, one.standing) for one in earlier], at)


def _exit_code(prepared: Kept, items: Counts, gates: Sequence[GateOutcome], ended: Ended) -> ExitCode:
    if ended.stopped is not None:
        return ended.stopped.exit_code
    verdicts = {gate.verdict for gate in gates}
    if GateVerdict.FAIL.value in verdicts:
        return ExitCode.GATE_FAILED
    missing = items.failed + (items.pending if ended.waited else prepared.book.count_unsent())
    undecided = GateVerdict.UNDECIDED.value in verdicts and (ended.waited or not items.pending)
    allowed = allowed_failures(prepared.plan.allow_failures, total=items.total)
    return ExitCode.INCOMPLETE if undecided or missing > allowed or ended.is_behind else ExitCode.OK


def _sentence(prepared: Kept, items: Counts, ended: Ended) -> str:
    counted = f"{items.scored:,} of {items.total:,} items scored"
    counted += f" ({items.reused:,} of them reused)" if items.reused else ""
    counted += f", {items.failed:,} failed" if items.failed else ""
    counted += f", {items.pending:,} pending" if items.pending else ""
    counted += (
        f", {items.not_needed:,} not needed: {count(prepared.book.draws.not_spent(), 'evaluation')} not spent"
        if items.not_needed
        else ""
    )
    if ended.stopped is not None:
        return f"{ended.stopped}\n{counted}; to carry on: {prepared.resume_command}"
    if items.pending and (end := _end_reached(prepared)):
        counted += f"; {end}"
    elif items.pending and (unsent := prepared.book.count_unsent()):
        counted += f", {unsent:,} of them still to be sent; to send them: {prepared.resume_command}"
    elif items.pending:
        counted += f"; to fetch their verdicts: {prepared.collect_command}"
    elif ended.is_behind:
        counted += f"; not all of them are where --to says: {prepared.collect_command}"
    return counted


def facts_of(prepared: Kept, ended: Ended) -> RunFacts:
    """What is known of the run before its results are counted."""
    run, book = prepared.ledger.run(prepared.run_id), prepared.book
    copies = book.count_copies()
    shared = (
        f"{copies:,} items are exact copies of others of this run: they were not sent, and share the others' verdicts"
    )
    further = {"repeat": prepared.plan.is_repeated, "reused_from": prepared.plan.reuse}
    return RunFacts(
        **{name: getattr(run, name) for name in _SAME_IN_FACTS},
        started_at=run.started_at or run.created_at,
        cost=_cost(prepared),
        requests=Requests.of(run),
        checks={c.name: (c.template, c.model, c.output) for c in run.checks},
        notices=(
            *run.notices,
            *prepared.reused,
            *([shared] if copies else []),
            *filter(None, [_end_reached(prepared)]),
            *ended.notices,
        ),
        news=ended.notices,
        mapping={c.name: dict(c.sources) for c in run.checks},
        gates=prepared.plan.gates,
        segments=_segments(prepared.plan),
        good={check.name: check.good for check in run.checks if check.good},
        kept=kinds(book.kept()) if prepared.plan.keep else {},
        resume_command=prepared.next_command,
        explain_command=prepared.explain_command,
        planned=run.total,
        is_audited=prepared.plan.audit is not None,
        further=tuple(name for name, is_there in further.items() if is_there),
    )


def _cost(kept: Kept) -> Cost | None:
    """What the run has cost so far, at the worst; None where the plan has no prices."""
    if not kept.plan.prices:
        return None  # without a look at the ledger
    judges = {check.name: check.model for check in kept.run.checks}
    by_model: Counter[str | None] = Counter()
    for check, n in kept.ledger.spent(kept.run_id).items():
        by_model[judges.get(check)] += n
    return Cost.of(by_model, kept.plan.prices, judges.values())


def _end_reached(kept: Kept) -> str | None:
    """A sentence on the hard end that keeps items from being sent, with the command that goes on; None where none does."""
    if not (ends := kept.ends_reached):
        return None
    reached = " and ".join(f"{end.option} {end.bound}" for end in ends)
    not_sent = count(kept.book.count_unsent(), "item was", "items were")
    return f"the end set by {reached} is reached, and {not_sent} not sent; to go on: {kept.next_command}"


def _segments(plan: EvaluationPlan) -> Wanted:
    """Those of gates, and those by which the sample was drawn."""
    strata: Wanted = {plan.stratify: None} if plan.stratify else {}
    return {**wanted(plan.gates), **strata}


_SAME_IN_FACTS = ("run_id", "flow_run_id", "dataset", "mode", "connection", "finished_at", "wall_seconds")
"""Fields that the ledger's `Run` and the report's `RunFacts` share."""
