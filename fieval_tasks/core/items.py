"""Every state an item can be in, and no other.

An *item* is one row put to one check. Its way:

    ready ──> sending ──> submitted ──> scored | failed
      │          └──────> ambiguous ──> (sent again, or left)
      └──> failed (stage validate: never sent)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Literal, TypeAlias

Status = Literal["scored", "failed", "pending", "skipped"]
Stage = Literal["validate", "submit", "wait", "evaluate"]
Value: TypeAlias = "str | float | list[str] | dict[str, str | float] | None"
"""A verdict as the platform gives it: text, a number, several choices, or a choice with its score."""


class State(str, Enum):
    """Where an item stands in the ledger."""

    READY = "ready"
    """Validated and not sent."""
    SENDING = "sending"
    """Recorded just before its POST. Found after a crash, it means: perhaps accepted."""
    AMBIGUOUS = "ambiguous"
    """Sent, and the reply was lost: perhaps accepted, perhaps paid."""
    SUBMITTED = "submitted"
    """Has a ticket; its verdict is waited for."""
    SCORED = "scored"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        return self in (State.SCORED, State.FAILED)

    @property
    def status(self) -> Status:
        """The word that results.jsonl uses."""
        if self is State.SCORED:
            return "scored"
        return "failed" if self is State.FAILED else "pending"


@dataclass(frozen=True)
class Item:
    """One row put to one check, ready to be sent."""

    seq: int
    """Its place in the run, from 0: the ledger's key."""
    item_id: str
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
    """The item (its seq) that this one repeats: only that one is sent, and both share its verdict."""
    lost: int = 0
    """POSTs that carried it and whose reply was lost: each may have been accepted, and paid."""
    doubts: int = 0
    """Submissions that may have been judged, and paid, without anyone here having heard: lost replies, given-up tickets."""
    ambiguous: bool = False
    """The reply to its last submission was lost: it may have been accepted."""
    redone: int = 0
    """Times it was sent again after the server had taken it and not judged it."""
    kept: Mapping[str, Any] | None = None
    """Columns of its row that are no inputs and go beside its result, as JSON holds them. Only where it is written."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Of its template's parameters those that its row gives. Its check has the others."""


@dataclass(frozen=True)
class Ticket:
    """The server's word that it took an item."""

    seq: int
    eval_id: str


@dataclass(frozen=True)
class Scored:
    """The judge's answer."""

    value: Value
    score: float | None = None
    """0..1, higher is better; None where the template gives no number."""
    passed: bool | None = None
    """Only templates that answer Pass/Fail know this."""
    reason: str | None = None
    runtime_ms: float | None = None


@dataclass(frozen=True)
class Failed:
    """No verdict, and why."""

    stage: Stage
    kind: str
    message: str


Verdict: TypeAlias = "Scored | Failed"


@dataclass(frozen=True)
class Pending:
    """The server has not decided yet."""


@dataclass(frozen=True)
class Evaluation:
    """What the server says of one evaluation."""

    verdict: Verdict | Pending
    inputs: Mapping[str, Any] | None = None
    """What was judged, as the server has it; None where it does not say."""


@dataclass(frozen=True)
class Result:
    """One line of results.jsonl: an item and what became of it."""

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
    """Only where the reader asked for them."""
    kept: Mapping[str, Any] | None = None
    """Columns of the dataset that --keep named, likewise; None where it named none."""
    lost: int = 0
    """POSTs that carried it and whose reply was lost: each may have been accepted, and paid."""
    same_as: int | None = None
    """The item (its seq) whose evaluation gave this one its verdict, where it repeats one."""
    lent_by: str | None = None
    """The check of that item, where it is another one."""
    doubts: int = 0
    """Submissions that may have been judged, and paid, without anyone here having heard: lost replies, given-up tickets."""
