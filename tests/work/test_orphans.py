"""What counts as forgotten by the server."""

from __future__ import annotations

from fieval_tasks.work.orphans import AT_LEAST, FAR_BEYOND, LATER_ONES, Orphans


def watch(*, took: float, later: int = LATER_ONES, since: float = 1.0) -> Orphans:
    """Evaluations that were submitted from `since` on and took so long."""
    orphans = Orphans()
    for n in range(later):
        orphans.settled(since + n, since + n + took)
    return orphans


def test_nothing_is_an_orphan_while_nothing_is_known() -> None:
    assert not Orphans().has(0.0, 1e6)


def test_one_that_is_pending_far_beyond_the_others_is_an_orphan() -> None:
    orphans = watch(took=20.0)
    assert not orphans.has(0.0, FAR_BEYOND * 20.0 - 0.1)
    assert orphans.has(0.0, FAR_BEYOND * 20.0)


def test_a_quick_judge_does_not_make_orphans_of_what_waits_a_while() -> None:
    orphans = watch(took=0.1)
    assert not orphans.has(0.0, AT_LEAST - 0.1)
    assert orphans.has(0.0, AT_LEAST)


def test_in_a_stalled_queue_nothing_is_an_orphan_for_no_later_one_is_done() -> None:
    assert not watch(took=1.0, later=LATER_ONES - 1).has(0.0, 1e6)
    assert not watch(took=1.0, since=5.0).has(7.0, 1e6)
