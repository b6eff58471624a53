"""A flow run from a terminal: what Prefect does at its start and end, made to fit a short-lived process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

from fieval_tasks.on_prefect.changed_settings import with_settings
from fieval_tasks.on_prefect.times import TIMES


@contextmanager
def on_laptop() -> Iterator[None]:
    """Around a flow call: no heartbeats, and all that Prefect has queued is sent before the server may go away.

    Each flow waits up to a second, at its end, for the thread that sends its heartbeats; they tell a server that a
    run has died, and a server of ours dies with it. Logs, and events, which carry the task runs' states, are sent by
    threads that do not hurry: unsent ones would be lost, with a minute of connection errors at exit.
    """
    with with_settings("flows", heartbeat_frequency=None):
        yield
    send_what_is_queued()


def send_what_is_queued() -> None:
    """Send Prefect's logs and events, within a time for each."""
    APILogWorker.drain_all(timeout=TIMES.drains_within)
    EventsWorker.drain_all(timeout=TIMES.drains_within)
