"""The report of a run as one object, which every page, file and gate reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from fractions import Fraction
from typing import Any

from fieval_tasks.core.budget import amount, unpriced
from fieval_tasks.core.gates import Gate, GateVerdict, Number
from fieval_tasks.core.items import Result
from fieval_tasks.core.scales import Scale, scale_of
from fieval_tasks.decisions.statistics import Interval
from fieval_tasks.report.amendments import Amendment, Standing, amendments
from fieval_tasks.report.caps import CAPS, Caps
from fieval_tasks.report.corrections import Correction
from fieval_tasks.report.differences import Comparison
from fieval_tasks.report.figures import STATUSES, Counts
from fieval_tasks.report.page_data import PageData
from fieval_tasks.report.reasons import ReasonGroup
from fieval_tasks.report.record import finite, iso
from fieval_tasks.report.repeated import steadiness, within_noise
from fieval_tasks.report.tally import Tally, Wanted
from fieval_tasks.report.text import count


@dataclass(frozen=True)
class Requests:
    """The run's requests to the API."""

    submits: int = 0
    """POSTs."""
    polls: int = 0
    """Questions that were begun, including those that a stop cut off before they went out."""
    retries: int = 0
    """Requests that were sent again after a fault."""
    throttled: int = 0
    """Requests that the server refused for now."""
    possible_duplicates: int = 0
    """Items sent again after a lost reply: they may have been evaluated, and paid, twice."""

    @classmethod
    def of(cls, run: object) -> Requests:
        """Those that a run of the ledger has counted, in fields of the same names."""
        return cls(**{each.name: getattr(run, each.name) for each in fields(cls)})


@dataclass(frozen=True)
class Cost:
    """What a run has cost, at the worst: lost replies and repeated submissions are counted as paid. Exact, in no currency."""

    total: Fraction
    by_model: Mapping[str, Fraction]
    """Judge model -> its part of the total."""
    evaluations: int
    """Evaluations that were sent to these models."""
    unpriced: tuple[str, ...] = ()
    """Judge models whose price is not known: their evaluations are in neither figure."""

    @classmethod
    def of(
        cls, evaluations: Mapping[str | None, int], prices: Mapping[str, str], models: Iterable[str | None]
    ) -> Cost | None:
        """Of so many evaluations by each judge model; None where there are no prices. `models`: those of all checks."""
        if not prices:
            return None
        priced = {model: n for model, n in evaluations.items() if model is not None and model in prices}
        costs = {model: n * amount(prices[model]) for model, n in priced.items()}
        return cls(sum(costs.values(), Fraction()), costs, sum(priced.values()), tuple(unpriced(prices, models)))

    def to_json(self) -> dict[str, Any]:
        by_model = {model: float(cost) for model, cost in self.by_model.items()}
        return asdict(self) | {"total": float(self.total), "by_model": by_model, "unpriced": [*self.unpriced]}


@dataclass(frozen=True)
class RunFacts:
    """What is known about a run before its results are counted."""

    run_id: str
    """The run's name."""
    flow_run_id: str | None
    """The Prefect flow run that worked on it last; None without Prefect."""
    dataset: str
    """The dataset's name."""
    mode: str
    """async, sync or submit."""
    connection: str
    """`local`, or the server's address."""
    started_at: datetime
    """When a process first worked on it."""
    finished_at: datetime | None = None
    """When its last item was settled; None while some are pending."""
    wall_seconds: float | None = None
    """Seconds that processes have worked on it, summed up."""
    exit_code: int | None = None
    """None until it is decided."""
    requests: Requests = Requests()
    """Its requests so far."""
    checks: Mapping[str, tuple[str, str | None, str]] = field(default_factory=dict)
    """Check -> its template, model and the template's output type ("Pass/Fail", "score", "choices", …)."""
    notices: tuple[str, ...] = ()
    """Sentences that a reader must know before believing a number."""
    news: tuple[str, ...] = ()
    """The notices from this process's work, which the terminal has not shown yet."""
    mapping: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Check -> template key -> column."""
    gates: tuple[str, ...] = ()
    """The plan's gates, as text."""
    segments: Wanted = field(default_factory=dict)
    """Those that the gates are about."""
    good: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Check that answers with choices -> those that pass."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Column of the dataset that `--keep` named -> type of its values: int64, double, bool or string."""
    resume_command: str | None = None
    """The command that carries the run on; None where there is nothing left to do."""
    explain_command: str | None = None
    """The command that prints an item's biography."""
    cost: Cost | None = None
    """None where no prices are known."""
    is_audited: bool = False
    """Further evaluations of a row are an audit of the judge, and in no figure of a check."""
    further: tuple[str, ...] = ()
    """Fields of the results that this run has and most have not: see `record.FURTHER`."""
    planned: int | None = None
    """Items that the run was begun with; the results must be as many. None: not known."""


@dataclass(frozen=True)
class GateOutcome:
    """A gate with its result: what every file, page, message and event says about it."""

    gate: str
    """The gate as text."""
    verdict: str
    """PASS, FAIL or UNDECIDED."""
    value: float | None = None
    """The metric over the items that have a verdict."""
    bounds: Interval | None = None
    """The metric's bounds, whatever verdicts the other items would have got."""
    sentence: str = ""
    """Gate, verdict and figure in words, in enough digits to show on which side of the threshold the figure lies."""
    n: int | None = None
    """Items that the value is of."""
    interval: Interval | None = None
    """Where the metric lies for all that the rows are a sample of, at the plan's confidence; None where none was asked."""
    settled_after: int | None = None
    """The rows, in the order of drawing, that settled it early; None where all verdicts together did, or did not."""

    @classmethod
    def of(
        cls,
        gate: Gate,
        verdict: GateVerdict,
        found: str,
        *,
        value: Number | None = None,
        bounds: tuple[Number, Number] | None = None,
        n: int | None = None,
        interval: Interval | None = None,
    ) -> GateOutcome:
        """An outcome with its sentence. `found`: the end of that, such as `it is 0.91 of 1,000`."""
        return cls(
            gate=str(gate),
            verdict=verdict.value,
            value=None if value is None else float(value),
            bounds=None if bounds is None else (float(bounds[0]), float(bounds[1])),
            sentence=f"gate {verdict.value}: {gate}; {found}",
            n=n,
            interval=interval,
        )


@dataclass(frozen=True)
class Report:
    """A run and its figures."""

    facts: RunFacts
    checks: Mapping[str, Tally]
    """Check -> its counts."""
    lost: tuple[str, ...] = ()
    """Ids of items with doubts (a lost reply, a ticket that was given up); one more than `Caps.lost_named` at most."""
    lost_count: int = 0
    """Items with doubts."""
    gates: tuple[GateOutcome, ...] = ()
    comparison: Comparison | None = None
    """With the baseline; None where the plan names none, or there is none."""
    no_comparison: str = ""
    """Why there is no comparison although the plan names a baseline."""
    amendments: tuple[Amendment, ...] = ()
    """How each later report of the run differed from the one before it."""
    corrections: Mapping[str, Correction] = field(default_factory=dict)
    """Check -> its pass rate as people's labels correct it, where labels apply."""
    remarks: tuple[str, ...] = ()
    """Notices on these labels."""
    page: PageData = field(default_factory=PageData)
    """What report.html shows of single items; empty where nothing was gathered."""
    is_amended: bool = False
    """This report's figures, and not only an earlier one's, differ from those of the report before it."""

    @property
    def items(self) -> Counts:
        """Those of all checks together, audits with them."""
        return Counts.sum_of([counts for tally in self.checks.values() for counts in (tally, tally.audited)])

    @property
    def failures(self) -> list[ReasonGroup]:
        """Why items have no verdict, the most frequent reasons first."""
        return [group for group in self.page.reasons.found if group.kind]

    @property
    def worst(self) -> list[Result]:
        return [result for tally in self.checks.values() for result in tally.examples.worst]

    @property
    def mistakes(self) -> list[str]:
        """Sentences on counts that do not add up; every item must be counted once."""
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
        """The mistakes, as notices: they never keep a report from being written."""
        without = (_without_figure(tally) for tally in self.checks.values() if tally.no_score)
        return (
            *self.mistakes,
            *self.remarks,
            *without,
            *self._steadiness(),
            *([self.no_comparison] if self.no_comparison else []),
        )

    def _steadiness(self) -> Iterator[str]:
        """Sentences on judges that judged items more than once, and on gates that their noise could decide."""
        noisy = {name: found for name, tally in self.checks.items() if (found := tally.repeated.found)}
        yield from (steadiness(name, found) for name, found in noisy.items())
        for outcome in self.gates if noisy else ():
            gate = Gate.parse(outcome.gate)
            if gate.check in noisy and gate.metric in ("pass_rate", "mean") and gate.segment is None:
                evaluations = self.checks[gate.check].evaluations
                if said := within_noise(gate, outcome.value, noisy[gate.check], evaluations):
                    yield said

    @property
    def changes(self) -> dict[str, str]:
        """What the comparison with the baseline says of each check, and of each segment, in a sentence."""
        return {} if self.comparison is None else self.comparison.sentences

    @property
    def notices(self) -> tuple[str, ...]:
        return self.facts.notices + self.findings

    @property
    def standing(self) -> Standing:
        """The figures that the ledger keeps, for comparison with later reports."""
        checks: dict[str, dict[str, Any]] = {
            name: {"n": t.total, "scored": t.scored, "passed": t.passed, "pass_rate": t.pass_rate, "mean": t.mean}
            for name, t in self.checks.items()
        }
        for name, found in self.corrections.items():
            checks[name]["corrected_pass_rate"] = found.figures.value
        return {"items": asdict(self.items), "checks": checks, "requests": asdict(self.facts.requests)}

    def amended(self, reports: Sequence[tuple[datetime, Standing]], at: datetime) -> Report:
        """The report with its amendments to the earlier `reports`; `at`: when it is written."""
        found = amendments([*reports, (at, self.standing)])
        return replace(self, amendments=found, is_amended=bool(found) and found[-1].at == at)

    def with_outcome(self, exit_code: int, gates: Iterable[GateOutcome] = ()) -> Report:
        """The report with its exit code and its gates' outcomes."""
        return replace(self, facts=replace(self.facts, exit_code=exit_code), gates=tuple(gates))

    def _corrected(self, check: str) -> dict[str, Any]:
        found = self.corrections.get(check)
        return {} if found is None else {"corrected_pass_rate": found.to_json()}

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
            "checks": {name: tally.to_json() | self._corrected(name) for name, tally in self.checks.items()},
            "requests": asdict(facts.requests),
            **({"cost": facts.cost.to_json()} if facts.cost else {}),
            "gates": [
                finite(
                    asdict(gate) | {name: list(getattr(gate, name) or ()) or None for name in ("bounds", "interval")}
                )
                for gate in self.gates
            ],
            "amendments": [amendment.to_json() for amendment in self.amendments],
            **({} if self.comparison is None else {"comparison": self.comparison.to_json()}),
        }


def _without_figure(tally: Tally) -> str:
    what, figure = ("no Passed or Failed", "pass rate") if tally.judges else ("no score from 0 to 1", "mean")
    of = f"of {count(tally.scored, 'verdict')}"
    return (
        f"{tally.name}: {count(tally.no_score, f'{of} has', f'{of} have')} {what}; the {figure} is of the others only"
    )


def summarise(facts: RunFacts, results: Iterable[Result], *, caps: Caps = CAPS, page: PageData | None = None) -> Report:
    """Count the results in one pass. `page`: gathers them, too; None where no page is to be made."""
    said: dict[str, Any] = {"caps": caps, "is_audited": facts.is_audited, "wanted": facts.segments}
    tallies = {
        name: Tally(name, template, model, scale=scale_of(template, output, facts.good.get(name, ())), **said)
        for name, (template, model, output) in facts.checks.items()
    }
    lost: dict[str, None] = {}
    lost_count = 0
    for result in results:
        if result.check not in tallies:
            tallies[result.check] = Tally(result.check, result.template, result.model, scale=Scale(""), **said)
        tallies[result.check].add(result)
        if page is not None:
            page.add(result)
        if result.doubts:
            lost_count += 1
            if len(lost) <= caps.lost_named:
                lost[result.item_id] = None
    return Report(facts, tallies, tuple(lost), lost_count, page=page or PageData())
