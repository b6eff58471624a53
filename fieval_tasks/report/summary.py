"""What a run comes to: everything that the reports say, counted in one pass over the results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from typing import Any

from fieval_tasks.core.items import Result
from fieval_tasks.decisions.statistics import Interval, effective_size, unmeasured_bounds, wilson_interval
from fieval_tasks.report.amendments import Amendment, CheckStanding, Standing, amendments
from fieval_tasks.report.record import finite, iso
from fieval_tasks.report.tally import LOST_SHOWN, Tally
from fieval_tasks.report.text import count


@dataclass(frozen=True)
class Requests:
    """What the run asked of the API."""

    submits: int = 0
    polls: int = 0
    """Questions that were begun. Of those that a stop cuts off before they have gone out, nobody can say so: they count."""
    retries: int = 0
    throttled: int = 0
    possible_duplicates: int = 0
    """Items sent again after a lost reply: they may have been evaluated, and paid, twice."""


@dataclass(frozen=True)
class RunFacts:
    """What is known about a run before its results are counted."""

    run_id: str
    flow_run_id: str | None
    dataset: str
    mode: str
    connection: str
    started_at: datetime
    finished_at: datetime | None = None
    wall_seconds: float | None = None
    exit_code: int | None = None
    requests: Requests = Requests()
    reused: int = 0
    """Items whose verdict was taken from an earlier run."""
    checks: Mapping[str, tuple[str, str | None, str]] = field(default_factory=dict)
    """Check -> its template, model and the template's output type ("Pass/Fail", "score", "choices", …)."""
    notices: tuple[str, ...] = ()
    """What a reader must know before believing a number."""
    news: tuple[str, ...] = ()
    """Those of the notices that came up while this process worked on the run: the terminal has not shown them yet."""
    mapping: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Check -> template key -> column."""
    gates: tuple[str, ...] = ()
    """As the plan has them."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Column of the dataset that goes beside each result -> what its values are: int64, double, bool or string."""
    resume_command: str | None = None
    explain_command: str | None = None
    """Prints what is known of one item."""
    planned: int | None = None
    """Items that the dataset and the checks make: the results must come to as many. None: not known."""


@dataclass(frozen=True)
class Counts:
    """How many items there are of each status."""

    total: int = 0
    scored: int = 0
    failed: int = 0
    pending: int = 0
    skipped: int = 0

    @property
    def adds_up(self) -> bool:
        return self.total == self.scored + self.failed + self.pending + self.skipped


@dataclass(frozen=True)
class CheckCounts(Counts):
    """The counts of one check, and its figures as exact as a gate needs them."""

    judged: int = 0
    """Verdicts that are Passed or Failed, among the scored."""
    passed: int = 0
    measured: int = 0
    """Verdicts with a score from 0 to 1, among the scored."""
    total_of_scores: Fraction = Fraction(0)
    no_score: int = 0
    """Verdicts without the figure that the check is about, among the scored."""

    @property
    def not_passed(self) -> int:
        return self.judged - self.passed

    @property
    def pass_rate(self) -> Fraction | None:
        """Of the items with a Pass/Fail verdict."""
        return Fraction(self.passed, self.judged) if self.judged else None

    @property
    def mean(self) -> Fraction | None:
        """Of the items with a score."""
        return self.total_of_scores / self.measured if self.measured else None

    @property
    def pass_rate_bounds(self) -> tuple[Fraction, Fraction] | None:
        """Of the rate over all items, whatever those without a Pass/Fail verdict would have got."""
        return unmeasured_bounds(self.passed, self.judged, self.total - self.judged)

    @property
    def mean_bounds(self) -> tuple[Fraction, Fraction] | None:
        """Of the mean over all items, whatever those without a score would have got."""
        return unmeasured_bounds(self.total_of_scores, self.measured, self.total - self.measured)


@dataclass(frozen=True)
class Items(Counts):
    """The counts of the whole run."""

    reused: int = 0


@dataclass(frozen=True)
class CheckSummary:
    """One check's figures, as in summary.json."""

    template: str
    model: str | None
    n: int
    """All the items of the check, whatever became of them."""
    scored: int
    evaluations: int
    """That the scored items took: fewer where some repeat others exactly, and share their verdict."""
    no_score: int
    """Of the scored, those in no pass rate and no mean: a score that is not from 0 to 1, say. A gate on it is undecided."""
    passed: int | None
    """None where the template does not answer Pass/Fail."""
    pass_rate: float | None
    """Of the items with a Pass/Fail verdict."""
    pass_rate_interval: Interval | None
    """Wilson, 95 %, by the evaluations: rows that share one count as what they tell together."""
    mean: float | None
    """Of the items with a score."""
    bounds: Interval | None
    """Where the pass rate, else the mean, over all n lies, whatever the items without one would have got."""


@dataclass(frozen=True)
class GateOutcome:
    """What a gate said."""

    gate: str
    verdict: str
    value: float | None = None
    """Of what was measured."""
    bounds: Interval | None = None
    """Where it lies, whatever the items without a verdict would have got."""
    sentence: str = ""
    """What was found, in digits that tell on which side of the threshold it lies."""


@dataclass(frozen=True)
class Summary:
    """summary.json."""

    run_id: str
    flow_run_id: str | None
    dataset: str
    mode: str
    connection: str
    started_at: datetime
    finished_at: datetime | None
    wall_seconds: float | None
    exit_code: int | None
    items: Items
    checks: Mapping[str, CheckSummary]
    requests: Requests
    gates: tuple[GateOutcome, ...] = ()
    amendments: tuple[Amendment, ...] = ()
    """How each later report of the run differed from the one before it."""

    @property
    def standing(self) -> Standing:
        """The figures that a later report is compared with."""
        names = CheckStanding.__dataclass_fields__
        checks = {
            name: CheckStanding(**{figure: getattr(check, figure) for figure in names})
            for name, check in self.checks.items()
        }
        return Standing(asdict(self.items), checks, asdict(self.requests))

    def to_json(self) -> dict[str, Any]:
        """The object of summary.json, in plain values that strict JSON takes."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain |= {
            "started_at": iso(self.started_at),
            "finished_at": iso(self.finished_at),
            "items": asdict(self.items),
            "checks": {name: _with_lists(asdict(check)) for name, check in self.checks.items()},
            "requests": asdict(self.requests),
            "gates": [_with_lists(asdict(gate)) for gate in self.gates],
            "amendments": [amendment.to_json() for amendment in self.amendments],
        }
        return {name: finite(value) for name, value in plain.items()}


@dataclass(frozen=True)
class FailureGroup:
    """Items of one check that failed at one stage for one kind of reason."""

    check: str
    stage: str
    kind: str
    count: int
    example: str
    """The first message of the kind."""
    rows: tuple[int, ...]
    """The first rows it happened to."""


@dataclass(frozen=True)
class Report:
    """The summary, and what a person wants to look at next."""

    summary: Summary
    facts: RunFacts
    counts: Mapping[str, CheckCounts]
    """Check -> its items by status."""
    failures: tuple[FailureGroup, ...]
    """The most frequent first."""
    worst: tuple[Result, ...]
    """Check by check: failed verdicts, or the lowest scores first. None with a full score."""
    histograms: Mapping[str, tuple[int, ...]]
    """Check -> items with a score in each tenth of 0..1. Only checks that have scores."""
    choices: Mapping[str, tuple[tuple[str, int], ...]]
    """Check -> choice and how often, the most frequent first. Only templates that choose."""
    pending_rows: Mapping[str, tuple[int, ...]]
    """Check -> the first rows that wait for a verdict."""
    lost: tuple[str, ...] = ()
    """Ids of the first items of which the reply to a submission was lost."""
    lost_count: int = 0
    """How many such items there are."""
    is_amended: bool = False
    """This report, and not only an earlier one, says something else than the one before it."""
    findings: tuple[str, ...] = ()
    """What the counting itself found wrong."""

    @property
    def notices(self) -> tuple[str, ...]:
        return self.facts.notices + self.findings

    @property
    def names_all_lost(self) -> bool:
        return len(self.lost) < LOST_SHOWN or self.lost_count == LOST_SHOWN

    @property
    def adds_up(self) -> bool:
        """Every item is accounted for once: in all, and in each check."""
        return not _mistakes(self.facts, self.summary, self.counts)

    def worst_of(self, check: str) -> tuple[Result, ...]:
        return tuple(result for result in self.worst if result.check == check)

    def amended(self, reports: Sequence[tuple[datetime, Standing]], at: datetime) -> Report:
        """The report as the one that follows on these, written at `at`."""
        found = amendments([*reports, (at, self.summary.standing)])
        is_amended = bool(found) and found[-1].at == at
        return replace(self, summary=replace(self.summary, amendments=found), is_amended=is_amended)

    def with_outcome(self, exit_code: int, gates: Iterable[GateOutcome] = ()) -> Report:
        """The report, once it is decided how the run ends."""
        summary = replace(self.summary, exit_code=exit_code, gates=tuple(gates))
        return replace(self, summary=summary, facts=replace(self.facts, exit_code=exit_code))


def summarise(facts: RunFacts, results: Iterable[Result], *, worst: int = 20) -> Report:
    """Count the results in one pass. Memory grows with the checks and `worst`, not with the results.

    Accounts that don't add up are said in the report's notices; they never stop it.
    """
    counting = Counting(facts, worst=worst)
    for result in results:
        counting.add(result)
    return counting.report()


class Counting:
    """Results counted as they pass, so that whatever else is made of them is made of the same."""

    def __init__(self, facts: RunFacts, *, worst: int = 20) -> None:
        self._facts = facts
        self._worst = worst
        self._tallies = {name: Tally(*check, worst=worst) for name, check in facts.checks.items()}

    def add(self, result: Result) -> None:
        tally = self._tallies.get(result.check)
        if tally is None:
            tally = self._tallies[result.check] = Tally(result.template, result.model, "", worst=self._worst)
        tally.add(result)

    def report(self) -> Report:
        """What they come to."""
        facts, tallies = self._facts, self._tallies
        counts = {name: _counts(tally) for name, tally in tallies.items()}
        summary = _summary(facts, tallies, counts)
        return Report(
            summary=summary,
            facts=facts,
            counts=counts,
            failures=_failures(tallies),
            worst=tuple(result for tally in tallies.values() for result in tally.worst),
            histograms={name: tuple(tally.bins) for name, tally in tallies.items() if tally.measured},
            choices={name: tuple(tally.choices.most_common()) for name, tally in tallies.items() if tally.choices},
            pending_rows={name: tuple(tally.pending_rows) for name, tally in tallies.items() if tally.pending_rows},
            lost=tuple(dict.fromkeys(item for tally in tallies.values() for item in tally.lost))[:LOST_SHOWN],
            lost_count=sum(tally.lost_count for tally in tallies.values()),
            findings=(*_mistakes(facts, summary, counts), *_without_score(tallies)),
        )


def _counts(tally: Tally) -> CheckCounts:
    status = tally.status
    return CheckCounts(
        total=tally.n,
        scored=status["scored"],
        failed=status["failed"],
        pending=status["pending"],
        skipped=status["skipped"],
        judged=tally.judged,
        passed=tally.passed,
        measured=tally.measured,
        total_of_scores=tally.total_of_scores,
        no_score=tally.no_score,
    )


def _summary(facts: RunFacts, tallies: Mapping[str, Tally], counts: Mapping[str, CheckCounts]) -> Summary:
    totals = {
        name: sum(getattr(count, name) for count in counts.values())
        for name in ("total", "scored", "failed", "pending", "skipped")
    }
    return Summary(
        run_id=facts.run_id,
        flow_run_id=facts.flow_run_id,
        dataset=facts.dataset,
        mode=facts.mode,
        connection=facts.connection,
        started_at=facts.started_at,
        finished_at=facts.finished_at,
        wall_seconds=facts.wall_seconds,
        exit_code=facts.exit_code,
        items=Items(**totals, reused=facts.reused),
        checks={name: _check_summary(tally, counts[name]) for name, tally in tallies.items()},
        requests=facts.requests,
    )


def _check_summary(tally: Tally, counts: CheckCounts) -> CheckSummary:
    rate, mean = counts.pass_rate, counts.mean
    gives_scores = tally.measured > 0 or tally.output == "score"
    bounds = counts.pass_rate_bounds if tally.judges else counts.mean_bounds if gives_scores else None
    return CheckSummary(
        template=tally.template,
        model=tally.model,
        n=tally.n,
        scored=counts.scored,
        evaluations=counts.scored - tally.repeats,
        no_score=counts.no_score,
        passed=counts.passed if tally.judges else None,
        pass_rate=None if rate is None else float(rate),
        pass_rate_interval=_interval(rate, tally),
        mean=None if mean is None else float(mean),
        bounds=None if bounds is None else (float(bounds[0]), float(bounds[1])),
    )


def _interval(rate: Fraction | None, tally: Tally) -> Interval | None:
    """Of the rate over the rows, as wide as their evaluations allow."""
    if rate is None:
        return None
    size = effective_size(tally.judged, tally.squares)
    return wilson_interval(rate * size, size)


def _failures(tallies: Mapping[str, Tally]) -> tuple[FailureGroup, ...]:
    groups = [
        FailureGroup(check, stage, kind, failure.count, failure.example, tuple(failure.rows))
        for check, tally in tallies.items()
        for (stage, kind), failure in tally.failures.items()
    ]
    return tuple(sorted(groups, key=lambda group: -group.count))


def _mistakes(facts: RunFacts, summary: Summary, counts: Mapping[str, Counts]) -> tuple[str, ...]:
    items = summary.items
    found = []
    if not items.adds_up:
        found.append(
            f"{items.total} items, but {items.scored} scored + {items.failed} failed + {items.pending} pending "
            f"+ {items.skipped} skipped"
        )
    found += [f"{name} has items without a status" for name, count in counts.items() if not count.adds_up]
    if facts.planned is not None and facts.planned != items.total:
        found.append(f"{facts.planned} items were planned and {items.total} are in the results")
    return tuple(f"this run's accounts do not add up: {mistake}" for mistake in found)


def _without_score(tallies: Mapping[str, Tally]) -> Iterator[str]:
    for name, tally in tallies.items():
        if tally.no_score:
            what, figure = ("no Passed or Failed", "pass rate") if tally.judges else ("no score from 0 to 1", "mean")
            scored = count(tally.status["scored"], "verdict")
            have = "has" if tally.no_score == 1 else "have"
            yield f"{name}: {tally.no_score:,} of {scored} {have} {what}; the {figure} is of the others only"


def _with_lists(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
