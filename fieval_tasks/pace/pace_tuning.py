"""The constants of the pace room: each field says what it bounds, the comment above it why it has its value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaceTuning:
    """Times are in seconds. Tests pass in their own."""

    # -- limits that are found (judged by the simulations in tests/pace)

    # A server with another window is taken for one with the next longer: too slow at first, and growth corrects it.
    windows: tuple[float, ...] = (1.0, 10.0, 60.0, 3600.0, 86_400.0)
    """The windows in which servers usually count."""
    # Requests that are sent evenly arrive less evenly. The benchmark `rate` demands 92 % of a visible limit.
    margin: float = 0.03
    """Share of a limit that is left unused."""
    # Requests that left one after the other may arrive together.
    skew: float = 0.01
    """By which a window of a second is taken to be longer."""
    # A client that stands still for a moment makes up for it so. In the simulation of one that halts for half of its time, 0.1
    # uses 66 % of a limit, 0.01 uses 51 %, and 0.2 uses 72 %, but is refused far more where a server takes little at once.
    at_once: float = 0.1
    """Share of a limit a second that may go at once, as long as no second holds more than the limit."""
    pause: float = 1.0
    """The pause of everyone after a refusal without Retry-After: the shortest window. It doubles each time that the one request
    tried after it is refused too,"""
    # With a tenth of the window that may be full as a further bound, a tenth of it is wasted at most.
    longest_pause: float = 60.0
    """up to this."""
    # Refusals come within one round trip; judges of synchronous calls may take longer.
    answer_within: float = 1.5
    """After which that one request counts as accepted."""
    # Where one request in ten is refused by chance, three in a row are one in a thousand.
    proof: int = 3
    """Refused tries in a row that prove a limit."""
    by_chance: int = 6
    """Refusals, each alone among accepted requests, that a slower rate did not end: later ones count as chance,"""
    # Where one in a hundred is refused by chance, 500 accepted in a row are seen one time in 150.
    in_a_row: int = 500
    """until so many requests are accepted in a row."""
    # Four round trips of `first_places`: fewer requests may have been accepted as a burst.
    burst: int = 64
    """Requests from which a count is taken for a rate; with fewer, more is tried soon,"""
    # What single tries, one after the other, let pass in a second where most are refused.
    handful: int = 8
    """The same where a limit was found before: a limit that is lowered is mostly a real one."""
    # From 20 a second to 100 in five steps.
    large_step: float = 0.16
    """in steps of this share of the rate, each twice the last."""
    # Next to nothing near the old limit and fast beyond it, as CUBIC grows (RFC 9438).
    step: float = 0.01
    """The first step where the count is a rate."""
    # Trying more costs a refusal, and a pause of a second for everyone.
    hold: float = 30.0
    """For which a rate is kept before more is tried; or a window, if that is longer."""
    longest_hold: int = 16
    """Times `hold`, at most; it doubles each time that growing brought nothing."""
    # Below it, sending refused evaluations again costs less than going slower.
    tolerated: float = 0.03
    """Share of evaluations that may be refused in secret."""
    # Rows are asked about when they are likely to be done.
    news_takes: float = 4.0
    """Until most refusals in secret are known."""

    # -- requests at once

    # Where a server takes fewer, so many are refused once.
    first_places: int = 16
    """Requests at once in the beginning."""
    # As in CUBIC (RFC 9438).
    shrink: float = 0.7
    """Share of the places that is kept after a failure under load."""
    # Requests that become due during the delay are not lost, where the user names a rate.
    late: float = 0.02
    """By which timers are late on a busy machine."""

    # -- evaluations, which are refused in secret

    # So many are sent in vain when the credit ends. With news in 0.25 s they let 480 evaluations a second through.
    unheard: float = 40
    """Requests that may be out before their evaluations are known to have run or to be refused."""
    # A request that carries more counts for more, since all of it may be refused.
    carries: int = 3
    """Evaluations that one of those requests carries."""
    # So that what is lost at a limit stays a small part of what was done.
    share: float = 1 / 6
    """Share of all evaluations that have passed which may be out, where that is more than `unheard`."""
    # A sentinel's answer takes 0.3 s, and longer on a busy machine.
    no_news: float = 3.0
    """After which an evaluation without news counts as passed."""
    # Six requests of three.
    sentinel_every: int = 18
    """Evaluations from one sentinel to the next."""
    # A sentinel is first asked about then. An evaluation counts longer than a tier's window by as much, because the one that
    # follows it may start sooner after its submission.
    starts_within: float = 0.15
    """From its submission to an evaluation's start, where the server is not behind; or"""
    later: float = 0.03
    """this share of the window, a second at most, as room for a server that is behind."""
    # Others may use the account at the same time.
    near: float = 0.06
    """Share by which the count at a refusal may fall short of a tier's limit for the tier to be recognised."""

    # -- a server that does not answer

    # An item's own fault concerns one item. Where one reply in five is lost by chance, five in a row are seen once in 3,000.
    different: int = 5
    """Failed requests in a row, about different items, after which the server counts as away; or one failed connection."""
    away_pause: float = 0.5
    """The first pause while the server is away; each is twice the last,"""
    # About ten probes in 30 s, and a server that is back is noticed within 4 s.
    longest_away_pause: float = 4.0
    """up to this."""
    # The probe may never have gone out.
    probe: float = 10.0
    """After which a probe without a result is followed by another."""


@dataclass(frozen=True)
class PermitTuning:
    """The constants of permits that are leased from a limit shared by processes. Times are in seconds."""

    ahead: float = 0.5
    """Before the last permit is due at which more are leased."""
    # Others may have used its time by then. So after a halt a second holds 1.05 times the limit at most. A beat, if that is
    # longer: each process may be late with one request.
    kept: float = 0.05
    """After which an unused permit is old."""
    # A block that directly follows this process's own shows that nobody else uses the limit; a process that sends little then
    # need not lease often. A process that joins in these seconds may see the rate exceeded, by that block at most.
    kept_alone: float = 30.0
    """The same where a process uses the limit alone."""
    # It is little, and clocks differ by as much.
    room: float = 0.25
    """Of the limit's rate, and one beat, that others may have leased while a process still counts as alone."""
    # Each block costs calls of Prefect's API, so few requests make do with old permits.
    slowly: float = 20.0
    """Beats of the limit from the use of one old permit to the next."""
    # Blocks last long at such slow limits.
    too_slowly: float = 1.0
    """If `slowly` beats take longer than this, no request waits for an old permit."""
    few: int = 5
    """Requests that may wait for old permits; with more, the old ones lapse and a new block is leased."""
    catch_up: float = 1.05
    """Times the limit's rate at which a late process spends the permits that were due."""
    patience: float = 600.0
    """For which leasing is tried again while the source can't be asked; then the run stops."""
    # So that not all processes ask at the same moment.
    spread: float = 0.2
    """Share by which waits for room are varied at random."""


PERMIT_TUNING = PermitTuning()
TUNING = PaceTuning()
SHOWN_FROM = 5.0
"""Seconds: a longer wait is shown to the user."""
