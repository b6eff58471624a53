"""The final state of a flow run: its name, and the reason in its log, in one sentence.

A reason may name what a row holds: half a character of that can't be told to Prefect, and would end the run as one that crashed.
"""

from __future__ import annotations

import logging
from typing import Any, NoReturn

from prefect import State, get_run_logger
from prefect.exceptions import CancelledRun, FailedRun, Pause
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Completed, Failed

from fieval_tasks.core.errors import ExitCode, FievalError, KeysRefused, NoCredit, NotTheProtocol, PlanError, StoreError
from fieval_tasks.core.gates import GateVerdict
from fieval_tasks.on_prefect.forms import in_parameters
from fieval_tasks.on_prefect.prefect_errors import causes
from fieval_tasks.report.text import clean
from fieval_tasks.runs.conclusion import Outcome

GATE_FAILED = "Gate failed"
GATE_UNDECIDED = "Gate undecided"
INCOMPLETE = "Verdicts missing"
REFUSED = "Plan refused"
STOPPED = "Stopped"
REASONS: dict[type[FievalError], str] = {
    KeysRefused: f"{STOPPED}: keys refused",
    NoCredit: f"{STOPPED}: credit gone",
    NotTheProtocol: f"{STOPPED}: not the platform's answers",
    StoreError: f"{STOPPED}: ledger out of reach",
}
NAMES = (GATE_FAILED, GATE_UNDECIDED, INCOMPLETE, REFUSED, STOPPED, *REASONS.values())
"""The names of all states that Prefect counts as failed: its events carry them, and our automations go by them."""


def concluded(outcome: Outcome) -> State[None]:
    """The state for an outcome: failed if a gate failed or verdicts are missing, although the code ran to its end."""
    if not outcome.is_good:
        return failed(outcome.message, name=_name_of(outcome))
    get_run_logger().info(outcome.message)
    return Completed(message=outcome.message)


def refused(error: FievalError, *, data: Any = None) -> State[None]:
    """The state for a run that ended with an error and without an outcome."""
    return failed(str(error), name=state_name_of(error), data=data)


def failed(reason: str, *, name: str = STOPPED, data: Any = None) -> State[None]:
    """A failed state; logs the reason."""
    reason = clean(in_parameters(reason) if deployment.id else reason)
    get_run_logger().error(reason)
    _log_it_once()
    return Failed(name=name, message=reason, data=data)


def cancelled(message: str) -> State[None]:
    """A cancelled state; logs the message, which names the command that carries on."""
    message = clean(message)
    get_run_logger().warning(message)
    _log_it_once()
    return Cancelled(message=message)


def leave_suspended(state: State[Any], message: str) -> NoReturn:
    """End this process and leave the flow run suspended at the server; resuming it in Prefect starts another process."""
    get_run_logger().warning(message)
    raise Pause(state=state)


def state_name_of(error: FievalError) -> str:
    """The name of the state in which an error leaves a run."""
    if isinstance(error, PlanError):
        return REFUSED
    return next((name for cause in causes(error) for kind, name in REASONS.items() if isinstance(cause, kind)), STOPPED)


def _name_of(outcome: Outcome) -> str:
    if outcome.stopped is not None:
        return state_name_of(outcome.stopped)
    if outcome.exit_code is ExitCode.GATE_FAILED:
        return GATE_FAILED
    verdicts = {gate.verdict for gate in outcome.report.gates}
    return GATE_UNDECIDED if GateVerdict.UNDECIDED.value in verdicts else INCOMPLETE


def _log_it_once() -> None:
    """Under a deployment, Prefect's engine logs a state that isn't good once more: as an error that nobody foresaw, with
    a traceback of its own. This process has that one flow run, and the reason is in its log."""
    if deployment.id:
        logging.getLogger("prefect.flow_runs").addFilter(_Repeated(str(flow_run.id)))


class _Repeated(logging.Filter):
    """Drops Prefect's log record about the flow run's final state."""

    def __init__(self, flow_run_id: str) -> None:
        super().__init__()
        self._flow_run_id = flow_run_id

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        is_ours = getattr(record, "flow_run_id", None) == self._flow_run_id
        return not (is_ours and isinstance(error, (FailedRun, CancelledRun, FievalError)))
