"""The pages people read: HTML, Markdown and the terminal's table."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fieval_tasks.core.gates import Gate, GateVerdict
from fieval_tasks.core.items import Result
from fieval_tasks.report.page_data import PageData
from fieval_tasks.report.pages import environment, html, html_line, inert, markdown
from fieval_tasks.report.summary import GateOutcome, Report, summarise
from fieval_tasks.report.table import table
from fieval_tasks.report.text import beside, between, clean, duration, one_line, share
from tests.report.report_examples import (
    RUNS,
    facts,
    failed,
    hostile,
    hostile_facts,
    item,
    judged,
    reported,
    scored,
    small,
)

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
VOID = {"meta", "input"}
TAGS = (
    "html head meta title style body main header section article footer h1 h2 h3 p b bdi small span code pre ul li div svg "
    "rect line table thead tbody tr th td details summary dl dt dd a figure figcaption g path circle text noscript script "
    "form label input select option button kbd template dialog"
)
ATTRIBUTES = (
    "dir lang charset http-equiv content name class role scope data-head aria-label viewbox preserveaspectratio "
    "x y x1 x2 y1 y2 width height rx href id type cx cy r d transform "
    "hidden tabindex value placeholder autocomplete spellcheck aria-labelledby aria-keyshortcuts"
)


class Page(HTMLParser):
    """Reads a page as a browser would, and fails on what a report has no business with."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & {*self.open}:
            self.text.append(data)

    def __contains__(self, words: str) -> bool:
        return words in " ".join("".join(self.text).split())


def page(report: Report) -> Page:
    read = Page(html(report))
    assert read.tags <= set(TAGS.split()), read.tags - set(TAGS.split())
    assert read.attributes <= set(ATTRIBUTES.split()), read.attributes - set(ATTRIBUTES.split())
    return read


@given(RUNS)
def test_any_run_makes_a_page_of_known_tags_that_all_close(run: list[Result]) -> None:
    page(reported(run))


def test_the_page_runs_nothing_but_its_own_script_and_asks_nobody_for_anything() -> None:
    source = html(reported(small()))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', source)
    assert policy
    [style] = re.findall("<style>(.*?)</style>", source, re.DOTALL)
    [script] = re.findall("<script>(.*?)</script>", source, re.DOTALL)
    own = {
        name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name, text in (("style", style), ("script", script))
    }
    assert policy[1] == (
        f"default-src 'none'; style-src 'sha256-{own['style']}'; script-src 'sha256-{own['script']}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"https?:|url\(|@import|\bsrc=|\bhref=(?!\"#)", source.replace(script, ""))


def test_a_template_that_forgets_to_escape_is_safe() -> None:
    text = "<b>\x1b[2J\u05d0\n| a |"
    for line, written in (
        (html_line, "<bdi>&lt;b&gt;\ufffd[2J\u05d0 | a |</bdi>"),
        (inert, "&lt;b&gt;\ufffd\\[2J\u05d0 \\| a \\|"),
    ):
        template = environment(line, str).from_string("{{ text }}{{ nothing }}{{ parts|join }}")
        assert template.render(text=text, nothing=None, parts=[text]) == f"{written}\u2013{written}"


def test_a_gate_reads_from_left_to_right_whatever_its_check_is_called() -> None:
    gate = GateOutcome("חיפוש.mean >= 0.5", "PASS", 0.58, (0.58, 0.58))
    shown = html(reported(small()).with_outcome(0, [gate]))
    assert '<code dir="ltr">חיפוש.mean &gt;= 0.5</code>' in shown


def test_the_page_says_what_there_is_to_know() -> None:
    gate = GateOutcome("fluency.mean >= 0.5", "UNDECIDED", 0.58, (0.43, 0.69))
    read = page(reported(small()).with_outcome(3, [gate]))
    for words in (
        "Finished, with verdicts missing",
        "local heuristics, not the platform's judges",
        "lies between 0.500 and 0.750",
        "output: may not be blank",
        "python -m flows.evaluate --resume amber-otter",
        "9 submits, 20 polls, 1 retry",
        "output ← answer",
        "UNDECIDED",
        "An answer.",
    ):
        assert words in read, words


@pytest.mark.parametrize(
    "run",
    [[], [failed(1)], [item(1)], [judged(1, True)], [scored(1, 0.0)], [item(1, "tone", status="scored", value=None)]],
)
def test_thin_runs_have_pages_too(run: list[Result]) -> None:
    report = reported(run)
    page(report)
    assert markdown(report)
    assert table(report)


def test_long_texts_are_folded_and_cut() -> None:
    read = html(reported([judged(1, False, inputs={"output": "word " * 5000})]))
    assert len(re.sub("<(style|script)>.*?</(style|script)>", "", read, flags=re.DOTALL)) < 20_000
    assert "<details><summary>word word" in read


def test_a_small_run_has_its_table() -> None:
    run = [result for result in small() if result.check == "groundedness"]
    checks = {"groundedness": ("groundedness", "turing_flash", "Pass/Fail")}
    lines = table(reported(run, checks=checks)).splitlines()
    assert lines[0] == "check         model         n  scored  failed  pending  pass rate [95 %]"
    assert lines[1] == "groundedness  turing_flash  4       3       1        0  0.667 [0.20, 0.94]"
    assert lines[-2:] == [
        "4 items: 3 scored, 1 failed",
        "requests: 9 submits, 20 polls, 1 retry, 0 throttled, 0 possible duplicates",
    ]
    assert "so the true pass rate of all 4 lies" in " ".join(lines[2:-2])


@given(RUNS)
def test_the_table_never_steers_the_terminal_or_leaves_its_width(run: list[Result]) -> None:
    drawn = table(reported(run))
    assert not CONTROL.search(drawn.replace("\n", ""))
    assert all(cell_len(line) <= 80 for line in drawn.splitlines())


def test_a_hostile_check_does_not_break_the_table() -> None:
    report = summarise(hostile_facts(), hostile(), page=PageData())
    drawn = table(report)
    assert not CONTROL.search(drawn.replace("\n", ""))
    assert all(cell_len(line) <= 80 for line in drawn.splitlines() if not line.startswith("to see one of them: "))


def test_wide_names_are_cut_to_fit_and_numbers_are_not() -> None:
    name = "検査" * 20
    checks = {name: (name, "a-model-with-a-very-long-name", "Pass/Fail")}
    run = [judged(row, True, check=name) for row in range(1234)]
    drawn = table(reported(run, checks=checks)).splitlines()
    assert cell_len(drawn[1]) <= 80
    assert "1234    1234" in drawn[1]


def test_what_does_not_add_up_is_said_in_the_terminal() -> None:
    assert "do not add up" in table(summarise(facts(planned=99), small()))


def parsed(source: str) -> list[str]:
    """The kinds of everything that a Markdown reader sees."""
    reader = (
        pytest.importorskip("markdown_it").MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    )
    tokens = reader.parse(source)
    return [token.type for token in tokens] + [child.type for token in tokens for child in token.children or ()]


@given(RUNS)
def test_every_row_of_a_markdown_table_has_as_many_cells_as_its_head(run: list[Result]) -> None:
    tables = [block for block in markdown(reported(run)).split("\n\n") if block.startswith("|")]
    for block in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


@pytest.mark.parametrize("text", ["https://example.org/x", "www.example.org", "[a](b)", "a|b", "a\nb", "@everyone"])
def test_markdown_text_makes_no_link_and_no_cell(text: str) -> None:
    assert not re.search(r"https?://|www\.|(?<!\\)\[|(?<!\\)\||\n|@\w", inert(text))


@pytest.mark.parametrize("text", ["- a", "+ a", "1. a", "12) a", "=", "# a", "> a", "* a", "```a"])
def test_markdown_text_at_the_beginning_of_a_line_begins_nothing(text: str) -> None:
    assert set(parsed(inert(text))) <= {"paragraph_open", "paragraph_close", "inline", "text", "text_special"}


@pytest.mark.parametrize("text", ["0.100", "<0.001", "12", "2026-11-01", "it's so"])
def test_what_is_no_markup_stays_as_it_is(text: str) -> None:
    assert inert(text) == text.replace("<", "&lt;")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "\u2013"), (0.0, "0.000"), (1.0, "1.000"), (0.99999, ">0.999"), (0.00001, "<0.001"), (0.7543, "0.754")],
)
def test_a_share_never_rounds_to_all_or_nothing(value: float | None, shown: str) -> None:
    assert share(value) == shown


@pytest.mark.parametrize(
    ("bounds", "shown"),
    [((43 / 60, 46 / 60), "0.716 and 0.767"), ((0.9, 1.0), "0.900 and 1.000"), ((0.7, 0.7), "0.700 and 0.700")],
)
def test_bounds_are_rounded_outwards(bounds: tuple[float, float], shown: str) -> None:
    assert between(bounds) == shown


@pytest.mark.parametrize(
    ("value", "threshold", "shown"),
    [
        ("4/7", "0.9", "0.5714"),
        ("9499999/10000000", "0.95", "0.9499999"),
        ("0.95", "0.95", "0.95"),
        ("99999/100000", "0.9", "0.99999"),
        ("1/1000000", "0.5", "1e-06"),
        ("0", "0.5", "0"),
        ("1", "1", "1"),
    ],
)
def test_a_figure_is_shown_on_its_side_of_the_threshold(value: str, threshold: str, shown: str) -> None:
    assert beside(Fraction(value), Fraction(threshold)) == shown


@given(st.fractions(0, 1, max_denominator=10**6), st.integers(0, 1000))
def test_no_figure_is_shown_as_a_threshold_that_it_is_not(value: Fraction, thousandths: int) -> None:
    threshold = Fraction(thousandths, 1000)
    shown = Fraction(beside(value, threshold))
    assert ((shown > threshold) - (shown < threshold)) == ((value > threshold) - (value < threshold))
    assert (shown == 1) == (value == 1)


def test_the_terminal_rounds_an_interval_outwards() -> None:
    run = [judged(row, row > 0) for row in range(3000)]
    assert ">0.999 [0.99, 1.00]" in table(reported(run))


def test_rows_that_repeat_others_are_told_apart_from_evaluations_in_every_report() -> None:
    report = summarise(facts(), [judged(row, True, same_as=0 if row else None) for row in range(500)])
    for shown in (markdown(report), html(report), " ".join(table(report).split())):
        assert "All 500 items have a verdict from 1 evaluation" in shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "\u2013"), (0.25, "0.2 s"), (133, "2 min 13 s"), (7265, "2 h 1 min"), (float("nan"), "\u2013")],
)
def test_durations_read_as_people_say_them(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_line_of_text_is_clean() -> None:
    assert one_line("a\n b\t\x1b[0m", 40) == "a b \ufffd[0m"
    assert clean("a\r\nb") == "a\nb"


def test_an_interval_bar_stays_on_its_line() -> None:
    drawn = html(summarise(facts(), [*(judged(row, True) for row in range(3)), item(3)]))
    assert '<rect class="band" x="43.85"' in drawn
    assert '<rect class="outline" x="75.00" y="0.6" width="25.00"' in drawn
    assert 'x1="99.60"' in drawn


def test_a_gates_sentence_stands_in_no_table_for_prefects_page_cuts_cells_off() -> None:
    gate = GateOutcome.of(Gate.parse("failures <= 2"), GateVerdict.FAIL, "3 of 4 items ended without a verdict")
    page = markdown(replace(summarise(facts(), small()), gates=(gate,)))
    assert "\n- gate FAIL: failures &lt;= 2; 3 of 4 items ended without a verdict\n" in page
