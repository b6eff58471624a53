"""Two runs of 100,000 items with 2 KB each, compared: how long that takes, and how much memory beside the libraries.

`python -m benchmarks.comparing [ITEMS]`
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import perf_counter

from fieval_tasks.core.items import Failed, Item, Scored
from fieval_tasks.ledger.changes import Decided, Sending
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.store import Ledger
from flows.compare import compare

NOON = datetime(2026, 8, 1, 12, tzinfo=timezone.utc)
CHECK = CheckRecord("groundedness", "groundedness", "turing_flash", {}, "Pass/Fail", {"output": "a", "context": "b"})
PART = 5_000
"""Verdicts that are recorded together."""


def items(name: str, n: int) -> Iterator[tuple[Item, Failed | None]]:
    """Each with an answer of its own and the same context in both runs: they pair by their input side."""
    for i in range(n):
        inputs = {"output": f"{name}, answer {i}. ".ljust(400, "x"), "context": f"Document {i}. ".ljust(1_600, "y")}
        digest = sha256(f"{name} {i}".encode()).hexdigest()
        yield Item(i, digest[:12], i + 1, CHECK.name, CHECK.template, CHECK.model, inputs, digest), None


def write(ledger: Ledger, name: str, n: int, seed: int) -> None:
    at, random = NOON + timedelta(seconds=seed), Random(seed)
    ledger.create(
        Run(name, at, "a.csv", "f" * 64, "async", "local", (CHECK,), {}, ()), items(name, n), chunk_size=1_000
    )
    for start in range(0, n, PART):
        seqs = tuple(range(start, min(start + PART, n)))
        ledger.book(name).apply([Sending(seqs, NOON)])
        passed = [random.random() < 0.9 for _ in seqs]
        told = [Scored("Passed" if one else "Failed", float(one), one, "Because.") for one in passed]
        ledger.book(name).apply([Decided(seq, verdict, NOON) for seq, verdict in zip(seqs, told, strict=True)])
    ledger.finished(name, exit_code=0, seconds=1.0, complete=True)


def memory() -> float:
    """The most that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(n: int) -> None:
    with TemporaryDirectory() as folder:
        store = str(Path(folder) / "ledger.db")
        with Ledger(store_url(store)) as ledger:
            for seed, name in enumerate(("monday", "tuesday")):
                write(ledger, name, n, seed)
        before, began = memory(), perf_counter()
        change = compare("tuesday", "monday", store).checks[CHECK.name]
        took, more = perf_counter() - began, memory() - before
    pairs, flipped = change.compared.n_pairs, change.flipped
    print(f"{pairs:,} pairs, {flipped:,} of them flipped: {took:.0f} s, {more:.0f} MB more than before")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
