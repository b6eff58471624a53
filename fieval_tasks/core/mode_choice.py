"""Which way a run's requests go, where the user leaves it open: asynchronous or synchronous."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fieval_tasks.core.plan import Mode

# Questions that an asynchronous evaluation costs, about.
POLLS = 1.4
# Seconds in which a request that does not wait for a judge is answered, about.
REPLY = 0.1
# Seconds that a judge takes, at most, as the platform's documentation has it.
JUDGING = {"turing_flash": 2.0, "turing_small": 3.0, "turing_large": 5.0}
JUDGING_UNKNOWN = 5.0
# Seconds of a template that needs no judge.
CODE = 0.1
# A synchronous run may take this much longer for its fewer requests.
WORTH_IT = 1.1


@dataclass(frozen=True)
class ModeChoice:
    """The choice, and a sentence that says why."""

    mode: Mode
    reason: str


@dataclass(frozen=True)
class Load:
    """What a run asks of the server, for one check."""

    items: int
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
    """The lane with fewer requests, unless it would take notably longer under the limits that bind.

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
