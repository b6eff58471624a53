"""The tier of an account, as its runs have recognised it: kept with each run, for those who plan the next one."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from fieval_tasks.ledger.database import Database
from fieval_tasks.ledger.drafts import is_whole
from fieval_tasks.ledger.schema import runs

# Comparing an account with a run's takes 0.05 s.
LOOKED_AT = 20
"""Runs at the same server, the latest, that are looked at."""


def record_tier(database: Database, run_id: str, tier: str) -> None:
    """Record the tier that a run has recognised by what was refused."""
    database.execute(sa.update(runs).where(runs.c.run_id == run_id).values(tier=tier))


def recognised_tier(database: Database, address: str, is_mine: Callable[[str | None], bool]) -> tuple[str, str] | None:
    """The tier that the latest run recognised at that server, and the run's name. `is_mine`: whether a run's `account` is ours."""
    query = sa.select(runs.c.run_id, runs.c.account, runs.c.tier).where(is_whole, runs.c.address == address)
    found = database.read(query.where(runs.c.tier.is_not(None)).order_by(runs.c.created_at.desc()).limit(LOOKED_AT))
    return next(((row["tier"], row["run_id"]) for row in found if is_mine(row["account"])), None)
