"""The benchmarks: which runs each makes, and which of their figures have a target."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import time
from typing import Any, NamedTuple

from benchmarks.agreement import agreement
from benchmarks.corrected_rates import corrected_rates
from benchmarks.fan_out import fan_out
from benchmarks.judge import Limit
from benchmarks.ledgers import comparing, history, reuse
from benchmarks.measures import FIRST_SECONDS, Measure, Table
from benchmarks.page_size import page_size
from benchmarks.reports import reports
from benchmarks.running import DidNotEnd, Run, Setting, command, environment, run_cookbook, run_ours
from benchmarks.stopping import stopped

COOKBOOK_EVALUATIONS = ("lognormal:3:0.5", "constant:3")
TIMES_FASTER = 8
LIMITED_PATIENCE = 300.0
"""Seconds for a run that takes about one minute where the limit is used well."""
STARTUP_PATIENCE = 180.0
SITTINGS = 3
"""Runs of each kind, in turn: a busy moment of the machine is not to fall on one kind alone."""
GROWTH_ALLOWED = 10.0
"""Megabytes that ten times the items may cost besides their open ids."""
OPEN_ID = 1 / 1024
"""Megabytes that an open id may take."""


@dataclass(frozen=True)
class Options:
    """What the user chose."""

    items: int | None = None
    sdk_items: int | None = None
    ours: Sequence[str] = ()
    """Passed on to benchmarks.ours."""
    evaluation: str | None = None
    """Evaluation times, instead of the benchmark's own."""
    seed: int = 0
    keep: Callable[[str, Run], None] = lambda benchmark, run: None
    """Told of every run."""
    say: Callable[[str], None] = lambda text: None
    data: Path | None = None
    """Of `agreement`: texts that people judged; None for the bundled sample. Of `report`: rows in place of made ones."""
    pictures: Path | None = None
    """Of `report`: the folder for the pictures of the docs; None to take none."""

    def setting(self, items: int, **server: Any) -> Setting:
        if self.evaluation is not None:
            server["evaluation"] = self.evaluation
        return Setting(items, seed=self.seed, **server)


def speed(options: Options) -> Iterator[Table]:
    """Time, polls and requests of 1,000 and 10,000 items."""
    for items in [options.items] if options.items else (1_000, 10_000):
        run = _ours("speed", options.setting(items), options)
        yield Table(f"speed: {_described(run)}", [*_time(run), *_requests(run), _cpu(run), *_truth(run)])
    run = _ours("speed", options.setting(options.items or 1_000), options, "--prefect")
    yield Table(f"speed: {_described(run)}", [*_time(run), *_requests(run), *_truth(run)])


def cookbook(options: Options) -> Iterator[Table]:
    """Ours beside the official SDK with 8 and 16 threads, on a server whose tail caps every client, and on one without."""
    items = options.items or 10_000
    for evaluation in [options.evaluation] if options.evaluation else COOKBOOK_EVALUATIONS:
        chosen = replace(options, evaluation=evaluation)
        ours = _ours("cookbook", chosen.setting(items), options)
        for threads in (8, 16):
            setting = chosen.setting(options.sdk_items or items)
            options.say(f"cookbook: the SDK, {threads} threads, {setting.items:,} items")
            theirs = run_cookbook(setting, threads=threads)
            options.keep("cookbook", theirs)
            yield _compared(ours, theirs)


def _compared(ours: Run, theirs: Run) -> Table:
    seconds = (ours.seconds / ours.setting.items, theirs.seconds / theirs.setting.items)
    best = seconds[1] * ours.setting.items / _longest(ours)
    notes = []
    if ours.setting.items != theirs.setting.items:
        notes += [
            f"NOT the same number of items: ours {ours.setting.items:,}, theirs {theirs.setting.items:,}; "
            "compared are seconds and CPU per item"
        ]
    if best < TIMES_FASTER:
        notes += [f"no client can be {TIMES_FASTER} times faster here: one evaluation takes {_longest(ours):.1f} s"]
    return Table(
        f"cookbook: ours, {ours.setting.items:,} items, beside {_described(theirs)}",
        [
            Measure("times faster", seconds[1] / seconds[0], at_least=TIMES_FASTER),
            Measure("times faster at best: theirs / longest evaluation", best),
            Measure("our CPU / theirs, per item", ours.cpu_per_item / theirs.cpu_per_item, at_most=0.5),
            Measure("ours: seconds", ours.seconds, unit="s"),
            Measure("theirs: seconds", theirs.seconds, unit="s"),
            Measure("ours: CPU per item", ours.cpu_per_item, unit="ms"),
            Measure("theirs: CPU per item", theirs.cpu_per_item, unit="ms"),
            Measure("ours: polls per evaluation", ours.polls_per_item, at_most=1.4),
            Measure("theirs: polls per evaluation", theirs.polls_per_item),
            Measure("ours: last verdict / last evaluation ready", ours.seconds / ours.seconds_at_least),
            Measure("theirs: last verdict / last evaluation ready", theirs.seconds / theirs.seconds_at_least),
            Measure("ours: wrong or missing verdicts", ours.client["wrong"], at_most=0),
            Measure("theirs: wrong or missing verdicts", theirs.client["wrong"]),
        ],
        notes,
    )


def _longest(run: Run) -> float:
    return float(run.server["longest_evaluation"])


def rate(options: Options) -> Iterator[Table]:
    """A server that answers 429 past 100 requests a second."""
    limit = "100/s"
    run = _ours("rate", options.setting(options.items or 3_000, rate=limit, patience=LIMITED_PATIENCE), options)
    allowed, refused = (run.server.get(f"{kind}_by_second", []) for kind in ("requests", "refused_requests"))
    submitting = int(run.server["last_accepted"] - run.server["first_post"])
    used = allowed[FIRST_SECONDS:submitting]
    late, late_refused = sum(allowed[FIRST_SECONDS:]), sum(refused[FIRST_SECONDS:])
    per_second = Limit.parse(limit).per_second
    yield Table(
        f"rate {limit}: {_described(run)}",
        [
            Measure(
                "of the rate used while items were left to send",
                sum(used) / (per_second * max(1, len(used))),
                at_least=0.92,
                unit="%",
            ),
            Measure(
                f"of requests refused after {FIRST_SECONDS} s",
                late_refused / max(1, late + late_refused),
                at_most=0.02,
                unit="%",
            ),
            Measure("refused in the first seconds", sum(refused[:FIRST_SECONDS])),
            Measure("of the rate used from first to last verdict", sum(allowed) / (per_second * run.seconds), unit="%"),
            Measure("seconds until the last item was sent", submitting, unit="s"),
            *_time(run, target=None),
            *_requests(run, target=None),
            *_truth(run),
        ],
    )


def tier(options: Options) -> Iterator[Table]:
    """A server whose rows fail past a limit that it does not tell: 50 a second, 600 a minute, and the platform's default tier."""
    for limit, items in (("50/s", 3_000), ("600/min", 1_800)):
        yield _on_tier(options, options.setting(options.items or items, tier=limit, patience=LIMITED_PATIENCE))
    usual = Setting(
        options.items or 200, tier="50/min", evaluation="constant:2", seed=options.seed, patience=LIMITED_PATIENCE
    )
    yield _on_tier(options, usual, most=1.15, refused=20)
    yield _on_tier(options, usual, "--tier", "default", most=1.05, refused=0)


def _on_tier(
    options: Options, setting: Setting, *more: str, most: float | None = None, refused: int | None = None
) -> Table:
    """`most`: times the earliest moment at which all can be done; `refused`: evaluations at most."""
    assert setting.tier is not None
    limit = Limit.parse(setting.tier)
    try:
        run = _ours("tier", setting, options, *more)
    except DidNotEnd as error:
        title = f"tier {setting.tier}: ours {' '.join(more)}, {setting.items:,} items"
        return Table(title, [Measure("runs that did not end", 1, at_most=0)], [str(error)])
    span = max(limit.window, run.server["last_accepted"] - run.server["first_post"])
    runs, not_run, least = run.server["items"], run.server["refused_runs"], limit.least_seconds(setting.items)
    takes = least + run.server["longest_evaluation"]
    bounds = [
        Measure("last verdict / the earliest it could have been", run.seconds / takes, at_most=most),
        Measure("evaluations refused", not_run, at_most=refused),
    ]
    return Table(
        f"tier {setting.tier}: {_described(run)} {' '.join(more)}".rstrip(),
        [
            *(bounds if most is not None else ()),
            Measure("items without the right verdict", run.client["wrong"], at_most=0),
            Measure("of the tier's rate used", runs / (span * limit.per_second), at_least=0.85, unit="%"),
            Measure("of runs refused", not_run / max(1, runs + not_run), at_most=0.10, unit="%"),
            Measure("last run allowed / the earliest it could have been", span / max(least, 1e-9)),
            *_time(run, target=None),
            *_requests(run, target=None),
            Measure("evaluated more than once", run.server["duplicates"], at_most=0),
        ],
    )


def memory(options: Options) -> Iterator[Table]:
    """Peak memory of 10,000 and of 100,000 items of 1 KB."""
    most = options.items or 100_000
    small, large = (
        _ours("memory", options.setting(n, size=1024, reply=0.005, evaluation="constant:1"), options)
        for n in (most // 10, most)
    )
    open_ids = large.server["most_open"] - small.server["most_open"]
    allowed = GROWTH_ALLOWED + OPEN_ID * max(0, open_ids)
    yield Table(
        f"memory: {_described(large)}",
        [
            Measure(f"peak at {large.setting.items:,} items", large.client["peak"], at_most=350, unit="MB"),
            Measure(f"peak at {small.setting.items:,} items", small.client["peak"], unit="MB"),
            Measure("growth", large.client["peak"] - small.client["peak"], at_most=allowed, unit="MB"),
            Measure("more open ids", open_ids),
            Measure(f"seconds of {large.setting.items:,} items", large.seconds, unit="s"),
            *_requests(large),
            _cpu(large),
            *_truth(large),
        ],
        [f"growth may be {GROWTH_ALLOWED:.0f} MB, and 1 KB for each more open id"],
    )


def cpu(options: Options) -> Iterator[Table]:
    """CPU of 3,000 items: the plan's, the work's, and that of the live table; then with `--to otel`."""
    setting = options.setting(options.items or 3_000)
    run = _ours("cpu", setting, options, "--drawn")
    drawing = run.client["drawing_cpu"] / run.client["cpu"]
    requests = run.server["posts"] + run.server["polls"]
    before = 1000 * run.client["preparation_cpu"] / run.setting.items
    yield Table(
        f"cpu: {_described(run)}",
        [
            _cpu(run),
            Measure("before that, reading and planning: per item", before, unit="ms"),
            Measure("the live table's share of it", drawing, at_most=0.02, unit="%"),
            Measure("CPU per request", 1000 * run.client["cpu"] / requests, unit="ms"),
            Measure("the server's own CPU per request", 1000 * run.server["cpu"] / requests, unit="ms"),
            *_requests(run),
            *_truth(run),
        ],
    )
    silent, told = (_ours("cpu", setting, options, "--otel", provider) for provider in ("none", "sdk"))
    yield Table(
        f"cpu: --to otel, {setting.items:,} items",
        [
            Measure("without a provider: CPU per item", silent.cpu_per_item, unit="ms"),
            Measure("with the SDK's batches, exported to memory: CPU per item", told.cpu_per_item, unit="ms"),
            Measure("verdicts without an event", setting.items - told.client["events"], at_most=0),
            *_truth(told),
        ],
    )


def startup(options: Options) -> Iterator[Table]:
    """50 items on the embedded evaluator, by the real command, with no Prefect server running."""
    with TemporaryDirectory(prefix="benchmark-") as folder:
        times = []
        for which in ("first ever", "again"):
            options.say(f"startup: {which}")
            times.append(_command(Path(folder), Path(folder), "--limit", "25").end)
    yield Table(
        "startup: 25 rows of the sample, two checks, from the command to its end",
        [
            Measure("again, everything in place", times[1], at_most=15, unit="s"),
            Measure("the first time ever (makes Prefect's database)", times[0], unit="s"),
        ],
    )


def direct(options: Options) -> Iterator[Table]:
    """The bundled sample without Prefect and by the plain command, in turn: to the first request, and to the end."""
    ways = {"--no-prefect": ("--no-prefect",), "plain": ()}
    took: dict[str, list[_Took]] = {way: [] for way in ways}
    with TemporaryDirectory(prefix="benchmark-") as home:
        options.say("direct: once, so that Prefect's database is there")
        _command(Path(home), Path(home))
        for turn in range(SITTINGS):
            for way, words in ways.items():
                options.say(f"direct: {way}, {turn + 1} of {SITTINGS}")
                with TemporaryDirectory(prefix="benchmark-") as folder:
                    took[way].append(_command(Path(home), Path(folder), *words))
    without, plain = ([median(each) for each in zip(*took[way], strict=True)] for way in ways)
    yield Table(
        f"direct: 60 rows of the sample, two checks, medians of {SITTINGS} runs in turn",
        [
            Measure("--no-prefect: from the command to the first request", without[0], at_most=3, unit="s"),
            Measure("--no-prefect: to its end", without[1], unit="s"),
            Measure("plain, with a Prefect server of its own: to the first request", plain[0], unit="s"),
            Measure("plain: to its end", plain[1], unit="s"),
        ],
    )


class _Took(NamedTuple):
    """Seconds from the command."""

    first: float
    """To the first request that an evaluation is made for."""
    end: float


def _command(home: Path, folder: Path, *words: str) -> _Took:
    """The sample on the embedded evaluator, whose database tells when it was asked first. Prefect keeps its own in `home`."""
    began = time()
    ended = command(["flows.evaluate", *words], folder, environment(None, home), patience=STARTUP_PATIENCE)
    with closing(sqlite3.connect(folder / "fieval-runs/local.db")) as jobs:
        [[first]] = jobs.execute("SELECT min(submitted) FROM evaluations WHERE submitted >= ?", (began,))
    return _Took(first - began, ended.seconds)


BENCHMARKS: Mapping[str, Callable[[Options], Iterator[Table]]] = {
    "speed": speed,
    "cookbook": cookbook,
    "rate": rate,
    "tier": tier,
    "memory": memory,
    "cpu": cpu,
    "startup": startup,
    "direct": direct,
    "agreement": lambda options: agreement(options.data),
    "stop": lambda options: stopped(options.setting(options.items or 5_000)),
    "fan_out": lambda options: fan_out(options.items or 10_000),
    "history": lambda options: history(options.items or 10_000),
    "compare": lambda options: comparing(options.items or 100_000),
    "reuse": lambda options: reuse(options.items or 100_000),
    "corrected": lambda options: corrected_rates(),
    "page_size": lambda options: page_size(options.data, options.items or 10_000),
    "report": lambda options: reports(options.data, options.items, options.pictures),
}


# -- what most of them say -----------------------------------------------------------------------------------------


def _ours(benchmark: str, setting: Setting, options: Options, *more: str) -> Run:
    options.say(f"{benchmark}: ours, {setting.items:,} items {' '.join(more)}".rstrip())
    run = run_ours(setting, *options.ours, *more)
    options.keep(benchmark, run)
    return run


def _described(run: Run) -> str:
    chosen = run.setting
    return f"{run.who}, {chosen.items:,} items, replies {1000 * chosen.reply:.0f} ms, evaluations {chosen.evaluation}"


def _time(run: Run, *, target: float | None = 1.10) -> list[Measure]:
    """A command goes on after its last verdict, so that of it counts when the verdict left the server."""
    is_engine = run.who == "ours"
    seconds = run.seconds if is_engine else run.seconds_told
    return [
        Measure("last verdict / last evaluation ready", seconds / run.seconds_at_least, at_most=target),
        Measure("last verdict / longest evaluation", seconds / run.server["longest_evaluation"]),
        Measure("seconds to the last verdict", seconds, unit="s"),
    ]


def _requests(run: Run, *, target: float | None = 1.4) -> list[Measure]:
    return [
        Measure("polls per evaluation", run.polls_per_item, at_most=target),
        Measure("submissions per item", run.posts_per_item),
    ]


def _cpu(run: Run) -> Measure:
    return Measure("CPU per item: submit, poll, ledger", run.cpu_per_item, at_most=2.0, unit="ms")


def _truth(run: Run) -> list[Measure]:
    return [
        Measure("wrong or missing verdicts", run.client["wrong"], at_most=0),
        Measure("evaluated more than once", run.server["duplicates"], at_most=0),
    ]
