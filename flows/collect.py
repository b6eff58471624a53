"""Fetch the verdicts of runs that were only submitted, or were cut off: the flow, and `python -m flows.collect`."""

from __future__ import annotations

if __name__ == "__main__":  # first of all: the command starts a Prefect server, where one is needed, before the import
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "collect_command")

from collections.abc import Iterator, Sequence

from prefect import State, flow, get_run_logger
from prefect.runtime import deployment, flow_run
from prefect.states import Completed, Failed

from fieval_tasks.core.errors import FievalError, PlanError, RunsRefused
from fieval_tasks.core.plan import EvaluationPlan, Mode
from fieval_tasks.core.scrubbing import without_secrets
from fieval_tasks.core.unexpected import as_unexpected
from fieval_tasks.on_prefect.final_states import INCOMPLETE, failed, refused, state_name_of
from fieval_tasks.on_prefect.flow_runs import published, work_on
from fieval_tasks.on_prefect.naming import collector_title, tag
from fieval_tasks.on_prefect.openers import prepared
from fieval_tasks.on_prefect.permitted import require_permitted_store
from fieval_tasks.on_prefect.showing import shown_in_prefect
from fieval_tasks.on_prefect.times import TIMES
from fieval_tasks.on_prefect.watching import Watch, steerable
from fieval_tasks.runs.conclusion import Ended, Outcome, concluded_again
from fieval_tasks.runs.continuing import Continuation
from fieval_tasks.runs.display import display
from fieval_tasks.runs.preparation import Kept, Prepared, kept, runs_to_collect
from flows.evaluate import may_begin
from flows.poll import poll_evaluations


@flow(name="collect", flow_run_name=collector_title, persist_result=False)
def collect(run: str | None = None, store: str | None = None) -> State[None]:
    """Ask for the open tickets of one run, or of all that have some; write their reports, or amend them.

    Args:
        run: A run's name, or last. None: every run that waits for verdicts, or for its report.
        store: The ledger's URL. None: FIEVAL_STORE_URL, else the one in the working folder.
    """
    try:
        store = EvaluationPlan(store=store).store  # refused with a password in it
        require_permitted_store(store)
        names = [run] if run else runs_to_collect(store)
    except FievalError as error:
        return refused(error, data=error)
    states = [*collected(names, store, quiet=TIMES.collector_quiet if deployment.id and not run else None)]
    if states and states[-1].is_cancelled():
        return states[-1]
    lines = [_named(name, str(state.message)) for name, state in zip(names, states, strict=True)]
    message = "; ".join(lines) or "no run waits for anything"
    if all(state.is_completed() for state in states):
        return Completed(message=message)
    errors = [state.data if run else _of_several(state.data) for state in states if isinstance(state.data, FievalError)]
    ends = {str(state.name) for state in states if not state.is_completed()}
    name = ends.pop() if len(ends) == 1 else INCOMPLETE  # and each has been logged
    return Failed(name=name, message=message, data=max(errors, key=lambda error: error.exit_code, default=None))


def _of_several(error: FievalError) -> FievalError:
    """Bad input of one run is not the command's: that run lacks its verdicts."""
    return RunsRefused(str(error)) if isinstance(error, PlanError) else error


def _named(name: str, message: str) -> str:
    return message if message.startswith("run ") else f"run {name}: {message}"


def collected(names: Sequence[str], store: str | None, *, quiet: float | None = None) -> Iterator[State[None]]:
    """The final state of each run, until interrupted. An error of one run does not keep the others from being collected."""
    for name in names:
        try:
            state = collect_run(name, store, quiet=quiet)
        except FievalError as error:
            state = failed(f"run {name}: {error}", name=state_name_of(error), data=error)
        except Exception as error:  # an unexpected error of one run: the others are still collected
            scrubbed = without_secrets(error)
            get_run_logger().error("run %s", name, exc_info=scrubbed)
            unexpected = as_unexpected(scrubbed)
            state = Failed(message=f"run {name}: {unexpected}", data=unexpected)
        yield state
        if state.is_cancelled():
            return


def collect_run(name: str, store: str | None, *, quiet: float | None = None) -> State[None]:
    """Wait for one run's tickets; with `quiet`, leave them after so many seconds without a verdict. Submits nothing.

    A run that is over needs no keys: it is concluded again, and published if Prefect knows nothing of its end.
    """
    with kept(name, store) as found:
        if busy := found.book.claims.holder():
            return Completed(message=f"run {found.run_id} is left alone: {busy} is working on it")
        if store:
            may_begin(found.plan)  # what it says comes from a ledger that a parameter names
        if found.is_over:
            return news(found, concluded_again(found))
    with prepared(Continuation(name, store)) as run:
        return work_on(run, lambda: wait_for_tickets(run, quiet), publish=news)


def wait_for_tickets(run: Prepared, quiet: float | None) -> Ended | State[None]:
    """Poll until the run's open tickets are settled, or something stops it; a state where some are left, for it is quiet."""
    if not run.book.open_chunks():
        return Ended()
    with steerable(run), run.engine(Mode.ASYNC, quiet=quiet) as engine:
        with shown_in_prefect(run.run.total, series=run.series, watch=Watch(engine)):
            try:
                poll_evaluations(engine.run.run_id)
            except FievalError as error:
                return Ended(error, engine.notices)
        if not engine.left:
            return Ended(notices=engine.notices)
    waiting = sum(n for state, n in run.book.counts().items() if not state.is_final)
    return Completed(message=f"run {run.run_id}: {waiting:,} of {run.run.total:,} items still wait for their verdicts")


def news(run: Kept, outcome: Outcome) -> State[None]:
    """Publish an outcome that differs from the last one, or of which Prefect knows nothing. Without a difference only a terminal shows it again: a collector
    that runs every ten minutes must not send an alert each time about one forgotten evaluation."""
    if outcome.is_news or run.run.flow_run_id is None:
        tag(run.run_id)
        state = published(run, outcome, series=run.series)
        run.ledger.published(run.run_id, str(flow_run.id))
        return state
    display.get().conclude(outcome)
    report = outcome.report
    return Completed(message=f"run {report.facts.run_id}: nothing new, {report.items.pending:,} pending")
