"""A PostgreSQL server of the tests' own; the tests that need it are skipped where it is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks import postgres
from benchmarks.postgres import Server, cut_connections, fresh_database

__all__ = ["Server", "cut_connections", "fresh_database", "server", "serving"]


@contextmanager
def server() -> Iterator[Server]:
    """A running server."""
    if postgres.binaries() is None:
        pytest.skip(str(postgres.NotInstalled.__doc__))
    with postgres.server() as one:
        yield one


@contextmanager
def serving() -> Iterator[str]:
    """The URL of the first database of a running server."""
    with server() as one:
        yield one.url
