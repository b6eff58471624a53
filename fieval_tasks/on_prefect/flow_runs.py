"""What all our flows do around the work on a run: read the plan, open the run, publish, and end in the right state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TypeAlias

from prefect import State, get_run_logger
from prefect.exceptions import TerminationSignal
from prefect.runtime import deployment, flow_run

from fieval_tasks.core.errors import FievalError, Interrupted
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.scrubbing import raise_without_secrets
from fieval_tasks.on_prefect.artifacts import publish
from fieval_tasks.on_prefect.events import announce, announce_cancelled
from fieval_tasks.on_prefect.final_states import cancelled, concluded, leave_suspended, refused
from fieval_tasks.on_prefect.forms import in_parameters, plan_given
from fieval_tasks.on_prefect.naming import tag
from fieval_tasks.on_prefect.openers import prepared
from fieval_tasks.on_prefect.watching import steerable, suspended_state
from fieval_tasks.runs.conclusion import Ended, Outcome, conclude, interrupted
from fieval_tasks.runs.display import display
from fieval_tasks.runs.preparation import Kept, Prepared

Requirement: TypeAlias = Callable[[EvaluationPlan], None]
"""A check that raises PlanError for a plan that this flow does not take."""


def ended_in_order(work: Callable[[], State[None]]) -> State[None]:
    """Do the work; its final state, or for an error of ours the failed state with its reason."""
    try:
        return work()
    except FievalError as error:  # what kept the run from starting, or its ledger from being written
        return refused(error)
    except Exception as error:  # nobody foresaw it, and Prefect logs and keeps it
        raise_without_secrets(error)


@contextmanager
def begun(plan: object, credentials: object, check: Requirement, *, shards: int = 0) -> Iterator[Prepared]:
    """Open the run that the parameters ask for, log what it will do, and let it be steered through its variable.

    `shards`: flow runs that will share its chunks; none where this one works on it. Raises PlanError, with every problem.
    """
    whole = plan_given(plan, credentials)
    check(whole)
    with prepared(whole, flow_run_id=flow_run.id, processes=shards or 1) as run:
        if shards or (whole.resume and whole.store):
            check(run.plan)  # what it says comes from a ledger that a parameter names
        tag(run.run_id)
        for line in run.described():
            get_run_logger().info(in_parameters(line) if deployment.id else line)
        with steerable(run, is_all=bool(shards)):
            yield run


def series_of(run: Kept) -> str:
    """The series of a run's artifacts: its deployment's, or else its dataset's."""
    return deployment.name or run.series


def published(run: Kept, outcome: Outcome, *, series: str | None = None) -> State[None]:
    """Show the outcome to everyone. `series`: what its artifacts are versions of; None: see `series_of`."""
    publish(outcome.report, run, series=series or series_of(run))
    announce(outcome)
    display.get().conclude(outcome)
    return concluded(outcome)


def work_on(
    run: Prepared,
    work: Callable[[], Ended | State[None]],
    *,
    publish: Callable[[Prepared, Outcome], State[None]] = published,
) -> State[None]:
    """Do the work on a run, conclude the run and publish its outcome; a state that the work returns is final at once."""
    began = monotonic()
    run.ledger.started(run.run_id, flow_run_id=flow_run.id)
    try:
        ended = work()
    except TerminationSignal:
        # a worker cancels by it, and sets the state itself: what carries the run on is said before
        _interrupted(run, seconds=monotonic() - began)
        raise
    if not isinstance(ended, Ended):
        return ended
    if isinstance(ended.stopped, Interrupted):
        return _interrupted(run, seconds=monotonic() - began)
    return publish(run, conclude(run, ended, seconds=monotonic() - began))


def _interrupted(run: Prepared, *, seconds: float) -> State[None]:
    """End a run that was cancelled or suspended."""
    said = interrupted(run, seconds=seconds)
    if deployment.id and (state := suspended_state()):  # Prefect suspends no others
        leave_suspended(
            state, f"run {run.run_id} is suspended; Resume in Prefect carries it on, or {run.resume_command}"
        )
    announce_cancelled(run.run_id)
    return cancelled(said)
