"""A run with the engine alone, as a flow does it: no Prefect, no socket."""

from __future__ import annotations

from typing import Any

from fieval_tasks.core.errors import FievalError
from fieval_tasks.core.items import Item
from fieval_tasks.core.plan import Mode
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.pace.pace_tuning import PaceTuning
from fieval_tasks.runs.workers import threads, work_to_the_end
from fieval_tasks.work.engine import Engine
from fieval_tasks.work.options import Options
from fieval_tasks.work.work_tuning import WorkTuning
from tests.faults.platform import TEMPLATES, FaultyPlatform
from tests.faults.transport import FaultyTransport

RUN_ID = "r"
QUICK = WorkTuning(
    pause=lambda faults: 0.001,
    chunk_rests=0.001,
    shortest_gap=0.001,
    first_guess=0.001,
    last_word=0.1,
    last_gap=0.02,
    first_pack_within=0.02,
    stuck_after=0.1,
    stuck_times=1.0,
    stuck_later=3,
)
PATIENCE = 120.0
"""Seconds in which any of these runs ends by itself: in a few, but the machine may be busy."""
QUICK_PACE = PaceTuning(
    windows=(0.01,), pause=0.001, longest_pause=0.01, answer_within=0.1, hold=0.05, news_takes=0.02, no_news=0.1,
    starts_within=0.0, longest_away_pause=0.001,
)  # fmt: skip
"""The limits are found as ever, in no time."""


def new_run(ledger: Ledger, template: str, items: int, *, mode: Mode, chunk_size: int = 7) -> Run:
    """Every fifth answer is a bad one."""
    check = CheckRecord(template, template, "turing_flash", {}, "Pass/Fail", {key: key for key in TEMPLATES[template]})
    run = Run(RUN_ID, utc_now(), "d", "f", mode.value, "test", (check,), {}, ())
    rows = (
        (Item(n, f"id-{n}", n + 1, template, template, check.model, inputs(template, n), f"{n}"), None)
        for n in range(items)
    )
    return ledger.create(run, rows, chunk_size=chunk_size)


def inputs(template: str, n: int) -> dict[str, str]:
    text = f"{'a bad' if n % 5 == 4 else 'an'} answer, number {n}"
    return {key: text if key == "output" else f"the {key} of {text}" for key in TEMPLATES[template]}


def work(ledger: Ledger, run: Run, platform: FaultyPlatform, **options: Any) -> FievalError | None:
    """Submit and settle everything; what ended the run before that, if anything did, but never its time limit."""
    stopped = _worked(ledger, run, platform, options)
    assert "--timeout" not in str(stopped), "the run does not end by itself"
    return stopped


def _worked(ledger: Ledger, run: Run, platform: FaultyPlatform, options: dict[str, Any]) -> FievalError | None:
    mode = Mode(run.mode)
    connect = FaultyTransport(platform).client
    pace = options.pop("pace_tuning", QUICK_PACE)
    chosen = Options(mode=mode, concurrency=8, timeout=PATIENCE, pace_tuning=pace, work_tuning=QUICK, **options)
    try:
        with Engine(run, ledger, connect, chosen) as engine, threads(engine) as workers:
            work_to_the_end(engine, mode, workers)
    except FievalError as error:
        return error
    return None
