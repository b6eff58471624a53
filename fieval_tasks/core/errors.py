"""Everything this project raises on purpose.

FievalError
├── PlanError                what was asked for is wrong; nothing was sent
│   ├── NameTaken            there is a run of that name
│   └── NoRows               a dataset's file has columns and no rows
├── StoreError               the ledger can't be opened, read or written
│   └── StoreAway            the ledger can't be used at this moment; trying again may succeed
├── SinkError                what --to names can't take verdicts, now or at all; the run goes on without it
│   └── RowsUnwanted         the table does not take some of these rows as they are; it may take others
├── ApiError                 what the evaluation API answered, or failed to answer
│   ├── Unreachable          no connection: the request was certainly not accepted
│   ├── Lost                 sent, and no answer came: a POST may have been accepted
│   ├── Throttled            429, or 503 with Retry-After: everyone waits
│   ├── ServerFault          500 and other 5xx
│   │   ├── GatewayFault     502 and 504: a POST may have been accepted behind the gateway
│   │   └── Unavailable      503 without Retry-After, 521 and 523: the server or its gateway says that it is away
│   ├── Refused              400: these inputs will never be accepted
│   │   └── NotFound         400 "Evaluation not found."
│   ├── EvaluationFailed     400 of a synchronous call whose judge failed
│   ├── TurnedAway           3xx or 4xx that is not the API's: the request was not passed on to it
│   ├── KeysRefused          401, 403 of the API itself
│   ├── NoCredit             402 of the API itself, or a row that failed with insufficient_credits
│   └── NotTheProtocol       HTML, truncated JSON, or a shape the API does not have
│       └── Miscounted       evaluations for more or fewer items than were sent: they can't be assigned to items
└── RunStopped               the run ended before its items did, and can be resumed
    ├── RunsRefused          `collect` could not ask about some of several runs; their verdicts are missing
    ├── Interrupted          by Ctrl-C, SIGTERM, or a cancel or a suspension in Prefect
    └── Unexpected           by an error that no code handles
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from fieval_tasks.core.scrubbing import scrubbed


class ExitCode(IntEnum):
    """What the command's exit status means."""

    OK = 0
    """Every item has a verdict, is within `--allow-failures` or was not needed, and every gate passed."""
    GATE_FAILED = 1
    """Never anything else: an uncaught exception would also end Python with 1, so those end with 70."""
    BAD_INPUT = 2
    """Nothing was sent. It is also argparse's code for a wrong command line."""
    INCOMPLETE = 3
    """Some items have no verdict, or a gate is UNDECIDED, or what `--to` names lacks verdicts."""
    STOPPED = 4
    """Keys refused, credit gone, server or ledger unusable; the run can be resumed."""
    UNEXPECTED = 70
    """EX_SOFTWARE of BSD's sysexits."""
    INTERRUPTED = 130
    """128 + SIGINT, as shells report it."""


class FievalError(Exception):
    """A failure with a sentence for the user: what happened, to what, and the next step. No secret is in it."""

    exit_code = ExitCode.STOPPED
    retryable = False
    """The same call may succeed later, and repeating the call can't buy an evaluation twice."""

    def __init__(self, *sentences: str) -> None:
        super().__init__(*map(scrubbed, sentences))


class PlanError(FievalError):
    """The plan or its dataset is wrong. Carries every problem found, not only the first."""

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, *problems: str) -> None:
        self.problems: tuple[str, ...] = tuple(map(scrubbed, problems))
        super().__init__("\n".join(problems))


class NameTaken(PlanError):
    """Raised where the ledger already has a run of that name. If the program made the name up, it tries another one."""


class NoRows(PlanError):
    """Raised for a file with columns and no rows, as Spark writes an empty partition. Of several files some may be empty."""


class StoreError(FievalError):
    """The ledger can't be opened, read or written. Nothing is sent, because it could not be recorded."""


class StoreAway(StoreError):
    """The ledger can't be used at this moment: its database is locked, restarting or out of reach. Try again."""


class SinkError(FievalError):
    """What `--to` names can't take verdicts, at this moment or at all. The ledger has them, and the run goes on."""

    exit_code = ExitCode.INCOMPLETE


class RowsUnwanted(SinkError):
    """Rows are too long or of another kind than the user's table wants, so none of this batch is in it. Others may be taken."""


class ApiError(FievalError):
    """A call to the evaluation API failed, or its answer is not what was asked for."""

    kind = "api_error"
    """The error's name in results.jsonl and in reports; it stays the same in later versions."""
    ambiguous = False
    """On a POST: the server may have accepted the request although it did not answer so."""

    def __init__(self, message: str, *, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = str(self)
        self.status = status
        self.request_id = request_id and scrubbed(request_id)

    @property
    def explained(self) -> str:
        """For an item's biography: the message, with the HTTP status and the server's id of the request."""
        known = [f"HTTP {self.status}" if self.status else "", f"request {self.request_id}" if self.request_id else ""]
        identity = ", ".join(filter(None, known))
        return f"{self} ({identity})" if identity else str(self)


class Unreachable(ApiError):
    """No connection to the server could be made, so no request was accepted."""

    kind = "unreachable"
    retryable = True


class Lost(ApiError):
    """The request went out, and no answer came back in time: a submission may have been accepted, and paid."""

    kind = "lost_reply"
    ambiguous = True


class Throttled(ApiError):
    """The server asks everybody to slow down: 429, or 503 with Retry-After. Nothing was accepted."""

    kind = "throttled"
    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, **reply: Any) -> None:
        super().__init__(message, **reply)
        self.retry_after = retry_after
        """Seconds to wait, as the server asked; None where the server named none."""


class ServerFault(ApiError):
    """The server answered 5xx. The platform also answers bad inputs and a used-up quota so: a POST is not simply repeated."""

    kind = "server_fault"


class GatewayFault(ServerFault):
    """A gateway gave up waiting for the server (502, 504, 520, 522, 524): the server may have accepted the request."""

    kind = "gateway_fault"
    ambiguous = True


class Unavailable(ServerFault):
    """The server or its gateway says that it is away (503 without Retry-After, 521, 523): nothing was accepted."""

    kind = "unavailable"


class Refused(ApiError):
    """The API refuses these inputs (400, validation), whenever they are sent."""

    kind = "refused"

    is_validation = True
    """The answer says that the request is invalid. Where False, the judge of a synchronous call may have failed."""


class NotFound(Refused):
    """The server knows no evaluation of that id (or it belongs to another organisation or workspace)."""

    kind = "not_found"


class EvaluationFailed(ApiError):
    """The judge of a synchronous call failed: the evaluation was begun, and brought no verdict."""

    kind = "evaluation_error"


class TurnedAway(ApiError):
    """A firewall, a proxy or another server refused or redirected the request (3xx, 4xx): the API did not get it."""

    kind = "turned_away"


class KeysRefused(ApiError):
    """The API does not accept these keys (401, 403)."""

    kind = "keys_refused"


class NoCredit(ApiError):
    """The account has no credit left (402, or a verdict that says so): top it up, then resume."""

    kind = "insufficient_credits"


class NotTheProtocol(ApiError):
    """The answer is not one that this API gives: HTML, truncated JSON, another shape. A POST may have been accepted."""

    kind = "not_the_protocol"
    ambiguous = True


class Miscounted(NotTheProtocol):
    """A pack was answered with more or fewer evaluations than it had items, so they can't be assigned to items."""


class RunStopped(FievalError):
    """The run stopped before all items had verdicts. The ledger has what is known; the message names the command to resume."""


class RunsRefused(RunStopped):
    """Raised by `collect` where it could not ask about some of several runs; it collected the others."""

    exit_code = ExitCode.INCOMPLETE


class UsedUp(RunStopped):
    """Raised where a tier has no room for longer than the run may wait; no item that needs its judge is sent in this run."""

    exit_code = ExitCode.INCOMPLETE


class Interrupted(RunStopped):
    """The run was asked to stop: Ctrl-C, SIGTERM, or a cancel or a suspension in Prefect."""

    exit_code = ExitCode.INTERRUPTED


class Unexpected(RunStopped):
    """Raised for an error that no code handles (its cause); the message names the log with the traceback."""

    exit_code = ExitCode.UNEXPECTED


def stopped_by(error: ApiError) -> RunStopped:
    """The run's error for an API error that stops it, with the next step."""
    return no_credit(str(error)) if isinstance(error, NoCredit) else RunStopped(str(error))


def no_credit(reason: str) -> RunStopped:
    return RunStopped(f"no credit left ({reason}): top up the account, then resume")


def in_words(error: BaseException) -> str:
    """The message of any exception, without secrets; its class name where it has no message."""
    return scrubbed(str(error)) or type(error).__name__
