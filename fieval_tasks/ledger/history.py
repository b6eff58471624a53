"""What the runs of a ledger came to, read without their items."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from fieval_tasks.ledger.check_figures import CheckFigures, write
from fieval_tasks.ledger.database import Database
from fieval_tasks.ledger.schema import figures


class History:
    """The figures of all runs of a ledger. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, run_id: str, counted: Sequence[CheckFigures]) -> None:
        """Replace what is kept of the run."""
        self._database.write(lambda connection: write(connection, run_id, counted))

    def of_runs(self, run_ids: Collection[str]) -> dict[str, dict[str, CheckFigures]]:
        """Run -> check -> what is kept of it."""
        found: dict[str, dict[str, CheckFigures]] = {run_id: {} for run_id in run_ids}
        wanted, most = sorted(found), self._database.tuning.batch  # a statement takes a bounded number of them
        for first in range(0, len(wanted), most):
            query = sa.select(figures).where(figures.c.run_id.in_(wanted[first : first + most]))
            for row in self._database.read(query):
                found[row["run_id"]][row["check_name"]] = CheckFigures(**row)
        return found

    def uncounted(self, run_ids: Collection[str]) -> list[str]:
        """Those of these runs that ended before figures were kept."""
        kept = self.of_runs(run_ids).items()
        return [run_id for run_id, checks in kept if any(one.at is None for one in checks.values())]
