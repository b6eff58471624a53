"""How a flow run of ours ends: the reason in its log, in a sentence, and a state that has a name."""

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
"""Of the states in which a run ends that Prefect counts as failed. Its events are called by them, and its automations go
by those."""


def concluded(outcome: Outcome) -> State[None]:
    """The state says what the verdicts say, not only that the code ran."""
    if not outcome.is_good:
        return failed(outcome.message, name=_name_of(outcome))
    get_run_logger().info(outcome.message)
    return Completed(message=outcome.message)


def refused(error: FievalError, *, data: Any = None) -> State[None]:
    """Of a run that came to no outcome."""
    return failed(str(error), name=state_name_of(error), data=data)


def failed(reason: str, *, name: str = STOPPED, data: Any = None) -> State[None]:
    """Failed, with the reason in the log."""
    reason = in_parameters(reason) if deployment.id else reason
    get_run_logger().error(reason)
    _log_it_once()
    return Failed(name=name, message=reason, data=data)


def cancelled(message: str) -> State[None]:
    """Cancelled, with what carries it on in the log."""
    get_run_logger().warning(message)
    _log_it_once()
    return Cancelled(message=message)


def leave_suspended(state: State[Any], message: str) -> NoReturn:
    """Leave the flow run suspended, as it is at the server: its process ends, and a resume begins another."""
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
    """Drops what is raised of a flow run's final state."""

    def __init__(self, flow_run_id: str) -> None:
        super().__init__()
        self._flow_run_id = flow_run_id

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        is_ours = getattr(record, "flow_run_id", None) == self._flow_run_id
        return not (is_ours and isinstance(error, (FailedRun, CancelledRun, FievalError)))
