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

from fieval_tasks.core.scrubbing import scrubbed

MOST_COMPLAINTS = 20
LONGEST_COMPLAINT = 2_000
"""Of fields, of complaints about one, and characters of each, that are kept of a refusal: the server may send a megabyte."""


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
    """There is a run of that name already, which only somebody who chose the name need be told."""


class NoRows(PlanError):
    """A file of the dataset has columns and no rows, as Spark writes of an empty partition."""


class StoreError(FievalError):
    """The ledger can't be used. Nothing is sent that could not be recorded."""

    exit_code = ExitCode.STOPPED


class StoreAway(StoreError):
    """The ledger can't be used at this moment, for a reason that tends to pass."""


class ApiError(FievalError):
    """One call to the evaluation API did not bring the answer that was asked for."""

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
    """The request went out and no answer came back."""

    kind = "lost_reply"
    ambiguous = True


class Throttled(ApiError):
    """The server asks everybody to slow down."""

    kind = "throttled"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, status=status, request_id=request_id)
        self.retry_after = retry_after
        """Seconds the server asked for; None where it named none."""


class ServerFault(ApiError):
    """A 5xx answer. On a POST the platform hides bad inputs and quota behind it, so it is not simply repeated."""

    kind = "server_fault"


class GatewayFault(ServerFault):
    """Something between here and the server gave up waiting."""

    kind = "gateway_fault"
    ambiguous = True


class Unavailable(ServerFault):
    """The server is away, says somebody before it: nothing was accepted. Or it says so itself, of one input."""

    kind = "unavailable"


class Refused(ApiError):
    """A validation error: permanent for these inputs."""

    kind = "refused"

    def __init__(
        self,
        message: str,
        *,
        fields: Mapping[str, Sequence[str]] | None = None,
        is_validation: bool = True,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, status=status, request_id=request_id)
        kept = [(name, [*said][:MOST_COMPLAINTS]) for name, said in (fields or {}).items()][:MOST_COMPLAINTS]
        self.fields = {_kept_of(name): [*map(_kept_of, said)] for name, said in kept}
        """Field name -> the server's complaints about it, as far as anybody reads them."""
        self.is_validation = is_validation
        """The answer says that the request was looked at and found wanting. If not, a judge may have failed on it."""


class NotFound(Refused):
    """The server knows no evaluation of that id (or it belongs to another organisation or workspace)."""

    kind = "not_found"


class EvaluationFailed(ApiError):
    """A synchronous call's judge failed: the evaluation was begun, and brought no verdict."""

    kind = "evaluation_error"


class TurnedAway(ApiError):
    """A redirect or a refusal that is not the API's own: a firewall's, a proxy's, another server's. Nothing was accepted."""

    kind = "turned_away"


class KeysRefused(ApiError):
    """The server does not accept these keys."""

    kind = "keys_refused"


class NoCredit(ApiError):
    """The account has no credit left."""

    kind = "insufficient_credits"


class NotTheProtocol(ApiError):
    """The answer is not one this API gives. After a POST it may still have been accepted."""

    kind = "not_the_protocol"
    ambiguous = True


class Miscounted(NotTheProtocol):
    """A pack was answered with more or fewer evaluations than it had items: whose each is can't be told."""


class RunStopped(FievalError):
    """The run ended early. What is known is in the ledger; the message names the command that resumes."""

    exit_code = ExitCode.STOPPED


class RunsRefused(RunStopped):
    """Of several runs, some could not be asked about; the others went as far as they go."""

    exit_code = ExitCode.INCOMPLETE


class Interrupted(RunStopped):
    """Somebody asked the run to stop."""

    exit_code = ExitCode.INTERRUPTED


class Unexpected(RunStopped):
    """An error that nobody foresaw, which is its cause; the message names the log with its traceback."""

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
