"""The times of everything that waits for Prefect: each field says what it bounds, the comment above it why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PrefectTimes:
    """In seconds, except where a field says otherwise."""

    # A run that is at work, and whoever follows it.
    # A cancel is noticed so late at most, in a young run.
    look_every: float = 5.0
    """Between two queries of the flow run's state and the run's variable, in the beginning."""
    # So that 10,000 items cost few calls, however long they take.
    look_share: int = 20
    """Later the interval is the run's age divided by this."""
    # It grows in a run older than twenty minutes, so that a day's work is a hundred and fifty lines.
    line_every: float = 60.0
    """Between two progress lines in the log, at first."""
    # About six seconds: a busy server answers 503 at times, and a worker that cancels a run waits thirty.
    last_attempts: int = 2
    """Further tries of a run's last call."""
    # The collector runs again every ten minutes.
    collector_quiet: float = 20.0
    """Without a verdict, after which a deployment's collector leaves a run to its next visit."""
    # Another writer's read and write take a tenth of this.
    settled: float = 1.0
    """After which a written variable is read again, to see whether another writer has overwritten it."""
    write_attempts: int = 5
    """Times that the variable is written, if others overwrite it."""

    # A run in shards.
    # Somebody may have to start a worker.
    begins_within: float = 600.0
    """For a worker to take up the first shard."""
    # A worker that is running takes up a flow run within ten to twenty seconds.
    reminds_every: float = 30.0
    """Between two log lines that no worker has taken up a shard."""
    # Longer than the lease of a claim.
    shards_quiet: float = 90.0
    """Without a live claim, after which shards that Prefect still shows as running are given up."""
    last_words: float = 10.0
    """For shards to report their end, once every item has its verdict."""
    ledger_every: float = 1.0
    """Between two reads of the ledger."""

    # The API.
    # A person waits, and a run with a slower API would fail anyway.
    answers_within: float = 10.0
    """For the configured Prefect API to answer."""
    # Its first start creates its database.
    server_starts_within: float = 120.0
    """For a server of our own to start."""
    # A server that is still starting does not react to SIGTERM.
    server_ends_within: float = 5.0
    """For it to end; then it is killed."""
    # On a quiet machine it is up by then.
    said_after: float = 5.0
    """Of waiting for it, after which the terminal says so."""
    drains_within: float = 10.0
    """For each of the queues (logs, events) to be sent before the server ends."""


TIMES = PrefectTimes()
