"""How long what has to do with Prefect may take. Nothing here imports Prefect."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PrefectTimes:
    """Seconds, but where a field says otherwise."""

    # A run that is at work, and whoever follows it.
    look_every: float = 5.0
    """Between two looks of a run at Prefect, at first: so late, at most, is a cancel heard."""
    look_share: int = 20
    """In a long run, a look each time it is a twentieth older: 10,000 items cost few calls, however long they take."""
    line_every: float = 60.0
    """Between two lines in its log, and more in one older than twenty minutes: a day's work is a hundred and fifty."""
    last_attempts: int = 2
    """More, of the last call of a run: six seconds, for a busy server answers 503 at times; a worker that cancels waits
    thirty."""
    chunk_rests: float = 8.0
    """Before a chunk's second try, and twice as many before each further one: longer than a request's own tries."""
    collector_quiet: float = 20.0
    """Without a verdict, after which a deployment's collector leaves a run until it comes again."""
    settled: float = 1.0
    """After which whoever had read a run's variable before it was written has written it, too: two calls take a tenth."""
    write_attempts: int = 5
    """Times that the variable is written, where others write it at the same time."""

    # A run in shards.
    begins_within: float = 600.0
    """For a worker to take up the first shard: somebody may have to start one."""
    reminds_every: float = 30.0
    """While no worker has: one that is there takes up a run within ten to twenty."""
    shards_quiet: float = 90.0
    """Without a live claim, before shards that still count as running are given up: longer than a lease."""
    last_words: float = 10.0
    """For shards to say that they have ended, once everything has its verdict."""
    ledger_every: float = 1.0
    """Between two looks at the ledger."""

    # The API.
    answers_within: float = 10.0
    """For an API that is set to answer: a person waits, and a run would only begin to stumble."""
    server_starts_within: float = 120.0
    """For a server of our own: its first start makes its database."""
    server_ends_within: float = 5.0
    """In order; one that is still starting can't, and is killed."""
    said_after: float = 5.0
    """Of a wait for it, before the terminal says so: on a quiet machine it is up by then."""
    drains_within: float = 10.0
    """For each of the queues, of logs and of events, that are sent before it goes away."""


TIMES = PrefectTimes()
