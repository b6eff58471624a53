"""The embedded evaluator: the evaluation platform's REST API, answered on this machine with no account.

`create_app` gives an ASGI app, to be called in-process or served; `python -m fieval_tasks.local` serves it.
The verdicts are exact functions for the code templates and lexical heuristics for the judge templates, never an
LLM: see `METHODS` for how each template is scored. Importing this package loads the standard library only.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fieval_tasks.local.catalogue import METHODS, SUPPORTED

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from fieval_tasks.local.scorer import Limits

__all__ = ["METHODS", "NOTICE", "SUPPORTED", "create_app"]

NOTICE: Final = (
    "Verdicts come from local heuristics on this machine, not from the platform's judges: "
    "use them to try a pipeline out, not to grade a model."
)


def create_app(
    *,
    api_key: str,
    secret_key: str,
    database: Path | str | None = None,
    workers: int = 2,
    delay: float = 0.0,
    names: Collection[str] | None = None,
    limits: Limits | None = None,
) -> Starlette:
    """An ASGI app that answers the three calls of the evaluation API to whoever sends these two keys.

    `database` is a SQLite file in which submitted evaluations outlive the process (None: in memory). `delay` is the
    extra seconds an evaluation takes before it is done. With `names`, calls to any other host name than those,
    `localhost` and IP addresses are refused, as a server should that a browser can reach. An evaluation that uses more
    than the `limits` of computing and memory (None: those of `scorer.Limits`) is a failed one. No lifespan events are needed: the workers start with the first evaluation and stop when idle. `await app.state.evaluator.aclose()`
    releases everything, at any time, twice if need be. Raises ValueError when a key is blank, `workers` is under 1,
    `delay` is negative or the file is another program's, sqlite3.Error when it cannot be a database.
    """
    from fieval_tasks.local import application

    return application.build(
        api_key=api_key,
        secret_key=secret_key,
        database=database,
        workers=workers,
        delay=delay,
        names=names,
        limits=limits,
    )
