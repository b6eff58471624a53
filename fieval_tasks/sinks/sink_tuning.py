"""The constants by which verdicts are handed on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SinkTuning:
    """Times in seconds, unless a field says otherwise."""

    # A transaction of so many takes a fraction of a second, for which others that write to a file wait.
    batch: int = 1_000
    """Results that a sink is given at a time."""
    largest_batch: int = 4_000_000
    """Characters of their inputs."""
    # A transaction costs the same for one verdict and for many.
    gather: float = 1.0
    """Between two writes."""
    first_pause: float = 1.0
    """After the first error; each further pause is twice as long, up to `longest_pause`."""
    longest_pause: float = 60.0
    # What was not handed on by then is at the end of the run, or by whoever concludes it.
    last_word: float = 5.0
    """For which the end of the work waits for what was heard."""
    # As the ledger: PostgreSQL restarts within it.
    patience: float = 30.0
    """For which the end of the run waits for a sink to take anything more."""
    # Seqs of ten thousand items take less than a megabyte.
    most_heard: int = 10_000
    """Items that are remembered; beyond them the ledger is read instead."""
    # Another program may hold it for a moment; then the rows are tried again.
    waits_for_file: float = 5.0
    """For which a write waits for a SQLite file."""


TUNING = SinkTuning()
