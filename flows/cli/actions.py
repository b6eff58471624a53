"""What each command does. Prefect is imported late: a server of our own starts while the dataset is checked."""

from __future__ import annotations

import json
import os
import select
import stat
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from io import BufferedReader
from textwrap import fill
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from fieval_tasks.core.command_lines import command, option_name
from fieval_tasks.core.errors import ExitCode, PlanError
from fieval_tasks.core.plan import MOST_SHARDS, EvaluationPlan
from fieval_tasks.core.refusals import sentences, spelled
from fieval_tasks.core.steering import Control
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.on_prefect.openers import PREFECT, prepared
from fieval_tasks.on_prefect.prefect_api import configured_api, require_api, require_configured
from fieval_tasks.on_prefect.prefect_names import require_known_names
from fieval_tasks.report.listing import COLUMNS, NARROWEST
from fieval_tasks.runs.connections import Openers
from fieval_tasks.runs.continuing import Continuation
from fieval_tasks.runs.forecast import foretold
from fieval_tasks.runs.preparation import Prepared, kept, runs_to_collect
from fieval_tasks.terminal.door import say
from fieval_tasks.terminal.forecast_text import as_object, lines
from fieval_tasks.terminal.manner import answer, is_quiet
from flows.cli.direct import DIRECT, direct_end, require_direct
from flows.cli.flow_end import flow_end
from flows.cli.interruption import Interruption, interruptible
from flows.cli.prefect_session import prefect_session
from flows.cli.screen import run_shown

if TYPE_CHECKING:
    from prefect import State


# -- evaluate ------------------------------------------------------------------------------------------------------


@interruptible
def evaluate(interruption: Interruption, plan: EvaluationPlan, *, dry_run: bool, no_prefect: bool = False) -> int:
    if plan.dataset is None and plan.resume is None and _rows_are_waiting():
        raise PlanError("rows come by standard input and no DATASET is named: name it -")
    resumed = _run_of(plan.resume, plan.store) if plan.resume else None
    if no_prefect:
        require_direct(plan, resumed)
        return _evaluate_directly(interruption, plan, dry_run=dry_run)
    _require_text(plan)
    # Prefect keeps what the plan names, or what a run to be resumed may name.
    needs_prefect = plan.connection not in (None, "local", "env") or plan.shared_limit or plan.resume
    if dry_run and not needs_prefect:
        return _dry_run(plan)
    if needs_prefect and configured_api() is None:
        require_known_names(plan)
    with prefect_session() as wait_for_api:
        if needs_prefect:
            wait_for_api()
            _require_limit(plan)
        if dry_run:
            return _dry_run(plan)
        with prepared(plan) as run:  # the flow takes it over
            _require_limit(run.plan)
            again = _begun(interruption, run)
            return run_shown(
                interruption, again, lambda: flow_end(lambda: _run_evaluate(run.to_carry_on, wait_for_api), again)
            )


def _evaluate_directly(interruption: Interruption, plan: EvaluationPlan, *, dry_run: bool) -> int:
    if dry_run:
        return _dry_run(plan, DIRECT)
    with prepared(plan, openers=DIRECT) as run:
        again = _begun(interruption, run)
        return run_shown(interruption, again, lambda: direct_end(run))


def _run_evaluate(plan: EvaluationPlan, wait_for_api: Callable[[], None]) -> State[Any]:
    from flows.evaluate import evaluate as flow

    wait_for_api()  # it starts while Prefect is imported
    return flow(plan, return_state=True)


def _require_text(plan: EvaluationPlan) -> None:
    """Raises PlanError where a name can't be a flow run's parameter, as that of a file in an older encoding."""
    problems = []
    for field in sorted(plan.model_fields_set):
        try:
            plan.model_dump_json(include={field})
        except PydanticSerializationError:
            told = (
                "it holds bytes that are no UTF-8, which Prefect can't be told: name it otherwise, or say --no-prefect"
            )
            problems.append(f"{option_name(field)}: {told}")
    if problems:
        raise PlanError(*problems)


def _rows_are_waiting() -> bool:
    """A pipe or a file that holds something is this process's standard input."""
    try:
        source = os.fstat(sys.stdin.fileno())
        if not stat.S_ISFIFO(source.st_mode):
            return stat.S_ISREG(source.st_mode) and source.st_size > 0
        is_ready = bool(select.select([sys.stdin], [], [], 0)[0])  # with rows, or at its end
        return is_ready and isinstance(sys.stdin.buffer, BufferedReader) and bool(sys.stdin.buffer.peek(1))
    except (OSError, ValueError, AttributeError):  # there is none, or it is closed
        return False


def _run_of(name: str, store: str | None) -> Run:
    """Raises PlanError where there is no such run, before a Prefect server is waited for."""
    with Ledger(store_url(store), must_exist=True) as ledger:
        return ledger.run(name)


def _require_limit(plan: EvaluationPlan) -> None:
    if plan.shared_limit:  # else Prefect need not be imported yet
        from fieval_tasks.on_prefect.shared_limit import require_limit

        require_limit(plan)


def _dry_run(plan: EvaluationPlan, openers: Openers = PREFECT, *, processes: int = 1) -> int:
    with foretold(plan, openers, processes=processes) as forecast:
        if (to := answer.get()) is not None:
            to.found = as_object(forecast)
        else:
            told = [*lines(forecast)]
            ends = [line for line in told if line.startswith("dry run: ")]
            _say_wrapped(ends[-1:] if is_quiet.get() else told)
    return ExitCode.OK


def _begun(interruption: Interruption, run: Prepared) -> str:
    """The run is in the ledger, with nothing of it on its way yet; the command that carries it on."""
    again = run.resume_command
    interruption.says = lambda: f"interrupted: nothing was sent; to carry on: {again}"
    if not is_quiet.get():
        _say_wrapped(run.described())
    return again


def _say_wrapped(said: Iterable[str]) -> None:
    try:  # standard error's terminal: what the run comes to may be written elsewhere
        columns = max(NARROWEST, os.get_terminal_size(sys.stderr.fileno()).columns)
    except OSError:
        columns = COLUMNS
    for line in said:
        say(fill(line, columns, subsequent_indent="    ", break_on_hyphens=False) if sys.stderr.isatty() else line)


# -- fan out -------------------------------------------------------------------------------------------------------


@interruptible
def fan_out(interruption: Interruption, plan: EvaluationPlan, *, dry_run: bool, shards: int, deployment: str) -> int:
    if not 1 <= shards <= MOST_SHARDS:
        raise PlanError(f"--shards: {shards} is not a number from 1 to {MOST_SHARDS}")
    if dry_run:
        return _dry_run(plan, processes=shards)
    require_configured(
        "shards run on the work pool of a Prefect server, and none is set",
        ": start one with `prefect server start`, set PREFECT_API_URL to it, and start workers with `prefect worker "
        "start --pool fieval`",
    )
    if plan.base_url:
        raise PlanError(
            "--base-url: shards take none; set FI_BASE_URL where their workers run, or name a block of keys"
        )
    with prefect_session():
        from fieval_tasks.on_prefect.shard_runs import stop_shard_runs
        from flows.fan_out import fan_out as flow

        _require_limit(plan)
        with prepared(plan, processes=shards) as run:
            _require_limit(run.plan)
            again = _begun(interruption, run)
            return run_shown(
                interruption,
                again,
                lambda: flow_end(lambda: flow(run.to_carry_on, shards, deployment, return_state=True), again),
                stop_work=stop_shard_runs,
            )


# -- collect -------------------------------------------------------------------------------------------------------


@interruptible
def collect(interruption: Interruption, run: str | None, store: str | None) -> int:
    if run:
        _run_of(run, store)
    elif not runs_to_collect(store):  # nobody should wait for a server to hear that
        say("no run waits for anything")
        if (to := answer.get()) is not None:
            to.found = {"runs": [], "exit_code": ExitCode.OK}
        return ExitCode.OK
    with prefect_session() as wait_for_api:
        wait_for_api()  # it may keep the keys
        _require_one(run, store)
        again = command("collect", *([run] if run else []), store=store)
        from flows.collect import collect as flow

        end = partial(flow_end, lambda: flow(run, store, return_state=True), again)
        return run_shown(interruption, again, end, of_several=run is None)


def _require_one(run: str | None, store: str | None) -> None:
    """Raises PlanError where none of the runs can be asked about: with other keys than it was sent with, for one."""
    problems: list[str] = []
    for name in [run] if run else runs_to_collect(store):
        try:
            with kept(name, store) as found:
                if found.is_over:  # and needs no keys
                    return
            with prepared(Continuation(name, store)):
                return
        except PlanError as error:
            problems += error.problems
    if problems:
        raise PlanError(*problems)


# -- control -------------------------------------------------------------------------------------------------------


@interruptible
def control(interruption: Interruption, run: str, changes: Mapping[str, Any], store: str | None) -> int:
    interruption.says = lambda: "interrupted"
    require_configured(
        "no Prefect API is set",
        ", so no run can be heard: set PREFECT_API_URL, or stop a run on a laptop by Ctrl-C and carry on with --resume "
        "and another --rate",
    )
    require_api()
    from flows.control import steer

    try:
        run, wanted = steer(run, changes, store)
    except ValidationError as error:
        raise PlanError(*(spelled(line, Control, option_name) for line in sentences(error, Control))) from None
    said = wanted.model_dump(exclude_defaults=True)
    how = json.dumps(said) if said else "as its plan says"
    say(f"run {run}: {how}; while it is at work it listens every few seconds")
    return ExitCode.OK
