"""What a run may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fieval_tasks.core.plan import Mode
from fieval_tasks.core.policy import OnLostReply, OnStuck
from fieval_tasks.ledger.processes import owner_name
from fieval_tasks.pace.pace_tuning import TUNING, PaceTuning
from fieval_tasks.pace.quota import NOTHING_KNOWN, Allowed


@dataclass(frozen=True)
class Share:
    """The part of a run with which one of several processes begins."""

    number: int
    """From 0."""
    of: int

    def of_these(self, chunks: Sequence[int]) -> list[int]:
        return [chunk for chunk in chunks if chunk % self.of == self.number]


@dataclass(frozen=True)
class Options:
    """What a run may do in this process, and how it goes about it."""

    mode: Mode
    """ASYNC submits and asks; SYNC waits for each verdict in the submission's reply; SUBMIT asks nothing."""
    concurrency: int = 96
    """Requests that may be under way at the same time."""
    rate: float | None = None
    """Requests that may go out in a second. None: as many as the server takes."""
    item_timeout: float = 600.0
    """Seconds from an item's submission to the last question about it."""
    timeout: float | None = None
    """Seconds after which the run stops. None: never."""
    may_have_tiers: bool = True
    """Whether the server may refuse evaluations, though it took them, for a limit of the account's tier."""
    allowed: Allowed = NOTHING_KNOWN
    """What is known of that tier, and of what was evaluated within its windows before."""
    tuning: PaceTuning = TUNING
    """The pace's chosen numbers."""
    on_lost_reply: OnLostReply = "resubmit"
    """What becomes of an item whose submission may have been taken, though no reply came."""
    on_stuck: OnStuck = "wait"
    """What becomes of an evaluation that is pending long after later ones are done."""
    share: Share | None = None
    """Of several processes that work on the run: begin with these chunks, then help with the others'."""
    quiet: float | None = None
    """Seconds without a verdict after which open tickets are left to whoever comes next. None: each is waited for, to its time."""
    owner: str = field(default_factory=owner_name)
    """Who holds the chunks that are worked on, against other processes."""
