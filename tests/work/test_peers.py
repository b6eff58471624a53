"""What is pending, or refused, beside others of its check that are done: that says something of it, and not of the server."""

from __future__ import annotations

from fieval_tasks.core.policy import OVERTAKEN
from fieval_tasks.work.open_items import OpenItem
from fieval_tasks.work.peers import Peers
from fieval_tasks.work.work_tuning import TUNING


def item(seq: int = 0, *, since: float = 0.0) -> OpenItem:
    return OpenItem(seq, "check", since=since)


# -- pending ---------------------------------------------------------------------------------------------------------


def watch(*, took: float, later: int = TUNING.stuck_later, since: float = 1.0) -> Peers:
    """Evaluations that were submitted from `since` on and took so long."""
    peers = Peers(TUNING)
    for n in range(later):
        peers.done(item(n, since=since + n), since + n + took)
    return peers


def test_nothing_is_stuck_while_nothing_is_known() -> None:
    assert not Peers(TUNING).is_stuck(item(), 1e6)


def test_one_that_is_pending_far_beyond_the_others_is_stuck() -> None:
    peers = watch(took=20.0)
    assert not peers.is_stuck(item(), TUNING.stuck_times * 20.0 - 0.1)
    assert peers.is_stuck(item(), TUNING.stuck_times * 20.0)


def test_what_waits_a_while_is_not_stuck_though_the_judge_is_quick() -> None:
    peers = watch(took=0.1)
    assert not peers.is_stuck(item(), TUNING.stuck_after - 0.1)
    assert peers.is_stuck(item(), TUNING.stuck_after)


def test_in_a_stalled_queue_nothing_is_stuck_for_no_later_one_is_done() -> None:
    assert not watch(took=1.0, later=TUNING.stuck_later - 1).is_stuck(item(), 1e6)
    assert not watch(took=1.0, since=5.0).is_stuck(item(since=7.0), 1e6)


# -- refused ---------------------------------------------------------------------------------------------------------


def test_a_limit_that_refuses_everybody_overtakes_nobody() -> None:
    peers, items = Peers(TUNING), [item(seq) for seq in range(20)]
    for one in items * 50:
        peers.refused(one)
    assert {one.overtaken for one in items} == {0}


def test_a_limit_that_refuses_as_many_as_it_lets_pass_overtakes_nobody() -> None:
    peers, one = Peers(TUNING), item()
    for n in range(1_000):
        peers.refused(one)
        for other in range(10):
            peers.refused(item(1_000 + 20 * n + other))
            peers.judged(item(1_010 + 20 * n + other))
    assert one.overtaken == 0


def test_an_item_alone_among_those_that_pass_is_overtaken_each_time() -> None:
    peers, one = Peers(TUNING), item()
    for n in range(OVERTAKEN + 1):
        peers.judged(item(n + 1))
        peers.refused(one)
        assert one.overtaken == n


def test_an_item_that_was_judged_begins_anew() -> None:
    peers, one = Peers(TUNING), item()
    peers.judged(item(1))
    for _ in range(3):
        peers.refused(one)
    peers.judged(one)
    peers.refused(one)
    assert one.refusals == 1


def test_an_item_has_had_its_time_by_its_first_submission_and_only_if_it_was_refused_often() -> None:
    peers, one = Peers(TUNING), item()
    for n in range(1, 2 * TUNING.refused_often):
        one.since = 100.0 * n
        peers.refused(one)
        assert not peers.has_had_its_time(one, 700.0, 600.0)
        assert peers.has_had_its_time(one, 700.1, 600.0) == (n >= TUNING.refused_often)
