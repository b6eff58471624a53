"""What a run comes to: the one object that every page, file and gate reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from fieval_tasks.core.items import Result
from fieval_tasks.decisions.statistics import Interval
from fieval_tasks.report.amendments import Amendment, Standing, amendments
from fieval_tasks.report.caps import CAPS, Caps
from fieval_tasks.report.record import finite, iso
from fieval_tasks.report.tally import STATUSES, Counts, FailureGroup, Tally
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
class Report:
    """A run and its figures."""

    facts: RunFacts
    checks: Mapping[str, Tally]
    lost: tuple[str, ...] = ()
    """Ids of items that may have been judged unheard, for a reply was lost or a ticket given up: one more than are named."""
    lost_count: int = 0
    """How many such items there are."""
    gates: tuple[GateOutcome, ...] = ()
    amendments: tuple[Amendment, ...] = ()
    """How each later report of the run differed from the one before it."""
    is_amended: bool = False
    """This report, and not only an earlier one, says something else than the one before it."""

    @property
    def items(self) -> Counts:
        """Those of all checks together."""
        names = ("total", *STATUSES)
        return Counts(**{name: sum(getattr(tally, name) for tally in self.checks.values()) for name in names})

    @property
    def failures(self) -> list[FailureGroup]:
        """The most frequent first."""
        groups = (group for tally in self.checks.values() for group in tally.examples.failures.values())
        return sorted(groups, key=lambda group: -group.count)

    @property
    def worst(self) -> list[Result]:
        return [result for tally in self.checks.values() for result in tally.examples.worst]

    @property
    def mistakes(self) -> list[str]:
        """Where the accounts don't add up: every item must be accounted for once."""
        found = [
            f"{tally.name} has {tally.total} items, of which {known} are {', '.join(STATUSES)}"
            for tally in self.checks.values()
            if (known := sum(getattr(tally, status) for status in STATUSES)) != tally.total
        ]
        if self.facts.planned not in (None, self.items.total):
            found.append(f"{self.facts.planned} items were planned and {self.items.total} are in the results")
        return [f"this run's accounts do not add up: {mistake}" for mistake in found]

    @property
    def findings(self) -> tuple[str, ...]:
        """What the counting itself found wrong. It never stops a report."""
        return (*self.mistakes, *(_without_figure(tally) for tally in self.checks.values() if tally.no_score))

    @property
    def notices(self) -> tuple[str, ...]:
        return self.facts.notices + self.findings

    @property
    def standing(self) -> Standing:
        """The figures that a later report is compared with, as the ledger keeps them."""
        checks = {
            name: {"n": t.total, "scored": t.scored, "passed": t.passed, "pass_rate": t.pass_rate, "mean": t.mean}
            for name, t in self.checks.items()
        }
        return {"items": asdict(self.items), "checks": checks, "requests": asdict(self.facts.requests)}

    def amended(self, reports: Sequence[tuple[datetime, Standing]], at: datetime) -> Report:
        """The report as the one that follows on these, written at `at`."""
        found = amendments([*reports, (at, self.standing)])
        return replace(self, amendments=found, is_amended=bool(found) and found[-1].at == at)

    def with_outcome(self, exit_code: int, gates: Iterable[GateOutcome] = ()) -> Report:
        """The report, once it is decided how the run ends."""
        return replace(self, facts=replace(self.facts, exit_code=exit_code), gates=tuple(gates))

    def to_json(self) -> dict[str, Any]:
        """The object of summary.json, in plain values that strict JSON takes."""
        facts = self.facts
        return {
            "run_id": facts.run_id,
            "flow_run_id": facts.flow_run_id,
            "dataset": facts.dataset,
            "mode": facts.mode,
            "connection": facts.connection,
            "started_at": iso(facts.started_at),
            "finished_at": iso(facts.finished_at),
            "wall_seconds": finite(facts.wall_seconds),
            "exit_code": facts.exit_code,
            "items": asdict(self.items),
            "checks": {name: tally.to_json() for name, tally in self.checks.items()},
            "requests": asdict(facts.requests),
            "gates": [asdict(gate) | {"bounds": gate.bounds and list(gate.bounds)} for gate in self.gates],
            "amendments": [amendment.to_json() for amendment in self.amendments],
        }


def _without_figure(tally: Tally) -> str:
    what, figure = ("no Passed or Failed", "pass rate") if tally.judges else ("no score from 0 to 1", "mean")
    have = "has" if tally.no_score == 1 else "have"
    scored = count(tally.scored, "verdict")
    return f"{tally.name}: {tally.no_score:,} of {scored} {have} {what}; the {figure} is of the others only"


def summarise(facts: RunFacts, results: Iterable[Result], *, caps: Caps = CAPS) -> Report:
    """Count the results in one pass."""
    tallies = {name: Tally(name, *check, caps=caps) for name, check in facts.checks.items()}
    lost: dict[str, None] = {}
    lost_count = 0
    for result in results:
        if result.check not in tallies:
            tallies[result.check] = Tally(result.check, result.template, result.model, "", caps)
        tallies[result.check].add(result)
        if result.doubts:
            lost_count += 1
            if len(lost) <= caps.lost_named:
                lost[result.item_id] = None
    return Report(facts, tallies, tuple(lost), lost_count)
