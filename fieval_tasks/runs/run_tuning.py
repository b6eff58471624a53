"""The numbers by which runs are prepared and concluded, each with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class RunTuning:
    """Sizes in items, times in seconds, unless it says otherwise."""

    most_chunks: int = 150
    """Task runs that Prefect records reliably in one flow run."""
    smallest_chunk: int = 20
    largest_chunk: int = 500
    chunks_each: int = 16
    """Chunks that each process gets of a run that allows for it: enough to share the work out evenly."""
    rows_looked_at: int = 100
    """Of a dataset: a place that none of so many rows has was misspelt."""
    lease: float = 600.0
    """For which a run belongs to who writes its report; the largest takes less."""

    def chunk_size(self, total: int, processes: int = 1) -> int:
        """Items in each submit task: enough tasks to share the work, never more than Prefect records reliably."""
        fair = math.ceil(total / (self.chunks_each * processes))
        comfortable = min(self.largest_chunk, max(self.smallest_chunk, fair))
        return max(comfortable, math.ceil(total / self.most_chunks))


DEFAULT_TUNING = RunTuning()
