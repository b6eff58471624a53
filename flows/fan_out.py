"""One run as shards over a work pool: the flow, the flow of a shard, and `python -m flows.fan_out`."""

from __future__ import annotations

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("flows.cli.command", "fan_out_command")

from collections.abc import Iterator
from dataclasses import replace
from time import monotonic
from typing import Annotated, Any

from prefect import State, flow, get_run_logger
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from fieval_tasks.blocks import FutureAGICredentials
from fieval_tasks.core.errors import FievalError, Interrupted, PlanError, RunStopped
from fieval_tasks.core.plan import MOST_SHARDS, SHARD_DEPLOYMENT, EvaluationPlan, Mode
from fieval_tasks.core.progress import Progress
from fieval_tasks.on_prefect.final_states import REFUSED, cancelled, failed, state_name_of
from fieval_tasks.on_prefect.flow_runs import begun, ended_in_order, series_of, work_on
from fieval_tasks.on_prefect.naming import title
from fieval_tasks.on_prefect.openers import prepared
from fieval_tasks.on_prefect.permitted import require_permitted, require_permitted_store
from fieval_tasks.on_prefect.shard_runs import ShardRuns
from fieval_tasks.on_prefect.shared_limit import require_limit
from fieval_tasks.on_prefect.showing import shown_in_prefect
from fieval_tasks.on_prefect.times import TIMES
from fieval_tasks.on_prefect.watching import Rhythm
from fieval_tasks.runs.conclusion import Ended
from fieval_tasks.runs.continuing import Continuation
from fieval_tasks.runs.preparation import Prepared
from fieval_tasks.work.options import Share
from fieval_tasks.work.work_tuning import TUNING
from flows.evaluate import submit_and_wait

# -- the whole run -----------------------------------------------------------------------------------------------------


@flow(
    name="fan-out",
    flow_run_name=title,
    persist_result=False,
    validate_parameters=False,  # they are read here, and refused in a sentence
)
def fan_out(
    plan: EvaluationPlan,
    shards: Annotated[
        int, Field(ge=1, le=MOST_SHARDS, title="Shards", description="Flow runs that share the work")
    ] = 3,
    deployment: Annotated[str, Field(title="Deployment", description="Of the flow evaluate-shard")] = SHARD_DEPLOYMENT,
    credentials: FutureAGICredentials | None = None,
) -> State[None]:
    """Share a run out to flow runs on a work pool, follow them, and publish the one report.

    Args:
        plan: What is evaluated, and how. Left as it is, it evaluates the bundled sample on the local evaluator.
        shards: Flow runs that share the work, from 1 to 100.
        deployment: Of the flow evaluate-shard, FLOW/DEPLOYMENT: what the shards are flow runs of.
        credentials: A saved block of keys. None: by the plan's connection.
    """

    def shared_out() -> State[None]:
        with begun(plan, credentials, lambda one: may_be_shared_out(one, shards), shards=shards) as run:
            return work_on(run, lambda: worked_on(run, shards, deployment))

    return ended_in_order(shared_out)


def may_be_shared_out(plan: EvaluationPlan, shards: int) -> None:
    """Raises PlanError for what every shard would stumble over: said once, before anything starts."""
    if not 1 <= shards <= MOST_SHARDS:
        raise PlanError(f"shards: {shards} is not a number from 1 to {MOST_SHARDS}")
    if plan.base_url:  # whoever may edit a deployment's parameters could have the keys sent anywhere
        raise PlanError("plan.base_url: shards take none; set FI_BASE_URL where their workers run, or use a block")
    require_permitted(plan)
    require_limit(plan)


def worked_on(run: Prepared, shards: int, deployment: str) -> Ended:
    """How it ended that shards worked on the run."""
    if not run.book.unfinished_chunks():
        return Ended()
    try:
        with ShardRuns(shard_plan(run), shards, deployment) as shard_runs:
            return follow(run, shard_runs)
    except RunStopped as error:  # before all its shards were started
        return Ended(error)


def shard_plan(run: Prepared) -> dict[str, Any]:
    """The plan by which a shard works on the run, as a flow parameter: where the run is, and what this call says of it
    otherwise. A store with a password is not named in it: the workers have it as FIEVAL_STORE_URL."""
    store = None if "***" in run.ledger.name else run.ledger.name
    now = run.plan.model_dump(mode="json", exclude={"output", "same_account"})
    begun = {**EvaluationPlan().model_dump(mode="json"), **run.run.plan}
    said = {name: value for name, value in now.items() if value not in (None, begun[name])}
    return said | {"resume": run.run_id} | ({"store": store} if store else {})


def follow(run: Prepared, shard_runs: ShardRuns) -> Ended:
    """Wait until the shards have done all they can; how it ended."""
    with shown_in_prefect(run.run.total, series=series_of(run)) as show:
        try:
            for _ in rounds(run, shard_runs):
                show(progress_of(run))
        except FievalError as error:
            shard_runs.cancel()
            return Ended(error, shard_runs.notices)
        finally:
            show(progress_of(run))
    stopped = None if run.book.unfinished_chunks() == [] else shard_runs.stopped
    return Ended(stopped, shard_runs.notices, waited=run.plan.mode is not Mode.SUBMIT)


def rounds(run: Prepared, shard_runs: ShardRuns) -> Iterator[None]:
    """One for each look, until there is nothing more to wait for. Raises what stops the run."""
    began = last_sign = monotonic()
    waiting = Rhythm(TIMES.reminds_every)
    while not shard_runs.has_ended:
        yield
        now = monotonic()
        if not shard_runs.has_begun and waiting.due():
            get_run_logger().warning(
                "no worker has taken up a shard yet: the run waits for one that runs %s, for %.0f s in all; to start one: "
                "prefect worker start --pool NAME", shard_runs.deployment, TIMES.begins_within,
            )  # fmt: skip
        if run.plan.timeout is not None and now - began > run.plan.timeout:
            raise RunStopped("the time given by --timeout is over")
        if now - began > TIMES.begins_within and not shard_runs.has_begun:
            raise RunStopped(
                f"no worker took up a run of {shard_runs.deployment} within {TIMES.begins_within:.0f} s: start one for its work pool, "
                f"with `prefect worker start --pool NAME`"
            )
        if not shard_runs.has_begun or run.book.claims.holder():
            last_sign = now
        is_done = not run.book.unfinished_chunks()
        if now - last_sign > (TIMES.last_words if is_done else TIMES.shards_quiet):
            shard_runs.look(soon=True)  # a shard that has begun since the last look is lost, and not late
            return
        shard_runs.wait(TIMES.ledger_every)
        shard_runs.look(soon=is_done)


def progress_of(run: Prepared) -> Progress:
    """How far the shards are, by the ledger."""
    spent = run.ledger.spent(run.run_id)
    sent = {check.name: spent.get(check.name, 0) for check in run.run.checks}
    return run.book.counts().progress(run.budget.prices, sent)


# -- a shard -----------------------------------------------------------------------------------------------------------


@flow(
    name="evaluate-shard",
    flow_run_name="{plan.resume}-{shard}-of-{of}",
    task_runner=ThreadPoolTaskRunner(max_workers=TUNING.submitters),  # type: ignore[arg-type]
    persist_result=False,
)
def evaluate_shard(
    plan: EvaluationPlan, shard: Annotated[int, Field(ge=1)], of: Annotated[int, Field(ge=1, le=MOST_SHARDS)]
) -> State[None]:
    """Work on a run that others work on too: first on its own part, then on what nobody does. It concludes nothing.

    Args:
        plan: The run, as fan-out names it.
        shard: Which of the shards this is, from 1.
        of: How many there are.
    """
    if plan.resume is None:
        return failed("a shard works on a run that fan-out began, and plan.resume names none", name=REFUSED)

    def helped() -> State[None]:
        require_permitted_store(plan.store)
        with prepared(continued(plan)) as run:
            may_be_shared_out(run.plan, of)
            ended = submit_and_wait(run, share=Share(shard - 1, of))
        message = "\n".join((str(ended.stopped or "nothing is left to do"), *ended.notices))
        if isinstance(ended.stopped, Interrupted):
            return cancelled(message)
        return failed(message, name=state_name_of(ended.stopped)) if ended.stopped else Completed(message=message)

    return ended_in_order(helped)


def continued(plan: EvaluationPlan) -> Continuation:
    """The run as a shard opens it. The failed items were reopened before the shards began: what failed since is not."""
    return replace(Continuation.from_plan(plan), retry_failed=False)
