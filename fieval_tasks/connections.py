"""Where a run's requests go: the embedded evaluator, or the platform with the keys of the environment."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from fieval_tasks.client import Credentials, EvalClient
from fieval_tasks.errors import PlanError, StoreError
from fieval_tasks.plan import EvaluationPlan

LOCAL_JOBS = Path("fieval-runs/local.db")
"""Where the embedded evaluator keeps what was submitted to it, so that a killed run can be resumed."""


@dataclass(frozen=True)
class Connection:
    """A way to an evaluation server, opened as often as needed."""

    label: str
    """What the user is shown: `local`, or the server's address."""
    open: Callable[[], EvalClient]
    notices: tuple[str, ...] = ()
    """What every report of the run must say."""
    may_have_tiers: bool = True
    """Its judges may have limits that show only in failed rows."""


def connection(plan: EvaluationPlan, *, connections: int = 100) -> Connection:
    """The plan's connection. Raises PlanError where it can't be had."""
    chosen = plan.connection or _default(plan)
    if chosen == "local":
        return _local(plan)
    if chosen == "env":
        credentials = Credentials.from_environment(base_url=plan.base_url)
        return Connection(credentials.base_url, lambda: EvalClient(credentials, connections=connections))
    raise PlanError(f"--connection {chosen!r} is not known: it is local or env")


def _default(plan: EvaluationPlan) -> str:
    if plan.base_url:
        return "env"
    return "env" if plan.dataset is not None and Credentials.in_environment() else "local"


def _local(plan: EvaluationPlan) -> Connection:
    if plan.base_url:
        raise PlanError("--base-url names a server and --connection local uses none: leave one of them out")
    from fieval_tasks.local import NOTICE, create_app

    keys = secrets.token_hex(16), secrets.token_hex(16)

    def open_client() -> EvalClient:
        LOCAL_JOBS.parent.mkdir(parents=True, exist_ok=True)
        try:
            app = create_app(api_key=keys[0], secret_key=keys[1], database=LOCAL_JOBS)
        except (ValueError, OSError, sqlite3.Error) as error:
            raise StoreError(f"the local evaluator can't use {LOCAL_JOBS} ({error}): move that file away") from error
        return EvalClient(Credentials(*keys, base_url="http://evaluator.local"), transport=InProcess(app))

    return Connection("local", open_client, notices=(NOTICE,), may_have_tiers=False)


class InProcess(httpx.ASGITransport):
    """The embedded evaluator, called without a socket and closed with its client."""

    def __init__(self, app: object) -> None:
        super().__init__(app=app)  # type: ignore[arg-type]  # Starlette's own ASGI types are looser than httpx's
        self._evaluator = app.state.evaluator  # type: ignore[attr-defined]

    async def aclose(self) -> None:
        await self._evaluator.aclose()
