"""`--no-prefect`: plain threads work on the run, with no flow run and no Prefect server. Prefect is not imported."""

from __future__ import annotations

from typing import Any, NoReturn

from fieval_tasks.core.errors import ExitCode, FievalError, Interrupted, PlanError
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.unexpected import as_unexpected
from fieval_tasks.ledger.run import Run
from fieval_tasks.runs.connections import Openers
from fieval_tasks.runs.preparation import Prepared
from fieval_tasks.runs.workers import evaluated
from flows.cli.screen import WorkEnd


def _no_block(name: str) -> NoReturn:
    raise PlanError(
        f"--connection {name!r} is neither local nor env, and a block of keys is kept in Prefect: leave --no-prefect out, or "
        "set FI_API_KEY and FI_SECRET_KEY and say --connection env"
    )


def _no_limit(name: str) -> NoReturn:
    raise PlanError(
        f"the shared limit {name!r} is kept in Prefect, which counts what all processes send: leave --no-prefect out; --rate "
        "bounds what this process sends"
    )


DIRECT = Openers(_no_block, _no_limit, words=("--no-prefect",))


def require_direct(plan: EvaluationPlan, resumed: Run | None) -> None:
    """Raises PlanError where the plan, or the run that it resumes, keeps to a limit that is kept in Prefect."""
    recorded: dict[str, Any] = {} if resumed is None else dict(resumed.plan)
    if limit := plan.shared_limit or recorded.get("shared_limit"):
        _no_limit(limit)


def direct_end(run: Prepared) -> WorkEnd:
    """Work on the run to its conclusion. Raises Unexpected for what nobody foresaw."""
    try:
        outcome = evaluated(run)
    except Interrupted as error:
        return WorkEnd(str(error), ExitCode.INTERRUPTED)
    except FievalError:
        raise
    except Exception as error:
        raise as_unexpected(error, then=f"to carry on: {run.resume_command}") from error
    is_open = outcome.report.items.pending or outcome.stopped is not None
    return WorkEnd("" if is_open else f"to publish it to Prefect: {run.collect_command}")
