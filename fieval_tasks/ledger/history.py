"""What the runs of a ledger came to, read without their items: also of runs whose items were pruned."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from fieval_tasks.ledger import duplicates
from fieval_tasks.ledger.check_figures import CheckFigures, write
from fieval_tasks.ledger.database import Database
from fieval_tasks.ledger.drafts import is_whole
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.schema import figures, runs

RUNS = sa.select(runs, duplicates.of_run().label("doubled")).where(is_whole)


class History:
    """The runs of a ledger and the figures of their checks. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, run_id: str, counted: Sequence[CheckFigures]) -> None:
        """Replace what is kept of the run."""
        self._database.write(lambda connection: write(connection, run_id, counted))

    def run(self, name: str) -> Run | None:
        """The run of that name, also if its items were pruned."""
        return next((Run.of_row(row) for row in self._database.read(RUNS.where(runs.c.run_id == name))), None)

    def runs(
        self,
        *,
        datasets: Collection[str] | None = None,
        check: str | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
    ) -> list[Run]:
        """The runs on these datasets, with that check, begun at that time: the newest first."""
        query = RUNS.order_by(runs.c.created_at.desc(), runs.c.run_id)
        query = query if datasets is None else query.where(runs.c.dataset.in_(datasets))
        query = query if since is None else query.where(runs.c.created_at >= since)
        query = query if before is None else query.where(runs.c.created_at < before)
        if check is not None:
            query = query.where(runs.c.run_id.in_(sa.select(figures.c.run_id).where(figures.c.check_name == check)))
        return [Run.of_row(row) for row in self._database.read(query)]

    def datasets(self) -> list[str]:
        """The names of all datasets, the latest used first."""
        query = sa.select(runs.c.dataset).where(is_whole).group_by(runs.c.dataset)
        return self._database.column(query.order_by(sa.func.max(runs.c.created_at).desc()))

    def checks(self, datasets: Collection[str]) -> list[str]:
        """The names of the checks that runs on these datasets had, in their order."""
        query = sa.select(figures.c.check_name).distinct().join(runs, runs.c.run_id == figures.c.run_id)
        return self._database.column(query.where(is_whole, runs.c.dataset.in_(datasets)).order_by(figures.c.check_name))

    def past_checks(
        self, datasets: Collection[str], check: str, most: int | None = None
    ) -> list[tuple[datetime, int | None, CheckFigures]]:
        """Of the latest runs on these datasets that ended: when each began, its exit code, and what the check came to in it; the
        oldest first."""
        query = sa.select(runs.c.created_at, runs.c.exit_code, figures).join(runs, runs.c.run_id == figures.c.run_id)
        query = query.where(is_whole, runs.c.dataset.in_(datasets), figures.c.check_name == check, HAS_ENDED)
        query = query.order_by(runs.c.created_at.desc(), runs.c.run_id).limit(most)
        found: list[dict[str, Any]] = [dict(row) for row in reversed(self._database.read(query))]
        return [(row.pop("created_at"), row.pop("exit_code"), CheckFigures(**row)) for row in found]

    def of_runs(self, run_ids: Collection[str]) -> dict[str, dict[str, CheckFigures]]:
        """Run -> check -> what is kept of it."""
        found: dict[str, dict[str, CheckFigures]] = {run_id: {} for run_id in run_ids}
        for row in self._database.among(sa.select(figures), figures.c.run_id, found):
            found[row["run_id"]][row["check_name"]] = CheckFigures(**row)
        return found

    def uncounted(self, run_ids: Collection[str]) -> list[str]:
        """Those of these runs that ended before figures were kept."""
        query = sa.select(figures.c.run_id).distinct().join(runs, runs.c.run_id == figures.c.run_id)
        found = self._database.column(query.where(is_whole, figures.c.at.is_(None), runs.c.exit_code.is_not(None)))
        wanted = set(run_ids)
        return [run_id for run_id in found if run_id in wanted]


HAS_ENDED = sa.or_(figures.c.at.is_not(None), runs.c.exit_code.is_not(None))
"""The run has been concluded; a run that goes on since keeps the figures that it had then."""
