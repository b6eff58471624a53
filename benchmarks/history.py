"""How quickly past runs are read from a ledger that holds a thousand of them, with all their items."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import sqlalchemy as sa

from benchmarks.measures import Measure, Table
from benchmarks.running import DidNotEnd, environment
from fieval_tasks.core.items import Item, Scored
from fieval_tasks.ledger.changes import Decided, Sending
from fieval_tasks.ledger.check_figures import CheckFigures, write
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.schema import figures, items, runs
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.conclusion import count_anew
from fieval_tasks.runs.frames import runs as as_frame
from fieval_tasks.runs.preparation import kept_run
from fieval_tasks.runs.trends import trend

RUNS = 1_000
BEGAN = datetime(2026, 1, 1, tzinfo=timezone.utc)
CHECK = CheckRecord("tone", "tone", "turing_flash", {}, "Pass/Fail", {"output": "answer", "input": "question"})
PATIENCE = 600.0


def history(size: int) -> Iterator[Table]:
    """A ledger of 1,000 runs of `size` items each, asked for trends and lists."""
    with TemporaryDirectory(prefix="benchmark-") as place:
        folder = Path(place)
        began = monotonic()
        file = filled(folder, size)
        made = monotonic() - began
        with Ledger(store_url(str(file))) as ledger:
            every = _seconds(lambda: trend(ledger, "answers.csv", "tone", last=None))
            latest = _seconds(lambda: trend(ledger, "answers.csv", "tone"))
            first = kept_run(ledger, ledger.run("run-0000"))
            counting = _seconds(lambda: count_anew(first))
        frame = _seconds(lambda: as_frame(str(file)))
        commands = {
            "flows.trend answers.csv tone": ["flows.trend", "answers.csv", "tone"],
            "flows.trend answers.csv tone --last 1000": ["flows.trend", "answers.csv", "tone", "--last", "1000"],
            "flows.runs": ["flows.runs"],
            "flows.show last": ["flows.show", "last"],
        }
        whole = {name: _command([*words, "--store", str(file)], folder) for name, words in commands.items()}
        megabytes = file.stat().st_size / 1_000_000
    yield Table(
        f"history: {RUNS:,} runs of {size:,} items, a ledger of {megabytes:,.0f} MB",
        [
            Measure("the trend of all runs, read", every, at_most=1, unit="s"),
            Measure("the trend of the last 20, read", latest, at_most=1, unit="s"),
            Measure("fieval_tasks.runs(), a row for each run", frame, unit="s"),
            *(Measure(f"the whole command: {name}", seconds, unit="s") for name, seconds in whole.items()),
            Measure("counting a run of an older version, once", counting, unit="s"),
            Measure("filling the ledger, which is no part of it", made, unit="s"),
        ],
    )


def filled(folder: Path, size: int) -> Path:
    """The file of a ledger with all runs. Copies of one run are made in SQL: sending so many items would take a day."""
    file = folder / "ledger.db"
    with Ledger(store_url(str(file))) as ledger:
        _first_run(ledger, size)
    engine = sa.create_engine(store_url(str(file)))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-200000"):
            connection.exec_driver_sql(f"PRAGMA {pragma}")
        for index in items.indexes:  # made again at the end, which takes a fraction of keeping them up to date
            index.drop(connection)
        connection.exec_driver_sql("BEGIN")
        for n in range(1, RUNS):
            _copy(connection, f"run-{n:04}", BEGAN + timedelta(hours=8 * n), n)
        connection.exec_driver_sql("COMMIT")
        for index in items.indexes:
            index.create(connection)
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    engine.dispose()
    return file


def _first_run(ledger: Ledger, size: int) -> None:
    run = Run("run-0000", BEGAN, "answers.csv", "f" * 64, "async", "local", (CHECK,), {"dataset": "answers.csv"}, ())
    rows = (Item(n, f"row-{n}", n + 1, "tone", "tone", CHECK.model, _inputs(n), f"{n:064}") for n in range(size))
    ledger.create(run, ((item, None) for item in rows), chunk_size=100)
    book = ledger.book(run.run_id)
    book.apply([Sending(tuple(range(size)), BEGAN)])
    said = "The answer says what the context says, in other words, and adds nothing to it."
    book.apply(
        [
            Decided(n, Scored("Passed" if n % 9 else "Failed", float(n % 9 > 0), n % 9 > 0, said, 900.0), BEGAN)
            for n in range(size)
        ]
    )
    ledger.finished(run.run_id, exit_code=0, seconds=600.0, complete=True)
    count_anew(kept_run(ledger, ledger.run(run.run_id)))


def _inputs(n: int) -> dict[str, str]:
    return {"output": f"Answer {n}: the lazy dog sleeps.", "input": f"Question {n}: what does the lazy dog do?"}


def _copy(connection: sa.Connection, name: str, at: datetime, n: int) -> None:
    for table in (runs, items):
        replaced = {"run_id": sa.literal(name), "created_at": sa.literal(at, runs.c.created_at.type)}
        columns = [replaced.get(column.name, column).label(column.name) for column in table.columns]
        copied = sa.select(*columns).where(table.c.run_id == "run-0000")
        connection.execute(sa.insert(table).from_select([column.name for column in table.columns], copied))
    _record(connection, name, n)


def _record(connection: sa.Connection, name: str, n: int) -> None:
    """Figures that go up and down, by another judge from time to time."""
    row = connection.execute(sa.select(figures).where(figures.c.run_id == "run-0000")).mappings().one()
    rate = 0.9 - n % 17 / 100
    known = replace(
        CheckFigures(**row), run_id=name, pass_rate=rate, model="turing_flash" if n % 200 < 150 else "turing_small"
    )
    write(connection, name, [known])


def _seconds(work: Callable[[], object]) -> float:
    began = monotonic()
    work()
    return monotonic() - began


def _command(words: list[str], folder: Path) -> float:
    """Seconds of a command from its start to its end, the second time: the first one also fills the caches."""
    for _ in range(2):
        began = monotonic()
        ended = subprocess.run(
            [sys.executable, "-m", *words], cwd=folder, env=environment(None, folder), capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        seconds = monotonic() - began
        if ended.returncode != 0:
            raise DidNotEnd(f"{' '.join(words)} ended with {ended.returncode}: {ended.stderr[-500:]}")
    return seconds
