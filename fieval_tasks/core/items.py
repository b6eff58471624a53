"""Items, the states they pass through, and their verdicts.

An *item* is one row put to one check. Its states:

    ready ──> sending ──> submitted ──> scored | failed
      │          └──────> ambiguous ──> (sent again, or left)
      ├──> failed (stage validate: never sent)
      └──> not_needed (the run's gates were decided without it)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Literal, TypeAlias

Status = Literal["scored", "failed", "pending", "not_needed"]
Stage = Literal["validate", "submit", "wait", "evaluate"]
Value: TypeAlias = "str | float | list[str] | dict[str, str | float] | None"
"""A verdict as the platform gives it: text, a number, several choices, or a choice with its score."""


class State(str, Enum):
    """An item's state in the ledger."""

    READY = "ready"
    """Validated and not sent."""
    SENDING = "sending"
    """Written just before the item's POST. If a process dies in this state, the item may have been accepted."""
    AMBIGUOUS = "ambiguous"
    """Sent, and the reply was lost: the item may have been accepted, and paid."""
    SUBMITTED = "submitted"
    """The item has a ticket and no verdict yet."""
    SCORED = "scored"
    """The judge gave a verdict."""
    FAILED = "failed"
    """The item ended without a judge's verdict; `Failed` says why."""
    NOT_NEEDED = "not_needed"
    """Not sent, because the run's gates were decided without it (`--stop-when-decided`)."""

    @property
    def is_final(self) -> bool:
        return self in (State.SCORED, State.FAILED, State.NOT_NEEDED)

    @property
    def status(self) -> Status:
        """The word that results.jsonl uses."""
        return self.value if self.is_final else "pending"  # type: ignore[return-value]  # final states are statuses


@dataclass(frozen=True)
class Item:
    """One row put to one check, ready to be sent."""

    seq: int
    """Its place in the run, from 0: the ledger's key."""
    item_id: str
    """The row's id in results: from the dataset's id column, or made from the row's content."""
    row: int
    """The record's number in the dataset, from 1."""
    check: str
    template: str
    model: str | None
    inputs: Mapping[str, str]
    """Template key -> text, as the API takes it."""
    fingerprint: str
    """Of template, model, config and inputs: equal for items the judge can't tell apart."""
    same_as: int | None = None
    """The item (its seq) that this one is a copy of: only that one is sent, and both share its verdict."""
    lost: int = 0
    """POSTs that carried the item and whose reply was lost: each may have been accepted, and paid."""
    doubts: int = 0
    """Submissions that may have been judged, and paid, without a verdict here: lost replies and given-up tickets."""
    ambiguous: bool = False
    """The reply to its last submission was lost: the item may have been accepted."""
    redone: int = 0
    """Times the item was sent again after the server had accepted it and given no verdict."""
    kept: Mapping[str, Any] | None = None
    """Columns that `--keep` named, as JSON values. Only set while a run's items are first written; None when read back."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Template parameters that come from the item's row. All others are the check's."""
    traits: Mapping[str, Any] | None = None
    """Columns by which the results are divided (segments, clusters, strata), as JSON values."""
    repeat: int = 0
    """0: the first evaluation of this row by this check; 1, 2, ...: further ones of the very same inputs."""
    drawn: int | None = None
    """Its place in the random order in which the run's items are sent, from 0; None: they are sent in the order of `seq`."""


@dataclass(frozen=True)
class Ticket:
    """The server's receipt for an item that it accepted."""

    seq: int
    """The item's."""
    eval_id: str
    """The server's id of the evaluation, by which its verdict is asked for."""


@dataclass(frozen=True)
class Scored:
    """A verdict that the judge gave."""

    value: Value
    """As the template answers: Passed or Failed, a number, a text or choices."""
    score: float | None = None
    """0..1 as the platform gives it, or None. High is good: it turns error rates and distances itself (see `core/scales`)."""
    passed: bool | None = None
    """None unless the template answers Pass/Fail. Of choices it is said later: see `Scale.passes`."""
    reason: str | None = None
    """The judge's explanation."""
    runtime_ms: float | None = None
    """How long the evaluation took at the server, in milliseconds."""


@dataclass(frozen=True)
class Failed:
    """An item that ended without a judge's verdict."""

    stage: Stage
    """The step at which it failed."""
    kind: str
    """A stable word for the cause, such as `refused` or `hollow`."""
    message: str
    """The cause in a sentence."""


Verdict: TypeAlias = "Scored | Failed"


@dataclass(frozen=True)
class Pending:
    """The server has no verdict yet."""


@dataclass(frozen=True)
class Evaluation:
    """The server's answer to a question about one evaluation."""

    verdict: Verdict | Pending
    inputs: Mapping[str, Any] | None = None
    """The inputs that were judged, as the server has them; None where the answer holds none."""


@dataclass(frozen=True)
class Result:
    """One line of results.jsonl: an item and its verdict, or why it has none."""

    item_id: str
    row: int
    check: str
    template: str
    model: str | None
    status: Status
    value: Value
    score: float | None
    passed: bool | None
    reason: str | None
    runtime_ms: float | None
    eval_id: str | None
    stage: Stage | None
    error: Mapping[str, str] | None
    """{"kind", "message"}, or None."""
    attempts: int
    """POSTs that carried the item."""
    submitted_at: datetime | None
    finished_at: datetime | None
    inputs: Mapping[str, str] | None = None
    """None unless the ledger was asked for inputs."""
    kept: Mapping[str, Any] | None = None
    """Columns of the dataset that `--keep` named; None unless the ledger was asked for inputs."""
    lost: int = 0
    """POSTs that carried the item and whose reply was lost: each may have been accepted, and paid."""
    same_as: int | None = None
    """The seq of the item whose evaluation gave this item its verdict; None where it had its own."""
    lent_by: str | None = None
    """The check of the item `same_as`, where it is another check than this item's."""
    doubts: int = 0
    """Submissions that may have been judged, and paid, without a verdict here: lost replies and given-up tickets."""
    traits: Mapping[str, Any] | None = None
    """Columns by which the results are divided (segments, clusters, strata), as JSON values."""
    repeat: int = 0
    """0: the first evaluation of this row by this check; 1, 2, ...: further ones of the very same inputs."""
    reused_from: str | None = None
    """The earlier run whose verdict this is: it was not paid again."""
    seq: int | None = None
    """The item's place in its run; None for a result that no ledger holds."""

    def input_length(self) -> int:
        """Characters of its inputs."""
        return sum(map(len, (self.inputs or {}).values()))
