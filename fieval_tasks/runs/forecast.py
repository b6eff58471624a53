"""What a run would do, send, take and cost, foretold from its outline: nothing is sent and nothing is written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from fieval_tasks.api import wire
from fieval_tasks.core.budget import amount
from fieval_tasks.core.cutting import cut
from fieval_tasks.core.items import Failed, Item
from fieval_tasks.core.mode_choice import POLLS, REPLY, judging_time
from fieval_tasks.core.plan import EvaluationPlan, Mode
from fieval_tasks.core.quantities import parse_precision, parse_rate
from fieval_tasks.core.scrubbing import scrubbed
from fieval_tasks.core.tiers import CUSTOM, DEFAULT, Tier
from fieval_tasks.decisions.sizes import WORST, sample_size
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.recognised_tiers import recognised_tier
from fieval_tasks.ledger.reuse import to_be_taken
from fieval_tasks.ledger.run import CheckRecord
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.report.summary import Cost
from fieval_tasks.runs.connections import WITHOUT_PREFECT, Openers
from fieval_tasks.runs.earlier import evaluated_before
from fieval_tasks.runs.outline import Outline, earlier_verdicts, outlined
from fieval_tasks.runs.sides import Judged
from fieval_tasks.work.lanes import packs
from fieval_tasks.work.work_tuning import TUNING

LONGEST_TEXT = 200
"""Characters of a text in the example of a payload."""
RUNS_LOOKED_AT = 5
"""Runs on the same dataset, the latest, in which a check's last pass rate is looked for."""
USUAL_PRECISION = "0.02"
"""Of the sample that is foretold where none was asked for."""


@dataclass
class CheckForecast:
    """What becomes of one check's items."""

    record: CheckRecord
    items: int = 0
    copies: int = 0
    """Items that share the evaluation of another one."""
    reused: int = 0
    """Items whose verdict an earlier run has."""
    invalid: Counter[str] = field(default_factory=Counter)
    """Kind of failure -> items that will fail before sending."""
    first_invalid: tuple[int, str] | None = None
    """The seq of the first of them, and how it fails."""
    submissions: int = 0
    """POSTs; the first ones carry a single item, so that there may be a few more."""
    example: dict[str, Any] | None = None
    """The body of the first POST, its long texts cut; None where nothing is sent."""

    @property
    def evaluations(self) -> int:
        """Items that are sent."""
        return self.items - self.copies - self.reused - self.invalid.total()


@dataclass(frozen=True)
class TierForecast:
    """How long the evaluations take an account of one tier."""

    tier: Tier
    model: str | None
    """The judge model that is done last; None: no check has a judge."""
    seconds: float
    """From now until the last verdict."""
    stops: int
    """Times that the run ends before that, because a window stays full for longer than the run waits; it is then resumed."""
    basis: str
    """Where the tier is known from; empty: it may be another one."""
    used: int
    """Evaluations by that model in the last day, of any run with the same keys in this ledger."""


@dataclass(frozen=True)
class SampleForecast:
    """The sample that would answer a question."""

    precision: str
    confidence: float
    rows: int
    population: int
    rate: float
    """The rate for which it is worked out."""
    basis: str
    """Where that rate comes from."""


@dataclass(frozen=True)
class Forecast:
    """All that is foretold of a run."""

    outline: Outline
    now: datetime
    checks: tuple[CheckForecast, ...]
    tiers: tuple[TierForecast, ...]
    """Of the plan's tier, or of those it may be; empty where the server has none."""
    unbounded: float
    """Seconds that the run takes at the least, whatever the tier."""
    cost: Cost | None
    """None where no prices are given."""
    samples: tuple[SampleForecast, ...]

    @property
    def evaluations(self) -> int:
        return sum(check.evaluations for check in self.checks)

    @property
    def submissions(self) -> int:
        return sum(check.submissions for check in self.checks)

    @property
    def polls(self) -> int:
        return polls_of(self.outline.plan, self.evaluations)

    @property
    def invalid(self) -> Counter[str]:
        return sum((check.invalid for check in self.checks), Counter[str]())

    @property
    def first_invalid(self) -> tuple[str, str] | None:
        """The check of the first item that will fail before sending, and how it fails."""
        found = [(*check.first_invalid, check.record.name) for check in self.checks if check.first_invalid]
        if not found:
            return None
        _, why, check = min(found)
        return check, why

    @property
    def is_within_budget(self) -> bool:
        """Whether the hard ends leave room for all evaluations, if none is sent twice."""
        plan = self.outline.plan
        costs_too_much = self.cost is not None and plan.max_cost is not None and self.cost.total > amount(plan.max_cost)
        return not costs_too_much and (plan.max_items is None or self.evaluations <= plan.max_items)


@contextmanager
def foretold(plan: EvaluationPlan, openers: Openers = WITHOUT_PREFECT, *, processes: int = 1) -> Iterator[Forecast]:
    """Yields what the plan's run would do. Raises PlanError as `begin` does."""
    with Ledger(store_url(plan.store)) as ledger, outlined(plan, ledger, openers, processes=processes) as outline:
        yield forecast(outline, ledger)


def forecast(outline: Outline, ledger: Ledger) -> Forecast:
    plan, now = outline.plan, ledger.now()
    checks = _counted(outline, ledger)
    by_model: Counter[str | None] = Counter()
    for check in checks:
        by_model[check.record.model] += check.evaluations
    n, posts = by_model.total(), sum(check.submissions for check in checks)
    return Forecast(
        outline=outline,
        now=now,
        checks=checks,
        tiers=_tiers(outline, ledger, by_model),
        unbounded=_unbounded(plan, by_model, posts + polls_of(plan, n)),
        cost=Cost.of(by_model, plan.prices, by_model),
        samples=_samples(outline, ledger),
    )


def polls_of(plan: EvaluationPlan, evaluations: int) -> int:
    """About how many questions so many evaluations take."""
    return round(POLLS * evaluations) if plan.mode is Mode.ASYNC else 0


# -- the items --------------------------------------------------------------------------------------------------------


def _counted(outline: Outline, ledger: Ledger) -> tuple[CheckForecast, ...]:
    found = {record.name: CheckForecast(record) for record in outline.run.checks}
    earlier, taken = earlier_verdicts(outline, ledger), set[int]()
    for _, chunk in groupby(outline.read(), key=lambda one: one[0].seq // outline.chunk_size):
        ready = [item for item, failed in chunk if _is_sent(found[item.check], item, failed)]
        if earlier is not None:
            old = to_be_taken(ledger.database, earlier, [item.fingerprint for item in ready if item.repeat == 0])
            taken = {item.seq for item in ready if item.repeat == 0 and item.fingerprint in old}
        for item in ready:
            found[item.check].reused += item.seq in taken
        _packed(outline.plan, [item for item in ready if item.seq not in taken], found)
    return tuple(found.values())


def _is_sent(check: CheckForecast, item: Item, failed: Failed | None) -> bool:
    check.items += 1
    if failed is not None:
        check.invalid[failed.kind] += 1
        check.first_invalid = check.first_invalid or (item.seq, failed.message)
    elif item.same_as is not None:
        check.copies += 1
    return failed is None and item.same_as is None


def _packed(plan: EvaluationPlan, items: Sequence[Item], found: Mapping[str, CheckForecast]) -> None:
    """Count the requests of a chunk, as the engine makes them."""
    for pack in [(item,) for item in items] if plan.mode is Mode.SYNC else packs(items):
        check = found[pack[0].check]
        check.submissions += 1
        if check.example is None:  # the first POST of a check carries one item
            check.example = _example(pack[0], check.record, is_async=plan.mode is not Mode.SYNC)


def _example(item: Item, check: CheckRecord, *, is_async: bool) -> dict[str, Any]:
    params = {**check.params, **item.params}
    sent = wire.submission(item.template, [item.inputs], model=item.model, params=params, is_async=is_async)
    body: dict[str, Any] = json.loads(sent)
    shown = {name: _cut(value) for name, value in body.items()}
    if params:  # an object among them may be a request's headers, with keys
        shown["config"] = {"params": {name: "{…}" if isinstance(v, dict) else _cut(v) for name, v in params.items()}}
    return shown


def _cut(value: Any) -> Any:
    """A value for display, its long texts cut and without secrets."""
    if isinstance(value, str):
        return cut(scrubbed(value), LONGEST_TEXT)
    if isinstance(value, list):
        return ["{…}" if isinstance(part, dict) else _cut(part) for part in value]
    return {name: _cut(part) for name, part in value.items()} if isinstance(value, dict) else value


# -- time, cost and samples -----------------------------------------------------------------------------------------


def _tiers(outline: Outline, ledger: Ledger, by_model: Mapping[str | None, int]) -> tuple[TierForecast, ...]:
    if not outline.connection.may_have_tiers:
        return ()
    account = outline.connection.account
    if outline.plan.tier:
        known = [(Tier.parse(outline.plan.tier), "named by --tier")]
    elif found := recognised_tier(ledger.database, account.address, account.has):
        known = [(Tier.parse(found[0]), f"recognised in run {found[1]}")]
    else:
        known = [(DEFAULT, ""), (CUSTOM, "")]
    return tuple(_on_tier(outline, ledger, by_model, *one) for one in known)


def _on_tier(
    outline: Outline, ledger: Ledger, by_model: Mapping[str | None, int], tier: Tier, basis: str
) -> TierForecast:
    before = evaluated_before(ledger, outline.connection.account, tier)
    longest = max(TUNING.shortest_wait, min(TUNING.longest_wait, outline.plan.item_timeout))
    last = TierForecast(tier, None, 0.0, 0, basis, 0)
    for model, n in by_model.items():
        if model is None or not n:
            continue
        used = before.get(model, [])
        times = tier.schedule(n, used)
        stops = sum(after - at > longest for at, after in zip([0.0, *times[:-1]], times, strict=True))
        seconds = times[-1] + judging_time(model)
        if last.model is None or seconds > last.seconds:
            last = TierForecast(tier, model, seconds, stops, basis, len(used))
    return last


def _unbounded(plan: EvaluationPlan, by_model: Mapping[str | None, int], requests: int) -> float:
    judging = {model: judging_time(model) for model, n in by_model.items() if n}
    if plan.mode is Mode.SYNC:
        held = sum(by_model[model] * seconds for model, seconds in judging.items())
    else:
        held = requests * REPLY
    by_rate = requests / parse_rate(plan.rate) if plan.rate else 0.0
    return max(held / plan.concurrency, by_rate) + max(judging.values(), default=0.0)


def _samples(outline: Outline, ledger: Ledger) -> tuple[SampleForecast, ...]:
    """For the worst case, which --precision draws, and for the rate of each check in the latest run that has one."""
    asked, confidence = outline.plan.precision or USUAL_PRECISION, outline.plan.usual_confidence
    rates = [(WORST, "the worst case"), *_last_rates(outline, ledger)]
    return tuple(
        SampleForecast(
            precision=asked,
            confidence=confidence,
            rows=sample_size(float(parse_precision(asked)), outline.population, confidence, rate),
            population=outline.population,
            rate=rate,
            basis=basis,
        )
        for rate, basis in rates
    )


def _last_rates(outline: Outline, ledger: Ledger) -> Iterator[tuple[float, str]]:
    """The pass rate of each check in the latest run on the same dataset in which a pass meant the same."""
    earlier = ledger.concluded(outline.run.dataset, before=outline.run.created_at)[:RUNS_LOOKED_AT]
    figures = [(run, ledger.conclusions(run.run_id)[-1].standing.get("checks", {})) for run in earlier]
    for check in outline.run.checks:
        alike = (
            (found[check.name]["pass_rate"], run.run_id)
            for run, found in figures
            if check.name in found and Judged.of(check).is_alike(Judged.of(run.check(check.name)))
        )
        if last := next(((rate, name) for rate, name in alike if rate is not None), None):
            yield last[0], f"{check.name} as in run {last[1]}"
