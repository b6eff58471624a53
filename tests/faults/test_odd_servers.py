"""Servers that take everything and say so in odd ways: what they named is kept, and no verdict lands on another's item."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fieval_tasks.core.plan import Mode
from tests.faults.laws import Accounts
from tests.faults.mix import Mix
from tests.faults.platform import reason
from tests.faults.running import accounts, evaluated, serving, summary

ITEMS = 60


@contextmanager
def concluded(folder: Path, mix: Mix, *, items: int = ITEMS, mode: Mode = Mode.ASYNC) -> Iterator[tuple[int, Accounts]]:
    """The exit code of a run over so many items, and both accounts of it."""
    with serving(folder, mix) as server:
        outcome = evaluated(folder, server, items, mode=mode, item_timeout=20.0)
        yield outcome.exit_code, accounts(folder, server)


def notices(folder: Path) -> str:
    return (folder / "fieval-runs" / "r" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC])
def test_a_server_that_changes_its_spelling_with_every_reply_is_read_as_any_other(tmp_path: Path, mode: Mode) -> None:
    items = 200 if mode is Mode.ASYNC else ITEMS
    with concluded(tmp_path, Mix(habits=("alternates",), takes=(0.0, 0.3)), mode=mode, items=items) as (
        code,
        found,
    ):
        assert code == 0
        assert found.disagreements() == []
        assert found.statuses == {"scored": items}
        assert (found.duplicates, summary(tmp_path)["requests"]["possible_duplicates"]) == (0, 0)
        assert notices(tmp_path).count("perhaps it is being upgraded") == 1


@pytest.mark.parametrize("habit", ["second unnamed", "last left out"])
def test_a_server_that_answers_packs_in_part_is_sent_one_item_at_a_time(tmp_path: Path, habit: str) -> None:
    with concluded(tmp_path, Mix(habits=(habit,))) as (code, found):
        assert code == 0
        assert found.statuses == {"scored": ITEMS}
        assert found.disagreements(killed=True) == []  # the platform did answer what it left out
        assert 0 < found.duplicates <= 3, "only what the first pack carried"
        assert summary(tmp_path)["requests"]["possible_duplicates"] == found.duplicates


def on_wrong_items(found: Accounts) -> int:
    """Scored items whose verdict is not the one of their own inputs."""
    return sum(result.status == "scored" and result.reason != reason(result.inputs or {}) for result in found.results)


@pytest.mark.parametrize(
    "habits", [("swapped",), ("one id",), ("rows of others",), ("one id", "no inputs")], ids=" and ".join
)
def test_no_verdict_lands_on_another_item_and_those_that_would_are_named(
    tmp_path: Path, habits: tuple[str, ...]
) -> None:
    with concluded(tmp_path, Mix(habits=habits)) as (code, found):
        assert code == 3
        assert on_wrong_items(found) == 0
        wrong = [r for r in found.results if r.status == "failed"]
        assert wrong
        assert {(r.error or {})["kind"] for r in wrong} == {"wrong_item"}
        assert summary(tmp_path)["requests"]["possible_duplicates"] == 0
        assert "wrong\\_item" in notices(tmp_path)


def test_a_proxy_that_answers_every_submission_with_the_first_answer_scores_one_item(tmp_path: Path) -> None:
    with concluded(tmp_path, Mix(habits=("one answer",)), mode=Mode.SYNC, items=300) as (code, found):
        assert code == 3
        assert found.statuses["scored"] == 1
        assert {(r.error or {})["kind"] for r in found.results if r.status == "failed"} == {"wrong_item"}
        assert found.statuses["pending"] > 0, "it is stopped before all is bought"
