"""The rows that report.html holds, and what goes first where they don't fit."""

from __future__ import annotations

import gzip
import json
import random
import string
from base64 import b64decode
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from fieval_tasks.core.items import Result
from fieval_tasks.decisions.comparison import Terms, compare
from fieval_tasks.report.caps import CAPS, Caps
from fieval_tasks.report.differences import CheckChange, Comparison, Flip, JudgedAnswer
from fieval_tasks.report.page_rows import COLUMNS, PageRows
from fieval_tasks.report.words import held
from tests.decisions.test_comparison import rates
from tests.report.report_examples import RUNS, failed, gathered, item, judged

SMALL = replace(CAPS, page_rows=100, page_bytes=30_000, page_block_rows=10)


def gathered_rows(results: list[Result], caps: Caps = CAPS) -> PageRows:
    return gathered(results, caps).rows


def opened(rows: PageRows) -> list[dict[str, Any]]:
    """As the page's script reads them."""
    blocks = (json.loads(gzip.decompress(b64decode(block))) for block in rows.blocks())
    return [dict(zip(COLUMNS, row, strict=True)) for block in blocks for row in block]


def words(row: int, characters: int) -> str:
    """Text that hardly compresses, and is the same each time."""
    return "".join(random.Random(row).choices(string.ascii_letters + "   ", k=characters))


@given(RUNS)
def test_every_result_is_a_row_of_the_page(run: list[Result]) -> None:
    rows = gathered_rows(run)
    assert len(opened(rows)) == rows.shown == rows.of == len(run)
    assert not rows.shortened


def test_a_row_says_what_became_of_its_item() -> None:
    run = [
        judged(1, True),
        judged(2, False),
        failed(3),
        item(4),
        item(5, status="not_needed"),
        item(6, status="scored"),
    ]
    found = {row["row"]: row["verdict"] for row in opened(gathered_rows(run))}
    assert found == {1: "passed", 2: "not passed", 3: "unmeasured", 4: "pending", 5: "not needed", 6: "scored"}


def test_the_texts_of_passed_rows_are_shortened_first_and_failed_rows_keep_theirs() -> None:
    run = [judged(row, row % 10 != 0, inputs={"output": words(row, 600)}) for row in range(1, 101)]
    rows = gathered_rows(run, SMALL)
    found = opened(rows)
    assert sum(len(block) for block in rows.blocks()) <= SMALL.page_bytes
    assert {row["cut"] for row in found if row["verdict"] == "not passed"} == {False}
    assert {row["cut"] for row in found if row["verdict"] == "passed"} == {True}
    assert rows.shortened == 90
    assert len(found) == 100


@pytest.mark.parametrize("n", range(40, 100, 7))
def test_no_row_is_left_behind_where_the_last_ones_have_the_others_shortened(n: int) -> None:
    rows = gathered_rows([judged(row, row % 10 != 0, inputs={"output": words(row, 600)}) for row in range(n)], SMALL)
    assert len(opened(rows)) == rows.shown == n


def test_a_page_stays_within_its_bytes_whatever_the_rows_hold() -> None:
    run = [failed(row, item_id=words(row, 2000), inputs={words(row, 50): words(row, 5000)}) for row in range(100)]
    rows = gathered_rows(run, SMALL)
    assert sum(len(block) for block in rows.blocks()) <= SMALL.page_bytes
    assert 0 < rows.shown < rows.of == 100


def test_of_too_many_rows_the_page_holds_a_sample_and_all_that_failed_where_they_fit() -> None:
    run = [judged(row, row % 20 != 0) for row in range(1000)]
    found = opened(gathered_rows(run, SMALL))
    assert 80 <= len(found) <= 100
    assert sum(row["verdict"] == "not passed" for row in found) == 50
    assert {row["item"] for row in found} == {row["item"] for row in opened(gathered_rows(run[::-1], SMALL))}


def test_where_more_failed_than_fit_some_that_passed_are_shown_still() -> None:
    found = opened(gathered_rows([judged(row, row % 4 == 0) for row in range(1000)], SMALL))
    assert len(found) <= 100
    assert sum(row["verdict"] == "passed" for row in found) >= 5


def test_the_page_says_in_a_sentence_what_it_leaves_out() -> None:
    run = [judged(row, row % 20 != 0, inputs={"output": words(row, 800)}) for row in range(1000)]
    rows = gathered_rows(run, SMALL)
    found = opened(rows)
    passed = sum(row["verdict"] == "passed" for row in found)
    assert held(rows) == (
        f"This page holds {len(found)} of 1,000 rows: all 50 that did not pass or have no verdict, a random {passed} of 950 "
        f"that passed, have a score or were not needed. The texts of {sum(row['cut'] for row in found)} rows are shortened on "
        "this page. All rows are whole in results.jsonl."
    )
    assert not held(gathered_rows(run[:3]))


def test_every_row_that_changed_says_so_and_the_kept_flips_say_what_was_before() -> None:
    answers = [
        JudgedAnswer("x", None, passed, "So.", {"output": text, "input": "Same."})
        for passed, text in ((False, "new"), (True, "old"))
    ]
    flip = Flip("s-1", 1, True, *answers)
    change = CheckChange(
        compare({"groundedness": rates(9, 2, 1)})["groundedness"], (flip,), {1: True, 2: True, 3: False}
    )
    rows = PageRows(Comparison("run", "base", Terms(), {"groundedness": change}))
    for row in range(1, 5):
        rows.add(judged(row, row > 2, seq=row, inputs={"output": "new", "input": "Same."}))
    found = {row["row"]: row for row in opened(rows)}
    assert [found[row]["change"] for row in range(1, 5)] == ["regression", "regression", "fix", None]
    assert found[1]["before"] == {
        "verdict": "passed",
        "value": "x",
        "score": None,
        "reason": "So.",
        "inputs": {"output": "old"},
    }
    assert found[2]["before"] is None
