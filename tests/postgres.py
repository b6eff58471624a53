"""A PostgreSQL server of the tests' own; the tests that need it are skipped where it is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks import postgres
from benchmarks.postgres import Server, cut_connections, fresh_database

__all__ = ["Server", "cut_connections", "emptied", "fresh_database", "server", "serving"]


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


def emptied(url: str) -> str:
    """The database, once nothing is in it that earlier tests left: quicker than a new one, which is seven megabytes to copy."""
    import psycopg
    from psycopg import sql

    cut_connections(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        of_tests = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        for (schema,) in connection.execute(of_tests).fetchall():
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
        connection.execute("CREATE SCHEMA public")
        connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
    return url
