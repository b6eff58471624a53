"""What a large ledger costs: to read what its runs came to, to compare two of them, and to reuse their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from benchmarks.measures import Measure, Table
from benchmarks.running import command, environment
from benchmarks.usage import Usage, spent
from fieval_tasks.core.items import Item, Scored
from fieval_tasks.decisions.comparison import Terms
from fieval_tasks.ledger.changes import Decided
from fieval_tasks.ledger.check_figures import CheckFigures, write
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.reuse import Earlier, reused
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.schema import figures, items, runs
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.comparing import compared
from fieval_tasks.runs.conclusion import count_anew
from fieval_tasks.runs.frames import runs as as_frame
from fieval_tasks.runs.preparation import kept_run
from fieval_tasks.runs.sides import RunSide
from fieval_tasks.runs.trends import trend

RUNS = 1_000
"""Of a ledger with a history."""
NIGHTS = 10
"""Runs whose verdicts are reused, each with its part of them."""
BATCH = 1_000
"""Verdicts of a commit; a recorder's are smaller, so that an index costs a smaller part of them."""
BEGAN = datetime(2026, 1, 1, tzinfo=timezone.utc)
CHECK = CheckRecord("tone", "tone", "turing_flash", {}, "Pass/Fail", {"output": "answer", "input": "question"})
SAID = "The answer says what the context says, in other words, and adds nothing to it."
PATIENCE = 600.0

Inputs = Iterable[Mapping[str, str]]


def history(size: int) -> Iterator[Table]:
    """A ledger of 1,000 runs of `size` items each, asked for trends and lists."""
    with TemporaryDirectory(prefix="benchmark-") as place:
        folder = Path(place)
        file = folder / "ledger.db"
        made = spent(lambda: _fill(file, size))
        with Ledger(store_url(str(file))) as ledger:
            every = spent(lambda: trend(ledger, "answers.csv", "tone", last=None))
            latest = spent(lambda: trend(ledger, "answers.csv", "tone"))
            first = kept_run(ledger, ledger.run("run-0000"))
            counting = spent(lambda: count_anew(first))
        frame = spent(lambda: as_frame(str(file)))
        whole = {
            words: _command(f"{words} --store {file}", folder)
            for words in (
                "flows.trend answers.csv tone", "flows.trend answers.csv tone --last 1000", "flows.runs", "flows.show last"
            )
        }  # fmt: skip
        megabytes = file.stat().st_size / 1_000_000
    yield Table(
        f"history: {RUNS:,} runs of {size:,} items, a ledger of {megabytes:,.0f} MB",
        [
            Measure("the trend of all runs, read", every.at, at_most=1, unit="s"),
            Measure("the trend of the last 20, read", latest.at, at_most=1, unit="s"),
            Measure("fieval_tasks.runs(), a row for each run", frame.at, unit="s"),
            *(Measure(f"the whole command: {words}", seconds, unit="s") for words, seconds in whole.items()),
            Measure("counting a run of an older version, once", counting.at, unit="s"),
            Measure("filling the ledger, which is no part of it", made.at, unit="s"),
        ],
    )


def comparing(size: int) -> Iterator[Table]:
    """Two runs of `size` items of 2 KB each: answers of their own to the same context, by which they pair."""
    with TemporaryDirectory(prefix="benchmark-") as folder:
        store = str(Path(folder) / "ledger.db")
        with Ledger(store_url(store)) as ledger:
            for seed, name in enumerate(("monday", "tuesday")):
                texts = ((f"{name}, answer {n}. ", f"Document {n}. ") for n in range(size))
                written(
                    ledger,
                    name,
                    ({"output": one.ljust(400, "x"), "input": other.ljust(1_600, "y")} for one, other in texts),
                )
                random = Random(seed)
                judged(ledger, name, size, lambda _, random=random: random.random() < 0.9)  # type: ignore[misc]
        began = Usage.now()
        with Ledger(store_url(store), must_exist=True) as ledger:
            sides = (RunSide(ledger, ledger.run(name)) for name in ("tuesday", "monday"))
            change = compared(*sides, terms=Terms()).checks[CHECK.name]
        took = Usage.now() - began
    yield Table(
        f"compare: two runs of {size:,} items of 2 KB",
        [
            Measure("pairs", change.compared.n_pairs, at_least=size),
            Measure("flipped", change.flipped),
            Measure("seconds", took.at, unit="s"),
            Measure("memory, more than before", took.peak, unit="MB"),
        ],
    )  # fmt: skip


def reuse(size: int) -> Iterator[Table]:
    """A run of `size` items, nine tenths of which a ledger with ten times as many verdicts knows, without and with `--reuse`."""
    earlier, known = NIGHTS * size, size * 9 // 10
    with (
        TemporaryDirectory(prefix="benchmark-") as folder,
        Ledger(store_url(str(Path(folder) / "ledger.db"))) as ledger,
    ):
        names = [f"night-{n}" for n in range(NIGHTS)]
        for n, name in enumerate(names):
            written(ledger, name, _numbered(n * size, size), at=ledger.now())
            indexed = judged(ledger, name, size, at=ledger.now())
        of = Earlier(frozenset(names), ledger.now() - timedelta(days=7))
        plain = spent(lambda: written(ledger, "plain", _numbered(earlier - known, size), at=ledger.now()))
        reusing = spent(
            lambda: written(ledger, "reusing", _numbered(earlier - known, size), at=ledger.now(), earlier=of)
        )
        found = sum(reused(ledger.database, "reusing").values())
        with ledger.database.transaction() as connection:
            connection.execute(sa.text("DROP INDEX fieval_items_reusable"))
        written(ledger, "without", _numbered(-size, size), at=ledger.now())
        bare = judged(ledger, "without", size, at=ledger.now())
    yield Table(
        f"reuse: a run of {size:,} items, {earlier:,} earlier verdicts",
        [
            Measure("written without --reuse", plain.at, unit="s"),
            Measure("written with it", reusing.at, unit="s"),
            Measure("verdicts not reused that should be", known - found, at_most=0),
            Measure("CPU of a verdict, with the index", 1e6 * indexed.cpu / size, unit="us"),
            Measure("CPU of a verdict, without it", 1e6 * bare.cpu / size, unit="us"),
        ],
    )


# -- filling a ledger ----------------------------------------------------------------------------------------------


def written(ledger: Ledger, name: str, inputs: Inputs, *, at: datetime = BEGAN, earlier: Earlier | None = None) -> None:
    """A new run of these items. Their ids follow from their inputs."""
    run = Run(name, at, "answers.csv", "f" * 64, "async", "local", (CHECK,), {"dataset": "answers.csv"}, ())
    ledger.create(run, ((_item(seq, one), None) for seq, one in enumerate(inputs)), chunk_size=100, earlier=earlier)


def _item(seq: int, inputs: Mapping[str, str]) -> Item:
    digest = sha256("\0".join(inputs.values()).encode()).hexdigest()
    return Item(seq, digest[:12], seq + 1, CHECK.name, CHECK.template, CHECK.model, inputs, digest)


def _numbered(first: int, size: int, characters: int = 500) -> Iterator[Mapping[str, str]]:
    return (
        {"output": f"Answer {n}: ".ljust(characters, "x"), "input": f"Question {n}?"}
        for n in range(first, first + size)
    )


def judged(
    ledger: Ledger,
    name: str,
    size: int,
    passes: Callable[[int], bool] = lambda seq: seq % 9 > 0,
    *,
    at: datetime = BEGAN,
) -> Usage:
    """Give every item of a run its verdict, and end it; what giving them took."""
    book, began = ledger.book(name), Usage.now()
    for start in range(0, size, BATCH):
        passed = {seq: passes(seq) for seq in range(start, min(start + BATCH, size))}
        book.apply(
            [
                Decided(seq, Scored("Passed" if one else "Failed", float(one), one, SAID, 900.0), at, f"e-{seq}")
                for seq, one in passed.items()
            ]
        )
    took = Usage.now() - began
    ledger.finished(name, exit_code=0, seconds=600.0, complete=True)
    return took


def _fill(file: Path, size: int) -> None:
    """Make a ledger with all runs. Copies of one run are made in SQL: sending so many items would take a day."""
    with Ledger(store_url(str(file))) as ledger:
        written(ledger, "run-0000", _numbered(0, size, characters=40))
        judged(ledger, "run-0000", size)
        count_anew(kept_run(ledger, ledger.run("run-0000")))
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


def _copy(connection: sa.Connection, name: str, at: datetime, n: int) -> None:
    """The first run under another name, with figures that go up and down, by another judge from time to time."""
    for table in (runs, items):
        replaced = {"run_id": sa.literal(name), "created_at": sa.literal(at, runs.c.created_at.type)}
        columns = [replaced.get(column.name, column).label(column.name) for column in table.columns]
        copied = sa.select(*columns).where(table.c.run_id == "run-0000")
        connection.execute(sa.insert(table).from_select([column.name for column in table.columns], copied))
    row = connection.execute(sa.select(figures).where(figures.c.run_id == "run-0000")).mappings().one()
    model, rate = "turing_flash" if n % 200 < 150 else "turing_small", 0.9 - n % 17 / 100
    write(connection, name, [replace(CheckFigures(**row), run_id=name, pass_rate=rate, model=model)])


def _command(words: str, folder: Path) -> float:
    """Seconds of a command from its start to its end, the second time: the first one also fills the caches."""
    return [
        command(words.split(), folder, environment(None, folder), patience=PATIENCE).seconds for _ in ("first", "again")
    ][-1]
