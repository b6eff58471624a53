"""The constants of the pace room: each field says what it bounds, the comment above it why it has its value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaceTuning:
    """Times are in seconds."""

    # -- limits that are found (judged by the simulations in tests/pace)

    windows: tuple[float, ...] = (1.0, 10.0, 60.0, 3600.0, 86_400.0)
    """In which servers usually count. Another window is taken for the next longer one: too slow, and growth mends that."""
    margin: float = 0.03
    """Share of a limit that is left unused: requests sent evenly arrive less evenly. 92 % of it are to be used."""
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
    """Refusals, each alone among accepted requests, that a slower rate did not end: from then on such refusals count as chance,"""
    # Where one in a hundred is refused by chance, 500 accepted in a row are seen one time in 150.
    in_a_row: int = 500
    """until so many requests are accepted in a row."""
    # Four round trips of `first_places`: fewer requests may have been accepted as a burst.
    burst: int = 64
    """Requests from which a count is taken for a rate; with fewer, more is tried soon,"""
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

    first_places: int = 16
    """To begin with: a round trip's worth is refused where a server takes fewer."""
    shrink: float = 0.7
    """What is left of the places after a failure under load, as in CUBIC (RFC 9438)."""
    late: float = 0.02
    """By which timers are late on a busy machine: what comes due meanwhile is not lost, where the user names a rate."""

    # -- evaluations, which are refused in secret

    unheard: float = 40
    """Requests that may be out without a word about them: so many are made in vain where credit ends. With news in 0.25 s
    they let 480 evaluations a second through."""
    carries: int = 3
    """Evaluations in one of those; a request that carries more counts for more, for all of it may be refused."""
    share: float = 1 / 6
    """So much of all that passed may be out where that is more: what is lost stays a small part of what was done."""
    no_news: float = 3.0
    """After which what nobody heard of counts as passed: a sentinel's answer takes 0.3 s, and longer on a busy machine."""
    sentinel_every: int = 18
    """Evaluations from one submission that is worth an early question to the next: six requests of three."""
    starts_within: float = 0.15
    """In which an evaluation starts once it was sent, where the server is not behind: a sentinel is first asked about then. An
    evaluation counts longer than a tier's window by as much, for the one that is to follow it may start sooner;"""
    later: float = 0.03
    """or by this share of the window, a second at most, which is room for a server that is behind."""
    near: float = 0.06
    """Share by which what was counted before a refusal may fall short of a tier's limit: others use the account, too."""

    # -- a server that does not answer

    # An item's own fault concerns one item. Where one reply in five is lost by chance, five in a row are seen once in 3,000.
    different: int = 5
    """Failed requests in a row, about different items, after which the server counts as away; one failed connection is enough."""
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
