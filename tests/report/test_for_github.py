"""What GitHub is told of a run: within its sizes, and as text whatever the rows hold."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from fieval_tasks.core.errors import ExitCode
from fieval_tasks.report.caps import CAPS
from fieval_tasks.report.endings import verdict
from fieval_tasks.report.for_github import (
    GitHubPage,
    InRepository,
    annotation,
    annotations_of,
    comparison_annotations,
)
from fieval_tasks.report.summary import GateOutcome, Report, summarise
from tests.report.report_examples import HOSTILE, facts, failed, gathered, item, judged, reported, small
from tests.report.test_differences import beside
from tests.security import hostile_runs
from tests.security.test_hostile_content import LINKED_AS_READ, LINKED_AS_WRITTEN, STEERS

GATES = [
    GateOutcome(
        "tone.failures <= 0", "UNDECIDED", sentence="gate UNDECIDED: tone.failures <= 0; 1 item has no verdict"
    ),
    GateOutcome(
        "groundedness.pass_rate >= 0.9", "FAIL", sentence="gate FAIL: groundedness.pass_rate >= 0.9; it is 0.6667"
    ),
    GateOutcome("fluency.mean >= 0.1", "PASS", sentence="gate PASS: fluency.mean >= 0.1; it is 0.58"),
]
LINK = "https://github.com/a/b/actions/runs/7"
READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def a_report(exit_code: int = 1) -> Report:
    return reported(small()).with_outcome(exit_code, GATES)


def page_of(report: Report) -> GitHubPage:
    return GitHubPage.of_report(
        report, "data/answers.csv", "/runs/amber-otter", "https://github.com/a/b/actions/runs/7"
    )


def whole(page: GitHubPage) -> str:
    return page.within(10**9)


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_verdict_comes_first_then_what_failed_what_passed_and_how_to_look_further() -> None:
    text = whole(page_of(replace(a_report(), comparison=beside("monday").comparison)))
    marker, title, _, alert, first, *_ = text.splitlines()
    assert re.fullmatch(r"<!-- fieval: answers\.csv [0-9a-f]{8} -->", marker)
    assert title == "### A gate failed: amber-otter"
    assert (alert, first) == ("> [!CAUTION]", "> **FAIL**. 12 items: 9 scored, 1 failed, 2 pending.")
    order = [
        "gate FAIL",
        "gate PASS",
        "#### What changed",
        "#### Checks",
        "#### Why items failed",
        "#### To look further",
    ]
    assert [text.index(one) for one in order] == sorted(text.index(one) for one in order)
    assert "| 1 | groundedness | refused: output: may not be blank | 4 |" in text
    assert "it is 0.6667; this item that did not pass decides it" in text
    assert "```sh\npython -m flows.evaluate --resume amber-otter\n```" in text
    assert "[this workflow run](https://github.com/a/b/actions/runs/7)" in text


@pytest.mark.parametrize(
    ("code", "word", "alert"),
    [(0, "PASS", "TIP"), (1, "FAIL", "CAUTION"), (3, "UNDECIDED", "WARNING"), (4, "STOPPED", "WARNING")],
)
def test_an_exit_code_has_one_word(code: int, word: str, alert: str) -> None:
    text = whole(page_of(a_report(code)))
    assert f"> [!{alert}]\n> **{word}**." in text


def test_a_run_that_was_only_submitted_has_not_passed() -> None:
    report = summarise(facts(mode="submit", exit_code=0), [item(1)])
    assert verdict(0, report) == "PENDING"
    assert "> [!NOTE]\n> **PENDING**." in whole(page_of(report))
    assert verdict(0, summarise(facts(mode="submit", exit_code=0), [judged(1, True)])) == "PASS"
    known = {"PASS", "FAIL", "REFUSED", "UNDECIDED", "STOPPED", "ERROR", "INTERRUPTED"}
    assert {verdict(code) for code in ExitCode} == known


def test_only_a_table_of_the_users_that_lacks_verdicts_leaves_no_gate_undecided() -> None:
    run = summarise(facts(exit_code=3), [judged(1, True)])
    assert verdict(3, run) == "INCOMPLETE"
    assert verdict(3, run.with_outcome(3, GATES)) == verdict(3, a_report(3)) == "UNDECIDED"


def test_one_comment_is_kept_for_a_dataset_and_its_checks() -> None:
    def marker(report: Report, series: str = "data/answers.csv") -> str:
        return whole(GitHubPage.of_report(report, series, "x", "")).partition("\n")[0]

    first, later = a_report(), summarise(facts(run_id="later"), small())
    assert marker(first) == marker(later)
    assert marker(first) != marker(first, "other/answers.csv")
    assert marker(first) != marker(summarise(facts(checks={}), [judged(1, True)]))


def test_an_empty_run_and_one_without_a_verdict_have_a_page() -> None:
    assert "0 items" in whole(page_of(summarise(facts(checks={}, exit_code=0), [])))
    assert "1 failed" in whole(page_of(summarise(facts(exit_code=3), [failed(1)])))


@pytest.mark.parametrize("most", [3_000, 20_000, 60_000, 200_000])
def test_a_large_page_is_cut_between_rows_and_says_how_many_are_left_out(most: int) -> None:
    text = "日本語 " * 60
    run = [judged(n, False, reason=f"{text} {n}", inputs={"output": text}) for n in range(400)]
    caps = replace(CAPS, worst=400, worst_in_markdown=400)
    report = replace(summarise(facts(), run, caps=caps), page=gathered(run)).with_outcome(1, GATES)
    page = GitHubPage.of_report(report, "a", "/runs/amber-otter", "", caps)
    cut, all_of_it = page.within(most), whole(page)
    assert len(cut.encode()) <= most
    assert set(cut.splitlines()) - set(all_of_it.splitlines()) == {
        next(line for line in cut.splitlines() if "left out here" in line)
    }
    rows = [sum(line.startswith(("| ", "- ", "> - ")) for line in text.splitlines()) for text in (cut, all_of_it)]
    assert f"> **{rows[1] - rows[0]} rows are left out here:**" in cut
    assert cut.count("<details>") == cut.count("</details>")
    assert "#### To look further" in cut


def test_no_page_is_better_than_half_a_line() -> None:
    assert page_of(a_report()).within(200) == ""


# -- hostile texts -----------------------------------------------------------------------------------------------------


def assert_inert(text: str, usual: str) -> None:
    assert not STEERS.search(text)
    tokens = READER.parse(text)
    pieces = [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in (*tokens, *pieces)}
    assert not kinds & {"image", "code_inline", "em_open", "s_open", "code_block", "hr"}
    assert all(
        token.content.strip().startswith(("<!-- fieval", "<details><summary>", "</details>"))
        for token in tokens
        if token.type == "html_block"
    )
    assert {piece.content for piece in pieces if piece.type == "html_inline"} <= {"<br>"}
    assert [piece.attrs["href"] for piece in pieces if piece.type == "link_open"] == [LINK]
    assert not LINKED_AS_READ.search(
        "\n".join(piece.content for piece in pieces if piece.type in ("text", "text_special"))
    )
    outside_fences = [token.content for token in tokens if token.type == "inline" and LINK not in token.content]
    assert not LINKED_AS_WRITTEN.search("\n".join(outside_fences))
    assert [token.type for token in tokens] == [token.type for token in READER.parse(usual)]


def hostile_page(text: str) -> str:
    run = hostile_runs.results(text)
    report = replace(
        summarise(hostile_runs.facts(text), run), page=gathered(run), comparison=beside(text, text).comparison
    )
    return whole(page_of(report.with_outcome(3, [GateOutcome(text, "FAIL", sentence=text)])))


@pytest.mark.parametrize("text", [*HOSTILE, *hostile_runs.TEXTS.values(), "@team, see #1 and GH-1 <!-- --> -->"])
def test_rows_names_and_sentences_are_shown_as_text(text: str) -> None:
    assert_inert(hostile_page(text), hostile_page("plain"))


@pytest.mark.parametrize("text", [*HOSTILE, *hostile_runs.TEXTS.values()])
def test_an_annotation_is_one_line_that_no_text_leaves(text: str) -> None:
    line = annotation("error", text, file=text, line=3, title=text)
    assert len(line.splitlines()) == 1
    found = re.fullmatch(r"::error file=([^,:]*),line=3,title=([^,:]*)::(.*)", line)
    assert found is not None
    assert not STEERS.search(line)


def test_an_annotation_is_escaped_by_githubs_rules() -> None:
    assert annotation("warning", "50 %: a, b", file="a,b:c%.csv") == "::warning file=a%2Cb%3Ac%25.csv::50 %25: a, b"


# -- annotations -------------------------------------------------------------------------------------------------------


def test_gates_are_errors_and_items_are_warnings_at_their_rows() -> None:
    asked = list[int]()

    def located(rows: list[int]) -> InRepository:
        asked.extend(rows)
        return InRepository("data/answers.csv", {2: 17})

    lines = annotations_of(a_report(), located)
    assert asked == [2]
    assert lines == [
        "::error file=data/answers.csv,title=gate failed::gate FAIL: groundedness.pass_rate >= 0.9; it is 0.6667",
        "::warning file=data/answers.csv,title=gate undecided::gate UNDECIDED: tone.failures <= 0; 1 item has no verdict",
        "::warning file=data/answers.csv,line=17,title=groundedness%3A row 2 failed::item s-2: Because.",
        "::notice title=run amber-otter::A gate failed: 12 items: 9 scored, 1 failed, 2 pending",
    ]


def test_regressed_items_come_before_others_and_once() -> None:
    run = [judged(1, False), judged(2, False)]
    report = replace(summarise(facts(), run), comparison=beside("s-1", "groundedness").comparison)
    lines = [line for line in annotations_of(report, lambda rows: InRepository()) if line.startswith("::warning")]
    assert "title=groundedness%3A row 1 regressed::item s-1: Failed in the baseline" in lines[0]
    assert sum("row 1 failed" in line for line in lines) == 0
    assert sum("row 2 failed" in line for line in lines) == 1


def test_no_more_of_a_kind_are_printed_than_github_shows() -> None:
    gates = [GateOutcome(f"g{n}", "FAIL", sentence=f"gate FAIL: g{n}") for n in range(30)]
    report = summarise(facts(), [judged(n, False) for n in range(100)]).with_outcome(1, gates)
    lines = annotations_of(report, lambda rows: InRepository())
    assert [sum(line.startswith(f"::{kind}") for line in lines) for kind in ("error", "warning", "notice")] == [
        10,
        10,
        1,
    ]


def test_a_comparison_has_a_page_and_annotations_too() -> None:
    found = beside("monday").comparison
    assert found is not None
    text = whole(GitHubPage.of_comparison(found, "/runs/x", ""))
    assert text.splitlines()[1] == "### monday compared with monday"
    assert "#### What changed" in text
    assert "workflow run" not in text
    assert len(comparison_annotations(found)) == 2
