"""The numbers of this room that were chosen. A test passes its own."""

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
    """For everyone after a refusal, where the server does not say how long: the shortest window. Twice as long each time that
    the one request tried after it is refused, too,"""
    longest_pause: float = 60.0
    """and never longer than this, nor than a tenth of the window that may be full: so much of it is wasted at most."""
    answer_within: float = 1.5
    """After which that request counts as taken: refusals come in one round trip, judges need not."""
    proof: int = 3
    """So many tries refused in a row are no chance: where one in ten is refused without meaning, one in a thousand is that."""
    by_chance: int = 6
    """So many refusals, each alone among accepted requests, that did not end when it became slower are chance,"""
    in_a_row: int = 500
    """until so many are accepted in a row: where one in a hundred is refused by chance, one in 150 times."""
    burst: int = 64
    """What was counted of fewer requests (four round trips of `first_places`) may be a burst and no rate: more is tried soon,"""
    large_step: float = 0.16
    """by this share of it, each step twice the last: from 20 a second to 100 in five steps."""
    step: float = 0.01
    """The same where it is a rate: next to nothing near the old limit, fast beyond it, as cubic growth is (RFC 9438)."""
    hold: float = 30.0
    """Or a window, if that is longer: how long a rate is kept before more is tried, which costs a refusal and all a second."""
    longest_hold: int = 16
    """Times that: it is twice as long each time that growing brought nothing."""
    tolerated: float = 0.03
    """Share of evaluations refused in secret that costs less than to go slower: each is only sent again."""
    news_takes: float = 4.0
    """Until most of those are known: rows are asked about when they are likely to be done."""

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

    different: int = 5
    """Requests about so many different things fail in a row before it counts as away: one item's own fault is about one thing,
    and where one reply in five is lost by chance, five in a row are seen once in 3,000. No connection at all is no item's fault."""
    away_pause: float = 0.5
    longest_away_pause: float = 4.0
    """Of the pauses while it is away, each twice the last: ten probes in 30 s, and it is noticed within this that it is back."""
    probe: float = 10.0
    """After which a probe that has brought nothing is followed by another: it may never have gone out."""


@dataclass(frozen=True)
class PermitTuning:
    """Of permits leased from a limit that processes share. Times are in seconds."""

    ahead: float = 0.5
    """Seconds before the last permit is due at which more are leased."""
    kept: float = 0.05
    """Seconds after which a permit that was not used is old: others may have used its time by now. So processes that halt make
    up for it by this much at most: a second holds 1.05 times what the limit gives in one. Or a beat, where that is longer: each
    process may be late with one request."""
    kept_alone: float = 30.0
    """The same in seconds where a block was found to follow the process's own: then the limit is used by nobody else, and a process
    that sends little need not lease again and again. Whoever comes in those seconds may find the beat exceeded, by that block at most."""
    room: float = 0.25
    """Seconds of the limit's rate, and a beat of it, that others may have leased where a process counts as alone: it is little, and
    clocks differ by as much."""
    slowly: float = 20.0
    """Beats of the limit from one old permit to the next: few requests live on old ones, for each block costs calls."""
    too_slowly: float = 1.0
    """Seconds: where so many beats take longer, nobody waits for old permits; blocks last long there."""
    few: int = 5
    """More requests than these don't wait for old permits: those lapse, and a new block is leased."""
    catch_up: float = 1.05
    """Times the limit's rate at which a process that is late spends what was due."""
    patience: float = 600.0
    """Seconds for which a source that can't be asked is asked again; then the run stops."""
    spread: float = 0.2
    """Share by which waits for room differ, so that not all processes ask at once."""


PERMIT_TUNING = PermitTuning()
TUNING = PaceTuning()
SHOWN_FROM = 5.0
"""Seconds: a wait is shown where it is longer."""
