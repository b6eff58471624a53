"""Everything this project raises on purpose.

FievalError
├── PlanError                what was asked for is wrong; nothing was sent
│   ├── NameTaken            there is a run of that name
│   └── NoRows               a dataset's file has columns and no rows
├── StoreError               the ledger can't be opened, read or written
│   └── StoreAway            not at this moment, for a reason that tends to pass
├── ApiError                 what the evaluation API answered, or failed to answer
│   ├── Unreachable          no connection: the request was certainly not accepted
│   ├── Lost                 sent, and no answer came: a POST may have been accepted
│   ├── Throttled            429, or 503 with Retry-After: everyone waits
│   ├── ServerFault          500 and other 5xx
│   │   ├── GatewayFault     502 and 504: a POST may have been accepted behind the gateway
│   │   └── Unavailable      503 without Retry-After, 521 and 523: the server says, or its gateway, that it is away
│   ├── Refused              400: these inputs will never be accepted
│   │   └── NotFound         400 "Evaluation not found."
│   ├── EvaluationFailed     400 of a synchronous call whose judge failed
│   ├── TurnedAway           3xx or 4xx that is not the API's: the request was not passed on to it
│   ├── KeysRefused          401, 403 of the API itself
│   ├── NoCredit             402 of the API itself, or a row that failed with insufficient_credits
│   └── NotTheProtocol       HTML, truncated JSON, or a shape the API does not have
│       └── Miscounted       evaluations for more or fewer items than were sent: whose they are can't be told
└── RunStopped               the run ended before its items did, and can be resumed
    ├── RunsRefused          of several runs, some could not be asked about: theirs are the verdicts that are missing
    ├── Interrupted          by Ctrl-C, SIGTERM, or a cancel or a suspension in Prefect
    └── Unexpected           by an error that nobody foresaw
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from fieval_tasks.core.scrubbing import scrubbed

MOST_COMPLAINTS = 20
# Of fields, of complaints about one, and characters of each, that are kept of a refusal: the server may send a
# megabyte.
LONGEST_COMPLAINT = 2_000


class ExitCode(IntEnum):
    """What the command's exit status means."""

    OK = 0
    GATE_FAILED = 1
    BAD_INPUT = 2
    INCOMPLETE = 3
    STOPPED = 4
    UNEXPECTED = 70
    """What BSD's sysexits calls a software error."""
    INTERRUPTED = 130


class FievalError(Exception):
    """A failure with a sentence for the user: what happened, to what, and the next step. No secret is in it."""

    exit_code = ExitCode.STOPPED
    retryable = False
    """The same call may succeed later, and repeating it can't buy anything twice."""

    def __init__(self, *sentences: str) -> None:
        super().__init__(*map(scrubbed, sentences))


class PlanError(FievalError):
    """The plan or its dataset is wrong. Carries every problem found, not only the first."""

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, *problems: str) -> None:
        self.problems: tuple[str, ...] = tuple(map(scrubbed, problems))
        super().__init__("\n".join(problems))


class NameTaken(PlanError):
    """There is a run of that name already. A name that the program made up is tried again, with another."""


class NoRows(PlanError):
    """The file has columns and no rows, as Spark writes an empty partition. Of several files, one may be so."""


class StoreError(FievalError):
    """The ledger can't be opened, read or written. Nothing is sent that could not be recorded."""

    exit_code = ExitCode.STOPPED


class StoreAway(StoreError):
    """The ledger can't be used at this moment: its database is locked, restarting or out of reach. Trying again may do."""


class ApiError(FievalError):
    """A call to the evaluation API did not bring the answer that was asked for."""

    kind = "api_error"
    """A stable word for files and tables."""
    ambiguous = False
    """On a POST: the server may have accepted the request all the same."""

    def __init__(self, message: str, *, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = str(self)
        self.status = status
        self.request_id = request_id and scrubbed(request_id)

    @property
    def explained(self) -> str:
        """For an item's biography: the message, with what identifies the request at the server."""
        known = [f"HTTP {self.status}" if self.status else "", f"request {self.request_id}" if self.request_id else ""]
        identity = ", ".join(filter(None, known))
        return f"{self} ({identity})" if identity else str(self)


class Unreachable(ApiError):
    """No connection could be made, so nothing was accepted."""

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
        """Seconds the server asked for; None where it named none."""


class ServerFault(ApiError):
    """A 5xx answer. On a POST the platform hides bad inputs and quota behind it, so it is not simply repeated."""

    kind = "server_fault"


class GatewayFault(ServerFault):
    """A gateway between here and the server gave up waiting (502, 504 and their kin): the server may have accepted it."""

    kind = "gateway_fault"
    ambiguous = True


class Unavailable(ServerFault):
    """The server is away, says a gateway before it, and nothing was accepted; or it says so itself, of one input (503)."""

    kind = "unavailable"


class Refused(ApiError):
    """The API refuses these inputs (400, validation), and will whenever they are sent."""

    kind = "refused"

    def __init__(
        self,
        message: str,
        *,
        fields: Mapping[str, Sequence[str]] | None = None,
        is_validation: bool = True,
        **reply: Any,
    ) -> None:
        super().__init__(message, **reply)
        kept = [(name, [*said][:MOST_COMPLAINTS]) for name, said in (fields or {}).items()][:MOST_COMPLAINTS]
        self.fields = {_kept_of(name): [*map(_kept_of, said)] for name, said in kept}
        """Field name -> the server's complaints about it, as far as anybody reads them."""
        self.is_validation = is_validation
        """The answer says that the request was looked at and found wanting. If not, a judge may have failed on it."""


class NotFound(Refused):
    """The server knows no evaluation of that id (or it belongs to another organisation or workspace)."""

    kind = "not_found"


class EvaluationFailed(ApiError):
    """The judge of a synchronous call failed: the evaluation was begun, and brought no verdict."""

    kind = "evaluation_error"


class TurnedAway(ApiError):
    """A redirect or a refusal that is not the API's own: a firewall's, a proxy's, another server's. Nothing was accepted."""

    kind = "turned_away"


class KeysRefused(ApiError):
    """The API does not accept these keys (401, 403)."""

    kind = "keys_refused"


class NoCredit(ApiError):
    """The account has no credit left (402, or a verdict that says so): top it up, then resume."""

    kind = "insufficient_credits"


class NotTheProtocol(ApiError):
    """The answer is none that this API gives: HTML, cut JSON, another shape. A submission may have been accepted all the same."""

    kind = "not_the_protocol"
    ambiguous = True


class Miscounted(NotTheProtocol):
    """A pack was answered with more or fewer evaluations than it had items: whose each is can't be told."""


class RunStopped(FievalError):
    """The run ended before its items did. What is known is in the ledger; the message names the command that resumes."""

    exit_code = ExitCode.STOPPED


class RunsRefused(RunStopped):
    """Of several runs some could not be asked about; the others went as far as they go."""

    exit_code = ExitCode.INCOMPLETE


class Interrupted(RunStopped):
    """The run was asked to stop: Ctrl-C, SIGTERM, or a cancel or a suspension in Prefect."""

    exit_code = ExitCode.INTERRUPTED


class Unexpected(RunStopped):
    """An error that nobody foresaw, its cause; the message names the log with the traceback."""

    exit_code = ExitCode.UNEXPECTED


def stopped_by(error: ApiError) -> RunStopped:
    """Why a run ends by what its server said, with the next step."""
    return no_credit(str(error)) if isinstance(error, NoCredit) else RunStopped(str(error))


def no_credit(reason: str) -> RunStopped:
    return RunStopped(f"no credit left ({reason}): top up the account, then resume")


def _kept_of(complaint: str) -> str:
    return scrubbed(complaint[:LONGEST_COMPLAINT])


def in_words(error: BaseException) -> str:
    """What an error of others says, without secrets, or else its kind."""
    return scrubbed(str(error)) or type(error).__name__
