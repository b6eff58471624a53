"""A run's connection: the embedded evaluator, or the platform with keys from the environment or from a block."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import httpx

from fieval_tasks.api.account import LOCAL, Account
from fieval_tasks.api.client import Credentials, EvalClient
from fieval_tasks.core.errors import PlanError, StoreError
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.pace.permits import PermitSource

LOCAL_JOBS = Path("fieval-runs/local.db")
"""The embedded evaluator's database of submissions, so that a killed run can be resumed."""


@dataclass(frozen=True)
class Openers:
    """How what a plan only names is opened. The rim hands in Prefect's, so that nothing here imports Prefect."""

    keys: Callable[[str], Credentials]
    """Those of a saved block. Raises PlanError where there is none of that name."""
    limit: Callable[[str], PermitSource]
    """A limit that processes share. Raises PlanError where it can't be used."""
    words: tuple[str, ...] = ()
    """Options of the command that carries a run on with the same openers."""


def _nobody(name: str) -> NoReturn:
    raise PlanError(f"{name!r} is kept in Prefect, which this program has not been given")


WITHOUT_PREFECT = Openers(_nobody, _nobody)


@dataclass(frozen=True)
class Connection:
    """An evaluation server with the keys for it."""

    name: str
    """`local`, `env`, or the name of the block."""
    label: str
    """For display: `local`, or the server's address."""
    open: Callable[[], EvalClient]
    """Opens a new client."""
    notices: tuple[str, ...] = ()
    """Notices for every report of the run."""
    may_have_tiers: bool = True
    """The server's judges may have hidden limits, which show only in failed rows."""
    account: Account = LOCAL
    """The server and account, which stay the same for a run."""


def connection_of(plan: EvaluationPlan, openers: Openers = WITHOUT_PREFECT) -> Connection:
    """The plan's connection. Raises PlanError where it can't be had. One that is neither local nor env is a block of keys."""
    chosen = plan.connection or _default(plan)
    if chosen == "local":
        return _local(plan)
    if chosen == "env":
        credentials = Credentials.from_environment(base_url=plan.base_url)
    elif plan.base_url:  # anybody who may edit a run's parameters could have the block's keys sent to their server
        raise PlanError(f"--base-url names a server and the block {chosen!r} has its own: leave one of them out")
    else:
        credentials = openers.keys(chosen)
    return Connection(
        chosen,
        credentials.base_url,
        lambda: EvalClient(credentials, connections=plan.concurrency),
        account=Account.from_credentials(credentials),
    )


def _default(plan: EvaluationPlan) -> str:
    is_platform = plan.base_url or (plan.dataset is not None and Credentials.in_environment())
    return "env" if is_platform else "local"


def _local(plan: EvaluationPlan) -> Connection:
    if plan.base_url:
        raise PlanError("--base-url names a server and --connection local uses none: leave one of them out")
    from fieval_tasks.local import NOTICE, create_app

    keys = secrets.token_hex(16), secrets.token_hex(16)

    def open_client() -> EvalClient:
        LOCAL_JOBS.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            app = create_app(api_key=keys[0], secret_key=keys[1], database=LOCAL_JOBS)
        except (ValueError, OSError, sqlite3.Error) as error:
            raise StoreError(f"the local evaluator can't use {LOCAL_JOBS} ({error}): move that file away") from error
        return EvalClient(Credentials(*keys, base_url="http://the-local-evaluator"), transport=InProcess(app))

    return Connection("local", "local", open_client, notices=(NOTICE,), may_have_tiers=False)


class InProcess(httpx.ASGITransport):
    """The embedded evaluator, called without a socket and closed with its client."""

    def __init__(self, app: object) -> None:
        super().__init__(app=app)  # type: ignore[arg-type]  # Starlette's own ASGI types are looser than httpx's
        self._evaluator = app.state.evaluator  # type: ignore[attr-defined]

    async def aclose(self) -> None:
        await self._evaluator.aclose()
