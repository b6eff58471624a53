"""The constants of the ledger, each with its reason, and its clock. Tests pass in their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fieval_tasks.ledger.schema import utc_now


@dataclass(frozen=True)
class LedgerClock:
    """The ledger's clock. Leases in PostgreSQL go by the server's clock instead, which all processes share."""

    now: Callable[[], datetime] = utc_now
    monotonic: Callable[[], float] = time.monotonic
    """Seconds, by which waits are measured."""
    sleep: Callable[[float], None] = time.sleep


SYSTEM_CLOCK = LedgerClock()


@dataclass(frozen=True)
class LedgerTuning:
    """Times in seconds, sizes in items unless a field says otherwise."""

    # PostgreSQL restarts within it.
    patience: float = 30.0
    """For which another writer of a SQLite file, or a database that is away, is waited for."""
    # A reply that is not recorded is paid for again. Four times the others' patience, so that a run that gives up for its
    # database can still record its last replies.
    recorder_patience: float = 120.0
    """The same for the recorder's commits."""
    first_pause: float = 0.1
    """Before the second try; each further pause is twice as long, up to `longest_pause`."""
    longest_pause: float = 4.0
    # A commit costs the same for one change and for a hundred.
    gather: float = 0.02
    """Between two commits of a recorder."""
    at_leisure: float = 0.1
    """For which a change that is not urgent waits for others to be committed with, unless `enough` are waiting."""
    enough: int = 16
    """Waiting calls of `record` at which the commit begins at once."""
    # Some 0.05 s, for which other writers of a SQLite file wait.
    batch: int = 1_000
    """Rows of a transaction that writes a run, and of a read."""
    # Bounds the time and the memory of a batch whose rows are long.
    largest_batch: int = 4_000_000
    """Characters of inputs in a transaction that writes a run."""
    # Datasets may come slowly, from a pipe for example.
    draft_lease: float = 600.0
    """Without a batch, after which another machine takes the writer of a run for ended."""


DEFAULT_TUNING = LedgerTuning()
