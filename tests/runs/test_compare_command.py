"""`flows.compare` and `flows.bless` as they are typed: what they print, and their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from flows.cli.command import bless_command, compare_command
from tests.runs.compared_runs import Told, a_run, told

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger(store_url()) as ledger:
        a_run(ledger, "old", told(*[True] * 60))
        a_run(ledger, "worse", told(*[False] * 20, *[True] * 40))
        a_run(ledger, "open", told(*[None] * 30, *[True] * 30), exit_code=3)
        a_run(ledger, "elsewhere", [Told(True, "of another dataset")])
        a_run(ledger, "same", told(*[True] * 60))


@pytest.mark.parametrize(("run", "code"), [("same", 0), ("worse", 1), ("elsewhere", 2), ("open", 3), ("nobody", 2)])
def test_exit_codes(run: str, code: int) -> None:
    assert compare_command([run, "old"]) == code


def test_json_alone_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    compare_command(["worse", "old", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert (said["run"], said["baseline"]) == ("worse", "old")
    assert said["checks"]["tone"]["verdict"] == "WORSE"
    assert len(said["checks"]["tone"]["flips"]) == 20


def test_what_an_answer_says_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Ledger(store_url()) as ledger:
        a_run(ledger, "one", [Told(True, "q", "\x1b[31mred\x07 \u202e")])
        a_run(ledger, "two", [Told(False, "q", "\x9b2J " + "long " * 400)])
    for words in (["two", "one"], ["two", "one", "--json"]):
        compare_command(words)
        out = capsys.readouterr().out
        assert "tone" in out
        assert not set(out) & set("\x1b\x07\x9b\u202e")


def test_a_run_is_blessed_listed_and_compared_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_command(["worse"]) == 2
    assert "is blessed" in capsys.readouterr().err
    assert bless_command(["old", "--note", "the good one"]) == 0
    assert bless_command(["--list"]) == 0
    heading, row = capsys.readouterr().out.splitlines()[-2:]
    assert heading.split() == ["at", "run", "dataset", "note"]
    assert row.endswith(" UTC  old  a.csv    the good one")
    assert compare_command(["worse"]) == 1
    assert compare_command(["worse", "blessed"]) == 1


def test_a_run_without_all_verdicts_is_blessed_only_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert bless_command(["open"]) == 2
    assert "--anyway" in capsys.readouterr().err
    assert bless_command(["open", "--anyway"]) == 0


def test_a_file_is_written_and_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert bless_command(["old", "--file", "baseline.json"]) == 0
    assert compare_command(["worse", "baseline.json"]) == 1
    assert "the baseline is a file, which holds no answers" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "words",
    [[], ["old", "--list"], ["old", "--note", "why", "--file", "b.json"], ["old", "--file", "no/such/folder/b.json"]],
)
def test_bless_refuses_what_can_not_be_meant(words: list[str]) -> None:
    assert bless_command(words) == 2


@pytest.mark.parametrize("margin", ["2", "0%", "many"])
def test_a_margin_is_a_share(margin: str) -> None:
    assert compare_command(["worse", "old", "--margin", margin]) == 2
