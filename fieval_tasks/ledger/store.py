"""The ledger: every run and every item with its states, committed as they happen.

SQLite by default, PostgreSQL by URL. The tables are made on first use and carry a schema version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fieval_tasks.core.command_lines import command
from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.items import Failed, Item
from fieval_tasks.core.spelling import nearest
from fieval_tasks.ledger import check_figures, drafts
from fieval_tasks.ledger.book import Book, row_of
from fieval_tasks.ledger.changes import OPEN
from fieval_tasks.ledger.check_figures import CheckFigures
from fieval_tasks.ledger.database import Database
from fieval_tasks.ledger.history import RUNS
from fieval_tasks.ledger.processes import owner_name
from fieval_tasks.ledger.reuse import Earlier
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.schema import Moment, conclusions, items, runs, spending
from fieval_tasks.ledger.tuning import DEFAULT_TUNING, SYSTEM_CLOCK, LedgerClock, LedgerTuning


@dataclass(frozen=True)
class Conclusion:
    """A process's conclusion when it stopped working on a run."""

    at: datetime
    exit_code: int | None
    standing: Mapping[str, Any]
    """The report's figures at that time: see `Report.standing`."""
    ended: Mapping[str, Any] | None = None
    """How its work had ended: see `runs.conclusion.Ended`. None: an older program recorded it."""


class Ledger:
    """An open ledger: its runs, and a `book` for each run's items. Thread-safe; close it when done."""

    def __init__(
        self,
        url: str,
        *,
        must_exist: bool = False,
        tuning: LedgerTuning = DEFAULT_TUNING,
        clock: LedgerClock = SYSTEM_CLOCK,
    ) -> None:
        """Raises PlanError where the ledger must exist and does not, and StoreError where it can't be opened."""
        self.url = url
        self.database = Database(url, must_exist=must_exist, tuning=tuning, clock=clock)
        self.now = clock.now
        self.name = self.database.name
        """Its URL, without a password."""

    def close(self) -> None:
        self.database.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def book(self, run_id: str) -> Book:
        """The run's items."""
        return Book(self.database, run_id)

    # -- which runs there are ------------------------------------------------------------------------------------

    def create(
        self, run: Run, rows: Iterable[tuple[Item, Failed | None]], *, chunk_size: int, earlier: Earlier | None = None
    ) -> Run:
        """Write a run and all its items, or nothing at all: the run is invisible until it is complete.

        Items that failed validation are final from the start, as are those that have a verdict of `earlier` runs. Raises
        NameTaken.
        """
        now, size = self.now(), chunk_size
        written = (row_of(item, failed, run_id=run.run_id, chunk_size=size, now=now) for item, failed in rows)
        drafts.write(self.database, run.to_row(), written, earlier)
        return self.run(run.run_id)

    def forget(self, run_id: str) -> None:
        """Delete a run and its items."""
        with self.database.transaction() as connection:
            drafts.withdraw(connection, run_id)
        drafts.take_out(self.database, run_id, owner_name())

    def run(self, run_id: str) -> Run:
        """The run of that name, or the newest for `last`, with its items.

        Raises PlanError where its items were pruned, or, with similar names, where there is none.
        """
        newest = runs.c.created_at.desc()
        query = _RUNS.order_by(newest).limit(1) if run_id == "last" else _RUNS.where(runs.c.run_id == run_id)
        if found := self._runs(query):
            return found[0]
        pruned = sa.select(runs.c.pruned_at).where(runs.c.run_id == run_id, runs.c.pruned_at.is_not(None))
        for at in self.database.column(pruned):
            raise PlanError(
                f"the rows and verdicts of run {run_id!r} were pruned on {at:%Y-%m-%d}: what it came to is kept, and shown by "
                f"{command('show', run_id)}"
            )
        known = self.database.column(_NAMES.where(runs.c.pruned_at.is_(None)).order_by(newest))
        raise PlanError(f"no run {run_id!r} in {self.name} ({_nearest(run_id, known)})")

    def begun_by(self, flow_run_id: str) -> str | None:
        """The name of the run that a Prefect flow run began; None where it began none."""
        query = _NAMES.where(runs.c.begun_by == flow_run_id).order_by(runs.c.created_at.desc())
        return next(iter(self.database.column(query.limit(1))), None)

    def names(self, prefix: str) -> set[str]:
        """The names of runs that start with `prefix`."""
        starts_so = sa.func.substr(runs.c.run_id, 1, len(prefix)) == prefix  # LIKE has wildcards, and ignores case
        return set(self.database.column(_NAMES.where(starts_so)))

    def unfinished(self) -> list[Run]:
        """Runs with items that have no verdict, oldest first."""
        still = sa.select(items.c.run_id).where(items.c.state.in_(OPEN)).distinct()
        return self._runs(_RUNS.where(runs.c.run_id.in_(still)).order_by(runs.c.created_at))

    def unconcluded(self) -> list[Run]:
        """Started runs whose items all have verdicts and that have no exit code yet, or were not handed on in full, oldest first."""
        still = sa.exists().where(items.c.run_id == runs.c.run_id, items.c.state.in_(OPEN))
        lacks = sa.or_(runs.c.exit_code.is_(None), runs.c.is_behind)
        query = _RUNS.where(runs.c.started_at.is_not(None), lacks, ~still)
        return self._runs(query.order_by(runs.c.created_at))

    def concluded(self, dataset: str, *, before: datetime) -> list[Run]:
        """Runs on the dataset of that name that came to their end and were begun before then, the newest first."""
        query = _RUNS.where(runs.c.dataset == dataset, runs.c.created_at < before)
        query = query.where(runs.c.exit_code.is_not(None), runs.c.finished_at.is_not(None))
        return self._runs(query.order_by(runs.c.created_at.desc()))

    def active_since(self, moment: datetime, address: str) -> list[Run]:
        """Runs that may have sent requests to that server since `moment`."""
        is_active = runs.c.finished_at.is_(None) | (runs.c.finished_at > moment)
        return self._runs(_RUNS.where(runs.c.address == address, is_active))

    def _runs(self, query: sa.Select[Any]) -> list[Run]:
        return [Run.of_row(row) for row in self.database.read(query)]

    # -- how a run goes ------------------------------------------------------------------------------------------

    def bind(
        self, run_id: str, address: str, account: str | None, *, notice: str | None = None, anew: bool = False
    ) -> bool:
        """Record the server and account of the run's requests, with a notice; False where others are recorded already.

        `anew`: replace what is recorded.
        """
        this = sa.update(runs).where(runs.c.run_id == run_id)

        def make(connection: Connection) -> bool:
            unbound = this if anew else this.where(runs.c.address.is_(None))
            bound = connection.execute(unbound.values(address=address, account=account)).rowcount
            notices = connection.scalar(sa.select(runs.c.notices).where(runs.c.run_id == run_id)) or []
            if bound and notice is not None and notice not in notices:
                connection.execute(this.values(notices=[*notices, notice]))
            return bool(bound)

        return self.database.write(make)

    def started(self, run_id: str, *, flow_run_id: str | None) -> None:
        """A process begins to work on the run. The time and flow run of the first start are kept."""
        values: dict[str, Any] = {
            "started_at": sa.func.coalesce(runs.c.started_at, sa.literal(self.now(), Moment())),
            "flow_run_id": flow_run_id,
            "begun_by": sa.func.coalesce(runs.c.begun_by, sa.literal(flow_run_id, sa.String)),
            "exit_code": None,
            "finished_at": None,
        }
        self._update(run_id, values)

    def amend(self, run: Run) -> None:
        """Record the run's checks and plan anew, its items being the same."""
        row = run.to_row()
        self._update(run.run_id, {"checks": row["checks"], "plan": row["plan"]})

    def finished(
        self, run_id: str, *, exit_code: int | None, seconds: float, complete: bool, is_behind: bool = False
    ) -> None:
        """A process stops working on the run after `seconds`; `complete`: every item is settled, and the first such time since it
        was started is kept. `is_behind`: see `Run`."""
        at = sa.func.coalesce(runs.c.finished_at, sa.literal(self.now(), Moment())) if complete else None
        values = {"exit_code": exit_code, "finished_at": at, "is_behind": is_behind}
        self._update(run_id, values | {"wall_seconds": runs.c.wall_seconds + seconds})

    def published(self, run_id: str, flow_run_id: str) -> None:
        """A flow run has shown what the run came to, without working on it."""
        self._update(run_id, {"flow_run_id": flow_run_id})

    def _update(self, run_id: str, values: Mapping[str, Any]) -> None:
        self.database.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))

    def spent(self, run_id: str) -> dict[str, int]:
        """Check -> evaluations that all processes of the run have sent, and that may be charged."""
        query = sa.select(spending.c.check_name, spending.c.evaluations).where(spending.c.run_id == run_id)
        return {row["check_name"]: row["evaluations"] for row in self.database.read(query)}

    def add_conclusion(
        self,
        run_id: str,
        at: datetime,
        exit_code: int | None,
        standing: Mapping[str, Any],
        figures: Sequence[CheckFigures] | None = None,
        *,
        ended: Mapping[str, Any] | None = None,
    ) -> None:
        """Record a process's conclusion; `standing` and `ended` are any JSON objects. With `figures`, they replace the run's."""
        row = {"run_id": run_id, "at": at, "exit_code": exit_code, "standing": dict(standing), "ended": ended}
        this = (conclusions.c.run_id == run_id, conclusions.c.at == at)

        def make(connection: Connection) -> None:
            if connection.execute(sa.select(conclusions.c.n).where(*this)).first() is None:  # it may be tried again
                connection.execute(sa.insert(conclusions).values(**row))
                if figures is not None:
                    check_figures.write(connection, run_id, figures)

        self.database.write(make)

    def conclusions(self, run_id: str) -> list[Conclusion]:
        """The conclusions of all processes that worked on the run, the earliest first."""
        columns = (conclusions.c.at, conclusions.c.exit_code, conclusions.c.standing, conclusions.c.ended)
        query = sa.select(*columns).where(conclusions.c.run_id == run_id).order_by(conclusions.c.n)
        return [Conclusion(**row) for row in self.database.read(query)]


_RUNS = RUNS.where(runs.c.pruned_at.is_(None))
_NAMES = sa.select(runs.c.run_id).where(drafts.is_whole)


def _nearest(wanted: str, known: Sequence[str]) -> str:
    """A hint with the names of runs that are spelled like `wanted`."""
    if not known:
        return "it has no runs yet"
    near = nearest(wanted, known)
    hint = f"nearest is {', '.join(near)}; " if near else ""
    return f"{hint}the latest are {', '.join(known[:5])}"
