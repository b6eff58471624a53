"""What `--reuse` costs: a run of many items is written to a ledger that holds the verdicts of many earlier ones.

python -m benchmarks.reuse                       # 1,000,000 earlier verdicts, 100,000 items; minutes
python -m benchmarks.reuse --earlier 100000 --items 10000
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, process_time

import sqlalchemy as sa

from fieval_tasks.core.items import Item, Scored
from fieval_tasks.ledger.changes import Decided
from fieval_tasks.ledger.reuse import Earlier, reused
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.store import Ledger

NIGHTS = 10
"""Earlier runs, each with its part of the verdicts."""
BATCH = 1_000
"""Verdicts of a commit; a recorder's are smaller, so that the index costs a smaller part of them."""
TEXT = "x" * 500
VERDICT = Scored("Passed", 1.0, True, "y" * 300, 12.5)
CHECK = CheckRecord("tone", "tone", "turing_flash", {}, "Pass/Fail", {"output": "answer"})


def run(name: str, ledger: Ledger) -> Run:
    return Run(name, ledger.now(), "a.csv", "f" * 64, "async", "local", (CHECK,), {}, ())


def items(first: int, size: int) -> Iterator[tuple[Item, None]]:
    for seq in range(size):
        fingerprint = hashlib.sha256(str(first + seq).encode()).hexdigest()
        inputs = {"output": f"{first + seq} {TEXT}"}
        yield Item(seq, f"id-{seq}", seq + 1, "tone", "tone", "turing_flash", inputs, fingerprint), None


def judged(ledger: Ledger, name: str, size: int) -> tuple[float, float]:
    """Give every item of a run its verdict; the seconds, and the seconds of CPU."""
    book, began, cpu = ledger.book(name), monotonic(), process_time()
    decided = (Decided(seq, VERDICT, ledger.now(), f"e-{seq}") for seq in range(size))
    while batch := [*islice(decided, BATCH)]:
        book.apply(batch)
    return monotonic() - began, process_time() - cpu


def written(ledger: Ledger, name: str, first: int, size: int, earlier: Earlier | None) -> float:
    """Write a run; the seconds that it took."""
    began = monotonic()
    ledger.create(run(name, ledger), items(first, size), chunk_size=50, earlier=earlier)
    return monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reuse", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--earlier", type=int, default=1_000_000, metavar="N", help="verdicts of earlier runs")
    parser.add_argument("--items", type=int, default=100_000, metavar="N", help="of the new run; nine tenths are known")
    chosen = parser.parse_args()
    a_night = chosen.earlier // NIGHTS
    with TemporaryDirectory() as folder, Ledger(f"sqlite:///{Path(folder) / 'ledger.db'}") as ledger:
        names = [f"night-{n}" for n in range(NIGHTS)]
        for n, name in enumerate(names):
            ledger.create(run(name, ledger), items(n * a_night, a_night), chunk_size=50)
            seconds, cpu = judged(ledger, name, a_night)
        print(
            f"verdicts of the last of {NIGHTS} runs, with the index: {seconds / a_night * 1e6:.0f} us each (CPU {cpu / a_night * 1e6:.0f})"
        )
        earlier = Earlier(frozenset(names), ledger.now() - timedelta(days=7))
        first = chosen.earlier - chosen.items * 9 // 10
        plain = written(ledger, "plain", first, chosen.items, None)
        print(f"a run of {chosen.items:,} items is written in {plain:.1f} s without --reuse", flush=True)
        took = written(ledger, "reusing", first, chosen.items, earlier)
        found = sum(reused(ledger.database, "reusing").values())
        print(f"and in {took:.1f} s with it: {found:,} verdicts of {chosen.earlier:,} are reused", flush=True)
        with ledger.database.transaction() as connection:
            connection.execute(sa.text("DROP INDEX fieval_items_reusable"))
        ledger.create(run("without", ledger), items(-a_night, a_night), chunk_size=50)
        seconds, cpu = judged(ledger, "without", a_night)
        print(
            f"verdicts of one more run, without the index: {seconds / a_night * 1e6:.0f} us each (CPU {cpu / a_night * 1e6:.0f})"
        )
    return 0 if found == chosen.items * 9 // 10 else 1


if __name__ == "__main__":
    sys.exit(main())
