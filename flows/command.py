"""The command line. Prefect is imported late: its server, where one is needed, starts while the dataset is checked."""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import ValidationError

from fieval_tasks.control import Control
from fieval_tasks.display import display
from fieval_tasks.engine import stop_all
from fieval_tasks.errors import ExitCode, FievalError, Interrupted, PlanError, RunStopped
from fieval_tasks.items import State as ItemState
from fieval_tasks.plan import EvaluationPlan
from fieval_tasks.prefect_server import OwnServer, configured_api, is_healthy
from fieval_tasks.preparation import Prepared, prepared
from fieval_tasks.refusals import sentences, spelled
from fieval_tasks.report.table import table
from fieval_tasks.terminal import say, shown
from flows.arguments import (
    collect_parser,
    control_parser,
    evaluate_parser,
    fan_out_parser,
    option_name,
    plan_of,
)

if TYPE_CHECKING:
    from prefect import State

PATIENCE = 1.7
"""Seconds after Ctrl-C in which a run may end in order; then the process ends. The ledger has all that is known."""
StopWork = Callable[[FievalError], bool]
"""Stops what this process works on. False where it works on nothing."""


def evaluate_command(arguments: Sequence[str] | None = None) -> int:
    """`python -m flows.evaluate`; its exit code."""
    return _answered(lambda: _evaluate(evaluate_parser().parse_args(arguments)))


def fan_out_command(arguments: Sequence[str] | None = None) -> int:
    """`python -m flows.fan_out`; its exit code."""
    return _answered(lambda: _fan_out(fan_out_parser().parse_args(arguments)))


def collect_command(arguments: Sequence[str] | None = None) -> int:
    """`python -m flows.collect`; its exit code."""
    return _answered(lambda: _collect(collect_parser().parse_args(arguments)))


def _answered(work: Callable[[], int]) -> int:
    """Every failure that has a sentence is told in it, and nothing else."""
    try:
        return work()
    except PlanError as error:
        for problem in error.problems:
            say(f"error: {problem}")
        return error.exit_code
    except FievalError as error:
        say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted: nothing was sent")
        return ExitCode.INTERRUPTED


# -- evaluate ------------------------------------------------------------------------------------------------------


def _evaluate(options: argparse.Namespace) -> int:
    plan = plan_of(options)
    if options.dry_run and not _needs_prefect(plan):
        return _dry_run(plan)
    with _prefect_api() as wait_for_api:
        if _needs_prefect(plan):
            wait_for_api()
            _require_limit(plan)
        if options.dry_run:
            return _dry_run(plan)
        with prepared(plan) as run:
            _require_limit(run.plan)
            _describe(run)
            begun = plan.model_copy(update={"resume": run.run.run_id})
            resume_command = run.resume_command
        return _shown(resume_command, lambda: _run_evaluate(begun, wait_for_api))


def _needs_prefect(plan: EvaluationPlan) -> bool:
    """Prefect keeps what the plan names, or what a run to be resumed may name."""
    return bool(plan.connection not in (None, "local", "env") or plan.shared_limit or plan.resume)


def _require_limit(plan: EvaluationPlan) -> None:
    if plan.shared_limit:  # else Prefect need not be imported yet
        from flows.shared import require_limit

        require_limit(plan)


def _run_evaluate(plan: EvaluationPlan, wait_for_api: Callable[[], None]) -> State[Any]:
    from flows.evaluate import evaluate

    wait_for_api()  # it starts while Prefect is imported
    with _as_ours():
        return evaluate(plan, return_state=True)


def _dry_run(plan: EvaluationPlan) -> int:
    with prepared(plan) as run:
        _describe(run)
        invalid = run.ledger.counts(run.run.run_id)[ItemState.FAILED]
        run.ledger.forget(run.run.run_id)
    say(f"dry run: {invalid:,} items would fail before sending; nothing was sent")
    return ExitCode.OK


def _describe(run: Prepared) -> None:
    for line in run.described():
        say(line)


# -- fan out ---------------------------------------------------------------------------------------------------------


def _fan_out(options: argparse.Namespace) -> int:
    plan = plan_of(options)
    if options.dry_run:
        return _dry_run(plan)
    if configured_api() is None:
        raise PlanError(
            "shards run on the work pool of a Prefect server, and none is set: start one with `prefect server start`, "
            "set PREFECT_API_URL to it, and start workers with `prefect worker start --pool fieval`"
        )
    if plan.base_url:
        raise PlanError(
            "--base-url: shards take none; set FI_BASE_URL where their workers run, or name a block of keys"
        )
    with _prefect_api():
        from flows.fan_out import stop_teams

        _require_limit(plan)
        with prepared(plan, processes=options.shards) as run:
            _require_limit(run.plan)
            _describe(run)
            begun = plan.model_copy(update={"resume": run.run.run_id})
            again = run.resume_command
    return _shown(again, lambda: _run_fan_out(begun, options), stop_work=stop_teams)


def _run_fan_out(plan: EvaluationPlan, options: argparse.Namespace) -> State[Any]:
    from flows.fan_out import fan_out

    with _as_ours():
        return fan_out(plan, options.shards, options.deployment, return_state=True)


# -- collect -------------------------------------------------------------------------------------------------------


def _collect(options: argparse.Namespace) -> int:
    with _prefect_api() as wait_for_api:
        again = f"python -m flows.collect {options.run or ''}".strip()
        return _shown(again, lambda: _run_collect(options.run, options.store, wait_for_api))


def _run_collect(run: str | None, store: str | None, wait_for_api: Callable[[], None]) -> State[Any]:
    from flows.collect import collect

    wait_for_api()
    with _as_ours():
        return collect(run, store, return_state=True)


# -- control -------------------------------------------------------------------------------------------------------


def control_command(arguments: Sequence[str] | None = None) -> int:
    """`python -m flows.control`; its exit code."""
    return _answered(lambda: _control(control_parser().parse_args(arguments)))


def _control(options: argparse.Namespace) -> int:
    url = configured_api()
    if url is None:
        raise PlanError(
            "no Prefect API is set, so no run can be heard: set PREFECT_API_URL, or stop a run on a laptop by Ctrl-C "
            "and carry on with --resume and another --rate"
        )
    _require(url)
    from flows.control import steer

    try:
        wanted = steer(options.run, {name: getattr(options, name) for name in CONTROLS if hasattr(options, name)})
    except ValidationError as error:
        raise PlanError(*(spelled(line, Control, option_name) for line in sentences(error, Control))) from None
    told = wanted.model_dump(exclude_defaults=True)
    say(
        f"run {options.run}: {json.dumps(told) if told else 'as its plan says'}; a run of that name listens every few seconds"
    )
    return ExitCode.OK


CONTROLS = ("paused", "rate", "concurrency")


# -- a run in the terminal -----------------------------------------------------------------------------------------


def _shown(resume_command: str, run: Callable[[], State[Any]], *, stop_work: StopWork = stop_all) -> int:
    """Run with the display and the signals of a terminal; then say what it came to."""
    with _interruptible(resume_command, stop_work) as signalled, shown() as screen:
        token = display.set(screen)
        try:
            state = run()
        except httpx.HTTPError as error:
            state = _without_prefect(error, resume_command)
        finally:
            display.reset(token)
    if state.is_cancelled():
        if not signalled.is_set():
            say(str(state.message))  # cancelled in Prefect
        return ExitCode.INTERRUPTED
    for outcome in screen.outcomes:
        print(table(outcome.report), end="")
        print(f"report: {outcome.folder / 'report.html'}")
        if not outcome.is_good or outcome.report.summary.items.pending:
            say(outcome.sentence)
    if str(state.message) not in {outcome.message for outcome in screen.outcomes}:
        say(str(state.message))  # nothing came of it, or it was about several runs
    worst = max((outcome.exit_code for outcome in screen.outcomes), default=ExitCode.OK)
    return worst or (ExitCode.OK if state.is_completed() else ExitCode.STOPPED)


def _without_prefect(error: httpx.HTTPError, resume_command: str) -> State[Any]:
    """Of a run that Prefect could not be told the end of."""
    from prefect.states import Crashed

    state: State[Any] = Crashed(message=f"the Prefect API can't be asked ({error}); to carry on: {resume_command}")
    return state


@contextmanager
def _interruptible(resume_command: str, stop_work: StopWork) -> Iterator[threading.Event]:
    """Ctrl-C stops the run in order, and within PATIENCE in any case. Yields what is set when it comes."""
    signalled = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def stop(_: int, __: FrameType | None) -> None:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        signalled.set()
        say(f"\ninterrupted; to carry on: {resume_command}")
        watchdog = threading.Timer(PATIENCE, os._exit, [int(ExitCode.INTERRUPTED)])
        watchdog.daemon = True
        watchdog.start()
        if not stop_work(Interrupted("interrupted")):
            raise SystemExit(ExitCode.INTERRUPTED)

    for number in signals:
        signal.signal(number, stop)
    try:
        yield signalled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _as_ours() -> Iterator[None]:
    """Around a flow call: as it fits a terminal, and with the tag that the deployments' runs have."""
    from prefect import tags

    from flows.laptop import on_laptop
    from flows.poll import TAG

    with on_laptop(), tags(TAG):
        yield


@contextmanager
def _prefect_api() -> Iterator[Callable[[], None]]:
    """Prefect's API: the user's own, else a server of ours that is starting. Yields what waits until it answers."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if url := configured_api():
        _require(url)
        yield _ready
        return
    with OwnServer() as server:
        os.environ["PREFECT_API_URL"] = server.api_url
        yield server.wait_until_ready


_QUIET = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
"""The run shows itself; Prefect's log still goes to its server."""


def _ready() -> None:
    """The user's API has been asked already."""


def _require(url: str) -> None:
    if not is_healthy(url, timeout=10.0):
        raise RunStopped(
            f"the Prefect API at {url} does not answer, so nothing was sent: start it, or unset PREFECT_API_URL "
            f"(or the profile that sets it) to let the run start its own"
        )
