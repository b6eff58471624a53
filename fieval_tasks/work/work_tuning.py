"""The numbers that were chosen for this room, each with its reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fieval_tasks.core.policy import SILENCE
from fieval_tasks.pace.pace import backoff


@dataclass(frozen=True)
class WorkTuning:
    """Times are in seconds. A test passes in its own."""

    # -- a run in its process --------------------------------------------------------------------------------------

    submitters: int = 4
    """Chunks that are submitted at the same time."""
    round: float = 0.25
    """Between two looks of a thread that waits: at the progress, at a stop."""
    lease: float = 60.0
    """A process that is not heard of for so long loses its chunks to another one."""
    look_for_others: float = 1.0
    """Between two looks at what other processes do."""
    last_moment: float = 0.8
    """What submissions under way get once somebody is in a hurry (Ctrl-C, SIGTERM): `flows.cli.command` ends the process 1.7 s after
    it. Whatever else stops a run lets them come in, each within its own time: a reply that is lost may be paid for twice."""
    cancelled_within: float = 5.0
    """In which work that is cancelled ends, on the busiest machine; what does not is left behind with its loop."""
    longest_wait: float = 3610.0
    """A server may ask everyone to wait so long (Retry-After), and no longer than an item's time: what is open would be past it.
    The platform's longest limit but that of a day, with its margin (a window is counted a second longer than it is); a day's is
    better met by a run that has ended and says when to carry on."""
    shortest_wait: float = 70.0
    """Such a wait is never too long, however short an item's time is: limits of a minute, and their margin, are common."""

    # -- submissions -----------------------------------------------------------------------------------------------

    shortest_post: float = 5.0
    """A POST has so long at least, however short an item's time is: one that is given up may have been paid for."""
    first_pack_within: float = 1.0
    """Other packs wait so long for the answer to a lane's first: a slow server must not hold up the run."""
    pause: Callable[[int], float] = backoff
    """Before a request's next try, after so many faults."""
    sent_again_soon: int = 3
    """Faults after which that pause grows no more: it is 4 s then, as the pauses of all for a server that is away."""
    turn_async_at: int = 3
    """Server faults in a row after which a synchronous lane submits instead, to hear the reason from a row."""
    silence: float = SILENCE
    """Without an answer to any request, after which a run stops."""

    # -- a lane's breaker: what may be bought before much is known -----------------------------------------------------

    canaries: int = 3
    """Requests of one item each that may be out before the server has taken any."""
    refused_at_first: int = 4
    """Refusals for the same reason, and nothing taken yet: the lane stops."""
    refused_anyhow: int = 10
    """The same whatever the reasons: where three rows in ten are refused, ten in a row are seen once in 170,000 runs."""
    refused_later: int = 20
    """Refusals in a row for the same reason, once something was taken: the lane stops."""
    bought_at_first: int = 100
    """Evaluations that may be bought before one was judged, second ones included."""
    growth: int = 4
    """Each that was judged lets so many times as many go: verdicts are seen slowly at first, for nobody knows yet when to ask,
    and a hundred more for each held 10,000 items up by four seconds. What fails then is seen by its rate."""
    bought_a_second: float = 5.0
    """So many more in each second after the first ticket: a judge that takes long holds nobody up for good."""
    misjudged_at_first: int = 10
    """Items whose evaluations failed, and none judged yet, at which the lane may stop,"""
    misjudged_share: float = 2 / 3
    """where failures are this much of all that was bought. What fails, fails quickly: of a hundred that are out, all those that
    will fail may be known before the first is judged. Where half of them will, 67 do so once in 2,000 runs, and where three in
    ten will, never (1e-14)."""
    latest: int = 50
    """Items whose outcome is remembered, once one was judged or taken."""
    out_of_latest: int = 45
    """Failures, or refusals, among them that stop the lane: where half of all fail, one window in 500 million has so many, and
    where three in ten do, one in 1e18; where all fail, 45 items tell."""

    # -- questions about tickets: when ----------------------------------------------------------------------------------

    at_once: int = 200
    """Questions under way at the same time: more would only wait for their turn at the pace."""
    first_guess: float = 0.4
    """Until the first question while nothing is known of how long evaluations take; a scout's first question."""
    sentinel_age: float = 0.15
    """Until a sentinel's first question: its evaluation has begun, or been refused, by then."""
    shortest_gap: float = 0.2
    """Between two questions about one ticket, at least."""
    ripe: float = 0.9
    """Probability of a verdict at which a ticket is asked about."""
    half_ripe: float = 0.5
    """The same for a scout."""
    slack: float = 0.05
    """An estimate that has fallen by less than this since the plan was made does not change the plan."""
    ladder: float = 3.0
    """The purse's share before the end, in a small run: a question whenever it is a third older, while all is pending."""
    curiosity: float = 50.0
    """With many open, one question for so many of them is a small price for noticing how the server changes."""
    last_few: float = 8.0
    """At the end the share is at least this, divided by the tickets still open: it matters in runs of a few items."""
    most_doublings: int = 4
    """Of the shortest gap, after questions that fail: to 3.2 s, within which a server that answers again is noticed."""
    scout_every: int = 32
    """Tickets from one scout to the next; 0: none is one."""
    scouts_per_second: float = 3.0
    """At most, however fast a run submits."""
    spread: float = 0.001
    """Between the looks at two tickets that were found open: what the first ones say spares questions about the others."""
    candidates: int = 7
    """Tickets among which the likeliest is sought: the top of the heap, so those with the earliest plans or nearly so."""
    renewed_plans: int = 2
    """Plans that are made again at each verdict. More than one, so that news spreads exponentially."""
    look_again: float = 5.0
    """For which a plan is good at least; and half the ticket's age."""
    put_off: float = 0.25
    """Put off by this part of its age: a ticket of which nothing can be said."""
    soon: float = 0.001
    """The purse is not looked at again before."""
    last_word: float = 3.0
    """Past its deadline a last question that failed is asked again for so long: the verdict may have been there,"""
    last_gap: float = 0.5
    """each time after this pause."""

    # -- questions about tickets: what their answers say ----------------------------------------------------------------

    last_question: float = 5.0
    """A question has so long at least: the one at an item's deadline is asked, too, and the reply is a few hundred bytes."""
    in_vain: int = 100
    """Items whose questions fail in a row before the run stops though the API answers otherwise: a firewall that dislikes some
    rows dislikes few, and to ask about thousands in vain, at each resume, helps nobody."""
    refused_often: int = 5
    """Refusals by a hidden limit after which an item may have had its time: one that waited long for its turn was perhaps refused
    once or twice."""
    stuck_after: float = 30.0
    """An evaluation that is pending for less is no orphan: a queue may hold anything up for so long;"""
    stuck_times: float = 3.0
    """nor one that is pending for less than so many times the longest of its check so far;"""
    stuck_later: int = 20
    """nor while fewer that were submitted later are done."""


TUNING = WorkTuning()
