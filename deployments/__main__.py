"""`python -m deployments`: register everything on a Prefect API, or serve it from one process."""

from __future__ import annotations

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("deployments.__main__", "main")

from collections.abc import Sequence
from typing import Annotated

from cyclopts import App, Parameter

from fieval_tasks.on_prefect.prefect_api import require_api, require_configured
from fieval_tasks.terminal.door import answered
from flows.cli.command import bare_app, run

Notify = Annotated[str | None, Parameter(help="A saved notification block, TYPE/NAME, such as slack-webhook/team")]
SaveKeys = Annotated[str | None, Parameter(help="Save FI_API_KEY and FI_SECRET_KEY in a block of that name")]
SharedLimit = Annotated[str | None, Parameter(help="A pace for all runs that name it, NAME=N/s: futureagi=200/s")]
RunsAtOnce = Annotated[int, Parameter(help="Flow runs at the same time (default 4)")]


def main(tokens: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 4 where Prefect can't do it, 70 for what nobody foresaw, 130 after Ctrl-C."""
    return answered(lambda: run(_app(), tokens), if_interrupted="interrupted")


def _app() -> App:
    app = bare_app("python -m deployments", help="Register everything on a Prefect API, or serve it from one process.")
    app.command(setup)
    app.command(serve)
    return app


def setup(*, notify: Notify = None, save_keys: SaveKeys = None, shared_limit: SharedLimit = None) -> None:
    """Register blocks, work pool, deployments and automations; done again, it updates what has changed."""
    require_an_api()
    from deployments.registration import register_all

    for line in register_all(notify=notify, keys=save_keys, shared_limit=shared_limit):
        print(line, flush=True)


def serve(*, limit: RunsAtOnce = 4) -> None:
    """Run the same deployments in this process, without a work pool."""
    require_an_api()
    from deployments.serving import serve_all

    serve_all(limit=limit)


def require_an_api() -> None:
    """Raises PlanError where no Prefect API is set, and RunStopped where it can't be used."""
    require_configured(
        "no Prefect API is set",
        ": start one with `prefect server start` and set it with `prefect config set "
        "PREFECT_API_URL=http://127.0.0.1:4200/api`",
    )
    require_api()
