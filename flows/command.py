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

from pydantic import ValidationError

from fieval_tasks.display import display
from fieval_tasks.engine import stop_all
from fieval_tasks.errors import ExitCode, FievalError, Interrupted, PlanError, RunStopped
from fieval_tasks.items import State as ItemState
from fieval_tasks.plan import MOST_SHARDS, SHARD_DEPLOYMENT, Check, EvaluationPlan, Mode, parse_duration
from fieval_tasks.prefect_server import OwnServer, configured_api, is_healthy
from fieval_tasks.preparation import Prepared, prepared
from fieval_tasks.report.table import table
from fieval_tasks.terminal import say, shown

if TYPE_CHECKING:
    from prefect import State

PATIENCE = 1.7
"""Seconds after Ctrl-C in which a run may end in order; then the process ends. The ledger has all that is known."""


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
    if options.dry_run and not _names_a_block(plan):
        return _dry_run(plan)
    with _prefect_api() as wait_for_api:
        if _names_a_block(plan):
            wait_for_api()  # Prefect keeps it
        if options.dry_run:
            return _dry_run(plan)
        with prepared(plan) as run:
            _describe(run)
            begun = plan.model_copy(update={"resume": run.run.run_id})
            resume_command = run.resume_command
        return _shown(resume_command, lambda: _run_evaluate(begun, wait_for_api))


def _names_a_block(plan: EvaluationPlan) -> bool:
    return plan.connection not in (None, "local", "env")


def _run_evaluate(plan: EvaluationPlan, wait_for_api: Callable[[], None]) -> State[Any]:
    from flows.evaluate import evaluate
    from flows.laptop import on_laptop

    wait_for_api()  # it starts while Prefect is imported
    with on_laptop():
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
    with _prefect_api(), prepared(plan, processes=options.shards) as run:
        _describe(run)
        begun = plan.model_copy(update={"resume": run.run.run_id})
        again = run.resume_command
    return _shown(again, lambda: _run_fan_out(begun, options))


def _run_fan_out(plan: EvaluationPlan, options: argparse.Namespace) -> State[Any]:
    from flows.fan_out import fan_out
    from flows.laptop import on_laptop

    with on_laptop():
        return fan_out(plan, options.shards, options.deployment, return_state=True)


# -- collect -------------------------------------------------------------------------------------------------------


def _collect(options: argparse.Namespace) -> int:
    with _prefect_api() as wait_for_api:
        again = f"python -m flows.collect {options.run or ''}".strip()
        return _shown(again, lambda: _run_collect(options.run, options.store, wait_for_api))


def _run_collect(run: str | None, store: str | None, wait_for_api: Callable[[], None]) -> State[Any]:
    from flows.collect import collect
    from flows.laptop import on_laptop

    wait_for_api()
    with on_laptop():
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
        raise PlanError(*(_sentence(problem) for problem in error.errors())) from error
    told = wanted.model_dump(exclude_defaults=True)
    say(f"run {options.run}: {json.dumps(told) if told else 'as its plan says'}; it listens every few seconds")
    return ExitCode.OK


CONTROLS = ("paused", "rate", "concurrency")


# -- a run in the terminal -----------------------------------------------------------------------------------------


def _shown(resume_command: str, run: Callable[[], State[Any]]) -> int:
    """Run with the display and the signals of a terminal; then say what it came to."""
    with _interruptible(resume_command) as signalled, shown() as screen:
        token = display.set(screen)
        try:
            state = run()
        finally:
            display.reset(token)
    if state.is_cancelled():
        if not signalled.is_set():
            say(str(state.message))  # cancelled in Prefect
        return ExitCode.INTERRUPTED
    if not screen.outcomes:
        say(str(state.message))
        return ExitCode.OK if state.is_completed() else ExitCode.STOPPED
    for outcome in screen.outcomes:
        print(table(outcome.report), end="")
        print(f"report: {outcome.folder / 'report.html'}")
        if not outcome.is_good or outcome.report.summary.items.pending:
            say(outcome.sentence)
    return max((outcome.exit_code for outcome in screen.outcomes), default=ExitCode.OK)


@contextmanager
def _interruptible(resume_command: str) -> Iterator[threading.Event]:
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
        if not stop_all(Interrupted("interrupted")):
            raise SystemExit(ExitCode.INTERRUPTED)

    for number in signals:
        signal.signal(number, stop)
    try:
        yield signalled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


# -- arguments -----------------------------------------------------------------------------------------------------


def evaluate_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.evaluate",
        description="Put every row of a dataset to Future AGI evaluations. Without a dataset: a bundled sample, "
        "on the embedded local evaluator.",
        epilog="exit codes: 0 every item has a verdict; 2 bad input, nothing sent; 3 some items have no verdict; "
        "4 stopped (keys, credit, server); 130 interrupted",
    )
    add = parser.add_argument
    add("dataset", nargs="?", help="CSV, TSV, JSON, JSONL or Parquet; - reads JSONL from standard input")
    add("--template", action="append", metavar="NAME[:MODEL]", help="a template to evaluate with; may be repeated")
    add("--model", help="judge model of the templates that name none (default turing_flash)")
    add("--map", action="append", metavar="[TEMPLATE.]KEY=COLUMN", help="the column that fills a template's key")
    add("--param", action="append", metavar="[TEMPLATE.]NAME=VALUE", help="a template's parameter; VALUE as JSON")
    add("--id", dest="id_column", metavar="COLUMN", help="column with each row's id")
    add("--connection", help="local (embedded evaluator), env (FI_API_KEY, FI_SECRET_KEY) or a block's name")
    add("--base-url", metavar="URL", help="the platform's address (default FI_BASE_URL, else the cloud)")
    add(
        "--mode",
        choices=[m.value for m in Mode],
        help="async (default), sync, auto (the cheaper of both), or submit (collect later)",
    )
    add("--limit", type=int, metavar="N", help="only the first N rows")
    add("--sample", type=int, metavar="N", help="N rows drawn at random")
    add("--seed", type=int, metavar="S", help="of the random sample (default 0)")
    add("--concurrency", type=int, metavar="N", help="requests in flight at most (default 64)")
    add("--rate", metavar="N/s|N/min", help="requests a second or minute at most")
    add("--shared-limit", metavar="NAME", help="a Prefect global concurrency limit that all runs with its key share")
    add("--chunk-size", type=int, metavar="N", help="items per submit task")
    add("--item-timeout", type=_duration, metavar="10m", help="how long to wait for one verdict (default 10m)")
    add("--timeout", type=_duration, metavar="2h", help="how long the run may take")
    add("--gate", action="append", dest="gates", metavar="GATE", help='such as "groundedness.pass_rate >= 0.95"')
    add("--allow-failures", metavar="N|P%%", help="items without a verdict that are still fine")
    add("--ambiguous", choices=["resubmit", "fail", "ask"], help="a submission whose reply was lost (default resubmit)")
    add("--orphans", choices=["wait", "resubmit"], help="evaluations that seem forgotten (default wait)")
    add("--run", metavar="NAME", help="the run's name")
    add("--resume", metavar="RUN|last", help="carry on a run that was cut off")
    add("--retry-failed", action="store_true", default=None, help="with --resume: also the items that failed")
    add("--dry-run", action="store_true", help="check everything and send nothing")
    add("--output", metavar="DIR", help="where the files go (default fieval-runs/RUN)")
    add("--store", metavar="URL", help="the ledger (default FIEVAL_STORE_URL, else fieval-runs/ledger.db)")
    return parser


def fan_out_parser() -> argparse.ArgumentParser:
    parser = evaluate_parser()
    parser.prog = "python -m flows.fan_out"
    parser.description = "Evaluate a dataset in shards: flow runs on the work pool of your Prefect server."
    parser.add_argument("--shards", type=_shards, default=3, metavar="N", help="how many flow runs (default 3)")
    parser.add_argument(
        "--deployment",
        default=SHARD_DEPLOYMENT,
        metavar="NAME",
        help=f"of the flow evaluate-shard (default {SHARD_DEPLOYMENT})",
    )
    return parser


def _shards(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_SHARDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_SHARDS}")
    return int(text)


def collect_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.collect",
        description="Fetch the verdicts of a run that was only submitted, or was cut off; without one, of all.",
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="a run's name, or last")
    parser.add_argument("--store", metavar="URL", help="the ledger (default FIEVAL_STORE_URL, else fieval-runs)")
    return parser


def control_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.control",
        description="Steer a run that is at work, through the Prefect variable fieval_control.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("run", metavar="RUN", help="the run's name")
    pausing = parser.add_mutually_exclusive_group()
    pausing.add_argument("--pause", dest="paused", action="store_true", help="submit nothing more for now")
    pausing.add_argument("--go", dest="paused", action="store_false", help="submit again")
    parser.add_argument("--rate", metavar="N/s|N/min", help="requests a second or minute at most, from now on")
    parser.add_argument("--concurrency", type=int, metavar="N", help="requests in flight at most, from now on")
    return parser


def plan_of(options: argparse.Namespace) -> EvaluationPlan:
    """The plan that the arguments make, holding only what was said. Raises PlanError with every problem."""
    said = {name: getattr(options, name) for name in EvaluationPlan.model_fields if hasattr(options, name)}
    said["checks"] = _checks(options)
    said["mapping"] = dict(_pair("--map", text) for text in options.map or ())
    try:
        return EvaluationPlan(**{name: value for name, value in said.items() if value not in (None, (), {})})
    except ValidationError as error:
        raise PlanError(*(_sentence(problem) for problem in error.errors())) from error


def _checks(options: argparse.Namespace) -> tuple[Check, ...]:
    checks = [Check.parse(text) for text in options.template or ()]
    params = [_pair("--param", text) for text in options.param or ()]
    if params and not checks:
        raise PlanError("--param needs a --template to set a parameter of")
    return tuple(
        check.model_copy(update={"model": check.model or options.model, "params": _params_of(check.template, params)})
        for check in checks
    )


def _params_of(template: str, params: Sequence[tuple[str, str]]) -> dict[str, Any]:
    mine = {name.removeprefix(f"{template}."): text for name, text in params if name.startswith(f"{template}.")}
    shared = {name: text for name, text in params if "." not in name}
    return {name: _json_or_text(text) for name, text in (shared | mine).items()}


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _pair(option: str, text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name.strip() or not value.strip():
        raise PlanError(f"{option} {text!r}: expected {'KEY=COLUMN' if option == '--map' else 'NAME=VALUE'}")
    return name.strip(), value.strip()


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _sentence(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    option = f"--{where.replace('_', '-')}: " if where else ""
    return option + str(problem["msg"]).removeprefix("Value error, ")
