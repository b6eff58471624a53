"""The rows of a dataset that are evaluated: where, limit, sample, strata."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.data.dataset import Dataset, Row, read_dataset
from fieval_tasks.data.places import Place
from fieval_tasks.data.selection import Chosen, Selection, allocated, choose, drawn

LANG = Place("lang")


def made(rows: Iterable[Mapping[str, object]], **problems: str) -> Dataset:
    """A dataset in memory; `problems`: row number -> why it can't be read."""
    content = [Row(n, dict(row), problem=problems.get(f"row_{n}")) for n, row in enumerate(rows, 1)]
    columns = list(dict.fromkeys(name for row in content for name in row.values))
    return Dataset("a.jsonl", columns, len(content), "0", lambda: iter(content))


def chosen(dataset: Dataset, **said: Any) -> list[int]:
    return list(choose(dataset, Selection(**said)).numbers)


ROWS = [{"lang": "fr" if n % 4 == 0 else "en", "score": str(n / 100)} for n in range(1, 101)]


def test_where_comes_before_limit_and_limit_before_sample() -> None:
    dataset = made(ROWS)
    french = [n for n in range(1, 101) if n % 4 == 0]
    assert chosen(dataset, where="lang == 'fr'") == french
    assert chosen(dataset, where="lang == 'fr'", limit=5) == french[:5]
    drawn = choose(dataset, Selection(where="lang == 'fr'", limit=10, sample=4, seed=3))
    assert len(drawn.numbers) == 4
    assert set(drawn.numbers) < set(french[:10])
    assert list(drawn.candidates) == french[:10]


def test_what_was_chosen_of_how_many_is_said() -> None:
    assert choose(made(ROWS), Selection(where="lang == 'fr'")).notices == (
        "--where lang == 'fr': 25 of 100 rows are chosen",
    )
    [said] = choose(made(ROWS), Selection(sample=500)).notices
    assert said == "--sample 500: there are no more than 100 rows to draw from, so all are evaluated"
    assert choose(made(ROWS), Selection(sample=100)).notices == ()
    assert choose(made(ROWS), Selection(sample=20, seed=7)).notices == ("20 of 100 rows, drawn at random (seed 7)",)


def test_no_row_at_all_is_refused() -> None:
    with pytest.raises(PlanError, match="it chooses none of the 100 rows of a"):
        choose(made(ROWS), Selection(where="lang == 'de'"))


def test_rows_that_can_t_be_told_are_named_before_anything_is_sent() -> None:
    dataset = made([*ROWS, *({"score": text} for text in ("n/a", "?", "", "x", "y"))])
    with pytest.raises(PlanError) as refused:
        choose(dataset, Selection(where="score < 0.5"))
    assert (
        "it can't be told of 4 rows: row 101: score is 'n/a', which can't be put in order with 0.5; row 102: "
        in str(refused.value)
    )
    assert "row 105" not in str(refused.value)


def test_a_row_that_can_t_be_read_is_never_left_out_in_silence() -> None:
    dataset = made(ROWS, row_7="it has 3 cells, and the header 2")
    found = choose(dataset, Selection(where="lang == 'fr'"))
    assert 7 in found.numbers
    assert found.notices[1] == "1 of the chosen rows can't be read, so --where can't be told of them; they fail"
    with pytest.raises(PlanError, match="it chooses none"):
        choose(dataset, Selection(where="lang == 'de'"))


def test_a_stratified_sample_has_each_value_in_its_share() -> None:
    found = choose(made(ROWS), Selection(sample=20, stratify=LANG, seed=1))
    langs = Counter(ROWS[number - 1]["lang"] for number in found.numbers)
    assert langs == {"en": 15, "fr": 5}
    assert "20 of 100 rows, in proportion to the 2 values of lang" in found.notices[0]


def test_a_rare_value_has_a_row_where_there_are_as_many_rows_as_values() -> None:
    rows = [{"lang": "en"}] * 997 + [{"lang": "fr"}, {"lang": ""}, {}]
    found = choose(made(rows), Selection(sample=10, stratify=LANG))
    assert 998 in found.numbers
    assert {999, 1000} & {*found.numbers}, "a blank value is a stratum of its own"
    assert found.notices[0].endswith("; 2 rare values have one row each, which is more than their share")


def test_more_values_than_rows_is_said() -> None:
    found = choose(made({"lang": str(n)} for n in range(50)), Selection(sample=5, stratify=LANG))
    assert len(found.numbers) == 5
    assert "45 values have no row in it, for there are more values than rows" in found.notices[0]
    assert list(found.numbers) != [1, 2, 3, 4, 5], "chance decides, and not the order of the file"


def test_strata_need_a_sample() -> None:
    with pytest.raises(PlanError, match="stratify: needs sample"):
        EvaluationPlan(stratify="lang")


def test_the_files_of_one_night_give_the_same_sample_again(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with read_dataset(str(path)) as dataset:
        selection = Selection(where="score > 0.1", sample=9, stratify=LANG, seed=4)
        draws = [list(choose(dataset, selection).numbers) for _ in range(2)]
        assert draws[0] == draws[1] != list(choose(dataset, Selection(sample=9, stratify=LANG, seed=5)).numbers)


@given(st.integers(1, 60), st.integers(0, 40), st.integers(0, 60), st.integers(0, 99))
def test_a_larger_sample_holds_a_smaller_one_and_a_grown_dataset_keeps_what_it_can(
    n: int, more: int, grown: int, seed: int
) -> None:
    rows = range(1, 101)
    small, large = (set(drawn(rows, size, seed)) for size in (n, n + more))
    assert len(small) == n
    assert small <= large
    later = set(drawn(range(1, 101 + grown), n, seed))
    assert {row for row in later if row <= 100} <= small, "nothing old comes in by the growth"


def test_each_row_is_as_likely_to_be_drawn() -> None:
    times = Counter(row for seed in range(2_000) for row in drawn(range(1, 21), 5, seed))
    # of 2,000 draws of a quarter, each row is in 500, give or take 4 standard deviations of a binomial
    assert all(abs(times[row] - 500) < 4 * (2_000 * 0.25 * 0.75) ** 0.5 for row in range(1, 21))
    assert set(drawn(range(1, 101), 50, 7)) != set(drawn(range(1, 101), 50, 7, "audit"))


sizes = st.lists(st.integers(1, 60), min_size=1, max_size=12)


@given(sizes, st.data(), st.integers(0, 99))
def test_an_allocation_is_in_proportion_and_adds_up(strata: list[int], data: st.DataObject, seed: int) -> None:
    n = data.draw(st.integers(0, sum(strata)))
    given_ = allocated(strata, n, random.Random(seed))
    assert sum(given_) == n
    assert all(0 <= k <= size for k, size in zip(given_, strata, strict=True))
    if n >= len(strata):
        assert min(given_) >= 1
    quotas = [Fraction(size * n, sum(strata)) for size in strata]
    off = [abs(k - quota) for k, quota in zip(given_, quotas, strict=True)]
    lifted = sum(quota < 1 for quota in quotas)
    assert all(one < 1 + lifted for one in off), "nobody is further from its share than rounding and the rare need"


@given(sizes, st.data(), st.integers(0, 9))
def test_a_selection_is_ascending_without_repeats_and_reproducible(
    strata: list[int], data: st.DataObject, seed: int
) -> None:
    rows = [{"lang": str(n), "odd": i % 2} for n, size in enumerate(strata) for i in range(size)]
    random.Random(seed).shuffle(rows)
    said = {
        "where": data.draw(st.sampled_from([None, "odd == 0"])),
        "limit": data.draw(st.none() | st.integers(1, 80)),
        "sample": data.draw(st.none() | st.integers(1, 80)),
        "stratify": data.draw(st.sampled_from([None, LANG])),
        "seed": seed,
    }
    found: Chosen = choose(made(rows), Selection(**said))
    numbers = list(found.numbers)
    assert numbers == sorted(set(numbers))
    assert set(numbers) <= set(found.candidates)
    assert len(numbers) == min(said["sample"] or len(rows), len(found.candidates))
    assert numbers == chosen(made(rows), **said)
