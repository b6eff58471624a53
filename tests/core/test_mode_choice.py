"""The choice between asynchronous and synchronous requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.mode_choice import POLLS, Load, choose_mode, judging_time, other_judges
from fieval_tasks.core.plan import Mode


def test_a_handful_of_items_goes_synchronously_for_it_needs_no_polls() -> None:
    lane = choose_mode([Load(items=20, packed=3, judging=3.0)], concurrency=32, rate=None)
    assert lane.mode is Mode.SYNC
    assert "fewer requests" in lane.reason


def test_a_large_run_goes_asynchronously_for_connections_would_wait_in_line() -> None:
    assert choose_mode([Load(10_000, 3, 3.0)], concurrency=32, rate=None).mode is Mode.ASYNC


def test_where_requests_are_scarce_the_lane_with_fewer_of_them_wins() -> None:
    assert choose_mode([Load(10_000, 3, 3.0)], concurrency=64, rate=100 / 60).mode is Mode.SYNC


def test_long_packs_of_plain_code_may_still_lose_to_calls_without_polls() -> None:
    assert choose_mode([Load(1_000, 10, judging_time(None))], concurrency=32, rate=None).mode is Mode.SYNC


@pytest.mark.parametrize(("model", "seconds"), [("turing_flash", 2.0), ("turing_large", 5.0), ("my-own", 5.0)])
def test_a_judges_time_is_what_the_platform_says_of_it(model: str, seconds: float) -> None:
    assert judging_time(model) == seconds


@given(
    st.lists(st.builds(Load, st.integers(1, 10**5), st.integers(1, 10), st.floats(0.05, 60)), min_size=1, max_size=4),
    st.integers(1, 500),
    st.none() | st.floats(0.1, 1e3),
)
def test_a_synchronous_run_is_only_chosen_for_fewer_requests(
    loads: list[Load], concurrency: int, rate: float | None
) -> None:
    lane = choose_mode(loads, concurrency=concurrency, rate=rate)
    assert lane.mode in (Mode.SYNC, Mode.ASYNC)
    if lane.mode is Mode.SYNC:
        assert sum(load.items for load in loads) < sum(load.items * (1 / load.packed + POLLS) for load in loads)


def test_other_judges_are_those_that_the_template_takes_or_the_platforms_own() -> None:
    told = other_judges("groundedness", "turing_flash", ("turing_flash", "protect"))
    assert "--template groundedness:protect, or --model" in told
    assert "groundedness:turing_small or --template groundedness:turing_large" in other_judges(
        "groundedness", "turing_flash"
    )
    assert other_judges("levenshtein_similarity", None) == ""
    assert other_judges("only", "protect", ("protect",)) == ""
