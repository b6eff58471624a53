"""`python -m deployments`: register everything on a Prefect API, or serve it from one process."""

from __future__ import annotations

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("deployments.__main__", "main")

import argparse
from collections.abc import Sequence

from fieval_tasks.core.errors import ExitCode, PlanError
from fieval_tasks.on_prefect.prefect_api import require_api
from fieval_tasks.on_prefect.prefect_server import configured_api, unknown_profile
from fieval_tasks.terminal.door import answered


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 4 where Prefect can't do it, 70 for what nobody foresaw, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    return answered(lambda: _done(options), if_interrupted="interrupted")


def _done(options: argparse.Namespace) -> int:
    require_an_api()
    _set_up(options) if options.command == "setup" else _serve(options)
    return ExitCode.OK


def _set_up(options: argparse.Namespace) -> None:
    from deployments.registration import register_all

    for line in register_all(notify=options.notify, keys=options.save_keys, shared_limit=options.shared_limit):
        print(line, flush=True)


def _serve(options: argparse.Namespace) -> None:
    from deployments.serving import serve_all

    serve_all(limit=options.limit)


def require_an_api() -> None:
    """Raises PlanError where no Prefect API is set, and RunStopped where it can't be used."""
    if configured_api() is None:
        raise PlanError(
            f"no Prefect API is set{unknown_profile()}: start one with `prefect server start` and set it with "
            "`prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api`"
        )
    require_api()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deployments", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    setup = commands.add_parser("setup", help="blocks, work pool, deployments and automations; again: what has changed")
    setup.add_argument("--notify", metavar="TYPE/NAME", help="a saved notification block, such as slack-webhook/team")
    setup.add_argument("--save-keys", metavar="NAME", help="save FI_API_KEY and FI_SECRET_KEY in a block of that name")
    setup.add_argument("--shared-limit", metavar="NAME=N/s", help="a pace for all runs that name it: futureagi=200/s")
    serving = commands.add_parser("serve", help="the same deployments from this process, without a work pool")
    serving.add_argument("--limit", type=int, default=4, metavar="N", help="flow runs at the same time (default 4)")
    return parser
