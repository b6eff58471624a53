"""The ledger's numbers, each with its reason, and its clock. Tests pass in their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fieval_tasks.ledger.schema import utc_now


@dataclass(frozen=True)
class LedgerClock:
    """What the ledger knows of time, but for leases in PostgreSQL: those go by the server's clock, which all share."""

    now: Callable[[], datetime] = utc_now
    monotonic: Callable[[], float] = time.monotonic
    """Seconds, by which waits are measured."""
    sleep: Callable[[float], None] = time.sleep


SYSTEM_CLOCK = LedgerClock()


@dataclass(frozen=True)
class LedgerTuning:
    """Times in seconds, sizes in items unless it says otherwise."""

    patience: float = 30.0
    """How long another writer of a SQLite file, or a database that is away, is waited for: PostgreSQL starts again within it."""
    recorder_patience: float = 120.0
    """The same for what was answered, which is paid for again if it is not recorded: four times as long as anything else
    waits, so that a run that gives up still records it."""
    first_pause: float = 0.1
    """Before the second try; each further pause is twice as long, up to `longest_pause`."""
    longest_pause: float = 4.0
    gather: float = 0.02
    """Between two commits of a recorder: a commit costs the same for one change and for a hundred."""
    at_leisure: float = 0.1
    """How long a change without hurry waits for others to be committed with, unless `enough` are waiting."""
    enough: int = 16
    """Records that wait, at which nobody waits for more."""
    batch: int = 1_000
    """Rows of a transaction that writes a run, and of a read: some 0.05 s, for which other writers of a SQLite file wait."""
    largest_batch: int = 4_000_000
    """Characters of inputs in a transaction that writes a run: fewer rows, where they are long."""
    draft_lease: float = 600.0
    """Without a batch, however slowly a dataset comes, after which another machine takes a run's writer for dead."""


DEFAULT_TUNING = LedgerTuning()
