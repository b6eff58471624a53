"""The versions of the ledger's tables: creating them, and upgrading those of older versions of this program."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from fieval_tasks.core.errors import PlanError, StoreError
from fieval_tasks.ledger import schema
from fieval_tasks.ledger.check_figures import open_figures
from fieval_tasks.ledger.views import create_views


def _open_figures_of_all(connection: Connection) -> None:
    """What runs came to is counted when somebody asks for it: counting them all here would take minutes."""
    for run_id, checks in connection.execute(sa.select(schema.runs.c.run_id, schema.runs.c.checks)).all():
        open_figures(connection, run_id, checks)


def _add_pruned_at(connection: Connection) -> None:
    moment = schema.runs.c.pruned_at.type.compile(connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE fieval_runs ADD COLUMN pruned_at {moment}")


SCHEMA_VERSION = 6
UPGRADES: dict[int, tuple[str | Callable[[Connection], None], ...]] = {
    1: (
        "ALTER TABLE fieval_runs ADD COLUMN begun_by VARCHAR(40)",
        "UPDATE fieval_runs SET begun_by = flow_run_id",
    ),
    2: (
        "ALTER TABLE fieval_runs ADD COLUMN address TEXT",
        "ALTER TABLE fieval_runs ADD COLUMN account VARCHAR(120)",
        "ALTER TABLE fieval_runs ADD COLUMN is_whole BOOLEAN DEFAULT TRUE NOT NULL",
        "ALTER TABLE fieval_items ADD COLUMN doubts INTEGER DEFAULT 0 NOT NULL",
        "ALTER TABLE fieval_items ADD COLUMN kept TEXT",
        "ALTER TABLE fieval_items ADD COLUMN resend_if_unknown BOOLEAN DEFAULT FALSE NOT NULL",
        "UPDATE fieval_items SET doubts = lost WHERE lost > 0",
        "CREATE INDEX fieval_items_in_doubt ON fieval_items (run_id) WHERE doubts > 0",
        "CREATE INDEX fieval_items_by_eval_id ON fieval_items (run_id, eval_id) WHERE eval_id IS NOT NULL",
        # what was counted and does not follow from the items: a forgotten evaluation that was submitted again
        "UPDATE fieval_runs SET possible_duplicates = CASE WHEN possible_duplicates > {0} "
        "THEN possible_duplicates - {0} ELSE 0 END".format(
            "(SELECT coalesce(sum(CASE WHEN state IN ('sending', 'submitted', 'scored') OR stage IN ('wait', 'evaluate') "
            "THEN doubts ELSE doubts - 1 END), 0) "
            "FROM fieval_items WHERE fieval_items.run_id = fieval_runs.run_id AND doubts > 0)"
        ),
    ),
    3: ("ALTER TABLE fieval_items ADD COLUMN params TEXT",),
    4: (
        "ALTER TABLE fieval_items ADD COLUMN traits TEXT",
        "ALTER TABLE fieval_items ADD COLUMN repeat INTEGER DEFAULT 0 NOT NULL",
        "ALTER TABLE fieval_items ADD COLUMN reused_from VARCHAR(80)",
        "ALTER TABLE fieval_runs ADD COLUMN population INTEGER",
        "ALTER TABLE fieval_runs ADD COLUMN tier VARCHAR(40)",
        # at the worst: a POST that the server refused is counted, too
        "INSERT INTO fieval_spending (run_id, check_name, evaluations) "
        "SELECT run_id, check_name, sum(attempts) FROM fieval_items GROUP BY run_id, check_name",
        "ALTER TABLE fieval_items ADD COLUMN drawn INTEGER",
        "CREATE INDEX fieval_items_reusable ON fieval_items (fingerprint, finished_at) "
        "WHERE state = 'scored' AND reused_from IS NULL AND same_as IS NULL",
    ),
    5: (
        _add_pruned_at,
        "ALTER TABLE fieval_runs ADD COLUMN is_behind BOOLEAN DEFAULT FALSE NOT NULL",
        "ALTER TABLE fieval_conclusions ADD COLUMN ended JSON",
        _open_figures_of_all,
    ),
}
"""Version -> the statements and steps that upgrade its tables to the next version."""
SCHEMA_LOCK = 0x66696576616C
"""What PostgreSQL's advisory lock is taken on while tables are made: `fieval` in ASCII."""
_table = schema.schema


def prepare(engine: Engine, name: str, *, must_exist: bool = False) -> None:
    """Create the tables, or upgrade those of an older version.

    Raises PlanError where tables must exist and do not, and StoreError where they are a newer version's.
    """
    with engine.connect() as connection:
        found = _version(connection)
    if found is None and must_exist:
        raise PlanError(f"the store {name} is no ledger: name the one that holds the run with --store")
    if found != SCHEMA_VERSION:
        with engine.execution_options(writes=True).begin() as connection:
            _bring_up_to_date(connection, name)


def _version(connection: Connection) -> int | None:
    if not sa.inspect(connection).has_table(_table.name):
        return None
    return connection.scalar(sa.select(_table.c.version))


def _bring_up_to_date(connection: Connection, name: str) -> None:
    if connection.dialect.name == "postgresql":  # SQLite's write lock does this already: one process makes the tables
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SCHEMA_LOCK)))
    schema.metadata.create_all(connection)  # also what older programs had not; their tables stay as they are
    version = connection.scalar(sa.select(_table.c.version))
    if version is None:
        connection.execute(sa.insert(_table).values(version=SCHEMA_VERSION))
        create_views(connection)
        return
    version = _upgraded(connection, version)
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"the store {name} has schema version {version}, and this program writes {SCHEMA_VERSION}: "
            f"use the program that made it, or another --store"
        )
    create_views(connection)


def _upgraded(connection: Connection, version: int) -> int:
    """Upgrade the tables step by step; the version that they have then."""
    while version in UPGRADES:
        for statement in UPGRADES[version]:
            if isinstance(statement, str):
                connection.exec_driver_sql(statement)
            else:
                statement(connection)
        version += 1
        connection.execute(sa.update(_table).values(version=version))
    return version
