"""flows.runs, show, trend and prune: what they print, what they refuse, and what pruning leaves."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.ledger.blessings import Blessing, bless
from fieval_tasks.ledger.calibrations import Calibrations, LabelDraw
from fieval_tasks.ledger.check_figures import CheckFigures
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.history import History
from fieval_tasks.ledger.pruning import give_back, prunable, prune
from fieval_tasks.ledger.schema import items
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.ledger.tuning import LedgerClock
from fieval_tasks.runs.conclusion import Ended, conclude
from fieval_tasks.runs.preparation import Kept
from fieval_tasks.runs.trends import Trend, TrendPoint, trend
from fieval_tasks.terminal.trend_plot import plot
from flows.cli.command import prune_command, runs_command, show_command, trend_command
from tests.report.report_examples import HOSTILE
from tests.runs.compared_runs import CHECK, NOON, a_run, told

LATER = NOON + timedelta(days=100)
ALL = [prune_command, runs_command, show_command, trend_command]


@pytest.fixture
def ledger(in_a_folder_of_its_own: None) -> Iterator[Ledger]:
    with Ledger(store_url(), clock=LedgerClock(now=lambda: LATER)) as opened:
        yield opened


def ended(ledger: Ledger, name: str, verdicts: Sequence[bool | None] = (True, True, False), **fields: Any) -> None:
    """A run that was concluded, with its files."""
    days = len(ledger.names(""))
    fields = {"created_at": NOON + timedelta(days=days), **fields}
    run = a_run(ledger, name, told(*verdicts), exit_code=None, **fields)
    plan = EvaluationPlan(gates=("tone.pass_rate >= 0.5",), prices={"turing_flash": "0.001"})
    conclude(Kept(run, plan, ledger), Ended(), seconds=1.0)


def said(capsys: pytest.CaptureFixture[str], code: int) -> str:
    assert code == 0
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], code: int) -> Any:
    return json.loads(said(capsys, code))


# Lists, pages and trends


def test_runs_are_listed_newest_first_with_what_their_checks_came_to(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(ledger, "one")
    ended(ledger, "two", (False, False, False), also=replace(CHECK, name="again"))
    lines = said(capsys, runs_command([])).splitlines()
    assert [line.split()[0] for line in lines] == ["run", "two", "two", "one"]
    assert "0.667 [0.20, 0.94]" in lines[3]
    assert "gate failed" in lines[1]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], ["three", "two", "one"]),
        (["--limit", "2"], ["three", "two"]),
        (["--status", "ok"], ["one"]),
        (["--exit-code", "1"], ["two"]),
        (["--status", "gate-failed"], ["two"]),
        (["--status", "unfinished"], ["three"]),
        (["--dataset", "data/b.csv"], ["two"]),
        (["--dataset", "*.csv"], ["three", "two", "one"]),
        (["--check", "again"], ["two"]),
        (["--since", "2026-08-02"], ["three", "two"]),
        (["--since", "3650d", "--check", "tune"], []),
    ],
)
def test_runs_are_chosen(
    ledger: Ledger, words: list[str], names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ended(ledger, "one")
    ended(ledger, "two", (False,), dataset="b.csv", also=replace(CHECK, name="again"))
    a_run(ledger, "three", told(None), exit_code=None, created_at=NOON + timedelta(days=2))
    assert [one["run_id"] for one in as_json(capsys, runs_command([*words, "--json"]))] == names


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--since", "yesterday"], "--since yesterday: write a time such as 7d"),
        (["--status", "green"], "--status green: no run ends so; write one of ok, gate-failed"),
        (["--limit", "0"], "--limit: show one run at least"),
        (["--dataset", "b.csv"], "no run in .* is on the dataset 'b.csv': there are a.csv"),
    ],
)
def test_a_filter_that_can_not_be_meant_is_refused(
    ledger: Ledger, words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(ledger, "one")
    assert runs_command(words) == 2
    assert re.search(problem, capsys.readouterr().err)


def test_a_run_that_was_only_submitted_is_pending_until_its_verdicts_are_fetched(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    a_run(ledger, "out", told(True), mode="submit")
    assert [one["ended"] for one in as_json(capsys, runs_command(["--json"]))] == ["ok"]
    with ledger.database.engine.begin() as connection:
        connection.execute(items.update().values(state="submitted"))
    assert [one["ended"] for one in as_json(capsys, runs_command(["--status", "pending", "--json"]))] == ["pending"]
    assert "pending" in said(capsys, show_command(["out"])).splitlines()[1]


@pytest.mark.parametrize("command", ALL)
def test_the_help_of_a_command_on_past_runs_speaks_of_no_verdicts_and_gates_of_its_own(
    command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, codes = said(capsys, command(["--help"])).split("exit codes:")
    assert codes.startswith(" 0 done; 2 bad input;")
    assert "gate" not in codes


def test_an_empty_ledger_names_the_command_that_begins_a_run(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "there are no runs yet: python -m flows.evaluate" in said(capsys, runs_command([]))
    assert as_json(capsys, runs_command(["--json"])) == []


@pytest.mark.parametrize("command", ALL)
def test_without_a_ledger_nothing_is_made(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    words = {show_command: ["last"], trend_command: ["a.csv", "tone"], prune_command: ["--older-than", "1d"]}
    assert command(words.get(command, [])) == 2
    assert "there is no ledger" in capsys.readouterr().err
    assert not Path("fieval-runs").exists()


def test_a_page_has_figures_gates_files_and_the_next_command(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(ledger, "one", (True, False, None))
    page = said(capsys, show_command(["one"]))
    for part in (
        "run one: 3 items from a.csv",
        "0.500 [0.09, 0.91]",
        "gate UNDECIDED: tone.pass_rate >= 0.5",
        "report.html",
    ):
        assert part in page
    assert page.splitlines()[-1] == "to bring the missing verdicts: python -m flows.evaluate --resume one"
    data = as_json(capsys, show_command(["last", "--json"]))
    assert data["items"] == {"scored": 2, "failed": 0, "pending": 1, "not_needed": 0}
    assert data["checks"]["tone"]["pass_rate"] == 0.5
    assert data["next_command"] == "python -m flows.evaluate --resume one"


def test_a_run_that_is_not_there_is_told_with_those_that_are(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(ledger, "nightly-1")
    assert show_command(["nightly-2"]) == 2
    assert "nearest is nightly-1" in capsys.readouterr().err


def test_a_trend_is_a_plot_a_table_and_why_it_is_broken(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(3):
        ended(ledger, f"run-{n}", check=replace(CHECK, model="small" if n == 2 else "flash"))
    shown = said(capsys, trend_command(["a.csv", "tone"]))
    assert shown.startswith("    ┌")
    assert "run-1  2026-08-02 12:00" in shown
    assert shown.splitlines()[-1] == "the line is broken before run-2: judge model small, was flash"
    assert [one["breaks"] for one in as_json(capsys, trend_command(["a.csv", "tone", "--json"]))["points"]] == [
        [], [], ["judge model small, was flash"],
    ]  # fmt: skip
    assert [one["run_id"] for one in as_json(capsys, trend_command(["a.csv", "tone", "--last", "1", "--json"]))["points"]] == ["run-2"]  # fmt: skip


def test_a_check_that_is_not_there_is_told_with_those_that_are(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(ledger, "one", also=replace(CHECK, name="again"))
    assert trend_command(["a.csv", "tune"]) == 2
    assert "no run on a.csv has a check 'tune': there are again, tone" in capsys.readouterr().err


def test_a_check_that_no_run_has_ended_with_yet_is_said(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    a_run(ledger, "one", told(None), exit_code=None)
    assert "no run on a.csv with the check tone has ended yet" in said(capsys, trend_command(["a.csv", "tone"]))


def of_width(columns: int, encoding: str = "utf-8") -> Console:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    return Console(file=stream, width=columns, highlight=False, markup=False)


@pytest.mark.parametrize("runs", [2, 3, 31, 200])
@pytest.mark.parametrize("columns", [24, 40, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_plot_keeps_to_the_terminal_and_its_letters(columns: int, encoding: str, runs: int) -> None:
    found = a_trend([n % 7 / 10 for n in range(runs)], broken_at=runs // 2)
    drawn = plot(found, of_width(columns, encoding))
    assert 5 < len(drawn) < 20
    assert max(map(len, drawn)) <= min(columns, 100)
    assert all(line.isascii() for line in drawn) or encoding == "utf-8"
    assert not any("\x1b" in line for line in drawn)


def a_trend(rates: Sequence[float | None], *, broken_at: int | None = None) -> Trend:
    points = []
    for n, rate in enumerate(rates):
        ends = (None, None) if rate is None else (max(0.0, rate - 0.1), min(1.0, rate + 0.1))
        known = CheckFigures(
            run_id=f"run-{n}",
            check_name="tone",
            template="tone",
            pass_rate=rate,
            pass_rate_low=ends[0],
            pass_rate_high=ends[1],
        )
        points.append(TrendPoint(NOON + timedelta(n), 0, known, ("dataset",) if n == broken_at else ()))
    return Trend(["a.csv"], "tone", points)


def test_a_plot_needs_two_runs_that_measured_something_and_some_room() -> None:
    assert plot(a_trend([]), of_width(80)) == []
    assert plot(a_trend([0.5, None]), of_width(80)) == []
    assert plot(a_trend([0.5, 0.5]), of_width(20)) == []
    assert plot(a_trend([1.0, 1.0]), of_width(80))


def test_where_figures_hardly_differ_the_plot_does_not_make_a_fall_of_it() -> None:
    found = a_trend([0.5483, 0.5447, 0.5483])
    points = [
        replace(one, figures=replace(one.figures, pass_rate=None, mean=one.figures.pass_rate)) for one in found.points
    ]
    labels = [line.split("┤")[0] for line in plot(replace(found, points=points), of_width(80)) if "┤" in line]
    assert float(labels[0]) - float(labels[-1]) >= 0.05


def test_no_text_steers_the_terminal(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    names = [text.encode(errors="replace").decode().replace("\0", "") for text in HOSTILE]
    for n, name in enumerate(names):
        for model in (name, f"another {name}"):
            check = replace(CHECK, name=name, model=model)
            a_run(ledger, f"run-{n}-{len(model)}", told(True, False), dataset=name, check=check)
    codes = [runs_command(["--limit", "100"]), prune_command(["--older-than", "1d", "--dry-run"])]
    codes += [show_command([name]) for name in ledger.names("")]
    codes += [trend_command([one, name]) for name in names for one in (name, "no such")]
    assert {*codes} == {0, 2}
    out, err = capsys.readouterr()
    assert "the line is broken before run-1-" in out
    assert not {*"\x1b\x07\x9b\u202e\u2066"} & {*out, *err}


# Pruning


def old(ledger: Ledger, name: str, **fields: Any) -> None:
    ended(ledger, name, created_at=NOON, **fields)


def held(ledger: Ledger) -> int:
    with ledger.database.engine.connect() as connection:
        return connection.execute(items.select()).all().__len__()


def test_pruning_deletes_items_and_keeps_what_runs_came_to(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    old(ledger, "old")
    ended(ledger, "new", created_at=LATER)
    before = trend(ledger, "a.csv", "tone")
    shown = said(capsys, prune_command(["--older-than", "90d", "--yes"]))
    assert "1 run older than 90d, with 3 rows and verdicts" in shown
    assert "pruned 1 run" in shown
    assert held(ledger) == 3
    assert trend(ledger, "a.csv", "tone") == before
    assert Path("fieval-runs/old/report.html").is_file()
    assert "its rows and verdicts were pruned on" in said(capsys, show_command(["old"]))
    assert "ok, pruned" in said(capsys, runs_command([]))
    assert ledger.run("last").run_id == "new"
    with pytest.raises(Exception, match=r"'old' were pruned on .*flows.show old"):
        ledger.run("old")


def test_a_script_must_say_yes_and_a_dry_run_deletes_nothing(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old(ledger, "old")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert prune_command(["--older-than", "90d"]) == 2
    assert "add --yes" in capsys.readouterr().err
    assert "nothing was deleted" in said(capsys, prune_command(["--older-than", "90d", "--dry-run", "--yes"]))
    assert held(ledger) == 3


@pytest.mark.parametrize("age", ["3m", "90", "59m", "2040-01-01"])
def test_months_or_days_that_are_written_as_minutes_or_seconds_delete_nothing(
    ledger: Ledger, age: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old(ledger, "old")
    assert prune_command(["--older-than", age, "--yes"]) == 2
    assert "write days, such as 90d" in capsys.readouterr().err
    assert held(ledger) == 3


@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("yes\n", 0), ("\n", 3), ("n\n", 3), ("", 3)])
def test_whoever_is_asked_decides(
    ledger: Ledger, answer: str, left: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old(ledger, "old")
    typed = io.StringIO(answer)
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", typed)
    assert "delete them? [y/N]" in said(capsys, prune_command(["--older-than", "90d"]))
    assert held(ledger) == left


def test_what_is_still_used_is_kept_and_named(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("blessed", "labelled", "lent", "behind", "free"):
        old(ledger, name)
    ledger.finished("behind", exit_code=3, seconds=0.0, complete=True, is_behind=True)
    bless(ledger.database, Blessing("blessed", "a.csv", NOON, ""))
    Calibrations(ledger.database).record_draw(LabelDraw("labelled", "tone", NOON, "", 0, 3, ["a"]))
    a_run(ledger, "waiting", told(True, None), exit_code=None, created_at=NOON)
    a_run(ledger, "working", told(True, True), created_at=NOON)
    ledger.book("working").claims.take([0], "another machine/1", lease=1e9)
    ended(ledger, "borrower", created_at=LATER, plan={"reuse": 86400.0})
    with ledger.database.transaction() as connection:
        connection.execute(items.update().where(items.c.run_id == "borrower").values(reused_from="lent"))
    shown = said(capsys, prune_command(["--older-than", "90d", "--yes"]))
    for line in (
        "kept, since they are blessed: blessed",
        "kept, since people labelled their items: labelled",
        "kept, since run borrower reuses their verdicts: lent",
        "kept, since they are not at their end: waiting",
        "kept, since a process works on them: working",
        "kept, since their --to tables lack verdicts: behind",
        "pruned 1 run;",
    ):
        assert line in shown
    assert {run.run_id for run in History(ledger.database).runs() if run.pruned_at} == {"free"}


def test_a_run_that_comes_into_use_meanwhile_is_not_pruned(ledger: Ledger) -> None:
    for name in ("blessed", "resumed", "free"):
        old(ledger, name)
    assert len(prunable(ledger.database, LATER).runs) == 3
    bless(ledger.database, Blessing("blessed", "a.csv", NOON, ""))
    ledger.started("resumed", flow_run_id=None)
    assert [prune(ledger.database, name) for name in ("blessed", "resumed", "free", "free")] == [
        False,
        False,
        True,
        False,
    ]


def test_a_pruned_run_s_name_stays_taken(ledger: Ledger) -> None:
    old(ledger, "old")
    prune(ledger.database, "old")
    assert ledger.names("old") == {"old"}
    with pytest.raises(Exception, match="there is a run 'old' already"):
        old(ledger, "old")


def test_runs_of_an_older_version_are_counted_before_they_are_pruned(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    a_run(ledger, "old", told(True, False))
    assert "pruned 1 run" in said(capsys, prune_command(["--older-than", "1d", "--yes"]))
    [point] = trend(ledger, "a.csv", "tone").points
    assert point.figures.pass_rate == 0.5


def test_what_can_not_be_counted_is_not_pruned(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    a_run(ledger, "odd", told(True, False), plan={"mode": "by pigeon"})
    shown = said(capsys, prune_command(["--older-than", "1d", "--yes"]))
    assert "not pruned, since it came into use or can't be counted: odd" in shown or "nothing was deleted" in shown
    assert held(ledger) == 2
    assert "odd" in said(capsys, trend_command(["a.csv", "tone"]))
    assert "odd" in said(capsys, runs_command([]))


def test_a_file_gets_smaller(ledger: Ledger) -> None:
    old(ledger, "old", verdicts=[True] * 3000)
    found = prunable(ledger.database, LATER)
    prune(ledger.database, "old")
    freed = give_back(ledger.database)
    assert isinstance(freed, int)
    assert freed > found.size / 2 > 100_000


def test_a_file_that_another_process_works_in_keeps_its_size(ledger: Ledger) -> None:
    a_run(ledger, "working", told(True))
    ledger.book("working").claims.take([0], "another machine/1", lease=1e9)
    assert "keeps its size while a process works on working" in str(give_back(ledger.database))
