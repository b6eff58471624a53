"""What a run shows in a terminal of any size: a table of its checks while it is at work, and one at the end."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from fractions import Fraction

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from fieval_tasks.core.command_lines import command
from fieval_tasks.core.progress import CheckProgress, Progress
from fieval_tasks.report.listing import console_of, listing
from fieval_tasks.report.summary import GateOutcome, Requests, summarise
from fieval_tasks.report.table import table
from fieval_tasks.terminal.live import LiveTable, shown
from fieval_tasks.terminal.progress_lines import Look, PlainLines, clock_time
from tests.report.report_examples import facts, failed, judged, reported


def drawn(
    columns: int,
    height: int = 24,
    *,
    encoding: str = "utf-8",
    checks: Sequence[str] = ("tone",),
    done: int = 0,
    **known: object,
) -> list[str]:
    """What is on the screen after 45 s, of checks that each score 10 items a second, but for the first that are done."""
    now, n = 0.0, len(checks)
    screen = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(
        file=screen, width=columns, height=height, force_terminal=True, color_system=None, legacy_windows=False
    )
    live = LiveTable(console, lambda: now)
    for _ in range(46):
        scored = [1_150] * done + [round(now * 10)] * (n - done)
        of_each = tuple(
            CheckProgress(name, 1_150, some, 0, cost=Fraction("0.5")) for name, some in zip(checks, scored, strict=True)
        )
        counts = {"total": n * 1_150, "scored": sum(scored), "failed": 0, "waiting": 60, "checks": of_each}
        live.show(Progress(**{**counts, **known}))  # type: ignore[arg-type]
        now += 1.0
    now = 45.0
    with console.capture() as captured:
        console.print(live.drawn())
    return [line.rstrip() for line in captured.get().splitlines()]


@pytest.mark.parametrize("columns", [120, 80, 72, 60, 40])
def test_the_line_on_the_run_begins_with_what_matters(columns: int) -> None:
    *_, line = drawn(columns)
    assert cell_len(line) <= columns
    assert "450/1150 0:45, about 1:10 left" in line
    assert ("━" in line) == (columns >= 72), "the bar is there where there is room for it"
    assert ("60 waiting" in line) == (columns >= 60)


def test_each_check_is_a_line_with_what_it_has_and_what_it_needs() -> None:
    heading, tone, other, _ = drawn(80, checks=("tone", "toxicity-of-the-answer"))
    assert heading.split() == ["check", "open", "scored", "failed", "a", "second", "left", "cost"]
    assert tone.split() == ["tone", "700", "450", "0", "10.0", "1:10", "0.5"]
    assert other.split() == ["toxicity-of-the-answer", "700", "450", "0", "10.0", "1:10", "0.5"]


@pytest.mark.parametrize(("columns", "there"), [(120, 7), (80, 7), (40, 5), (20, 2), (5, 0)])
def test_a_narrow_terminal_has_the_columns_that_matter_most(columns: int, there: int) -> None:
    *table, line = drawn(columns, checks=("検査" * 20, "b"))
    assert all(cell_len(line) <= columns for line in (*table, line))
    words = ["check", "open", "scored", "failed", "a second", "left", "cost"]
    assert "".join(table[:1]).split() == " ".join(words[:there]).split()


@pytest.mark.parametrize(("height", "checks"), [(24, 20), (50, 40), (10, 6), (4, 0), (1, 0)])
def test_forty_checks_are_no_higher_than_the_screen_and_those_that_are_done_give_way(height: int, checks: int) -> None:
    names = [f"check-{n}" for n in range(40)]
    lines = drawn(80, height, checks=names, done=30)
    assert len(lines) < max(height, 2), "the cursor has a line of its own"
    assert sum(line.startswith("check-") for line in lines) == checks
    if 0 < checks < 40:
        assert lines[1].startswith("check-30"), "those at work come first"
        assert lines[-2] == f"and {40 - checks} more checks, {max(10 - checks, 0)} of them with open items"
    assert "39000/46000" in lines[-1]


def test_names_are_shown_as_text_and_steer_nothing() -> None:
    lines = drawn(80, checks=("\x1b[2Jcleared", "[red]not red[/red]", "\u202eright to left", "two\nlines :smile:"))
    assert all(line.isprintable() for line in lines)
    assert [line.split("  ")[0] for line in lines[1:5]] == [
        "\ufffd[2Jcleared", "[red]not red[/red]", "\ufffdright to left", "two lines :smile:",
    ]  # fmt: skip


def test_what_is_wrong_comes_before_what_waits() -> None:
    *_, line = drawn(120, failed=3, throttled=7, waits="the server asked for 60 s [sic]")
    assert line.endswith("3 failed, the server asked for 60 s [sic], 7 throttled, cost 0.5, 60 waiting")


def test_a_rest_that_nobody_knows_is_not_told() -> None:
    screen = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    live = LiveTable(screen, lambda: 0.0)
    live.show(Progress(total=10, scored=0, failed=0, waiting=0))
    with screen.capture() as captured:
        screen.print(live.drawn())
    assert "0/10 0:00 " in captured.get()
    assert "left" not in captured.get()


def test_a_terminal_of_ascii_shows_the_table_in_it() -> None:
    lines = drawn(80, encoding="ascii", checks=("größe",), waits="größe")
    assert all(line.isascii() for line in lines), "what the door would replace is as wide as it will be"
    assert lines[1].startswith("gr\\xf6\\xdfe")
    assert "450/1150 0:45, about 1:10 left" in lines[-1]
    assert "".join(drawn(40, encoding="ascii")).isascii(), "a sign of cut text would be replaced by a longer one"


def test_drawing_takes_a_hundredth_of_the_time_at_most() -> None:
    now, drawings = 0.0, 0

    class Slow(LiveTable):
        def drawn(self) -> str:
            nonlocal now, drawings
            now, drawings = now + 0.05, drawings + 1
            return ""

    screen = Console(file=Screen(), width=80, height=24, force_terminal=True)
    live = Slow(screen, lambda: now)
    live.begin()
    before = drawings
    for _ in range(400):
        live.show(Progress(total=10, scored=0, failed=0, waiting=0))
        now += 0.25
    live.leave()
    assert 15 <= drawings - before <= 25


def test_a_display_that_has_left_draws_no_more_and_shows_the_cursor_again() -> None:
    file = Screen()
    with shown(stream=file) as screen:
        screen.show(Progress(total=10, scored=3, failed=0, waiting=7))
        assert "3/10" in file.getvalue()
        screen.leave()
        left = file.getvalue()
        screen.show(Progress(total=10, scored=9, failed=0, waiting=1))
    assert file.getvalue() == left
    assert left.index("\x1b[?25l") < left.rindex("\x1b[?25h")
    assert left.endswith("\x1b[2K"), "the last that is written takes the lines off the screen"


def test_the_last_verdict_is_shown_at_once_and_that_the_report_comes() -> None:
    file = Screen()
    with shown(stream=file) as screen:
        screen.show(Progress(total=10, scored=3, failed=0, waiting=7))
        screen.show(Progress(total=10, scored=9, failed=0, waiting=1))
        assert "9/10" not in file.getvalue(), "it is drawn once a second"
        screen.show(Progress(total=10, scored=10, failed=0, waiting=0))
    assert re.search(r"10/10 0:0\d the report is being written", Text.from_ansi(file.getvalue()).plain)


def test_after_a_terminal_was_narrowed_what_it_shows_is_scrolled_away_whole() -> None:
    now, file = 0.0, Screen()
    console = Console(file=file, width=80, height=5, force_terminal=True, legacy_windows=False)
    live = LiveTable(console, lambda: now)
    live.begin()
    for columns, is_scrolled in ((80, False), (40, True), (40, False), (60, False)):
        file.seek(0)
        file.truncate()
        now, console.width = now + 10, columns
        live.show(Progress(total=10, scored=3, failed=0, waiting=7))
        assert ("\n" * 5 + "\x1b[H" in file.getvalue()) is is_scrolled
        assert "3/10" in file.getvalue()
    live.leave()


def test_the_next_run_of_the_same_checks_is_estimated_anew() -> None:
    now, screen = 0.0, Console(file=Screen(), width=80, height=24, force_terminal=True, color_system=None)
    live = LiveTable(screen, lambda: now)
    for settled in (0, 50, 100, 0, 10, 20):
        live.show(Progress(100, settled, 0, 0, checks=(CheckProgress("tone", 100, settled, 0),)))
        now += 10
    with screen.capture() as captured:
        screen.print(live.drawn())
    assert captured.get().splitlines()[1].split() == ["tone", "80", "20", "0", "1.0", "1:20"]


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"TTY_INTERACTIVE": "0"}])
def test_a_terminal_that_can_not_draw_gets_lines(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    file = Screen()
    with shown(stream=file) as screen:
        screen.show(Progress(total=10, scored=3, failed=0, waiting=7))
    assert file.getvalue() == "3 of 10 settled, 7 waiting (0 s)\n"


def test_a_terminal_without_colours_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    file = Screen()
    with shown(stream=file) as screen:
        screen.show(Progress(total=10, scored=3, failed=0, waiting=7, checks=(CheckProgress("tone", 10, 3, 0),)))
    assert "tone" in file.getvalue()
    assert not re.search(r"\x1b\[[0-9;]*m", file.getvalue())


def test_a_file_that_is_told_to_have_colours_gets_no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    file = io.StringIO()
    with shown(stream=file) as screen:
        screen.show(Progress(total=10, scored=3, failed=0, waiting=7))
    assert file.getvalue() == "3 of 10 settled, 7 waiting (0 s)\n"


def test_who_is_to_be_quiet_shows_nothing() -> None:
    file = Screen()
    with shown(quiet=True, stream=file) as screen:
        screen.show(Progress(total=10, scored=3, failed=0, waiting=7))
    assert file.getvalue() == ""


def test_a_file_gets_a_line_at_the_start_one_every_few_seconds_and_one_at_the_end() -> None:
    now, file = 0.0, io.StringIO()
    lines = PlainLines(file, lambda: now, look=Look(line_every=5.0))
    for settled in range(0, 9):
        lines.show(Progress(total=8, scored=settled, failed=0, waiting=8 - settled))
        now += 2.0
    assert file.getvalue().splitlines() == [
        "0 of 8 settled, 8 waiting (0 s)",
        "3 of 8 settled, 5 waiting (6 s)",
        "6 of 8 settled, 2 waiting (12 s)",
        "8 of 8 settled, 0 waiting (16 s)",
    ]


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0:00"), (45.4, "0:45"), (59.6, "1:00"), (720, "12:00"), (3723, "1:02:03")]
)
def test_a_time_reads_as_on_a_clock(seconds: float, told: str) -> None:
    assert clock_time(seconds) == told


EXPLAIN = command("explain", "amber-otter", "ITEM", store="sqlite:////a/long/path/to/some/ledger.db", last=1)


def of(columns: int) -> Console:
    return console_of(io.StringIO(), columns=columns)


@pytest.mark.parametrize("columns", [120, 80, 60, 40, 1])
def test_the_table_fits_and_a_command_in_it_stays_whole(columns: int) -> None:
    known = facts(requests=Requests(possible_duplicates=25), explain_command=EXPLAIN)
    told = table(summarise(known, [judged(row, row % 3 > 0) for row in range(40)]), of(columns)).splitlines()
    assert told.pop() == f"to see one of them: {EXPLAIN}"
    assert max(map(cell_len, told)) <= max(20, columns)
    assert "0.650 [0.49, 0.78]" in " ".join(line.strip() for line in told)


def test_a_narrow_table_is_a_paragraph_for_each_check() -> None:
    told = table(summarise(facts(), [judged(row, row % 3 > 0) for row in range(40)]), of(40)).splitlines()
    assert told[:3] == [
        "groundedness, turing_flash",
        "  n 40, scored 40, failed 0, pending 0,",
        "    pass rate [95 %] 0.650 [0.49, 0.78]",
    ]
    [heading, *_] = table(summarise(facts(), [judged(0, True)])).splitlines()
    assert heading.split() == ["check", "model", "n", "scored", "failed", "pending", "pass", "rate", "[95", "%]"]


def test_why_items_failed_is_said_with_the_first_of_each_kind() -> None:
    refused = [failed(row) for row in range(2)]
    others = [failed(2 + n, error={"kind": kind, "message": f"so it was {kind}"}) for n, kind in enumerate("abc")]
    told = table(reported([*refused, *others, judged(9, True)]), of(200))
    assert "groundedness: 2 items ended without a verdict (refused): output: may not be blank\n" in told
    assert "groundedness: 1 item ended without a verdict (b): so it was b\n" in told
    assert "1 item more ended without a verdict for other reasons, which the report names" in " ".join(told.split())


def test_why_items_did_not_pass_is_said_by_reason_with_the_command_that_explains_the_first() -> None:
    said = ["The answer names no source."] * 9 + [f"{word} is missing entirely" for word in ("Alpha", "Bread", "Chalk")]
    run = [judged(row, False, reason=reason) for row, reason in enumerate(said)]
    report = reported([*run, judged(99, True)], explain_command=EXPLAIN)
    told = table(report, of(120)).splitlines()
    assert "groundedness: 9 items did not pass: The answer names no source." in told
    assert told[-1] == f"to see the first that did not pass: {EXPLAIN.removesuffix('ITEM')}row:0"


def test_words_that_come_last_are_no_options() -> None:
    assert EXPLAIN.endswith("explain amber-otter --store sqlite:////a/long/path/to/some/ledger.db -- ITEM")
    assert command("collect", "a b", store="s").endswith("flows.collect 'a b' --store s")


RUNS = [
    {
        "run": "nightly-\u6771\u4eac\u202e\x1b[2J",
        "dataset": "answers-of-last-week.csv",
        "items": "1000",
        "verdict": "PASS",
    },
    {"run": "amber-otter", "dataset": "b.csv", "items": "7", "verdict": "UNDECIDED"},
]


@pytest.mark.parametrize("columns", [120, 80, 40, 20])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_what_a_command_lists_fits_any_terminal_and_steers_none(columns: int, encoding: str) -> None:
    screen = console_of(io.TextIOWrapper(io.BytesIO(), encoding=encoding), columns=columns)
    lines = listing(RUNS, screen, names=["run", "dataset"])
    assert all(cell_len(line) <= columns for line in lines)
    assert "".join(lines).isprintable()
    assert any("1000" in line for line in lines), "a figure is never cut"
    assert ("\u2026" in "".join(lines)) == (encoding == "utf-8" and columns == 40), "ASCII has no sign of cut text"
    assert (lines[0].split() == ["run", "dataset", "items", "verdict"]) == (columns > 20), "else a paragraph for each"


def test_a_column_that_nobody_fills_is_left_out_and_an_empty_list_is_no_line() -> None:
    assert listing([{"run": "a", "note": ""}, {"run": "b", "note": ""}], of(80), names=["run"]) == ["run", "a", "b"]
    assert listing([], of(80)) == []


def test_in_a_pipe_no_name_is_cut_for_somebody_may_look_for_it() -> None:
    name = "x" * 60
    assert name in "".join(
        listing([{"run": name, "dataset": name}], console_of(io.StringIO()), names=["run", "dataset"])
    )


@pytest.mark.parametrize(
    ("variables", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_are_where_a_terminal_has_them_and_nobody_objects(
    variables: dict[str, str], is_coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    screen = Screen()
    report = summarise(facts(), [judged(0, True)])
    gates = [GateOutcome("groundedness.pass_rate >= 0.9", "PASS", sentence="gate PASS: groundedness.pass_rate >= 0.9")]
    drawn = table(report.with_outcome(0, gates), console_of(screen, columns=80))
    assert ("\x1b[" in drawn) == is_coloured
    assert "gate PASS: groundedness.pass_rate >= 0.9" in Text.from_ansi(drawn).plain


def test_a_file_has_colours_only_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    row = [{"verdict": Text("FAIL", style="red")}]
    assert listing(row, console_of(io.StringIO()), names=["verdict"]) == ["verdict", "FAIL"]
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert listing(row, console_of(io.StringIO()), names=["verdict"])[1] == "\x1b[31mFAIL\x1b[0m"


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True
