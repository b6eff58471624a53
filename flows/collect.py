"""Fetch the verdicts of runs that were only submitted, or were cut off: the flow, and `python -m flows.collect`."""

from __future__ import annotations

if __name__ == "__main__":  # first of all: the command starts a Prefect server, where one is needed, before the import
    import sys

    from flows.command import collect_command

    sys.exit(collect_command())

from collections.abc import Iterator, Sequence
from time import monotonic

from prefect import State, flow
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from fieval_tasks.conclusion import Ended, conclude
from fieval_tasks.errors import FievalError, Interrupted
from fieval_tasks.plan import EvaluationPlan, Mode
from fieval_tasks.preparation import Prepared, prepared, runs_with_open_tickets
from flows.evaluate import cancelled, may_begin, published
from flows.poll import poll_evaluations


@flow(name="collect", persist_result=False)
def collect(run: str | None = None, store: str | None = None) -> State[None]:
    """Ask for the open tickets of one run, or of all that have some; amend their reports.

    Args:
        run: A run's name, or last. None: every run that waits for verdicts.
        store: The ledger's URL. None: FIEVAL_STORE_URL, else the one in the working folder.
    """
    try:
        store = EvaluationPlan(store=store).store  # refused with a password in it
        names = [run] if run else runs_with_open_tickets(store)
    except FievalError as error:
        return Failed(message=str(error))
    states = [*collected(names, store)]
    if states and states[-1].is_cancelled():
        return states[-1]
    told = "; ".join(str(state.message) for state in states) or "no run has open tickets"
    return Completed(message=told) if all(state.is_completed() for state in states) else Failed(message=told)


def collected(names: Sequence[str], store: str | None) -> Iterator[State[None]]:
    """How each run went, until somebody asks for an end. What is wrong with one keeps no other from its verdicts."""
    for name in names:
        try:
            state = collect_run(name, store)
        except FievalError as error:
            state = Failed(message=f"run {name}: {error}")
        yield state
        if state.is_cancelled():
            return


def collect_run(name: str, store: str | None) -> State[None]:
    """Wait for one run's tickets. Nothing new is submitted."""
    began = monotonic()
    with prepared(EvaluationPlan(resume=name, store=store)) as run:
        if busy := run.worked_on_by_others():
            return Completed(message=f"run {run.run.run_id} is left alone: {busy} is working on it")
        if store:
            may_begin(run.plan)  # what it says comes from a ledger that a parameter names
        run.ledger.started(run.run.run_id, flow_run_id=flow_run.id)
        ended = wait_for_tickets(run)
        if isinstance(ended.stopped, Interrupted):
            return cancelled(run, seconds=monotonic() - began)
        return published(run, conclude(run, ended, seconds=monotonic() - began))


def wait_for_tickets(run: Prepared) -> Ended:
    """Poll until the run's open tickets are settled, or something stops it."""
    with run.engine(Mode.ASYNC) as engine:
        try:
            poll_evaluations(engine.run.run_id)
        except FievalError as error:
            return Ended(error, engine.notices)
        return Ended(notices=engine.notices)
