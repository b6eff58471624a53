"""The command line. Prefect is imported late: its server, where one is needed, starts while the dataset is checked."""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import stat
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from io import BufferedReader
from shutil import get_terminal_size
from textwrap import fill
from types import FrameType
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

import httpx
from pydantic import ValidationError

from fieval_tasks.core.commands import command
from fieval_tasks.core.control import Control
from fieval_tasks.core.errors import ExitCode, FievalError, Interrupted, PlanError, RunStopped, in_words
from fieval_tasks.core.faults import fault
from fieval_tasks.core.items import State as ItemState
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.refusals import sentences, spelled
from fieval_tasks.ledger.store import Ledger, store_url
from fieval_tasks.on_prefect.prefect_api import require_api, require_settings
from fieval_tasks.on_prefect.prefect_errors import why
from fieval_tasks.on_prefect.prefect_server import OwnServer, configured_api, environment_set, unknown_profile
from fieval_tasks.report.output import parquet_missing
from fieval_tasks.report.table import COLUMNS, NARROWEST, table
from fieval_tasks.report.text import clean, count
from fieval_tasks.runs.display import display
from fieval_tasks.runs.preparation import Prepared, prepared, runs_to_collect
from fieval_tasks.terminal.bar import Terminal, shown
from fieval_tasks.terminal.door import answered, say
from fieval_tasks.work.engine import stop_all
from flows.cli.arguments import (
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
A_MOMENT = 5.0
"""Seconds after which a wait for our own Prefect server is told: on a quiet machine it is up before."""
StopWork = Callable[[FievalError], bool]
"""Stops what this process works on. False where it works on nothing."""


def evaluate_command(arguments: Sequence[str] | None = None) -> int:
    """`python -m flows.evaluate`; its exit code."""
    return _commanded(lambda course: _evaluate(course, evaluate_parser().parse_args(arguments)))


def fan_out_command(arguments: Sequence[str] | None = None) -> int:
    """`python -m flows.fan_out`; its exit code."""
    return _commanded(lambda course: _fan_out(course, fan_out_parser().parse_args(arguments)))


def collect_command(arguments: Sequence[str] | None = None) -> int:
    """`python -m flows.collect`; its exit code."""
    return _commanded(lambda course: _collect(course, collect_parser().parse_args(arguments)))


class Course:
    """How far a command has come: what is true to say of it, and how it is stopped, when it is interrupted."""

    def __init__(self) -> None:
        self.told: Callable[[], str] = lambda: "interrupted: nothing was sent"
        self.stop_work: StopWork = lambda _: False
        self.is_interrupted = False


def _commanded(work: Callable[[Course], int]) -> int:
    """The exit code of a command, whose every failure, and every end by a signal, is told in a sentence."""

    def until_interrupted() -> int:
        with _interruptible(course := Course()):
            return work(course)

    return answered(until_interrupted)


# -- evaluate ------------------------------------------------------------------------------------------------------


def _evaluate(course: Course, options: argparse.Namespace) -> int:
    plan = plan_of(options)
    if plan.dataset is None and plan.resume is None and _rows_are_waiting():
        raise PlanError("rows come by standard input and no DATASET is named: name it -")
    if options.dry_run and not _needs_prefect(plan):
        return _dry_run(plan)
    if plan.resume:
        _require_run(plan.resume, plan.store)
    with _prefect_api() as wait_for_api:
        if _needs_prefect(plan):
            wait_for_api()
            _require_limit(plan)
        if options.dry_run:
            return _dry_run(plan)
        with prepared(plan) as run:
            _require_limit(run.plan)
            _begun(course, run)
            begun = run.plan.model_copy(update={"resume": run.run.run_id})
            resume_command = run.resume_command
        return _shown(course, resume_command, lambda: _run_evaluate(begun, wait_for_api))


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


def _require_run(name: str, store: str | None) -> None:
    """Raises PlanError where there is no such run, before a Prefect server is waited for."""
    with Ledger(store_url(store), must_exist=True) as ledger:
        ledger.run(name)


def _needs_prefect(plan: EvaluationPlan) -> bool:
    """Prefect keeps what the plan names, or what a run to be resumed may name."""
    return bool(plan.connection not in (None, "local", "env") or plan.shared_limit or plan.resume)


def _require_limit(plan: EvaluationPlan) -> None:
    if plan.shared_limit:  # else Prefect need not be imported yet
        from fieval_tasks.on_prefect.shared import require_limit

        require_limit(plan)


def _run_evaluate(plan: EvaluationPlan, wait_for_api: Callable[[], None]) -> State[Any]:
    require_settings()
    from flows.evaluate import evaluate

    wait_for_api()  # it starts while Prefect is imported
    with _as_ours():
        return evaluate(plan, return_state=True)


def _dry_run(plan: EvaluationPlan) -> int:
    with prepared(plan) as run:
        try:
            _describe(run)
            invalid = run.ledger.counts(run.run.run_id)[ItemState.FAILED]
            failed = (result for result in run.ledger.results(run.run) if result.error is not None)
            first = next(failed, None) if invalid else None
        finally:
            run.ledger.forget(run.run.run_id)
    say(f"dry run: {count(invalid, 'item')} would fail before sending; nothing was sent")
    if first is not None and first.error is not None:
        say(clean(f"  the first is {first.check}, {first.error['message']}"))
    return ExitCode.OK


def _begun(course: Course, run: Prepared) -> None:
    """The run is in the ledger, and nothing of it is on its way yet."""
    again = run.resume_command
    course.told = lambda: f"interrupted: nothing was sent; to carry on: {again}"
    _describe(run)


def _describe(run: Prepared) -> None:
    for line in run.described():
        say(fill(line, _columns(), subsequent_indent="    ", break_on_hyphens=False) if sys.stderr.isatty() else line)


def _columns() -> int:
    """Of the terminal that is told what happens, though what the run comes to may be written elsewhere."""
    try:
        return max(NARROWEST, os.get_terminal_size(sys.stderr.fileno()).columns)
    except OSError:
        return COLUMNS


# -- fan out ---------------------------------------------------------------------------------------------------------


def _fan_out(course: Course, options: argparse.Namespace) -> int:
    plan = plan_of(options)
    if options.dry_run:
        return _dry_run(plan)
    if configured_api() is None:
        raise PlanError(
            f"shards run on the work pool of a Prefect server, and none is set{unknown_profile()}: start one with `prefect server start`, "
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
            _begun(course, run)
            begun = run.plan.model_copy(update={"resume": run.run.run_id})
            again = run.resume_command
        return _shown(course, again, lambda: _run_fan_out(begun, options), stop_work=stop_teams)


def _run_fan_out(plan: EvaluationPlan, options: argparse.Namespace) -> State[Any]:
    from flows.fan_out import fan_out

    with _as_ours():
        return fan_out(plan, options.shards, options.deployment, return_state=True)


# -- collect -------------------------------------------------------------------------------------------------------


def _collect(course: Course, options: argparse.Namespace) -> int:
    if options.run:
        _require_run(options.run, options.store)
    with _prefect_api() as wait_for_api:
        wait_for_api()  # it may keep the keys
        _require_one(options.run, options.store)
        again = command("collect", *([options.run] if options.run else []), store=options.store)
        return _shown(course, again, lambda: _run_collect(options.run, options.store))


def _require_one(run: str | None, store: str | None) -> None:
    """Raises PlanError where none of the runs can be asked about: with other keys than it was sent with, for one."""
    problems: list[str] = []
    for name in [run] if run else runs_to_collect(store):
        try:
            with prepared(EvaluationPlan(resume=name, store=store)):
                return
        except PlanError as error:
            problems += error.problems
    if problems:
        raise PlanError(*problems)


def _run_collect(run: str | None, store: str | None) -> State[Any]:
    from flows.collect import collect

    with _as_ours():
        return collect(run, store, return_state=True)


# -- control -------------------------------------------------------------------------------------------------------


def control_command(arguments: Sequence[str] | None = None) -> int:
    """`python -m flows.control`; its exit code."""
    return _commanded(lambda course: _control(course, control_parser().parse_args(arguments)))


def _control(course: Course, options: argparse.Namespace) -> int:
    course.told = lambda: "interrupted"
    if configured_api() is None:
        raise PlanError(
            f"no Prefect API is set{unknown_profile()}, so no run can be heard: set PREFECT_API_URL, or stop a run on a laptop by Ctrl-C "
            "and carry on with --resume and another --rate"
        )
    require_api()
    from flows.control import steer

    changes = {name: getattr(options, name) for name in CONTROLS if hasattr(options, name)}
    try:
        run, wanted = steer(options.run, changes, getattr(options, "store", None))
    except ValidationError as error:
        raise PlanError(*(spelled(line, Control, option_name) for line in sentences(error, Control))) from None
    told = wanted.model_dump(exclude_defaults=True)
    say(
        f"run {run}: {json.dumps(told) if told else 'as its plan says'}; while it is at work it listens every few seconds"
    )
    return ExitCode.OK


CONTROLS = ("paused", "rate", "concurrency")


# -- a run in the terminal -----------------------------------------------------------------------------------------


def _shown(
    course: Course, resume_command: str, run: Callable[[], State[Any]], *, stop_work: StopWork = stop_all
) -> int:
    """Run with the display of a terminal; then say what it came to."""
    with shown() as screen:
        course.stop_work, course.told = stop_work, lambda: _standing(screen, f"to carry on: {resume_command}")
        token = display.set(screen)
        try:
            state = _ended(run, resume_command)
        finally:
            display.reset(token)
    if screen.outcomes:
        course.told = lambda: _standing(screen)
    if state.is_cancelled():
        if not course.is_interrupted:
            say(str(state.message))  # cancelled in Prefect
        return ExitCode.INTERRUPTED
    for outcome in screen.outcomes:
        print(table(outcome.report, get_terminal_size().columns), end="")
        print(f"report: {outcome.folder / 'report.html'}")
        if missing := parquet_missing():
            print(missing)
        if not outcome.is_good or outcome.report.items.pending:
            say(outcome.sentence)
    if str(state.message) not in {outcome.message for outcome in screen.outcomes}:
        say(str(state.message))  # nothing came of it, or it was about several runs
    worst = max((*(outcome.exit_code for outcome in screen.outcomes), _exit_code(state)))
    return worst or (ExitCode.OK if state.is_completed() else ExitCode.STOPPED)


def _standing(screen: Terminal, then: str | None = None) -> str:
    """What an interrupted command has to say of its runs."""
    ended = (f"run {outcome.report.facts.run_id} had ended: {outcome.sentence}" for outcome in screen.outcomes)
    return "; ".join(("interrupted", *ended, *([then] if then else [])))


def _ended(run: Callable[[], State[Any]], resume_command: str) -> State[Any]:
    """How the flow ended. Raises Unexpected for what nobody foresaw, whether Prefect caught it or not."""
    try:
        state = run()
        if (error := _error_of(state)) is not None and not isinstance(error, FievalError):
            raise error
        return state
    except FievalError:
        raise
    except Exception as error:
        if _is_prefects(error):
            return _without_prefect(error, resume_command)
        raise fault(error, then=f"to carry on: {resume_command}") from error


def _is_prefects(error: BaseException) -> bool:
    """It came of a call to Prefect's API."""
    return isinstance(error, httpx.HTTPError) or isinstance(error.__cause__, httpx.HTTPError)


def _error_of(state: State[Any]) -> BaseException | None:
    """What the flow ended with, where that was an error: Prefect keeps it with the state, in this process only."""
    data = getattr(state.data, "result", state.data)
    return data if isinstance(data, BaseException) and not state.is_cancelled() else None


def _exit_code(state: State[Any]) -> ExitCode:
    """Of a state that was made of an error with a code of its own."""
    error = _error_of(state)
    return error.exit_code if isinstance(error, FievalError) else ExitCode.OK


def _without_prefect(error: BaseException, resume_command: str) -> State[Any]:
    """Of a run that Prefect could not be told the end of."""
    from prefect.states import Crashed

    state: State[Any] = Crashed(message=f"the Prefect API can't be asked ({why(error)}); to carry on: {resume_command}")
    return state


@contextmanager
def _interruptible(course: Course) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop the command in order, and within PATIENCE in any case; further ones change nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield  # a signal is never for another thread
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def stop(_: int, __: FrameType | None) -> None:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        course.is_interrupted = True
        watchdog = threading.Timer(PATIENCE, os._exit, [int(ExitCode.INTERRUPTED)])
        watchdog.daemon = True
        watchdog.start()
        _say_between(f"\n{course.told()}")
        if not course.stop_work(Interrupted("interrupted")):
            raise SystemExit(ExitCode.INTERRUPTED)

    for number in signals:
        signal.signal(number, stop)
    try:
        yield
    finally:
        if not course.is_interrupted:  # else the process ends within PATIENCE, and more of them change nothing
            for number, handler in before.items():
                signal.signal(number, handler)


def _say_between(text: str) -> None:
    """Say it from a signal's handler, which may have come in the middle of another print."""
    try:
        say(text)
    except RuntimeError:
        os.write(2, f"{clean(text)}\n".encode())


@contextmanager
def _as_ours() -> Iterator[None]:
    """Around a flow call: as it fits a terminal, and with the tag that the deployments' runs have."""
    from prefect import tags

    from fieval_tasks.on_prefect.laptop import on_laptop
    from flows.poll import TAG

    with on_laptop(), tags(TAG):
        yield


@contextmanager
def _prefect_api() -> Iterator[Callable[[], None]]:
    """Prefect's API: the user's own, else a server of ours that is starting. Yields what waits until it answers."""
    _require_proxies()
    with ExitStack() as afterwards:
        wanted = {name: value for name, value in _QUIET.items() if name not in os.environ}
        if configured_api():
            afterwards.enter_context(_prefect_set(wanted))
            require_api()
            yield _ready
        else:
            server = afterwards.enter_context(OwnServer())
            afterwards.enter_context(warnings.catch_warnings())
            warnings.filterwarnings(
                "ignore", "Failed to create the Prefect home"
            )  # the server makes it, or tells why not
            afterwards.enter_context(_prefect_set(wanted | {"PREFECT_API_URL": server.api_url}))
            yield partial(_wait_for, server)


def _wait_for(server: OwnServer) -> None:
    """Return once the server is up and Prefect's client can work with it."""
    require_settings()  # the server would stumble over the same, with more words
    _patiently(server.wait_until_ready)
    require_api()


def _patiently(wait: Callable[[], None]) -> None:
    """Wait, and say so where it takes longer than a moment."""
    slow = threading.Timer(A_MOMENT, say, ["waiting for the Prefect server of this run to start"])
    slow.daemon = True
    slow.start()
    try:
        wait()
    finally:
        slow.cancel()


def _require_proxies() -> None:
    """Raises RunStopped where Prefect's client can't begin with the proxies of the environment: no run would be seen to its end."""
    try:
        if getproxies():
            httpx.Client().close()
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise RunStopped(
            f"Prefect's client can't use a proxy that the environment names ({in_words(error)}), so nothing was sent: "
            "do as it says, or unset that variable (all_proxy, http_proxy or https_proxy, also in capitals)"
        ) from error


@contextmanager
def _prefect_set(variables: Mapping[str, str]) -> Iterator[None]:
    """Prefect goes by these settings within the block, and by the user's own after it, however it ends."""
    with environment_set(variables):
        _have_prefect_look()
        yield
    _have_prefect_look()


def _have_prefect_look() -> None:
    """Prefect reads its settings once, when it is imported: where it is already, again."""
    if "prefect.context" in sys.modules:
        from prefect.context import refresh_global_settings_context
        from prefect.logging.configuration import setup_logging

        refresh_global_settings_context()
        setup_logging()


_QUIET = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
"""The run shows itself; Prefect's log still goes to its server."""


def _ready() -> None:
    """The user's API has been asked already."""
