"""`--mode auto`: whether a run submits and polls (async) or waits in each request (sync), by an estimate of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fieval_tasks.core.plan import Mode

# The bound that `python -m benchmarks speed` holds the agenda to.
POLLS = 1.4
"""Questions that an asynchronous evaluation costs, at most."""
# An estimate; it only matters for templates of plain code, where both modes are quick.
REPLY = 0.1
"""Seconds in which a request that does not wait for a judge is answered, about."""
# The most that the platform's documentation names for each model.
JUDGING = {"turing_flash": 2.0, "turing_small": 3.0, "turing_large": 5.0}
"""Seconds that an evaluation takes, for each judge model."""
JUDGING_UNKNOWN = 5.0
"""Seconds for any other judge model: the slowest known."""
CODE = 0.1
"""Seconds of a template that needs no judge."""
# Async survives a disconnect, so sync must save requests without a notable loss of time.
WORTH_IT = 1.1
"""How many times as long as an asynchronous run a synchronous one may take for its fewer requests."""


@dataclass(frozen=True)
class ModeChoice:
    """The choice, and a sentence that says why."""

    mode: Mode
    reason: str


@dataclass(frozen=True)
class Load:
    """The work of one check, for the estimate."""

    items: int
    """Items of the check."""
    packed: int
    """Items that one submission carries."""
    judging: float
    """Seconds that one evaluation takes."""


def judging_time(model: str | None) -> float:
    """Seconds that one evaluation by this judge takes; None: plain code."""
    return CODE if model is None else JUDGING.get(model, JUDGING_UNKNOWN)


def other_judges(template: str, model: str | None, models: Sequence[str] = ()) -> str:
    """How to have a template judged by another of its models; empty where it has no judge, or only this one.

    `models`: those that it takes; none: any, so the platform's own are named.
    """
    others = [other for other in models or JUDGING if other != model]
    if model is None or not others:
        return ""
    ways = " or ".join(f"--template {template}:{other}" for other in others[:3])
    return f"another judge than {model} may do, in a new run: {ways}, or --model MODEL for every check"


def choose_mode(loads: list[Load], *, concurrency: int, rate: float | None) -> ModeChoice:
    """The mode with fewer requests, unless it would take notably longer (WORTH_IT) at this concurrency and rate.

    A synchronous call needs no polls, but holds its connection while the judge thinks: n items take n·judging/concurrency
    seconds. An asynchronous item costs a share of a submission and some polls, and its judge works unattended, so it
    survives a disconnect: where both are as good, it wins.
    """
    n = sum(load.items for load in loads)
    asynchronous = sum(load.items * (1 / load.packed + POLLS) for load in loads)
    held = sum(load.items * load.judging for load in loads)
    longest = max((load.judging for load in loads), default=0.0)
    sync_takes = max(held / concurrency, n / rate if rate else 0.0, longest)
    async_takes = longest + max(asynchronous * REPLY / concurrency, asynchronous / rate if rate else 0.0)
    figures = f"about {n:,} requests and {sync_takes:,.0f} s waiting in line, against {asynchronous:,.0f} and {async_takes:,.0f} s"
    if n < asynchronous and sync_takes <= async_takes * WORTH_IT:
        return ModeChoice(Mode.SYNC, f"sync, for its fewer requests: {figures} asynchronously")
    return ModeChoice(Mode.ASYNC, f"async, for it keeps no connection waiting: synchronously {figures} so")
