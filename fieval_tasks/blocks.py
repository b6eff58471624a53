"""Prefect blocks: the platform's keys, and an evaluation as a job to trigger now and wait for anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, TypeVar

from prefect._internal.compatibility.async_dispatch import async_dispatch  # as Prefect's own integrations do
from prefect.blocks.abstract import JobBlock, JobRun
from prefect.runtime import flow_run
from pydantic import Field

from fieval_tasks.core.errors import Interrupted, PlanError
from fieval_tasks.core.plan import EvaluationPlan, Mode
from fieval_tasks.on_prefect.keys import DOCUMENTATION, LOGO, FutureAGICredentials, load_credentials, plan_with
from fieval_tasks.on_prefect.openers import prepared
from fieval_tasks.runs.conclusion import Ended, conclude, report_of
from fieval_tasks.runs.continuing import Continuation
from fieval_tasks.runs.preparation import Prepared, kept
from fieval_tasks.runs.workers import resumable, threads, work_once
from fieval_tasks.work.engine import current

__all__ = ["EvaluationJob", "EvaluationRun", "FutureAGICredentials", "load_credentials"]

T = TypeVar("T")


class EvaluationRun(JobRun[dict[str, Any]]):
    """A run that was triggered. It knows only the run's name and its ledger, so that any process can wait for it."""

    def __init__(self, run_id: str, *, store: str | None = None) -> None:
        """`store`: the ledger's URL; None: FIEVAL_STORE_URL, else the one in the working folder."""
        self.run_id = run_id
        self.store = store
        self._summary: dict[str, Any] | None = None

    async def await_for_completion(self) -> None:
        """`wait_for_completion`, for async callers."""
        await self.aside(self._wait)

    @async_dispatch(await_for_completion)
    def wait_for_completion(self) -> None:  # type: ignore[override]  # a Logger, by a slip of Prefect's
        """Ask for the verdicts until each item has one or is past its time, and write the run's files.

        Raises RunStopped where the run can't go on. A failed gate is no error here: the result says it.
        """
        self._wait()

    async def afetch_result(self) -> dict[str, Any]:
        """`fetch_result`, for async callers."""
        return await self.aside(self._fetch)

    @async_dispatch(afetch_result)
    def fetch_result(self) -> dict[str, Any]:  # type: ignore[override]  # Prefect's is async only
        """The summary, as in summary.json. Before the run was waited for, it is how things stand now: nothing is written."""
        return self._fetch()

    def submit(self) -> None:
        """Send every item that was not sent yet. Raises RunStopped where that can't go on."""
        with self._at_work() as run, run.engine(Mode.SUBMIT) as engine, threads(engine) as workers:
            sent = work_once(engine, Mode.SUBMIT, workers)
            notices = engine.notices
        for line in (*notices, f"{sent:,} items submitted"):
            self.logger.info("run %s: %s", self.run_id, line)

    def _wait(self) -> None:
        began = monotonic()
        with self._at_work() as run:
            with run.engine(Mode.ASYNC) as engine:
                engine.settle()
                while engine.wait_for_others():
                    engine.settle()
                ended = Ended(notices=engine.notices)
            outcome = conclude(run, ended, seconds=monotonic() - began)
        self._summary = outcome.report.to_json()
        self.logger.info(outcome.message)

    def _fetch(self) -> dict[str, Any]:
        if self._summary is not None:
            return self._summary
        with kept(self.run_id, self.store) as run:
            return report_of(run).to_json()

    @contextmanager
    def _at_work(self) -> Iterator[Prepared]:
        with prepared(Continuation(self.run_id, self.store)) as run, resumable(run):
            run.ledger.started(run.run_id, flow_run_id=flow_run.id or run.run.flow_run_id)
            yield run

    async def aside(self, work: Callable[[], T]) -> T:
        """Work that blocks, in a thread of its own; where the caller is cancelled, it ends in order."""
        try:
            return await asyncio.to_thread(work)
        except asyncio.CancelledError:
            if (engine := current(self.run_id)) is not None:
                engine.stop(Interrupted("cancelled"))
            raise


class EvaluationJob(JobBlock):  # type: ignore[type-arg]  # a JobBlock[...] would be registered as a block of its own
    """An evaluation, kept in Prefect under a name: triggered in one place, waited for in any other."""

    _block_type_name = "Future AGI Evaluation"
    _block_type_slug = "futureagi-evaluation"
    _logo_url = LOGO
    _documentation_url = DOCUMENTATION
    _description = "Submits a dataset to Future AGI evaluations; its run is waited for here or anywhere else."
    _code_example = """\
```python
from fieval_tasks.blocks import EvaluationJob

run = EvaluationJob.load("answers").trigger()  # everything is submitted
run.wait_for_completion()
summary = run.fetch_result()
```"""

    plan: EvaluationPlan = Field(
        title="Plan", description="What is evaluated, and how. Its mode says nothing here: a job always submits first"
    )
    credentials: FutureAGICredentials | None = Field(
        default=None, title="Credentials", description="A saved block of keys; empty: the plan's connection"
    )

    async def atrigger(self) -> EvaluationRun:
        """`trigger`, for async callers."""
        run = await asyncio.to_thread(self._begun)
        await run.aside(run.submit)
        return run

    @async_dispatch(atrigger)
    def trigger(self) -> EvaluationRun:  # type: ignore[override]  # Prefect's is async only
        """Submit everything, and come back without waiting for a verdict.

        Raises PlanError, with every problem, before anything is sent, and RunStopped where the run can't go on.
        """
        run = self._begun()
        run.submit()
        return run

    def _begun(self) -> EvaluationRun:
        if self.plan.stop_when_decided:
            raise PlanError(
                "plan.stop_when_decided: a job submits everything before it waits for a verdict; leave it out, or run the "
                "flow evaluate"
            )
        with prepared(self._whole_plan) as run:
            for line in run.described():
                self.logger.info(line)
            return EvaluationRun(run.run_id, store=self.plan.store)

    @property
    def _whole_plan(self) -> EvaluationPlan:
        return plan_with(self.credentials, self.plan.model_copy(update={"mode": Mode.ASYNC}))
