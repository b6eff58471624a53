"""The constants by which runs are prepared and concluded."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class RunTuning:
    """Sizes in items, times in seconds, unless a field says otherwise."""

    # As many task runs as Prefect records reliably in one flow run.
    most_chunks: int = 150
    """Chunks of a run."""
    # A task run costs Prefect several calls.
    smallest_chunk: int = 20
    """Items of a chunk, at least, unless the run has fewer."""
    largest_chunk: int = 500
    """Items of a chunk, unless `most_chunks` demands more."""
    # So that processes of different speed share the work evenly.
    chunks_each: int = 16
    """Chunks for each process, where the run is large enough."""
    # A place that none of so many rows has was most likely misspelt.
    rows_looked_at: int = 100
    """Rows in which a place inside of a column is looked for."""
    # The largest report takes less.
    lease: float = 600.0
    """For which the process that writes the report has the run's conclusion."""

    def chunk_size(self, total: int, processes: int = 1) -> int:
        """Items in each submit task of a run with `total` items."""
        fair = math.ceil(total / (self.chunks_each * processes))
        comfortable = min(self.largest_chunk, max(self.smallest_chunk, fair))
        return max(comfortable, math.ceil(total / self.most_chunks))


DEFAULT_TUNING = RunTuning()
