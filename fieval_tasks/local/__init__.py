"""The embedded evaluator: the evaluation platform's REST API, answered on this machine with no account.

`create_app` gives an ASGI app, to be called in-process or served; `python -m fieval_tasks.local` serves it.
The verdicts are exact functions for the code templates and lexical heuristics for the judge templates, never an
LLM: each entry of `get-evals` says how it is scored. Importing this package loads the standard library only.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fieval_tasks.local.catalogue import SUPPORTED

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from fieval_tasks.local.scorer import ScoringLimits

__all__ = ["NOTICE", "SUPPORTED", "create_app"]

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
    limits: ScoringLimits | None = None,
) -> Starlette:
    """An ASGI app that answers the three calls of the evaluation API to whoever sends these two keys.

    `database` is a SQLite file in which submitted evaluations outlive the process (None: in memory). `delay` is the
    seconds before a verdict can be seen. With `names`, calls to any other host name than those, `localhost` and IP
    addresses are refused, as a server should that a browser can reach. An evaluation that uses more than the `limits`
    of computing and memory is a failed one. No lifespan events are needed; `await app.state.evaluator.aclose()`
    releases everything, at any time, twice if need be. Raises ValueError when a key is blank, `workers` is under 1,
    `delay` is negative or the file is another program's, sqlite3.Error when it cannot be a database.
    """
    from fieval_tasks.local.application import build
    from fieval_tasks.local.evaluator import Evaluator

    if not api_key.strip() or not secret_key.strip():
        raise ValueError("the local evaluator needs an API key and a secret key that are not blank")
    if workers < 1 or not 0 <= delay < float("inf"):
        raise ValueError(f"workers must be at least 1 and delay at least 0, not {workers} and {delay}")
    return build(Evaluator(database, workers=workers, delay=delay, limits=limits), (api_key, secret_key), names)
