"""The options of a run in this process, as one frozen value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from fieval_tasks.core.budget import UNBOUNDED, Budget
from fieval_tasks.core.plan import Mode
from fieval_tasks.core.policy import OnLostReply, OnStuck
from fieval_tasks.ledger.processes import owner_name
from fieval_tasks.pace.pace_tuning import TUNING as PACE_TUNING
from fieval_tasks.pace.pace_tuning import PaceTuning
from fieval_tasks.pace.quota import NOTHING_KNOWN, Allowed
from fieval_tasks.work.work_tuning import TUNING as WORK_TUNING
from fieval_tasks.work.work_tuning import WorkTuning

Within: TypeAlias = "Callable[[str, Mapping[str, str | int]], AbstractContextManager[Any]]"
"""What is opened around a part of the work, by its name and what is known of it."""


def nothing_around(name: str, about: Mapping[str, str | int]) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True)
class Share:
    """The part of a run's chunks with which one of several processes begins."""

    number: int
    """The process, from 0."""
    of: int
    """How many processes there are."""

    def of_these(self, chunks: Sequence[int]) -> list[int]:
        return [chunk for chunk in chunks if chunk % self.of == self.number]


class Audience(Protocol):
    """Hears of verdicts once they are recorded. Called on the event loop, so nothing of it blocks."""

    def hear(self, seqs: Sequence[int]) -> None:
        """These items have their verdicts."""

    @property
    def lag(self) -> str:
        """Why somebody has not got all that was heard, in words; empty where nothing is wrong."""


@dataclass(frozen=True)
class Options:
    """A run's mode, bounds and policies in this process."""

    mode: Mode
    """ASYNC submits and polls; SYNC waits for each verdict in the submission's reply; SUBMIT only submits."""
    concurrency: int = 96
    """Requests that may be under way at the same time."""
    rate: float | None = None
    """Requests a second at most. None: as many as the server accepts."""
    item_timeout: float = 600.0
    """Seconds from an item's submission to the last question about it."""
    timeout: float | None = None
    """Seconds after which the run stops. None: never."""
    may_have_tiers: bool = True
    """The platform may accept submissions and refuse their evaluations for a limit of the account's tier."""
    allowed: Allowed = NOTHING_KNOWN
    """The account's tier, and what was evaluated within its windows before the run."""
    pace_tuning: PaceTuning = PACE_TUNING
    """The constants of the room `pace`."""
    work_tuning: WorkTuning = WORK_TUNING
    """The constants of this room."""
    budget: Budget = UNBOUNDED
    """The hard ends of what the run may spend, over all its processes."""
    on_lost_reply: OnLostReply = "resubmit"
    """What is done with an item whose submission may have been accepted, though no reply came."""
    on_stuck: OnStuck = "wait"
    """What is done with an evaluation that is pending long after later ones are done."""
    is_decided: Callable[[], bool] | None = None
    """Whether the run's outcome is decided by what is in the ledger, so that no more need be sent; it blocks. None: never."""
    audience: Audience | None = None
    """Hears of the verdicts. None: nobody does."""
    within: Within = nothing_around
    """Opened in whichever thread sends a chunk or polls."""
    share: Share | None = None
    """The chunks to begin with where several processes share the run; None: all."""
    quiet: float | None = None
    """Seconds without a verdict after which open tickets are left to a later process. None: wait to each item's timeout."""
    owner: str = field(default_factory=owner_name)
    """The name under which this process claims chunks in the ledger."""
