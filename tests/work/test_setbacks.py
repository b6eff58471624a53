"""An item that is refused while others are judged meets no limit."""

from __future__ import annotations

from fieval_tasks.core.policy import OVERTAKEN
from fieval_tasks.work.setbacks import OFTEN, Setbacks


def test_a_limit_that_refuses_everybody_overtakes_nobody() -> None:
    setbacks = Setbacks()
    for _ in range(50):
        assert {setbacks.refused(seq, sent_at=0.0).overtaken for seq in range(20)} == {0}


def test_a_limit_that_refuses_as_many_as_it_lets_pass_overtakes_nobody() -> None:
    setbacks = Setbacks()
    for n in range(1_000):
        assert setbacks.refused(0, sent_at=0.0).overtaken == 0
        for _ in range(10):
            setbacks.refused(1_000 + n, sent_at=0.0)
            setbacks.judged(2_000 + n)


def test_an_item_alone_among_those_that_pass_is_overtaken_each_time() -> None:
    setbacks = Setbacks()
    for n in range(OVERTAKEN + 1):
        setbacks.judged(n + 1)
        assert setbacks.refused(0, sent_at=0.0).overtaken == n


def test_an_item_that_was_judged_begins_anew() -> None:
    setbacks = Setbacks()
    setbacks.judged(1)
    for _ in range(3):
        setbacks.refused(0, sent_at=0.0)
    setbacks.judged(0)
    assert setbacks.refused(0, sent_at=0.0).times == 1


def test_an_item_has_had_its_time_by_its_first_submission_and_only_if_it_was_refused_often() -> None:
    setbacks = Setbacks()
    for n in range(1, 2 * OFTEN):
        setback = setbacks.refused(0, sent_at=100.0 * n)
        assert not setback.has_had_its_time(700.0, 600.0)
        assert setback.has_had_its_time(700.1, 600.0) == (n >= OFTEN)
