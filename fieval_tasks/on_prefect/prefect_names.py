"""Whether the blocks and limits that a plan names are there, read from Prefect's database file: no server need start for that."""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import EvaluationPlan

BLOCKS = "SELECT name FROM block_document WHERE block_type_name = 'Future AGI Credentials' ORDER BY name"
LIMITS = "SELECT name FROM concurrency_limit_v2"


def require_known_names(plan: EvaluationPlan) -> None:
    """Raises PlanError where the plan names a block of keys or a shared limit that the database does not hold."""
    name, limit = plan.connection, plan.shared_limit
    if name not in (None, "local", "env") and (there := _names(BLOCKS)) is not None and name not in there:
        raise unknown_block(name, there)
    if limit and (there := _names(LIMITS)) is not None and limit not in there:
        raise unusable_limit(limit, "there is no such limit")


def _names(query: str) -> list[str] | None:
    """The names that a query finds, none where there is no database yet; None where only a server can tell."""
    if any(name.startswith("PREFECT_") and "DATABASE" in name for name in map(str.upper, os.environ)):
        return None
    file = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect").absolute() / "prefect.db"
    if not file.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
            return [name for (name,) in database.execute(query)]
    except sqlite3.Error:  # another version's, or busy
        return None


def unknown_block(name: str, known: Sequence[str]) -> PlanError:
    has = f"there are: {', '.join(known)}" if known else "there is none yet"
    return PlanError(
        f"--connection {name!r} is neither local nor env, nor a saved block of keys ({has}): make it in the Prefect "
        f"UI (Blocks, Future AGI Credentials), or in Python with FutureAGICredentials(...).save({name!r})"
    )


def unusable_limit(name: str, problem: str) -> PlanError:
    quoted = shlex.quote(name)
    return PlanError(
        f"the shared limit {name!r}: {problem}; make it with `prefect gcl create {quoted} --limit 800 "
        f"--slot-decay-per-second 200` for 200 requests a second, or change it with `prefect gcl update {quoted}`"
    )
