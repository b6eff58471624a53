"""The constants of the work room: each field says what it bounds, the comment above it why it has its value."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from fieval_tasks.core.policy import SILENCE
from fieval_tasks.pace.limits import backoff


@dataclass(frozen=True)
class WorkTuning:
    """Times are in seconds. Tests pass in their own."""

    # -- a run in its process --------------------------------------------------------------------------------------

    submitters: int = 4
    """Chunks that are submitted at the same time."""
    round: float = 0.25
    """Between two checks of a waiting thread for a stop, and two updates of the progress."""
    lease: float = 60.0
    """A process that has not renewed its claims for so long loses its chunks to another one."""
    look_for_others: float = 1.0
    """Between two reads of the other processes' claims."""
    # `flows.cli.interruption` ends the process 1.7 s after Ctrl-C or SIGTERM. Any other stop waits for all replies, each within
    # its own timeout: a lost reply may be paid for twice.
    last_moment: float = 0.8
    """For the replies to submissions under way, after an interruption."""
    # Enough on the busiest machine.
    cancelled_within: float = 5.0
    """For cancelled tasks to end; later ones are abandoned with their loop."""
    # The platform's longest limit but that of a day, with its margin (a window is counted a second longer than it is). At a
    # day's limit a run had better end, and say when to carry on.
    longest_wait: float = 3610.0
    """The longest Retry-After that is waited for; an item's timeout, if shorter, bounds it too."""
    # Limits of a minute, and their margin, are common.
    shortest_wait: float = 70.0
    """A Retry-After up to this is waited for, however short an item's timeout is."""

    # -- submissions -----------------------------------------------------------------------------------------------

    shortest_post: float = 5.0
    """The least timeout of a POST, however short an item's timeout is."""
    # A slow server must not hold up the run.
    first_pack_within: float = 1.0
    """How long other packs wait for the reply to a lane's first pack."""
    pause: Callable[[int], float] = backoff
    """Faults of a request -> seconds before its next try."""
    # The pause is 4 s then, as long as everyone's pauses while a server is away.
    sent_again_soon: int = 3
    """Faults after which that pause grows no more."""
    # A failed synchronous call has no reason; the failed row of a submission has one.
    turn_async_at: int = 3
    """Server faults in a row after which a synchronous lane submits instead."""
    silence: float = SILENCE
    """Without an answer to any request, after which the run stops."""
    # An outage may pass.
    chunk_tries: int = 4
    """Times that a chunk is submitted whose requests can't reach the server."""
    # Longer than the tries of a single request.
    chunk_rests: float = 8.0
    """Before a chunk's second try; doubles for each further one."""

    # -- a run that ends once its gates are decided --------------------------------------------------------------------

    # A second more than needed buys a few evaluations more.
    look_every: float = 0.25
    """Between two looks at whether the gates are decided, at least; and ten times as long as one takes,"""
    look_at_last: float = 1.0
    """but no longer than this."""
    # A gate of 0.95 is decided after 162 items at a true rate of 0.99. Many more under way would mostly be bought in vain, and
    # fewer would make a run wait that needs thousands.
    ahead: int = 96
    """Items that may be on their way, or wait for their verdicts, until many are settled;"""
    ahead_share: float = 0.25
    """and later this share of the settled ones."""

    # -- a lane's breaker: what may be bought before much is known -----------------------------------------------------

    canaries: int = 3
    """Requests of one item each that may be under way before the server has accepted any."""
    refused_at_first: int = 4
    """Refusals for the same reason that stop a lane of which nothing was accepted yet."""
    # Where three rows in ten are refused, ten in a row are seen once in 170,000 runs.
    refused_anyhow: int = 10
    """Refusals for any reasons that stop a lane of which nothing was accepted yet."""
    refused_later: int = 20
    """Refusals in a row for the same reason that stop a lane of which something was accepted."""
    bought_at_first: int = 100
    """Evaluations that may be bought before the first verdict, including second tries."""
    # The first verdicts are seen late, since nothing is known yet of when to ask: with a hundred more for each verdict 10,000
    # items took four seconds longer. Later failures are found by their rate (out_of_latest).
    growth: int = 4
    """How many times as many evaluations may be bought after each verdict."""
    # So that a slow judge does not hold up the run for good.
    bought_a_second: float = 5.0
    """Further evaluations that may be bought in each second after the first ticket."""
    misjudged_at_first: int = 10
    """Failed evaluations, none judged yet, from which the lane may stop,"""
    # Failures come quicker than verdicts: of a hundred evaluations under way all that will fail may be known before the first
    # one is judged. Where half of all fail, 67 of 100 do once in 2,000 runs; where three in ten fail, never (1e-14).
    misjudged_share: float = 2 / 3
    """if failures are more than this share of the evaluations that were bought."""
    latest: int = 50
    """Items whose outcomes are remembered, after the first verdict or acceptance."""
    # Where half of all fail, one window in 500 million has so many failures; where three in ten do, one in 1e18.
    out_of_latest: int = 45
    """Failures, or refusals, among the latest that stop the lane."""

    # -- questions about tickets: when ----------------------------------------------------------------------------------

    at_once: int = 200
    """Questions under way at the same time."""
    # These numbers are judged by `python -m tests.work.polling_simulation`: questions per item, and when the last is seen.
    first_guess: float = 0.4
    """From a ticket to its first question before the first verdict, and to a scout's first question."""
    # By then an evaluation has begun, or a hidden limit has refused it.
    sentinel_age: float = 0.15
    """From a sentinel's ticket to its first question."""
    shortest_gap: float = 0.2
    """Between two questions about one ticket, at least."""
    ripe: float = 0.9
    """Probability of a verdict at which a ticket is asked about."""
    half_ripe: float = 0.5
    """The same for a scout."""
    slack: float = 0.05
    """A probability that has fallen by less than this since the due time was computed does not change the due time."""
    # A share of 3 asks whenever the run is a third older, while everything is pending.
    ladder: float = 3.0
    """The purse's share for each check, before the end."""
    # With many open tickets, one question for fifty is a small price for noticing that the server has changed.
    curiosity: float = 50.0
    """Open tickets for each further unit of the share."""
    # It matters in runs of a few items only.
    last_few: float = 8.0
    """At the end the share is at least this, divided by the open tickets."""
    # 3.2 s: within that time a server that answers again is noticed.
    most_doublings: int = 4
    """Doublings of the shortest gap after questions that fail."""
    scout_every: int = 32
    """Tickets from one scout to the next; 0: no scouts."""
    # Bounds the cost where a run submits fast.
    scouts_per_second: float = 3.0
    """Scouts a second, at most."""
    # The answers about the first ones save questions about the others.
    spread: float = 0.001
    """Between the due times of two tickets of earlier processes."""
    # The first seven entries of the heap have the earliest due times, or nearly so.
    candidates: int = 7
    """Tickets among which the likeliest is searched."""
    # With more than one for each verdict, a shorter estimate spreads exponentially.
    renewed_plans: int = 2
    """Due times that are recomputed at each verdict."""
    look_again: float = 5.0
    """For which a due time holds at least; or half the ticket's age, if that is longer."""
    put_off: float = 0.25
    """Share of its age by which a ticket is put off for which there is no estimate."""
    soon: float = 0.001
    """Between two checks of the purse, at least."""
    # The verdict may have been there when the question failed.
    last_word: float = 3.0
    """After its deadline for which a ticket's last question is repeated where it failed,"""
    last_gap: float = 0.5
    """with this pause between two."""

    # -- questions about tickets: what their answers say ----------------------------------------------------------------

    last_question: float = 5.0
    """The least timeout of a question, also at an item's deadline."""
    # A firewall that dislikes some rows dislikes few. Asking about thousands in vain, at each resume, helps nobody.
    in_vain: int = 100
    """Items whose questions fail in a row before the run stops, even though the API answers get-evals."""
    # An item that waited long for its turn may have been refused once or twice by a real limit.
    refused_often: int = 5
    """Refusals by a hidden limit from which an item's timeout counts since its first one."""
    # A server's queue may hold anything up for so long.
    stuck_after: float = 30.0
    """Pending for longer than this, and"""
    stuck_times: float = 3.0
    """longer than so many times the longest evaluation of its check, and"""
    stuck_later: int = 20
    """with so many later ones done, an evaluation counts as forgotten by the server."""

    def chunk_pause(self, tries: int) -> float:
        """Seconds before a chunk is submitted for that time (2, 3, …)."""
        return self.chunk_rests * 2.0 ** (tries - 2) * random.uniform(1.0, 1.5)


TUNING = WorkTuning()
