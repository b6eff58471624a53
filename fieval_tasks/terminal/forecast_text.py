"""What a run would do, as lines for a terminal and as one object for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from fieval_tasks.api.wire import EVALUATIONS
from fieval_tasks.core.budget import ends_in_words
from fieval_tasks.core.plan import Mode
from fieval_tasks.core.quantities import parse_precision, percent, plus_minus
from fieval_tasks.core.sink_names import tables_in
from fieval_tasks.core.tiers import DAY, TIERS
from fieval_tasks.report.text import count
from fieval_tasks.report.words import cost
from fieval_tasks.runs.forecast import CheckForecast, Forecast, SampleForecast, TierForecast
from fieval_tasks.runs.preparation import described_check
from fieval_tasks.sinks.opening import telemetry_said

_EACH = {1.0: "a second", 60.0: "a minute", 3600.0: "an hour", DAY: "a day"}


def lines(forecast: Forecast) -> Iterator[str]:
    """What the run would do, a topic a line, in the order in which one asks."""
    run = forecast.outline.run
    yield f"dry run{f' of {run.run_id}' if run.run_id else ''}: {run.dataset}, on {run.connection}"
    yield from map(described_check, run.checks)
    yield from (f"  note: {note}" for note in run.notices)
    yield from _items(forecast)
    if forecast.evaluations:
        yield _requests(forecast)
        yield from _examples(forecast)
        yield from _times(forecast)
    to = forecast.outline.plan.to
    yield from (f"  verdicts also go to {table}, where they can be written" for table in tables_in(to))
    yield from (f"  {line}" for line in telemetry_said(to))
    yield from _money(forecast)
    yield from (f"  sample: {_sample(sample)}" for sample in forecast.samples)
    invalid = forecast.invalid.total()
    yield f"dry run: {count(invalid, 'item')} would fail before sending; nothing was sent"
    if first := forecast.first_invalid:
        yield f"  the first is {', '.join(first)}"


def _items(forecast: Forecast) -> Iterator[str]:
    items = sum(check.items for check in forecast.checks)
    rows, checks = count(forecast.outline.rows, "row"), count(len(forecast.checks), "check")
    parts = [f"{forecast.evaluations:,} to be sent"]
    if copies := sum(check.copies for check in forecast.checks):
        parts.append(f"{copies:,} are exact copies of others and share their evaluations")
    reused = sum(check.reused for check in forecast.checks)
    if reused or forecast.outline.plan.reuse:
        parts.append(f"{reused:,} have a verdict of an earlier run, which is reused")
    if forecast.invalid:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in forecast.invalid.most_common())
        parts.append(f"{forecast.invalid.total():,} would fail before sending ({kinds})")
    yield f"  items: {items:,} ({rows}, {checks}): {', '.join(parts)}"


def _requests(forecast: Forecast) -> str:
    submissions = f"  requests: about {count(forecast.submissions, 'submission')}"
    mode = forecast.outline.plan.mode
    if mode is Mode.SYNC:
        return f"{submissions}, each of which waits for its verdict"
    if mode is Mode.SUBMIT:
        return f"{submissions}; no questions, the verdicts are fetched later"
    return f"{submissions} and {count(forecast.polls, 'question')} at most"


def _examples(forecast: Forecast) -> Iterator[str]:
    for check in forecast.checks:
        if check.example is not None:
            body = json.dumps(check.example, ensure_ascii=False)
            yield f"  {check.record.name} sends first: POST {EVALUATIONS} {body}"


# -- time -------------------------------------------------------------------------------------------------------------


def _times(forecast: Forecast) -> Iterator[str]:
    is_known = any(tier.basis for tier in forecast.tiers)
    if not forecast.outline.connection.may_have_tiers:
        yield "  time: the local evaluator has no limit, and is as fast as this machine"
        return
    if not is_known:
        yield (
            "  time: the account's limit is not known, and is found out while the run goes on (--tier names it): "
            f"without one about {span(forecast.unbounded)}, or"
        )
    for tier in forecast.tiers:
        yield f"  {'time: ' if is_known else '  '}{_time(tier, forecast)}"


def _time(one: TierForecast, forecast: Forecast) -> str:
    seconds = max(one.seconds, forecast.unbounded)
    n = sum(check.evaluations for check in forecast.checks if check.record.model == one.model)
    whose = f"{n:,} evaluations by {one.model}" if one.model else "no judge is asked"
    where = f"on the {one.tier.name} tier" if one.tier.name in TIERS else f"at {one.tier.name}"
    where += f" ({one.basis})" if one.basis.startswith("recognised") else ""
    *others, last = ["", *(f"{most:,} {_EACH[every]}" for most, every in one.tier.windows if most < n + one.used)]
    limits = f": {', '.join(others[1:])} and {last}" if others[1:] else f": {last}" if last else ""
    used = f", where {one.used:,} were sent in the last day" if one.used else ""
    stops = (
        f"; the run ends {count(one.stops, 'time')} before that, where a window stays full for longer than it waits "
    )
    stops += "(--item-timeout, an hour at most): --resume carries on"
    done = f"done {day(forecast.now, seconds)} (in about {span(seconds)})"
    return f"{whose} {where}{limits}{used}, {done}{stops if one.stops else ''}"


def day(now: datetime, seconds: float) -> str:
    """`today at 14:20`, `on Thursday 14:20`, `on 2026-12-31 14:20`: on the clock of this machine."""
    done = (now + timedelta(seconds=seconds)).astimezone()
    days = (done.date() - now.astimezone().date()).days
    if not days:
        return f"today at {done:%H:%M}"
    return f"on {done:%A %H:%M}" if days < 7 else f"on {done:%Y-%m-%d %H:%M}"


def span(seconds: float) -> str:
    """`40 s`, `5 min`, `2 h 10 min`, `1 day 3 h`: two units, rounded up."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = -(-int(seconds) // 60)
    days, rest = divmod(minutes, 24 * 60)
    hours, minutes = divmod(rest, 60)
    parts = [(days, "day" if days == 1 else "days"), (hours, "h"), (minutes, "min")]
    first = next(place for place, (n, _) in enumerate(parts) if n)
    return " ".join(f"{n:,} {unit}" for n, unit in parts[first : first + 2] if n)


# -- cost and samples ---------------------------------------------------------------------------------------------------


def _money(forecast: Forecast) -> Iterator[str]:
    plan = forecast.outline.plan
    if forecast.cost is not None:
        yield f"  cost: {cost(forecast.cost)}"
    else:
        yield "  cost: not known; --price MODEL=X says what one evaluation costs"
    yield from (f"  {line}" for line in ends_in_words(plan.max_items, plan.max_cost, (), ()))
    if not forecast.is_within_budget:
        yield "  the run would reach that end before its last item; the rest would stay pending (exit 3)"


def _sample(sample: SampleForecast) -> str:
    question = f"for {plus_minus(sample.precision)} at {percent(sample.confidence)}"
    return f"{question}: {sample.rows:,} of {sample.population:,} rows ({sample.basis}, a rate of {percent(round(sample.rate, 3))})"


# -- as an object -------------------------------------------------------------------------------------------------------


def as_object(forecast: Forecast) -> dict[str, Any]:
    """The same for programs, in plain values of JSON."""
    outline = forecast.outline
    return {
        "dataset": outline.run.dataset,
        "connection": outline.run.connection,
        "mode": outline.plan.mode.value,
        "rows": outline.rows,
        "population": outline.population,
        "items": sum(check.items for check in forecast.checks),
        "evaluations": forecast.evaluations,
        "copies": sum(check.copies for check in forecast.checks),
        "reused": sum(check.reused for check in forecast.checks),
        "invalid": dict(forecast.invalid),
        "first_invalid": forecast.first_invalid and ", ".join(forecast.first_invalid),
        "requests": {"submissions": forecast.submissions, "polls": forecast.polls},
        "checks": {check.record.name: _check(check) for check in forecast.checks},
        "limits": [_tier(tier, forecast) for tier in forecast.tiers],
        "seconds_without_limit": round(forecast.unbounded, 1),
        "cost": None if forecast.cost is None else forecast.cost.to_json(),
        "ends": {
            "max_items": outline.plan.max_items,
            "max_cost": None if outline.plan.max_cost is None else float(outline.plan.max_cost),
            "is_enough": forecast.is_within_budget,
        },
        "samples": [
            vars(sample) | {"precision": float(parse_precision(sample.precision))} for sample in forecast.samples
        ],
        "to": list(outline.plan.to),
        "notices": list(outline.run.notices),
    }


def _check(check: CheckForecast) -> dict[str, Any]:
    record = check.record
    return {
        "template": record.template,
        "model": record.model,
        "columns": {**record.sources, **record.param_sources},
        "items": check.items,
        "evaluations": check.evaluations,
        "copies": check.copies,
        "reused": check.reused,
        "invalid": dict(check.invalid),
        "submissions": check.submissions,
        "example": None if check.example is None else {"method": "POST", "path": EVALUATIONS, "body": check.example},
    }


def _tier(one: TierForecast, forecast: Forecast) -> dict[str, Any]:
    seconds = max(one.seconds, forecast.unbounded)
    return {
        "tier": one.tier.name,
        "basis": one.basis or None,
        "model": one.model,
        "seconds": round(seconds, 1),
        "done_at": (forecast.now + timedelta(seconds=seconds)).isoformat(timespec="seconds"),
        "stops": one.stops,
        "used_in_the_last_day": one.used,
    }
